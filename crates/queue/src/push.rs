//! Adds jobs.

use std::collections::VecDeque;
use std::pin::Pin;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::kv::UpdateErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures_util::stream::{self, FuturesOrdered, StreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};
use crate::lookup::has_result;
use crate::partition::partition_of;
use crate::queue::{PUSHED, Queue, SEALED};
use crate::server::{RETRY, repeated};

/// How many jobs may wait for their acknowledgement at once.
const WINDOW: usize = 1024;

/// After how many jobs the pusher stores how far it is.
const STORED_EVERY: u64 = 1000;

/// How many bytes more than its subject and its contents a message takes in a stream, at most.
const MESSAGE_OVERHEAD: usize = 64;

/// Adds the jobs of a list to a queue, in the order of their indexes.
///
/// To continue a push that was killed, push the same list from its start. The pusher does not send stored jobs again,
/// except for some of the last ones. If such a job has a result, a worker ends the job without doing it.
///
/// A queue has one push at a time. If a second one starts, the first one fails after at most 1,000 jobs.
pub struct Pusher {
    queue: Queue,
    /// The jobs that an earlier push has stored.
    earlier: Pushed,
    /// Before this index, there may be jobs of an earlier push that `earlier` does not contain.
    unknown_until: u64,
    sealed: Option<u64>,
    next_index: u64,
    /// The digest of all jobs so far.
    digest: Sha256,
    /// The acknowledgements, in the order of the indexes.
    unacknowledged: FuturesOrdered<Publishing>,
    acknowledged: u64,
    /// The progress to store as soon as its jobs are acknowledged.
    checkpoints: VecDeque<Pushed>,
    /// The number of jobs that are stored according to the bucket.
    stored: u64,
    /// Identifies this push.
    id: u64,
    /// The revision of the progress in the bucket. Another push would change it.
    revision: u64,
}

/// Waits for the acknowledgement of a job.
type Publishing = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + Sync>>;

/// How far a push is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pushed {
    /// The jobs before this index are stored.
    index: u64,
    /// The digest of these jobs, which detects another list.
    digest: String,
    /// The push that is running, or was killed. It may have stored more jobs.
    push: Option<u64>,
}

impl Queue {
    /// Prepares to add jobs.
    ///
    /// # Errors
    ///
    /// [`Server`](ErrorKind::Server).
    pub async fn pusher(&self) -> Result<Pusher, Error> {
        let (queue, id) = (self.clone(), fastrand::u64(..));
        let claiming = move || claim(queue.clone(), id);
        let (earlier, revision, sealed) = self.server.repeat(claiming).await?;
        let stored = earlier.index;
        Ok(Pusher {
            queue: self.clone(),
            unknown_until: match earlier.push {
                None => 0,
                Some(_) => stored + STORED_EVERY + WINDOW as u64,
            },
            sealed,
            next_index: 0,
            digest: Sha256::new(),
            unacknowledged: FuturesOrdered::new(),
            acknowledged: stored,
            checkpoints: VecDeque::new(),
            stored,
            id,
            revision,
            earlier,
        })
    }
}

/// Reads how far earlier pushes are, and stores that the push with this id runs now. Also returns the revision of what
/// it stored, and the sealed total.
async fn claim(queue: Queue, id: u64) -> Result<(Pushed, u64, Option<u64>), Error> {
    let (earlier, revision) = match read_progress(&queue).await? {
        None => (Pushed::default(), 0),
        Some((json, revision)) => (parse_progress(&json)?, revision),
    };
    let claimed = Pushed {
        push: Some(id),
        ..earlier.clone()
    };
    let revision = store_progress(&queue, &claimed, revision).await?;
    Ok((earlier, revision, queue.sealed().await?))
}

fn parse_progress(json: &[u8]) -> Result<Pushed, Error> {
    serde_json::from_slice(json).map_err(|error| {
        let message = "the progress of the push is that of another version of inflight";
        Error::new(ErrorKind::Data, message).with_source(error)
    })
}

/// Returns the progress of the push in the bucket, and its revision.
async fn read_progress(queue: &Queue) -> Result<Option<(Bytes, u64)>, Error> {
    // Not `Store::entry`, which can return the state of a replica that is late.
    let state = &queue.parts.state;
    let subject = format!("{}{PUSHED}", state.prefix);
    match state.stream.get_last_raw_message_by_subject(&subject).await {
        Ok(message) => Ok(Some((message.payload, message.sequence))),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(Error::server("read a bucket")(error)),
    }
}

impl std::fmt::Debug for Pusher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pusher")
            .field("next_index", &self.next_index)
            .field("acknowledged", &self.acknowledged)
            .finish_non_exhaustive()
    }
}

impl Pusher {
    /// Returns how many jobs this push skips, because earlier pushes have stored them.
    pub fn resumed_at(&self) -> u64 {
        self.earlier.index
    }

