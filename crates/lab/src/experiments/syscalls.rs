//! The system calls of a request.

use super::overhead;
use crate::experiment::{Effort, Execution, Experiment, Metric, Plan, Requirement};
use crate::worker::measure::system_calls;
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "syscalls",
    title: "System calls of a request",
    question: "How many system calls does a request make, with 64 requests in flight?",
    variable: None,
    metrics: &[
        Metric::new("calls", "system calls of the client for each request", "1"),
        Metric::new(
            "futex",
            "futex calls for each request, by which threads wait for each other",
            "1",
        ),
    ],
    verification: "status and length of every response",
    // Without peers, because a worker counts only the system calls of its own process.
    programs: overhead::programs,
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 10,
        },
    },
    execution: Execution {
        requires: Some(Requirement::SystemCallCounter),
        // After the pause between turns, the first request on each connection makes an extra call, which
        // checks that the connection is still open. Many iterations make these calls negligible.
        iterations: |_, _| 4000,
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let mut benchmark = overhead::worker(config)?;
    Ok(Box::new(move |params| {
        let (done, calls) = system_calls(|| benchmark(params))?;
        let each = |calls: u64| calls as f64 / params.iterations.max(1) as f64;
        let metrics = [("calls", each(calls.all)), ("futex", each(calls.futex))];
        Ok(Measurement::new(done.answered, metrics))
    }))
}
