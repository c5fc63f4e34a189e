//! Connecting to a host that has several addresses (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use inflight_core::{BoxError, ConnectOptions, Error, ErrorKind, Phase, Runtime, Socket};

use crate::addresses::{ATTEMPT_DELAY, interleave};
use crate::descriptors;

/// A record of the addresses of a host that were tried, in order, with the result of each attempt. The
/// errors that it creates list all attempts.
#[derive(Debug)]
pub struct Attempts {
    host: String,
    port: u16,
    tried: Vec<(SocketAddr, Outcome)>,
}

#[derive(Debug)]
enum Outcome {
    NoAnswer,
    Failed(BoxError),
    /// The socket is connected. The record does not include the TLS handshake.
    Connected,
}

impl Attempts {
    /// Returns a record without attempts.
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tried: Vec::new(),
        }
    }

    /// Records the start of an attempt, and returns the attempt's index.
    pub fn start(&mut self, address: SocketAddr) -> usize {
        self.tried.push((address, Outcome::NoAnswer));
        self.tried.len() - 1
    }

    /// Records why an attempt failed.
    pub fn record_failure(&mut self, index: usize, error: impl Into<BoxError>) {
        if let Some((_, outcome)) = self.tried.get_mut(index) {
            *outcome = Outcome::Failed(error.into());
        }
    }

    /// Returns `true` if at least one attempt has failed.
    pub fn has_failed(&self) -> bool {
        let mut outcomes = self.tried.iter().map(|(_, outcome)| outcome);
        outcomes.any(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// Returns the error for a connect whose attempts have all failed.
    ///
    /// If an attempt failed because no file descriptor was left, the error reports that reason.
    pub fn all_failed_error(&mut self) -> Error {
        if self.tried.is_empty() {
            return Error::new(ErrorKind::Resolve)
                .with_context(format!("{} has no address", self.host));
        }
        let exhausted = self.tried.iter().position(|(_, outcome)| match outcome {
            Outcome::Failed(error) => descriptors::are_exhausted(&**error),
            _ => false,
        });
        let context = match &self.tried[..] {
            [(address, _)] => address.to_string(),
            _ => format!(
                "no connection to {}:{} (tried {})",
                self.host,
                self.port,
                self.list()
            ),
        };
        let last = exhausted.unwrap_or(self.tried.len() - 1);
        let Outcome::Failed(error) = self.tried.swap_remove(last).1 else {
            return Error::new(ErrorKind::Connect).with_context(context);
        };
        if exhausted.is_some() {
            return descriptors::exhausted_error(&self.host, self.port, error);
        }
        let is_unsupported = error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::Unsupported);
        let kind = match is_unsupported {
            true => ErrorKind::Unsupported,
            false => ErrorKind::Connect,
        };
        Error::new(kind).with_context(context).with_source(error)
    }

    /// Returns the error for a connect that timed out in `phase`. `limit` is the time limit, or `None`
    /// for the deadline of the request.
    pub fn timeout_error(&self, phase: Phase, limit: Option<Duration>) -> Error {
        let limit = limit.map_or_else(
            || "before the request's deadline".to_owned(),
            |limit| format!("within {limit:?}"),
        );
        let tried = match self.tried.is_empty() {
            true => String::new(),
            false => format!(" (tried {})", self.list()),
        };
        Error::timeout(phase).with_context(format!(
            "no connection to {}:{} {limit}{tried}",
            self.host, self.port
        ))
    }

    fn list(&self) -> String {
        let results = self.tried.iter().map(|(address, outcome)| match outcome {
            Outcome::NoAnswer => format!("{address}: no answer"),
            Outcome::Failed(error) => format!("{address}: {error}"),
            Outcome::Connected => format!("{address}: connected, but no TLS or tunnel"),
        });
        results.collect::<Vec<_>>().join("; ")
    }

    /// Returns a socket to the address that answers first.
    ///
    /// The next attempt starts after [`ATTEMPT_DELAY`], or immediately when an attempt fails. When an
    /// attempt succeeds, the other attempts are dropped, which closes their sockets.
    pub(crate) async fn connect(
        &mut self,
        runtime: &dyn Runtime,
        addresses: Vec<SocketAddr>,
        options: ConnectOptions,
    ) -> Result<Box<dyn Socket>, Error> {
        let mut waiting = interleave(addresses).into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            let has_started = match waiting.next() {
                None => false,
                Some(address) => {
                    let index = self.start(address);
                    let connecting = runtime.connect(address, options);
                    running.push(async move { (index, connecting.await) });
                    true
                }
            };
            // The delay is needed only if another address is left.
            let ended = match has_started && waiting.len() > 0 {
                false => running.next().await,
                true => match select(running.next(), runtime.sleep(ATTEMPT_DELAY)).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(_) => continue,
                },
            };
            match ended {
                None => return Err(self.all_failed_error()),
                Some((index, Ok(socket))) => {
                    self.tried[index].1 = Outcome::Connected;
                    return Ok(socket);
                }
                Some((index, Err(error))) => {
                    if descriptors::is_exhaustion(&error) {
                        // A new attempt would fail too. Running attempts have a descriptor and may succeed.
                        waiting = Vec::new().into_iter();
                    }
                    self.record_failure(index, error);
                }
            }
        }
    }
}
