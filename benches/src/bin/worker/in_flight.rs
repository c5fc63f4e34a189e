//! How much memory a request in flight takes, and whether one is lost among thousands.

use std::time::{Duration, Instant};

use inflight::{BlockOn, Cell, gather};
use inflight_benches::process::Measured;

use crate::{Failure, Run, cpu};

pub(crate) fn prepare(cell: Cell, url: String) -> Result<Run, Failure> {
    let backend = cell.start(None)?;
    let session = backend.builder().timeout(Duration::from_secs(60)).build()?;
    Ok(Box::new(move |iterations| {
        let get = |_| {
            let request = session.get(&url);
            async move {
                let response = request.send().await?.error_for_status()?;
                response.bytes().await.map(|body| body.len())
            }
        };
        let before = peak_memory()?;
        let (started, cpu_before) = (Instant::now(), cpu());
        let settled = backend.block_on(
            gather((0..iterations).map(get))
                .limit(iterations as usize)
                .settled(),
        );
        let wall = started.elapsed();
        let mut answered = 0;
        for result in settled.results {
            match result {
                Ok(length) if length > 0 => answered += 1,
                Ok(_) => return Err("an empty answer".into()),
                Err(error) => return Err(format!("{error}: {:?}", error.kind()).into()),
            }
        }
        Ok(Measured {
            wall_ns: wall.as_nanos() as u64,
            cpu_ns: (cpu() - cpu_before).as_nanos() as u64,
            memory: peak_memory()?.saturating_sub(before),
            answered,
            ..Measured::default()
        })
    }))
}

/// The most memory that this process ever had resident, in bytes: `VmHWM` of Linux.
fn peak_memory() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .ok_or("the system does not tell a process's peak memory")?;
    Ok(kilobytes.trim().parse::<u64>()? * 1024)
}
