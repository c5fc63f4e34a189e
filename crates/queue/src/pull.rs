//! Requests jobs from the consumer of a partition.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::{StatusCode, Subscriber, header};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::server::{RETRY, Server};

/// The group of the workers of a partition. The server delivers to one client of the group.
pub(crate) const GROUP: &str = "workers";
/// The most jobs of a partition that wait in a worker. They hide the round trip to the server.
const MAX_WAITING: usize = 128;
/// The most jobs of one request. Several requests fit into `MAX_WAITING`, so jobs still wait when a request is sent.
const BATCH: u32 = 32;

/// How much later than expected the server may answer.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Returns the space for the jobs of a partition that wait. Each of them takes a permit.
pub(crate) fn space() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_WAITING))
}

/// Requests the jobs of one partition, and never more than there is space for.
///
/// The stream of async-nats cannot do this: it requests the next jobs when half of the last ones have arrived. Only the
/// limit of unacknowledged jobs would stop it, and jobs that wait for a retry count towards this limit.
pub(crate) struct Pull {
    server: Server,
    /// Where requests go.
    subject: String,
    /// Each request has its own reply subject, `<inbox>.<number>`.
    inbox: String,
    number: u64,
    subscription: Subscriber,
    /// How long the server waits for jobs.
    expires: Duration,
    /// See [`space`].
    space: Arc<Semaphore>,
    /// The name that the server has given to this client, if it delivers to this client.
    pin: Option<String>,
}

/// A job that has been delivered, and the space that it takes while it waits.
pub(crate) struct Delivered {
    pub(crate) message: Message,
    pub(crate) space: OwnedSemaphorePermit,
}

/// A request of the [pull protocol](https://docs.nats.io/reference/reference-protocols/nats_api_reference). Times are in
/// nanoseconds.
#[derive(Serialize)]
struct PullRequest<'a> {
    batch: u32,
    expires: u128,
    idle_heartbeat: u128,
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl Pull {
    pub(crate) async fn new(
        server: Server,
        stream: &str,
        consumer: &str,
        expires: Duration,
        space: Arc<Semaphore>,
    ) -> Result<Self, Error> {
        let client = server.context().client();
        let inbox = client.new_inbox();
        let subscription = client.subscribe(format!("{inbox}.*")).await;
        Ok(Self {
            subscription: subscription.map_err(Error::server("deliver jobs"))?,
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            server,
            inbox,
            number: 0,
            expires,
            space,
            pin: None,
        })
    }

    /// Sends one request as soon as there is space, and passes its jobs to `receive`.
    ///
    /// Returns an error if the server no longer answers requests, for example because the consumer is deleted.
    pub(crate) async fn request(
        &mut self,
        mut receive: impl FnMut(Delivered) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let space = self.space.clone().acquire_many_owned(BATCH).await;
        let mut space = space.map_err(Error::server("deliver jobs"))?;
        let heartbeat = self.expires / 2;
        let request = PullRequest {
            batch: BATCH,
            expires: self.expires.as_nanos(),
            idle_heartbeat: heartbeat.as_nanos(),
            group: GROUP,
            id: self.pin.as_deref(),
        };
        let request = serde_json::to_vec(&request).map_err(Error::server("deliver jobs"))?;
        // Otherwise the client would keep the requests of an outage, and the server would serve all of them later.
        while !self.server.is_connected() {
            tokio::time::sleep(RETRY).await;
        }
        self.number += 1;
        let client = self.server.context().client();
        let sent =
            client.publish_with_reply(self.subject.clone(), self.reply(), Bytes::from(request));
        sent.await.map_err(Error::server("deliver jobs"))?;
        while let Some(one) = space.split(1) {
            let Some(message) = self.next(2 * heartbeat + MAX_DELAY).await? else {
                return Ok(());
            };
            receive(Delivered {
                message,
                space: one,
            })?;
        }
        Ok(())
    }

    /// Where the jobs of the latest request go.
    fn reply(&self) -> String {
        format!("{}.{}", self.inbox, self.number)
    }

    /// Returns the next job of the request, or `None` if the request has ended.
    async fn next(&mut self, longest_silence: Duration) -> Result<Option<Message>, Error> {
        let reply = self.reply();
        loop {
            // The connection may have been lost, and with it the request.
            let Ok(received) = timeout(longest_silence, self.subscription.next()).await else {
                return Ok(None);
            };
            let refused = |message| Err(Error::new(ErrorKind::Server, message));
            let Some(message) = received else {
                return refused("the connection was closed".to_owned());
            };
            match message.status {
                // An earlier request that got no answer in time may still deliver jobs, and then end.
                Some(status) if status != StatusCode::OK && *message.subject != *reply => {}
                None | Some(StatusCode::OK) => {
                    let headers = message.headers.as_ref();
                    let pin = headers.and_then(|headers| headers.get_last(header::NATS_PIN_ID));
                    if let Some(pin) = pin.filter(|pin| self.pin.as_deref() != Some(pin.as_str())) {
                        self.pin = Some(pin.to_string());
                    }
                    let context = self.server.context().clone();
                    return Ok(Some(Message { message, context }));
                }
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => return Ok(None),
                // The server delivers to another worker now.
                Some(StatusCode::PIN_ID_MISMATCH) => {
                    self.pin = None;
                    return Ok(None);
                }
                Some(status) => {
                    let description = message.description.unwrap_or_default();
                    return refused(format!(
                        "the server did not deliver jobs: {status} {description}"
                    ));
                }
            }
        }
    }
}
