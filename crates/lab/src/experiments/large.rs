//! Large bodies, and the memory that a client buffers while its reader pauses.

use std::sync::Arc;
use std::time::Duration;

use inflight::http::StatusCode;
use inflight::{Backend, Response, Session, Task};
use inflight_origin::payload;

use super::contenders::cells_and;
use crate::experiment::{Effort, Execution, Experiment, Metric, Plan, ProcessLifetime, Variable};
use crate::worker::fetch::{on_worker, session};
use crate::worker::measure::{Meter, resident_memory_kb};
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig, start_backend};

const MIB: f64 = 1024.0 * 1024.0;

/// How long a reader pauses. The server needs much less time to fill the buffers of the client.
const PAUSE: Duration = Duration::from_millis(100);

/// The number of paused readers. The memory of a single reader would be too small to measure.
const READERS: usize = 16;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "large",
    title: "Large bodies",
    question: "How long does a large body take, and how much memory does a client buffer while its reader pauses?",
    variable: Some(Variable {
        name: "body",
        unit: "MiB",
    }),
    metrics: &[
        Metric::new("wall", "time until the last byte", "ms"),
        Metric::new(
            "memory",
            "memory for each of 16 readers that pause after the first chunk",
            "KB",
        ),
    ],
    verification: "every byte of a body, and the first chunk for paused readers",
    programs: || cells_and(&[]),
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![16.0],
            rounds: 3,
        },
        Effort::Full => Plan {
            points: vec![1.0, 16.0, 64.0],
            rounds: 15,
        },
    },
    execution: Execution {
        process: ProcessLifetime::Fresh,
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let backend = start_backend(config.cell()?, 1)?;
    let session = session(&backend)?;
    let origin = config.origin.clone();
    let mut first = None;
    Ok(Box::new(move |params| {
        let url: Arc<str> = format!("{origin}/bytes/{}", (params.x * MIB) as usize).into();
        // In the first turn, which is not recorded, no reader pauses. Otherwise, the second turn would reuse
        // the buffers that the first turn freed, and would not measure them. For the same reason, `first`
        // keeps the expected body of the first turn.
        let memory = match &first {
            Some(start) => paused_readers_memory(&backend, &session, &url, start)?,
            None => 0.0,
        };
        let expected: Arc<[u8]> = payload::bytes((params.x * MIB) as usize, 0).into();
        first.get_or_insert_with(|| expected.clone());
        let meter = Meter::start();
        for _ in 0..params.iterations {
            let whole = read_body(session.clone(), url.clone(), expected.clone());
            on_worker(&backend, whole)?;
        }
        let wall = meter.wall_ms() / params.iterations.max(1) as f64;
        let metrics = [("wall", wall), ("memory", memory)];
        Ok(Measurement::new(params.iterations, metrics))
    }))
}

/// Returns the growth of the process's memory for each paused reader, in KB.
fn paused_readers_memory(
    backend: &Backend,
    session: &Session,
    url: &Arc<str>,
    start: &Arc<[u8]>,
) -> Result<f64, Failure> {
    let (session, url, start) = (session.clone(), url.clone(), start.clone());
    let runtime = backend.runtime().clone();
    let before = resident_memory_kb()?;
    let after = on_worker(backend, async move {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                Task::spawn(
                    &runtime,
                    read_first_chunk(session.clone(), url.clone(), start.clone()),
                )
            })
            .collect();
        let mut responses = Vec::new();
        for reader in readers {
            responses.push(reader.await??);
        }
        runtime.sleep(PAUSE).await;
        resident_memory_kb()
    })?;
    Ok((after - before).max(0.0) / READERS as f64)
}

/// Reads and verifies the first chunk. Returns the response with the rest of the body.
async fn read_first_chunk(
    session: Session,
    url: Arc<str>,
    start: Arc<[u8]>,
) -> Result<Response, Failure> {
    let mut response = session.get(&*url).send().await?;
    let chunk = response.chunk().await?.unwrap_or_default();
    let common_len = chunk.len().min(start.len());
    if response.status() == StatusCode::OK
        && common_len > 0
        && chunk[..common_len] == start[..common_len]
    {
        return Ok(response);
    }
    Err(wrong_body(response.status(), 0))
}

/// Reads and verifies the whole body.
async fn read_body(session: Session, url: Arc<str>, expected: Arc<[u8]>) -> Result<(), Failure> {
    let mut response = session.get(&*url).send().await?;
    let status = response.status();
    let mut rest = &*expected;
    while let Some(chunk) = response.chunk().await? {
        let offset = expected.len() - rest.len();
        rest = rest
            .strip_prefix(&*chunk)
            .ok_or_else(|| wrong_body(status, offset))?;
    }
    if status == StatusCode::OK && rest.is_empty() {
        return Ok(());
    }
    Err(wrong_body(status, expected.len() - rest.len()))
}

fn wrong_body(status: StatusCode, offset: usize) -> Failure {
    format!("large body: the response is wrong from byte {offset} on (status {status})").into()
}
