//! Takes jobs and records their results.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::Acker;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind};
use crate::lookup::{has_result, look_up};
use crate::member::{Member, Shared, return_jobs, unpin};
use crate::push::Refusal;
use crate::queue::Queue;
use crate::server::{TaskGuard, repeated};

/// How long a worker that closes waits for the server. Longer than one request may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(8);

/// The options of a worker.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    max_starts: u64,
}

impl WorkerOptions {
    /// Sets how often a job may be started. A job that would be started more often is [`lost`](Job::is_lost).
    /// Default 4.
    pub fn max_starts(mut self, max_starts: u64) -> Self {
        self.max_starts = max_starts;
        self
    }
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self { max_starts: 4 }
    }
}

/// Takes the jobs of some partitions. When workers start or end, the partitions move.
pub struct Worker {
    queue: Queue,
    name: String,
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedReceiver<Result<Job, Error>>,
    /// The tasks end when the worker is dropped.
    membership: TaskGuard,
    _returning: TaskGuard,
    _looking_up: TaskGuard,
}

/// A job that a worker has received. Dropping it returns it to the queue.
pub struct Job {
    pub(crate) index: u64,
    pub(crate) payload: Bytes,
    /// The number of this delivery in this worker. The same job can be delivered again while this value exists.
    pub(crate) delivery: u64,
    /// How often the server has delivered the job.
    pub(crate) deliveries: u64,
    pub(crate) attempt: u64,
    pub(crate) max_starts: u64,
    pub(crate) acker: Arc<Acker>,
    pub(crate) queue: Queue,
    pub(crate) shared: Arc<Shared>,
    pub(crate) is_ended: bool,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("index", &self.index)
            .field("deliveries", &self.deliveries)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// What [`Job::finish`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The result is stored.
    Recorded,
    /// The job already had a result, which stays.
    HadResult,
}