    /// Returns how many jobs the server has acknowledged, by this push and by earlier ones.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Adds the next job of the list, for a host such as `https://example.com:443`, unless an earlier push has stored
    /// it. Waits while too many jobs are unacknowledged, or while the stream is full.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if an earlier push had other jobs or sealed the queue with fewer jobs, or if a
    /// later push has started, [`TooLarge`](ErrorKind::TooLarge) if a job does not fit into a message or into the queue,
    /// and [`Server`](ErrorKind::Server) if the server refuses a job. An error can belong to one of the last 1,024 jobs.
    pub async fn push(&mut self, host: &str, job: Bytes) -> Result<(), Error> {
        while self.unacknowledged.len() >= WINDOW {
            self.acknowledge_next().await?;
        }
        let index = self.next_index;
        if let Some(total) = self.sealed.filter(|total| index >= *total) {
            let message =
                format!("the queue is sealed with {total} jobs: use another queue for more");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        self.next_index += 1;
        self.digest.update((job.len() as u64).to_le_bytes());
        self.digest.update(&job);
        if self.next_index < self.earlier.index {
            return Ok(());
        }
        if self.next_index == self.earlier.index {
            return match self.progress().digest == self.earlier.digest {
                true => Ok(()),
                false => Err(self.other_list()),
            };
        }
        let partition = partition_of(host, self.queue.parts.settings.partitions);
        let subject = self.queue.parts.name.job(partition, index);
        let may_exist = index < self.unknown_until;
        let publishing = publish(self.queue.clone(), index, subject, job, may_exist);
        // Runs at once, and ends if the pusher is dropped.
        let publishing = self.queue.server.run(publishing);
        self.unacknowledged.push_back(Box::pin(publishing));
        if self.next_index.is_multiple_of(STORED_EVERY) {
            self.checkpoints.push_back(self.progress());
        }
        Ok(())
    }

    /// Waits until all jobs are stored, and returns their number. With `seal`, nobody can add more jobs, and the queue
    /// is complete when it has as many results as jobs.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if an earlier push had more jobs, and the errors of [`push`](Self::push).
    pub async fn finish(mut self, seal: bool) -> Result<u64, Error> {
        self.acknowledge_all().await?;
        if self.next_index < self.earlier.index {
            return Err(self.other_list());
        }
        if seal {
            if self.sealed.is_none() {
                self.check_end().await?;
            }
            let (queue, total) = (self.queue.clone(), self.next_index);
            let sealing = move || {
                let queue = queue.clone();
                async move { queue.store(SEALED, total).await }
            };
            self.queue.server.repeat(sealing).await?;
        }
        Ok(self.acknowledged)
    }

    /// Ends the push early: waits until the jobs so far are stored, and returns their number. A later push of the same
    /// list continues.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub async fn interrupt(mut self) -> Result<u64, Error> {
        self.acknowledge_all().await?;
        Ok(self.acknowledged)
    }

    async fn acknowledge_all(&mut self) -> Result<(), Error> {
        while !self.unacknowledged.is_empty() {
            self.acknowledge_next().await?;
        }
        let mut progress = match self.next_index >= self.stored {
            true => self.progress(),
            // The push was interrupted before it reached the jobs that are stored.
            false => self.earlier.clone(),
        };
        // If an earlier push was killed and this one has not come as far, the jobs after its end stay unknown.
        if self.next_index >= self.unknown_until {
            progress.push = None;
        }
        self.store(progress).await
    }

