//! How often a request goes into the kernel.

use super::overhead;
use crate::experiment::{Better, Effort, Experiment, Metric, Need, Plan, Work};
use crate::worker::measure::system_calls;
use crate::worker::{Answer, Failure, Setup, Turn};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "syscalls",
    title: "System calls of a request",
    question: "How often does a request go into the kernel, 64 of them in flight?",
    variable: None,
    metrics: &[
        Metric {
            name: "calls",
            what: "system calls of the client for each request",
            unit: "1",
            better: Better::Lower,
            limit: None,
        },
        Metric {
            name: "futex",
            what: "those of them by which threads wait for each other",
            unit: "1",
            better: Better::Lower,
            limit: None,
        },
    ],
    verified: "status and length of every answer",
    // Peers would have to let themselves be watched.
    contenders: || super::with_again(overhead::ours()),
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 10,
        },
    },
    work: Work {
        needs: Some(Need::CallCounter),
        // Between two turns the connections are idle, so that the first request on each asks whether the
        // server has closed it. With 64 connections these are few of so many.
        iterations: |_, _| 4000,
        about: |_, _| 400.0,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let mut turns = overhead::worker(setup)?;
    Ok(Box::new(move |ask| {
        let (done, calls) = system_calls(|| turns(ask))?;
        let each = |calls: u64| calls as f64 / ask.iterations.max(1) as f64;
        let metrics = [("calls", each(calls.all)), ("futex", each(calls.futex))];
        Ok(Answer::of(done.answered, metrics))
    }))
}
