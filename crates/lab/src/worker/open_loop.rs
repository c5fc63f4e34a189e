//! An open loop: requests start at a fixed rate, whether or not earlier requests are complete.
//!
//! A closed loop, which waits for responses, sends fewer requests to a slow server and so underestimates
//! the latency (coordinated omission). An open loop measures the latency of a request from its scheduled
//! time, not from its actual start.

use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use inflight::Task;

use super::Failure;
use super::fetch::page_path;
use super::measure::ms;
use super::pages::ContenderClient;

/// The load of an open loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// The number of requests per second.
    pub(crate) rate: f64,
    /// The total number of requests.
    pub(crate) requests: u64,
    /// The maximum number of requests in flight. At the maximum, the next request starts late, but its
    /// latency still counts from its scheduled time.
    pub(crate) max_in_flight: u64,
    /// The time that the server waits before it sends a page, in milliseconds.
    pub(crate) delay_ms: u64,
}

/// Records latencies and the throughput.
pub(crate) struct LatencyRecorder {
    latency: Histogram<u64>,
    /// The time of the first completion, since the start of the load.
    first: Duration,
    /// The time of the last completion, since the start of the load.
    last: Duration,
}

/// The largest latency that can be recorded, in microseconds. Longer latencies are recorded as this value.
const MAX_LATENCY_US: u64 = 120_000_000;

impl LatencyRecorder {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)?,
            first: Duration::MAX,
            last: Duration::ZERO,
        })
    }

    fn add(&mut self, result: CompletionResult) -> Result<(), Failure> {
        let completion = result?;
        let latency = completion.at.saturating_sub(completion.due).as_micros() as u64;
        self.latency.saturating_record(latency);
        self.first = self.first.min(completion.at);
        self.last = self.last.max(completion.at);
        Ok(())
    }

    /// Returns the number of completed requests.
    pub(crate) fn answered(&self) -> u64 {
        self.latency.len()
    }

    /// Returns a quantile of the latency in milliseconds. `share` is from 0 to 1.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        ms(Duration::from_micros(self.latency.value_at_quantile(share)))
    }

    /// Returns the completed requests per second, from the first completion to the last.
    pub(crate) fn throughput(&self) -> f64 {
        let time = self.last.saturating_sub(self.first);
        let after_first = self.answered().saturating_sub(1) as f64;
        // Avoid a division by zero if all requests complete at once.
        after_first / time.as_secs_f64().max(1e-6)
    }
}

/// The scheduled time of a request and the time of its completion, both since the start of the load.
struct Completion {
    due: Duration,
    at: Duration,
}

type CompletionResult = Result<Completion, Failure>;

/// Runs the load with one task per page. The calling thread starts the tasks, because a thread sleeps more
/// precisely than a runtime's timer. Therefore, all contenders have the same schedule.
pub(crate) fn run(
    client: &ContenderClient,
    origin: &str,
    load: Load,
) -> Result<LatencyRecorder, Failure> {
    let runtime = client.backend.runtime();
    let interval = 1.0 / load.rate;
    let (sender, done) = mpsc::channel::<CompletionResult>();
    let mut recorder = LatencyRecorder::new()?;
    let start = Instant::now();
    for number in 0..load.requests {
        let due = Duration::from_secs_f64(interval * number as f64);
        if let Some(wait) = (start + due).checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        drain(&done, &mut recorder)?;
        while number - recorder.answered() >= load.max_in_flight {
            recorder.add(done.recv()?)?;
        }
        let url = format!("{origin}{}", page_path(number, load.delay_ms));
        let (client, sender) = (client.client.clone(), sender.clone());
        let job = async move {
            let page = client.fetch_page(url, number).await;
            let at = start.elapsed();
            // Sending fails if another request failed and `run` has returned.
            let _ = sender.send(page.map(|()| Completion { due, at }));
        };
        Task::spawn(runtime, job).detach();
    }
    drop(sender);
    while recorder.answered() < load.requests {
        // A job that panics drops its sender.
        recorder.add(done.recv().map_err(|_| "a job ended without a result")?)?;
    }
    Ok(recorder)
}

/// Records the completed requests without waiting.
fn drain(done: &Receiver<CompletionResult>, recorder: &mut LatencyRecorder) -> Result<(), Failure> {
    loop {
        match done.try_recv() {
            Ok(one) => recorder.add(one)?,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(due_ms: u64, at_ms: u64) -> CompletionResult {
        Ok(Completion {
            due: Duration::from_millis(due_ms),
            at: Duration::from_millis(at_ms),
        })
    }

    #[test]
    fn a_latency_counts_from_the_scheduled_time() {
        let mut recorder = LatencyRecorder::new().unwrap();
        // The second request completes 1 ms after the first, but was due 91 ms earlier.
        recorder.add(completion(0, 100)).unwrap();
        recorder.add(completion(10, 101)).unwrap();
        assert_eq!(recorder.answered(), 2);
        assert!((recorder.quantile_ms(0.5) - 91.0).abs() < 0.1);
        assert!((recorder.quantile_ms(0.999) - 100.0).abs() < 0.1);
        assert!((recorder.throughput() - 1000.0).abs() < 1.0);
    }

    #[test]
    fn adding_a_failed_request_returns_its_error() {
        let mut recorder = LatencyRecorder::new().unwrap();
        assert!(recorder.add(Err("wrong".into())).is_err());
    }
}