    /// Checks that an earlier push that was killed has not added jobs after the end of the list.
    async fn check_end(&self) -> Result<(), Error> {
        let unknown = self.next_index..self.unknown_until;
        let mut exist = stream::iter(unknown)
            .map(|index| {
                let queue = self.queue.clone();
                let asking = move || {
                    let queue = queue.clone();
                    async move {
                        Ok(find_job(&queue, index).await?.is_some()
                            || has_result(&queue, index).await?)
                    }
                };
                self.queue.server.repeat(asking)
            })
            .buffered(WINDOW);
        while let Some(exists) = exist.next().await {
            if exists? {
                let message =
                    "an earlier push had a longer list: push the same list, or use another queue";
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        Ok(())
    }

    fn other_list(&self) -> Error {
        let message = format!(
            "an earlier push had another list of at least {} jobs: push the same list, or use another queue",
            self.earlier.index
        );
        Error::new(ErrorKind::Conflict, message)
    }

    async fn acknowledge_next(&mut self) -> Result<(), Error> {
        let Some(done) = self.unacknowledged.next().await else {
            return Ok(());
        };
        done?;
        self.acknowledged += 1;
        let is_reached = |checkpoint: &Pushed| checkpoint.index == self.acknowledged;
        if self.checkpoints.front().is_some_and(is_reached)
            && let Some(progress) = self.checkpoints.pop_front()
        {
            self.store(progress).await?;
        }
        Ok(())
    }

    /// Returns the progress after the last job.
    fn progress(&self) -> Pushed {
        Pushed {
            index: self.next_index,
            digest: format!("{:x}", self.digest.clone().finalize()),
            push: Some(self.id),
        }
    }

    /// Stores that the jobs before an index need not be pushed again.
    async fn store(&mut self, progress: Pushed) -> Result<(), Error> {
        let stored = progress.index;
        let (queue, revision) = (self.queue.clone(), self.revision);
        let storing = move || {
            let (queue, progress) = (queue.clone(), progress.clone());
            async move { store_progress(&queue, &progress, revision).await }
        };
        self.revision = self.queue.server.repeat(storing).await?;
        self.stored = stored;
        Ok(())
    }
}

/// Replaces the progress of a revision, and returns the new revision.
async fn store_progress(queue: &Queue, progress: &Pushed, revision: u64) -> Result<u64, Error> {
    let json = serde_json::to_vec(progress).map_err(Error::server("store the progress"))?;
    let updated = queue.parts.state.update(PUSHED, json.into(), revision);
    match updated.await {
        Ok(revision) => Ok(revision),
        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
            let stored = read_progress(queue).await?;
            match stored {
                // An earlier attempt succeeded, and its response was lost.
                Some((json, revision)) if parse_progress(&json)? == *progress => Ok(revision),
                _ => {
                    let message =
                        "another push adds jobs to this queue: wait until it ends, and try again";
                    Err(Error::new(ErrorKind::Conflict, message))
                }
            }
        }
        Err(error) => Err(Error::server("write a bucket")(error)),
    }
}

/// Publishes a job, and repeats this while the stream is full. A job that is already stored is not an error. With
/// `may_exist`, an earlier push may have stored a job with this index.
async fn publish(
    queue: Queue,
    index: u64,
    subject: String,
    job: Bytes,
    may_exist: bool,
) -> Result<(), Error> {
    let server = queue.server.clone();
    if may_exist && let Some(found) = repeated(&server, || find_job(&queue, index)).await? {
        return match *found.subject == *subject && found.payload == job {
            true => Ok(()),
            false => {
                let message = format!(
                    "an earlier push had another job {index}: push the same list, or use another queue"
                );
                Err(Error::new(ErrorKind::Conflict, message))
            }
        };
    }
    loop {
        let publishing = || publish_once(&queue, &subject, &job);
        match repeated(&server, publishing).await {
            Err(error) if error.kind() == ErrorKind::Full => tokio::time::sleep(RETRY).await,
            result => return result,
        }
    }
}

/// Returns the job with an index in the stream, whatever its partition is.
async fn find_job(queue: &Queue, index: u64) -> Result<Option<StreamMessage>, Error> {
    let (jobs, subject) = (&queue.parts.jobs, queue.parts.name.any_job(index));
    match jobs.get_last_raw_message_by_subject(&subject).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(Error::server("look for a job")(error)),
    }
}

async fn publish_once(queue: &Queue, subject: &str, job: &Bytes) -> Result<(), Error> {
    let sent = queue
        .server
        .context()
        .publish(subject.to_owned(), job.clone());
    let error = match sent.await {
        Ok(acknowledgement) => match acknowledgement.await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        },
        Err(error) => error,
    };
    let too_large = |message: &str| Error::new(ErrorKind::TooLarge, message);
    if error.kind() == PublishErrorKind::MaxPayloadExceeded {
        let message = "a job is larger than the max_payload of the server";
        return Err(too_large(message).with_source(error));
    }
    match Refusal::of(&error) {
        Refusal::Duplicate => Ok(()),
        Refusal::Full => {
            let size = subject.len() + job.len() + MESSAGE_OVERHEAD;
            let max_bytes = queue.parts.settings.max_bytes;
            // Such a job would wait for ever.
            let is_too_large = max_bytes.is_some_and(|max_bytes| size as u64 > max_bytes);
            let refused = match is_too_large {
                true => too_large("a job is larger than the max_bytes of the queue"),
                false => Error::new(ErrorKind::Full, "the stream of jobs is full"),
            };
            Err(refused.with_source(error))
        }
        Refusal::Other => Err(Error::server("store a job")(error)),
    }
}

/// The codes of the limits of an account and of a server.
const RESOURCE_LIMITS: [ErrorCode; 4] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::MEMORY_RESOURCES_EXCEEDED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
];

/// Why a message was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The subject has a message.
    Duplicate,
    /// The stream is full.
    Full,
    /// The server is away, or refused the message for another reason.
    Other,
}

impl Refusal {
    pub(crate) fn of(error: &PublishError) -> Self {
        let source = std::error::Error::source(error);
        let refused = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
        let Some(refused) = refused else {
            return Self::Other;
        };
        if RESOURCE_LIMITS.contains(&refused.error_code()) {
            return Self::Full;
        }
        if refused.error_code() != ErrorCode::STREAM_STORE_FAILED {
            return Self::Other;
        }
        // The server uses one code for all limits of a stream, so only its text distinguishes them.
        match refused.to_string() {
            text if text.contains("per subject") => Self::Duplicate,
            text if text.contains("maximum") => Self::Full,
            _ => Self::Other,
        }
    }
}
