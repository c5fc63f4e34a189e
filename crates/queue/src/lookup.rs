//! Looks for results, for many jobs with one request.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::{StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::names::index_of;
use crate::queue::Queue;
use crate::server::{REQUEST_TIMEOUT, repeated};

/// The most jobs of one request.
const MAX_BATCH: usize = 64;

/// The pause between two requests, so that a request contains many jobs.
const PAUSE: Duration = Duration::from_millis(1);

/// The end of the messages of a request.
const NO_CONTENT: u16 = 204;

/// A job whose result is looked for.
pub(crate) struct Lookup {
    pub(crate) index: u64,
    /// Whether the job has a result.
    pub(crate) answer: oneshot::Sender<Result<bool, Error>>,
}

/// A request for the last message of each subject ([ADR-31](https://github.com/nats-io/nats-architecture-and-design)).
#[derive(Serialize)]
struct LookupRequest {
    multi_last: Vec<String>,
}

/// Answers lookups. Collects the lookups of a millisecond, and of the time in which a request is on its way.
pub(crate) async fn look_up(queue: Queue, mut lookups: mpsc::UnboundedReceiver<Lookup>) {
    let mut batch = Vec::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        if lookups.recv_many(&mut batch, MAX_BATCH).await == 0 {
            return;
        }
        let indexes: Vec<u64> = batch.iter().map(|lookup: &Lookup| lookup.index).collect();
        let found = repeated(&queue.server, || find_results(&queue, &indexes)).await;
        for lookup in batch.drain(..) {
            let answer = match &found {
                Ok(found) => Ok(found.contains(&lookup.index)),
                Err(error) => Err(Error::new(error.kind(), error.to_string())),
            };
            // Fails if the worker no longer needs the answer.
            let _ = lookup.answer.send(answer);
        }
    }
}

/// Returns which of these jobs have a result.
async fn find_results(queue: &Queue, indexes: &[u64]) -> Result<HashSet<u64>, Error> {
    let (name, client) = (&queue.parts.name, queue.server.context().client());
    let request = LookupRequest {
        multi_last: indexes.iter().map(|index| name.result(*index)).collect(),
    };
    let request = serde_json::to_vec(&request).map_err(Error::server("look for results"))?;
    let inbox = client.new_inbox();
    let subscription = client.subscribe(inbox.clone()).await;
    let mut messages = subscription.map_err(Error::server("look for results"))?;
    let subject = format!("$JS.API.DIRECT.GET.{}", name.results());
    let sent = client.publish_with_reply(subject, inbox, Bytes::from(request));
    sent.await.map_err(Error::server("look for results"))?;
    let mut found = HashSet::new();
    loop {
        let message = timeout(REQUEST_TIMEOUT, messages.next()).await;
        let message = message.map_err(Error::server("look for results"))?;
        let refused = |message| Error::new(ErrorKind::Server, message);
        let message = message.ok_or_else(|| refused("the connection was closed".to_owned()))?;
        match message.status {
            None | Some(StatusCode::OK) => {
                let headers = message.headers.as_ref();
                let subject = headers.and_then(|headers| headers.get_last(header::NATS_SUBJECT));
                found.insert(index_of(subject.map_or("", |subject| subject.as_str()))?);
            }
            // Without any message, and after the last one.
            Some(StatusCode::NOT_FOUND) => return Ok(found),
            Some(status) if status.as_u16() == NO_CONTENT => return Ok(found),
            Some(status) => {
                let description = message.description.unwrap_or_default();
                return Err(refused(format!(
                    "the server did not look for results: {status} {description}"
                )));
            }
        }
    }
}

/// Asks the leader of the stream of results whether a job has a result. A direct get, as in [`look_up`], can return the
/// state of a replica that is late.
pub(crate) async fn has_result(queue: &Queue, index: u64) -> Result<bool, Error> {
    let (subject, results) = (queue.parts.name.result(index), &queue.parts.results);
    match results.get_last_raw_message_by_subject(&subject).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(false),
        Err(error) => Err(Error::server("look for a result")(error)),
    }
}
