//! Large bodies, and how much of one a client holds while nobody reads it.

use std::sync::Arc;
use std::time::Duration;

use inflight::http::StatusCode;
use inflight::{Runtime, Session};
use inflight_origin::payload;

use super::{cells, with_again};
use crate::experiment::{Better, Effort, Experiment, Metric, Plan, Process, Variable, Work};
use crate::worker::fetch::{on_worker, session};
use crate::worker::measure::{Meter, resident_memory_kb};
use crate::worker::{Answer, Failure, Setup, Turn, start};

const MIB: f64 = 1024.0 * 1024.0;

/// How long the reader reads nothing: the server sends all that the client takes in much less.
const PAUSE: Duration = Duration::from_millis(200);

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
            what: "memory that grows while a reader pauses after the first piece",
            unit: "KB",
            better: Better::Lower,
            limit: None,
        },
    ],
    verified: "every byte of two bodies",
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
        about: |_, mib| 2.0 * PAUSE.as_secs_f64() * 1e3 + 60.0 + 8.0 * mib,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let backend = start(setup.cell()?, 1)?;
    let session = session(&backend)?;
    let origin = setup.origin.clone();
    Ok(Box::new(move |ask| {
        // Made before anything is measured, and whole: it takes no memory later.
        let expected: Arc<[u8]> = payload::bytes((ask.x * MIB) as usize, 0).into();
        let url: Arc<str> = format!("{origin}/bytes/{}", expected.len()).into();
        let (mut wall, mut memory) = (0.0, 0.0);
        for _ in 0..ask.iterations {
            let meter = Meter::start();
            let whole = read(session.clone(), url.clone(), expected.clone(), None);
            on_worker(&backend, whole)?;
            wall += meter.wall_ms();

            let before = resident_memory_kb()?;
            let runtime = backend.runtime().clone();
            let paused = read(
                session.clone(),
                url.clone(),
                expected.clone(),
                Some(runtime),
            );
            memory += (on_worker(&backend, paused)? - before).max(0.0);
        }
        let each = ask.iterations.max(1) as f64;
        let metrics = [("wall", wall / each), ("memory", memory / each)];
        Ok(Answer::of(2 * ask.iterations, metrics))
    }))
}

/// Reads the body, with a pause after its first piece if there is a runtime to sleep by. Answers
/// the memory in KB at the pause's end.
async fn read(
    session: Session,
    url: Arc<str>,
    expected: Arc<[u8]>,
    pause: Option<Arc<dyn Runtime>>,
) -> Result<f64, Failure> {
    let mut response = session.get(&*url).send().await?;
    let status = response.status();
    let mut rest = &*expected;
    let mut pause = pause;
    let mut memory = 0.0;
    let wrong = |at: usize| {
        format!(
            "{} bytes were answered {status} with others from {at} on",
            expected.len()
        )
    };
    while let Some(piece) = response.chunk().await? {
        let at = expected.len() - rest.len();
        rest = rest.strip_prefix(&*piece).ok_or_else(|| wrong(at))?;
        if let Some(runtime) = pause.take() {
            runtime.sleep(PAUSE).await;
            memory = resident_memory_kb()?;
        }
    }
    if status == StatusCode::OK && rest.is_empty() {
        return Ok(memory);
    }
    Err(wrong(expected.len() - rest.len()).into())
}
