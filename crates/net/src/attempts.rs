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

/// The addresses of a host that were tried, in order, and how each attempt ended: for an error that
/// names them all.
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
    /// What follows the connect, such as a TLS handshake, is not recorded here.
    Connected,
}

impl Attempts {
    /// No attempt yet.
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tried: Vec::new(),
        }
    }

    /// Records that an address is being tried, and returns the attempt's number.
    pub fn start(&mut self, address: SocketAddr) -> usize {
        self.tried.push((address, Outcome::NoAnswer));
        self.tried.len() - 1
    }

    /// Records why an attempt failed.
    pub fn failed(&mut self, attempt: usize, error: impl Into<BoxError>) {
        if let Some((_, outcome)) = self.tried.get_mut(attempt) {
            *outcome = Outcome::Failed(error.into());
        }
    }

    /// Whether an attempt has failed.
    pub fn has_failed(&self) -> bool {
        let mut outcomes = self.tried.iter().map(|(_, outcome)| outcome);
        outcomes.any(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// The error when no attempt is left. If one failed because no file descriptor was left, that is
    /// the reason.
    pub fn all_failed(&mut self) -> Error {
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
            return descriptors::exhausted(&self.host, self.port, error);
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

    /// The error when the time of `phase` has passed. `limit` is that time, if it is known.
    pub fn timed_out(&self, phase: Phase, limit: Option<Duration>) -> Error {
        let limit = limit.map_or_else(
            || "before the request's deadline".to_owned(),
            |limit| format!("in {limit:?}"),
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
        let ended = self.tried.iter().map(|(address, outcome)| match outcome {
            Outcome::NoAnswer => format!("{address}: no answer"),
            Outcome::Failed(error) => format!("{address}: {error}"),
            Outcome::Connected => format!("{address}: connected, and no more"),
        });
        ended.collect::<Vec<_>>().join("; ")
    }

    /// Connects to the first of the addresses that answers. The next attempt starts after
    /// [`ATTEMPT_DELAY`], or at once when one fails; the losers are dropped, which closes them.
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
            // No other address waits behind the last one.
            let ended = match has_started && waiting.len() > 0 {
                false => running.next().await,
                true => match select(running.next(), runtime.sleep(ATTEMPT_DELAY)).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(_) => continue,
                },
            };
            match ended {
                None => return Err(self.all_failed()),
                Some((index, Ok(socket))) => {
                    self.tried[index].1 = Outcome::Connected;
                    return Ok(socket);
                }
                Some((index, Err(error))) => {
                    if descriptors::is_exhaustion(&error) {
                        // No other address helps; an attempt that has its descriptor may.
                        waiting = Vec::new().into_iter();
                    }
                    self.failed(index, error);
                }
            }
        }
    }
}
