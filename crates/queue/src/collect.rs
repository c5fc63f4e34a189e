//! Reads the results.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::stream::ConsumerError;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::error::Error;
use crate::names::index_of;
use crate::queue::Queue;

/// The consumer that all collectors share, so that a collector continues where another one ended.
const CONSUMER: &str = "collect";
/// The most results of a batch.
const BATCH: usize = 1000;
/// How long the server keeps the consumer of a copy that nobody uses.
const COPY_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long a batch waits for results.
const EXPIRY: Duration = Duration::from_millis(500);

/// Which results a [`Collector`] reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CollectFrom {
    /// Those that no collector has acknowledged.
    #[default]
    Unread,
    /// All, as if no collector had acknowledged any.
    Start,
    /// All. Acknowledgements have no effect, so that other collectors read the same results as before.
    Copy,
}

/// Reads the results, in any order. If a result is not acknowledged, a collector returns it again later.
#[derive(Debug)]
pub struct Collector {
    queue: Queue,
    consumer: PullConsumer,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultLine {
    /// The index of its job.
    pub index: u64,
    /// The result as the worker stored it.
    pub payload: Bytes,
}

/// Some results, which are acknowledged together.
pub struct ResultBatch {
    /// The results.
    pub results: Vec<ResultLine>,
    ackers: Vec<Acker>,
    queue: Queue,
}

impl std::fmt::Debug for ResultBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResultBatch")
            .field("results", &self.results)
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// Prepares to read the results.
    ///
    /// # Errors
    ///
    /// [`Server`](crate::ErrorKind::Server).
    pub async fn collector(&self, from: CollectFrom) -> Result<Collector, Error> {
        let queue = self.clone();
        let creating = move || {
            let queue = queue.clone();
            async move {
                let consumer = consumer(&queue, from).await;
                let consumer = consumer.map_err(Error::server("create a consumer"))?;
                Ok(Collector { queue, consumer })
            }
        };
        self.server.repeat(creating).await
    }
}

async fn consumer(queue: &Queue, from: CollectFrom) -> Result<PullConsumer, ConsumerError> {
    let is_copy = from == CollectFrom::Copy;
    let config = pull::Config {
        durable_name: (!is_copy).then(|| CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        // The consumer of a copy has no name, and must outlast an outage.
        inactive_threshold: if is_copy {
            COPY_LIFETIME
        } else {
            Duration::ZERO
        },
        max_ack_pending: 2 * BATCH as i64,
        num_replicas: queue.parts.settings.replicas,
        ..pull::Config::default()
    };
    if from == CollectFrom::Start {
        // It does not exist before the first collector.
        let _ = queue.parts.results.delete_consumer(CONSUMER).await;
    }
    match is_copy {
        true => queue.parts.results.create_consumer(config).await,
        false => {
            queue
                .parts
                .results
                .get_or_create_consumer(CONSUMER, config)
                .await
        }
    }
}

impl Collector {
    /// Returns the next results. The batch is empty if there are none at the moment. Returns `None` if the queue is
    /// complete, and all results have been read and acknowledged.
    ///
    /// # Errors
    ///
    /// [`Server`](crate::ErrorKind::Server).
    pub async fn next(&mut self) -> Result<Option<ResultBatch>, Error> {
        let (queue, consumer) = (self.queue.clone(), self.consumer.clone());
        let reading = move || {
            let (queue, consumer) = (queue.clone(), consumer.clone());
            async move {
                let batch = read(&queue, &consumer).await?;
                let is_end = batch.results.is_empty() && is_all_read(&queue, &consumer).await?;
                Ok((!is_end).then_some(batch))
            }
        };
        self.queue.server.repeat(reading).await
    }
}

async fn read(queue: &Queue, consumer: &PullConsumer) -> Result<ResultBatch, Error> {
    let messages = consumer
        .batch()
        .max_messages(BATCH)
        .expires(EXPIRY)
        .messages();
    let mut messages = messages.await.map_err(Error::server("deliver results"))?;
    let mut batch = ResultBatch {
        results: Vec::new(),
        ackers: Vec::new(),
        queue: queue.clone(),
    };
    while let Some(message) = messages.next().await {
        let message = message.map_err(Error::server("deliver results"))?;
        let index = index_of(&message.subject)?;
        let (message, acker) = message.split();
        batch.results.push(ResultLine {
            index,
            payload: message.payload,
        });
        batch.ackers.push(acker);
    }
    Ok(batch)
}

async fn is_all_read(queue: &Queue, consumer: &PullConsumer) -> Result<bool, Error> {
    if !queue.progress_once().await?.is_complete() {
        return Ok(false);
    }
    let info = consumer.get_info().await;
    let info = info.map_err(Error::server("count the results"))?;
    Ok(info.num_pending == 0 && info.num_ack_pending == 0)
}

impl ResultBatch {
    /// Acknowledges the results, so that no collector returns them again. Store the results before you call this.
    ///
    /// # Errors
    ///
    /// [`Server`](crate::ErrorKind::Server). Collectors may then return some results again.
    pub async fn acknowledge(self) -> Result<(), Error> {
        let ackers = self.ackers;
        let acknowledging = async move {
            for acker in ackers {
                acker
                    .ack()
                    .await
                    .map_err(Error::server("receive an acknowledgement"))?;
            }
            Ok(())
        };
        self.queue.server.run(acknowledging).await?;
        // Otherwise the program could end before the acknowledgements are sent.
        let client = self.queue.server.context().client();
        let flushing = async move {
            let flushed = client.flush().await;
            flushed.map_err(Error::server("receive an acknowledgement"))
        };
        self.queue.server.run(flushing).await
    }
}
