//! Requests that begin when they are due, whether or not those before them are done.
//!
//! Who waits for an answer before he asks again asks a slow server less often, and sees little of
//! its slowness (coordinated omission). So a request is timed from when it was due, not from when
//! it began.

use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use inflight::Task;

use super::Failure;
use super::fetch::page_path;
use super::measure::ms;
use super::pages::Client;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: f64,
    /// How many in all.
    pub(crate) requests: u64,
    /// How many may be under way. Beyond it the next one begins late, and its time counts from
    /// when it was due: so the load ends, whatever the client bears.
    pub(crate) at_once: u64,
    /// What a page takes.
    pub(crate) delay_ms: u64,
}

/// What was seen.
pub(crate) struct Seen {
    latency: Histogram<u64>,
    first: Duration,
    last: Duration,
}

/// A latency is recorded as at most this, in microseconds.
const LONGEST_US: u64 = 120_000_000;

impl Seen {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1, LONGEST_US, 3)?,
            first: Duration::MAX,
            last: Duration::ZERO,
        })
    }

    fn add(&mut self, done: Done) -> Result<(), Failure> {
        let done = done?;
        let latency = done.at.saturating_sub(done.due).as_micros() as u64;
        self.latency.saturating_record(latency);
        self.first = self.first.min(done.at);
        self.last = self.last.max(done.at);
        Ok(())
    }

    /// How many there were.
    pub(crate) fn answered(&self) -> u64 {
        self.latency.len()
    }

    /// What this share of the requests took at most, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        ms(Duration::from_micros(self.latency.value_at_quantile(share)))
    }

    /// How many were done each second, from the first that was to the last.
    pub(crate) fn each_second(&self) -> f64 {
        let time = self.last.saturating_sub(self.first);
        let after_first = self.answered().saturating_sub(1) as f64;
        // Two that are done at once are no rate.
        after_first / time.as_secs_f64().max(1e-6)
    }
}

/// A request that is done: when it was due and when it was done, after the start.
struct At {
    due: Duration,
    at: Duration,
}

type Done = Result<At, Failure>;

/// Has all of it done, each page in a task of its own. This thread begins them, and sleeps more
/// precisely than a runtime's timer, so that all contenders are asked alike.
pub(crate) fn run(client: &Client, origin: &str, load: Load) -> Result<Seen, Failure> {
    let runtime = client.backend.runtime();
    let interval = 1.0 / load.rate;
    let (sender, done) = mpsc::channel::<Done>();
    let mut seen = Seen::new()?;
    let start = Instant::now();
    for number in 0..load.requests {
        let due = Duration::from_secs_f64(interval * number as f64);
        if let Some(wait) = (start + due).checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        take(&done, &mut seen)?;
        while number - seen.answered() >= load.at_once {
            seen.add(done.recv()?)?;
        }
        let url = format!("{origin}{}", page_path(number, load.delay_ms));
        let (who, sender) = (client.who.clone(), sender.clone());
        let job = async move {
            let page = who.page(url, number).await;
            let at = start.elapsed();
            // Nobody takes it when another failed before.
            let _ = sender.send(page.map(|()| At { due, at }));
        };
        Task::spawn(runtime, job).detach();
    }
    drop(sender);
    while seen.answered() < load.requests {
        // A job that panics drops its sender and nothing else.
        seen.add(done.recv().map_err(|_| "a job ended without a word")?)?;
    }
    Ok(seen)
}

/// Takes what is done, without waiting for it.
fn take(done: &Receiver<Done>, seen: &mut Seen) -> Result<(), Failure> {
    loop {
        match done.try_recv() {
            Ok(one) => seen.add(one)?,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(due_ms: u64, at_ms: u64) -> Done {
        Ok(At {
            due: Duration::from_millis(due_ms),
            at: Duration::from_millis(at_ms),
        })
    }

    #[test]
    fn a_latency_counts_from_when_the_request_was_due() {
        let mut seen = Seen::new().unwrap();
        // The second was done right after the first, but was due long before.
        seen.add(at(0, 100)).unwrap();
        seen.add(at(10, 101)).unwrap();
        assert_eq!(seen.answered(), 2);
        assert!((seen.quantile_ms(0.5) - 91.0).abs() < 0.1);
        assert!((seen.quantile_ms(0.999) - 100.0).abs() < 0.1);
        assert!((seen.each_second() - 1000.0).abs() < 1.0);
    }

    #[test]
    fn a_failure_ends_the_load() {
        let mut seen = Seen::new().unwrap();
        assert!(seen.add(Err("wrong".into())).is_err());
    }
}
