//! Large bodies, and how much of one a client holds while nobody reads it.

use std::sync::Arc;
use std::time::Duration;

use inflight::http::StatusCode;
use inflight::{Backend, Response, Session, Task};
use inflight_origin::payload;

use super::{cells, with_again};
use crate::experiment::{Better, Effort, Experiment, Metric, Plan, Process, Variable, Work};
use crate::worker::fetch::{on_worker, session};
use crate::worker::measure::{Meter, resident_memory_kb};
use crate::worker::{Answer, Failure, Setup, Turn, start};

const MIB: f64 = 1024.0 * 1024.0;

/// How long the reader reads nothing: the server sends all that the client takes in much less.
const PAUSE: Duration = Duration::from_millis(100);

/// How many pause at once: what one takes is little beside what a process has free.
const READERS: usize = 16;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "large",
    title: "Large bodies",
    question: "How long does a large body take, and how much memory does a client fill while its reader pauses?",
    variable: Some(Variable {
        name: "body",
        unit: "MiB",
        logarithmic: true,
    }),
    metrics: &[
        Metric {
            name: "wall",
            what: "time until the last byte",
            unit: "ms",
            better: Better::Lower,
            limit: None,
        },
        Metric {
            name: "memory",
            what: "memory for each of 16 readers that pause after the first piece",
            unit: "KB",
            better: Better::Lower,
            limit: None,
        },
    ],
    verified: "every byte of a body, and the first piece of those that are not read on",
    contenders: || with_again(cells(&[])),
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
    work: Work {
        process: Process::Fresh,
        about: |_, mib| PAUSE.as_secs_f64() * 1e3 + 100.0 + 4.0 * mib,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let backend = start(setup.cell()?, 1)?;
    let session = session(&backend)?;
    let origin = setup.origin.clone();
    let mut first = None;
    Ok(Box::new(move |ask| {
        let url: Arc<str> = format!("{origin}/bytes/{}", (ask.x * MIB) as usize).into();
        // In the turn that is not recorded nobody pauses: what that filled would be free again,
        // and filled anew without more memory. What is expected there is kept for the same reason.
        let memory = match &first {
            Some(start) => paused(&backend, &session, &url, start)?,
            None => 0.0,
        };
        let expected: Arc<[u8]> = payload::bytes((ask.x * MIB) as usize, 0).into();
        first.get_or_insert_with(|| expected.clone());
        let meter = Meter::start();
        for _ in 0..ask.iterations {
            let whole = read(session.clone(), url.clone(), expected.clone());
            on_worker(&backend, whole)?;
        }
        let wall = meter.wall_ms() / ask.iterations.max(1) as f64;
        let metrics = [("wall", wall), ("memory", memory)];
        Ok(Answer::of(ask.iterations, metrics))
    }))
}

/// How much memory grows for each of some readers that read the first piece and no more, in KB.
fn paused(
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
            .map(|_| Task::spawn(&runtime, begin(session.clone(), url.clone(), start.clone())))
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

/// Reads the first piece. What it answers is the rest.
async fn begin(session: Session, url: Arc<str>, start: Arc<[u8]>) -> Result<Response, Failure> {
    let mut response = session.get(&*url).send().await?;
    let piece = response.chunk().await?.unwrap_or_default();
    let both = piece.len().min(start.len());
    if response.status() == StatusCode::OK && both > 0 && piece[..both] == start[..both] {
        return Ok(response);
    }
    Err(wrong(response.status(), 0))
}

/// Reads it all.
async fn read(session: Session, url: Arc<str>, expected: Arc<[u8]>) -> Result<(), Failure> {
    let mut response = session.get(&*url).send().await?;
    let status = response.status();
    let mut rest = &*expected;
    while let Some(piece) = response.chunk().await? {
        let at = expected.len() - rest.len();
        rest = rest
            .strip_prefix(&*piece)
            .ok_or_else(|| wrong(status, at))?;
    }
    if status == StatusCode::OK && rest.is_empty() {
        return Ok(());
    }
    Err(wrong(status, expected.len() - rest.len()))
}

fn wrong(status: StatusCode, at: usize) -> Failure {
    format!("a large body was answered {status} with bytes that are not its own from {at} on")
        .into()
}
