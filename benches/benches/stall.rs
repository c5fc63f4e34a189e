//! What a blocking call does to an event loop: the largest gap between two beats of a heart that
//! beats each millisecond, while one page of 100 ms is fetched.
//!
//! criterion's statistics are of the gap, not of the time that the measurement took.
#![allow(clippy::print_stderr, reason = "a program")]

use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use inflight_benches::figures::{self, Figure, Limit};
use inflight_benches::process::{OriginProcess, Worker};

/// The async client is the same on each runtime, so that the runtime is what differs.
const CELLS: [&str; 3] = ["tokio/hyper", "smol/hyper", "async-std/hyper"];
const WORKERS: [&str; 2] = ["1", "4"];
const HOW: [(&str, &str); 4] = [
    ("idle", "nothing is fetched"),
    ("inline", "ureq inside the task"),
    ("offloaded", "ureq on the blocking pool"),
    ("async", "hyper"),
];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = OriginProcess::start(env!("CARGO_BIN_EXE_inflight-bench-origin"))?;
    let url = origin.url("/delay-ms/100");
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1200))
        .without_plots()
        .configure_from_args();
    let mut rows = Vec::new();
    for workers in WORKERS {
        for cell in CELLS {
            let runtime = cell.split('/').next().unwrap_or(cell);
            let group_name = format!("stall {runtime} {workers} workers");
            let mut group = criterion.benchmark_group(&group_name);
            group.sampling_mode(SamplingMode::Flat);
            let mut idle = None;
            for (how, meaning) in HOW {
                let arguments = [
                    "stall",
                    "--cell",
                    cell,
                    "--workers",
                    workers,
                    "--how",
                    how,
                    "--url",
                    &url,
                ];
                let mut worker =
                    Worker::start(env!("CARGO_BIN_EXE_inflight-bench-worker"), &arguments)?;
                // Warms up; a wrong answer ends the worker and so this benchmark.
                worker.run(1)?;
                group.bench_function(how, |bencher| {
                    bencher.iter_custom(|iterations| match worker.run(iterations) {
                        Ok(measured) => measured.gap(),
                        Err(error) => panic!("{cell} {how}: {error}"),
                    });
                });
                let Ok((median, (from, to))) = figures::criterion_median(&group_name, how) else {
                    continue;
                };
                let limit = idle.map(|value| Limit {
                    value,
                    what: "the same loop when nothing is fetched".to_owned(),
                });
                idle.get_or_insert(median / 1e6);
                let plural = if workers == "1" { "" } else { "s" };
                rows.push(Figure {
                    what: format!("largest gap of a 1 ms heartbeat, {workers} worker{plural}"),
                    who: format!("{runtime}: {meaning}"),
                    measured: median / 1e6,
                    from_to: (from / 1e6, to / 1e6),
                    unit: "ms".to_owned(),
                    limit,
                });
            }
            group.finish();
        }
    }
    figures::save("stall", &rows)?;
    criterion.final_summary();
    Ok(())
}
