//! Adds jobs.

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind};
use crate::partition::partition_of;
use crate::queue::{PUSHED, Queue, SEALED};
use crate::server::RETRY;

/// How many jobs may wait for their acknowledgement at once.
const WINDOW: usize = 1024;

/// After how many jobs the pusher stores how far it is.
const STORED_EVERY: u64 = 1000;

/// Adds the jobs of a list to a queue, in the order of their indexes.
///
/// To continue a push that was killed, push the same list from its start. The pusher does not send stored jobs again,
/// except for some of the last ones. If such a job has a result, a worker ends the job without doing it.
#[derive(Debug)]
pub struct Pusher {
    queue: Queue,
    /// The jobs that an earlier push has stored.
    earlier: Pushed,
    sealed: Option<u64>,
    next_index: u64,
    /// The digest of all jobs so far.
    digest: Sha256,
    /// The acknowledgements, in the order of the indexes, each with the digest of the jobs up to this one.
    unacknowledged: FuturesOrdered<JoinHandle<Result<Pushed, Error>>>,
    acknowledged: u64,
    /// The progress after the last acknowledged job, if the bucket does not contain it yet.
    latest: Option<Pushed>,
    /// The number of jobs that are stored according to the bucket.
    stored: u64,
}

/// How far a push is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pushed {
    /// The jobs before this index are stored.
    index: u64,
    /// The digest of these jobs, which detects another list.
    digest: String,
}

impl Queue {
    /// Prepares to add jobs.
    ///
    /// # Errors
    ///
    /// [`Server`](ErrorKind::Server).
    pub async fn pusher(&self) -> Result<Pusher, Error> {
        let queue = self.clone();
        let reading = move || {
            let queue = queue.clone();
            async move { Ok((queue.pushed().await?, queue.sealed().await?)) }
        };
        let (earlier, sealed) = self.server.repeat(reading).await?;
        Ok(Pusher {
            queue: self.clone(),
            sealed,
            next_index: 0,
            digest: Sha256::new(),
            unacknowledged: FuturesOrdered::new(),
            acknowledged: earlier.index,
            latest: None,
            stored: earlier.index,
            earlier,
        })
    }

    async fn pushed(&self) -> Result<Pushed, Error> {
        let value = self.state.get(PUSHED).await;
        let value = value.map_err(Error::server("read a bucket"))?;
        let Some(json) = value else {
            return Ok(Pushed::default());
        };
        serde_json::from_slice(&json).map_err(|error| {
            let message = "the progress of the push is that of another version of inflight";
            Error::new(ErrorKind::Data, message).with_source(error)
        })
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
    /// [`Conflict`](ErrorKind::Conflict) if an earlier push had other jobs, or sealed the queue with fewer jobs, and
    /// [`Server`](ErrorKind::Server) if the server refuses a job.
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
        let pushed = Pushed {
            index: self.next_index,
            digest: format!("{:x}", self.digest.clone().finalize()),
        };
        if self.next_index == self.earlier.index {
            return match pushed == self.earlier {
                true => Ok(()),
                false => Err(self.other_list()),
            };
        }
        let partition = partition_of(host, self.queue.settings.partitions);
        let subject = self.queue.name.job(partition, index);
        let publishing = publish(self.queue.clone(), subject, job);
        let publishing = async move { publishing.await.map(|()| pushed) };
        self.unacknowledged
            .push_back(self.queue.server.spawn(publishing));
        Ok(())
    }

    /// Waits until all jobs are stored, and returns their number. With `seal`, nobody can add more jobs, and the queue
    /// is complete when it has as many results as jobs.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if an earlier push had more jobs, and [`Server`](ErrorKind::Server).
    pub async fn finish(mut self, seal: bool) -> Result<u64, Error> {
        self.acknowledge_all().await?;
        if self.next_index < self.earlier.index {
            return Err(self.other_list());
        }
        if seal {
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
    /// [`Server`](ErrorKind::Server).
    pub async fn interrupt(mut self) -> Result<u64, Error> {
        self.acknowledge_all().await?;
        Ok(self.acknowledged)
    }

    async fn acknowledge_all(&mut self) -> Result<(), Error> {
        while !self.unacknowledged.is_empty() {
            self.acknowledge_next().await?;
        }
        self.store().await
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
        let pushed = done.map_err(|error| {
            Error::new(ErrorKind::Server, "a job was not sent").with_source(error)
        })??;
        self.acknowledged = pushed.index;
        self.latest = Some(pushed);
        match self.acknowledged - self.stored >= STORED_EVERY {
            true => self.store().await,
            false => Ok(()),
        }
    }

    /// Stores that the jobs before `acknowledged` need not be pushed again.
    async fn store(&mut self) -> Result<(), Error> {
        let Some(pushed) = self.latest.take() else {
            return Ok(());
        };
        let stored = pushed.index;
        let json = serde_json::to_vec(&pushed).map_err(Error::server("store the progress"))?;
        let queue = self.queue.clone();
        let json = Bytes::from(json);
        let storing = move || {
            let (queue, json) = (queue.clone(), json.clone());
            async move {
                let put = queue.state.put(PUSHED, json).await;
                put.map(drop).map_err(Error::server("write a bucket"))
            }
        };
        self.queue.server.repeat(storing).await?;
        self.stored = stored;
        Ok(())
    }
}

/// Publishes a job, and repeats this while the stream is full. A job that is already stored is not an error.
async fn publish(queue: Queue, subject: String, job: Bytes) -> Result<(), Error> {
    loop {
        let publishing = {
            let (queue, subject, job) = (queue.clone(), subject.clone(), job.clone());
            move || publish_once(queue.clone(), subject.clone(), job.clone())
        };
        match queue.server.repeat(publishing).await {
            Err(error) if error.kind() == ErrorKind::Full => tokio::time::sleep(RETRY).await,
            result => return result,
        }
    }
}

async fn publish_once(queue: Queue, subject: String, job: Bytes) -> Result<(), Error> {
    let error = match queue.server.context().publish(subject, job).await {
        Ok(acknowledgement) => match acknowledgement.await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        },
        Err(error) => error,
    };
    if error.kind() == PublishErrorKind::MaxPayloadExceeded {
        let message = "a job is larger than the max_payload of the server";
        return Err(Error::new(ErrorKind::TooLarge, message).with_source(error));
    }
    match Refusal::of(&error) {
        Refusal::Duplicate => Ok(()),
        Refusal::Full => {
            Err(Error::new(ErrorKind::Full, "the stream of jobs is full").with_source(error))
        }
        Refusal::Other => Err(Error::server("store a job")(error)),
    }
}

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
        // The server uses one code for all limits, so only its text distinguishes them.
        let Some(refused) =
            refused.filter(|error| error.error_code() == ErrorCode::STREAM_STORE_FAILED)
        else {
            return Self::Other;
        };
        match refused.to_string() {
            text if text.contains("per subject") => Self::Duplicate,
            text if text.contains("maximum") => Self::Full,
            _ => Self::Other,
        }
    }
}
