//! Models of the parts of the crate that several threads use at once. loom runs each model once for each
//! interleaving of its threads that can change the result.
//!
//! The module is public, because the models of `inflight-net` use it.

#[cfg(test)]
mod fair_semaphore;
#[cfg(test)]
mod in_flight;
#[cfg(test)]
mod lookups;
mod runtime;
#[cfg(test)]
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use loom::future::block_on;
use loom::model::Builder;
use loom::thread::{self, JoinHandle};

pub use runtime::ModelRuntime;

/// How often loom takes the processor from a thread that could continue, unless `LOOM_MAX_PREEMPTIONS` is set.
/// The number of orders grows quickly with this bound.
const MAX_PREEMPTIONS: usize = 3;

/// Runs the model in all orders of its threads, and prints how many there are.
///
/// For an example, see the models of this crate.
///
/// # Panics
///
/// If the model panics or blocks forever in one of these orders.
#[allow(clippy::print_stdout, reason = "the recipe shows the numbers")]
pub fn explore(property: &str, model: impl Fn() + Send + Sync + 'static) {
    let iterations = Arc::new(AtomicU64::new(0));
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(MAX_PREEMPTIONS);
    let bound = builder.preemption_bound.unwrap_or_default();
    let start = Instant::now();
    let counter = iterations.clone();
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let (iterations, elapsed) = (iterations.load(Ordering::Relaxed), start.elapsed());
    println!("model: {property}: {iterations} orders, {elapsed:.1?}, {bound} preemptions");
}

/// Runs a future on a thread of the model.
///
/// For an example, see the models of this crate.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    thread::spawn(move || block_on(future))
}

/// Waits for a thread of the model.
///
/// For an example, see the models of this crate.
///
/// # Panics
///
/// If the thread has panicked.
pub fn join<T>(thread: JoinHandle<T>) -> T {
    match thread.join() {
        Ok(output) => output,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}
