//! The progress of a queue.

use std::collections::BTreeMap;

use async_nats::jetstream::stream::State;
use futures_util::StreamExt;

use crate::error::Error;
use crate::partition::partitions_of;
use crate::queue::{Queue, number};

/// Over how many results the rate is measured.
const RATE_RESULTS: u64 = 1000;

/// The progress of a queue.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The number of jobs, if the queue is sealed.
    pub total: Option<u64>,
    /// The number of jobs that have been pushed and not ended.
    pub remaining: u64,
    /// The number of jobs that workers have started but not ended. Each worker reports its number at each heartbeat.
    pub in_flight: u64,
    /// The number of results.
    pub done: u64,
    /// The number of failures by their kind. A failure is missing here if its worker was killed after it stored the
    /// result and before it counted the failure.
    pub failed: BTreeMap<String, u64>,
    /// How many results were stored per second, over the last 1,000 results. `None` without a worker, or with fewer
    /// than two results.
    pub rate: Option<f64>,
    /// The running workers.
    pub workers: Vec<WorkerStatus>,
}

/// A running worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// The number of jobs that it has started but not ended.
    pub in_flight: u64,
}

/// How many results a queue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The number of jobs, if the queue is sealed.
    pub total: Option<u64>,
    /// The number of results.
    pub done: u64,
}

impl Progress {
    /// Returns whether the queue is sealed and has as many results as jobs.
    pub fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.done >= total)
    }
}

impl Status {
    /// Returns whether the queue is sealed and has as many results as jobs.
    pub fn is_complete(&self) -> bool {
        let (total, done) = (self.total, self.done);
        Progress { total, done }.is_complete()
    }
}

impl Queue {
    /// Asks the server how many results the queue has. This is faster than [`status`](Self::status).
    ///
    /// # Errors
    ///
    /// [`Server`](crate::ErrorKind::Server).
    pub async fn progress(&self) -> Result<Progress, Error> {
        let queue = self.clone();
        let asking = move || {
            let queue = queue.clone();
            async move { queue.progress_once().await }
        };
        self.server.repeat(asking).await
    }

    pub(crate) async fn progress_once(&self) -> Result<Progress, Error> {
        let total = self.sealed().await?;
        let results = self.parts.results.get_info().await;
        let results = results.map_err(Error::server("count the results"))?;
        let done = results.state.messages;
        Ok(Progress { total, done })
    }

    /// Asks the server for the progress of the queue. The server returns the numbers one after another, so they can
    /// differ by a few jobs.
    ///
    /// # Errors
    ///
    /// [`Server`](crate::ErrorKind::Server).
    pub async fn status(&self) -> Result<Status, Error> {
        let queue = self.clone();
        let asking = move || {
            let queue = queue.clone();
            async move { status(&queue).await }
        };
        self.server.repeat(asking).await
    }
}

async fn status(queue: &Queue) -> Result<Status, Error> {
    let jobs = queue.parts.jobs.get_info().await;
    let jobs = jobs.map_err(Error::server("count the jobs"))?;
    let results = queue.parts.results.get_info().await;
    let results = results.map_err(Error::server("count the results"))?;
    let names = queue.worker_names().await?;
    let mut workers = Vec::new();
    for name in &names {
        let in_flight = queue.parts.workers.get(name).await;
        let in_flight = in_flight.map_err(Error::server("list the workers"))?;
        let in_flight = in_flight.as_deref().and_then(number);
        let all = names.iter().map(String::as_str);
        workers.push(WorkerStatus {
            name: name.clone(),
            partitions: partitions_of(name, all, queue.parts.settings.partitions).len(),
            in_flight: in_flight.unwrap_or(0),
        });
    }
    let rate = match names.is_empty() {
        true => None,
        false => rate(queue, &results.state).await,
    };
    let (total, done) = (queue.sealed().await?, results.state.messages);
    Ok(Status {
        failed: failures(queue).await?,
        rate,
        total,
        // A repeated push can add jobs again that have a result, so the messages do not count in a sealed queue.
        remaining: total.map_or(jobs.state.messages, |total| total.saturating_sub(done)),
        in_flight: workers.iter().map(|worker| worker.in_flight).sum(),
        done,
        workers,
    })
}

async fn failures(queue: &Queue) -> Result<BTreeMap<String, u64>, Error> {
    let subjects = queue
        .parts
        .failures
        .info_with_subjects(queue.parts.name.all_failures());
    let mut subjects = subjects
        .await
        .map_err(Error::server("count the failures"))?;
    let mut failures = BTreeMap::new();
    while let Some(subject) = subjects.next().await {
        let (subject, count) = subject.map_err(Error::server("count the failures"))?;
        let kind = subject.rsplit('.').next().unwrap_or_default();
        failures.insert(kind.to_owned(), count as u64);
    }
    Ok(failures)
}

/// Returns the number of results per second, from the times at which the server stored the last results.
async fn rate(queue: &Queue, results: &State) -> Option<f64> {
    let count = results.messages.saturating_sub(1).min(RATE_RESULTS);
    let first = results.last_sequence.checked_sub(count)?;
    let first = queue.parts.results.direct_get(first).await.ok()?;
    let seconds = (results.last_timestamp - first.time).as_seconds_f64();
    (seconds > 0.0).then(|| count as f64 / seconds)
}