impl Queue {
    /// Starts a worker.
    ///
    /// # Errors
    ///
    /// [`Server`](ErrorKind::Server).
    pub async fn worker(&self, options: WorkerOptions) -> Result<Worker, Error> {
        let (sender, jobs) = mpsc::unbounded_channel();
        let (returns, returned) = mpsc::unbounded_channel();
        let (asked, lookups) = mpsc::unbounded_channel();
        let member = Member::new(self.clone(), options.max_starts, sender, returns, asked);
        let (name, shared) = (member.name.clone(), member.shared.clone());
        let joining = {
            let member = member.clone();
            move || {
                let member = member.clone();
                async move { member.report_alive().await }
            }
        };
        self.server.repeat(joining).await?;
        let returning = self.server.start(return_jobs(returned));
        let looking_up = self.server.start(look_up(self.clone(), lookups));
        let membership = self.server.start(member.run());
        Ok(Worker {
            queue: self.clone(),
            name,
            shared,
            jobs,
            membership,
            _returning: returning,
            _looking_up: looking_up,
        })
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// Returns the name of the worker in [`Status::workers`](crate::Status::workers): the name of the machine, the id
    /// of the process, and a random number.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Polls for the next job, as [`next`](Self::next) does.
    pub fn poll_next(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Job, Error>>> {
        self.jobs.poll_recv(cx)
    }

    /// Waits for the next job, and returns it. Returns `None` soon after the queue is
    /// [complete](crate::Progress::is_complete). Other workers may do the last jobs, and fail, so a worker without a job
    /// has to wait.
    ///
    /// # Errors
    ///
    /// [`Server`](ErrorKind::Server) if the server does not know the queue any more, for example because it was deleted.
    /// The error comes only after a while, because a server that has just started does not know its queues yet.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no job.
    pub async fn next(&mut self) -> Option<Result<Job, Error>> {
        self.jobs.recv().await
    }

    /// Leaves the list of workers, and returns all jobs that have not ended, so that other workers take them at once. If
    /// the server is just delivering jobs, it delivers these again when their leases end.
    ///
    /// # Errors
    ///
    /// [`Server`](ErrorKind::Server). The server then gives the jobs to other workers when their leases end.
    pub async fn close(self) -> Result<(), Error> {
        let (queue, name, shared) = (self.queue.clone(), self.name, self.shared);
        let (membership, jobs) = (self.membership, self.jobs);
        let leaving = async move {
            // First the subscriptions, so that the server does not deliver the returned jobs to this worker again.
            membership.stop().await;
            drop(jobs);
            let client = queue.server.context().client();
            let _ = client.flush().await;
            shared.give_back_all().await;
            queue.remove_worker(&name).await?;
            let partitions = shared.owned().into_iter();
            join_all(partitions.map(|partition| unpin(&queue, partition))).await;
            Ok(())
        };
        // While the server is away, messages cannot be sent.
        let leaving = async move {
            let left = tokio::time::timeout(CLOSE_TIMEOUT, leaving).await;
            left.map_err(Error::server("receive the jobs that return"))?
        };
        self.queue.server.run(leaving).await
    }
}

impl Job {
    /// Returns the index of the job.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Returns the job as it was pushed.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Prepares to do the job. Returns `None` if there is nothing to do: the job has a result, or another worker has
    /// its partition now. While the server is away, this function waits, because the partition may move meanwhile.
    ///
    /// # Errors
    ///
    /// [`Server`](ErrorKind::Server).
    pub async fn start(mut self) -> Result<Option<Self>, Error> {
        self.shared.until_known_alive().await;
        if !self.shared.start(self.index, self.delivery) {
            return Ok(None);
        }
        // Also at the first delivery: after an outage, the server may have forgotten an earlier one, and a job whose
        // acknowledgement was lost may have been added again.
        if self.has_result().await? {
            let acker = self.acker.clone();
            let ending = async move { answer(&acker, AckKind::Ack).await };
            self.end();
            self.queue.server.run(ending).await?;
            return Ok(None);
        }
        self.attempt = 1;
        // The first start needs no entry in the bucket. `retry` writes it.
        if self.deliveries > 1 {
            // Not the number of deliveries, because the server also delivers a job again that waited when its worker
            // ended.
            let (queue, key) = (self.queue.clone(), starts_key(self.index));
            let reading = move || {
                let (queue, key) = (queue.clone(), key.clone());
                async move { queue.number(&key).await }
            };
            self.attempt += self.queue.server.repeat(reading).await?.unwrap_or(0);
            self.store_starts().await?;
        }
        Ok(Some(self))
    }

    async fn has_result(&self) -> Result<bool, Error> {
        // A direct get can return the state of a replica that is late.
        if self.queue.parts.settings.replicas == 1 {
            return self.shared.has_result(self.index).await;
        }
        let (queue, index) = (self.queue.clone(), self.index);
        let asking = move || {
            let queue = queue.clone();
            async move { has_result(&queue, index).await }
        };
        self.queue.server.repeat(asking).await
    }

    /// Returns how often the job was started, this time included. If the first worker that started the job was killed,
    /// this start does not count.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Returns whether the job was started more often than [`WorkerOptions::max_starts`] allows, for example because it
    /// ends its workers. Do not do a lost job. Call [`finish`](Self::finish) with a result that reports the loss.
    pub fn is_lost(&self) -> bool {
        self.attempt > self.max_starts
    }

    /// Returns the largest result in bytes that the server accepts.
    pub fn max_result_len(&self) -> usize {
        self.queue.server.context().client().max_payload()
    }

    /// Returns a new name for a body of this job, so that no other worker stores another body under it.
    pub fn new_body_name(&self) -> String {
        format!("{}.{:08x}", self.index, fastrand::u32(..))
    }

    /// Writes how often the job was started.
    async fn store_starts(&self) -> Result<(), Error> {
        let (queue, index, starts) = (self.queue.clone(), self.index, self.attempt);
        let storing = move || {
            let queue = queue.clone();
            async move { queue.store(&starts_key(index), starts).await }
        };
        self.queue.server.repeat(storing).await
    }

    /// Stores the result, and then ends the job. The first result of a job wins. `failure` is the kind of failure that
    /// [`Status::failed`](crate::Status::failed) counts.
    ///
    /// Waits while the server is away.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](ErrorKind::TooLarge) if the result is longer than [`max_result_len`](Self::max_result_len),
    /// [`Full`](ErrorKind::Full) if the server has no space for the result, and [`Server`](ErrorKind::Server). After an
    /// error, the server delivers the job again later.
    pub async fn finish(mut self, result: Bytes, failure: Option<&str>) -> Result<Finished, Error> {
        let (queue, index, acker) = (self.queue.clone(), self.index, self.acker.clone());
        let failure = failure.map(|kind| queue.parts.name.failure(kind));
        let finishing = async move {
            let recording = || record(&queue, index, &result);
            let finished = repeated(&queue.server, recording).await?;
            if let (Finished::Recorded, Some(subject)) = (finished, failure) {
                count_failure(&queue, subject).await;
            }
            // If this fails, the job is delivered again, and ends because it has a result.
            let _ = answer(&acker, AckKind::Ack).await;
            Ok(finished)
        };
        let finished = self.queue.server.run(finishing).await?;
        self.end();
        Ok(finished)
    }

    /// Returns the job to the queue. The server delivers it again after `delay`.
    ///
    /// # Errors
    ///
    /// [`Server`](ErrorKind::Server). The server then delivers the job again when its lease ends.
    pub async fn retry(mut self, delay: Duration) -> Result<(), Error> {
        self.store_starts().await?;
        let acker = self.acker.clone();
        let returning = async move { answer(&acker, AckKind::Nak(Some(delay))).await };
        self.end();
        self.queue.server.run(returning).await
    }

    /// Ends the lease. Returns `false` if the job was already returned to the queue.
    fn end(&mut self) -> bool {
        self.is_ended = true;
        self.shared.release(self.index, self.delivery)
    }
}

impl Drop for Job {
    /// Returns the job to the queue, unless it has ended.
    fn drop(&mut self) {
        if !self.is_ended && self.end() {
            self.shared.give_back(self.acker.clone());
        }
    }
}

fn starts_key(index: u64) -> String {
    format!("starts.{index}")
}

/// Stores a result.
async fn record(queue: &Queue, index: u64, result: &Bytes) -> Result<Finished, Error> {
    let subject = queue.parts.name.result(index);
    let error = match queue
        .server
        .context()
        .publish(subject, result.clone())
        .await
    {
        Ok(acknowledgement) => match acknowledgement.await {
            Ok(_) => return Ok(Finished::Recorded),
            Err(error) => error,
        },
        Err(error) => error,
    };
    if error.kind() == PublishErrorKind::MaxPayloadExceeded {
        let message = "a result is larger than the max_payload of the server";
        return Err(Error::new(ErrorKind::TooLarge, message).with_source(error));
    }
    match Refusal::of(&error) {
        Refusal::Duplicate => Ok(Finished::HadResult),
        Refusal::Full => {
            let message = "the server has no space for results: raise its limits or add disk";
            Err(Error::new(ErrorKind::Full, message).with_source(error))
        }
        Refusal::Other => Err(Error::server("store a result")(error)),
    }
}

/// Adds a message to the subject of a kind of failure. The server counts the messages of a subject.
async fn count_failure(queue: &Queue, subject: String) {
    // A failure that is not counted is missing only in the status.
    if let Ok(acknowledgement) = queue.server.context().publish(subject, Bytes::new()).await {
        let _ = acknowledgement.await;
    }
}

async fn answer(acker: &Acker, kind: AckKind) -> Result<(), Error> {
    acker.ack_with(kind).await.map_err(|error| {
        Error::new(
            ErrorKind::Server,
            "the server did not receive an acknowledgement",
        )
        .with_source(error)
    })
}
