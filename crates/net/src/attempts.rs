//! Connecting to a host that has several addresses (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use inflight_core::{BoxError, ConnectOptions, Error, ErrorKind, Phase, Runtime, Socket};

use crate::addresses::{ATTEMPT_DELAY, Address, interleave};
use crate::descriptors;
use crate::unix;

/// A record of the addresses of a host that were tried, in order, with the result of each attempt. The
/// errors that it creates list all attempts.
#[derive(Debug)]
pub struct Attempts {
    /// The host and the port, or the path of a Unix socket.
    target: String,
    tried: Vec<(Address, Outcome)>,
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
            target: format!("{host}:{port}"),
            tried: Vec::new(),
        }
    }

    /// Returns a record without attempts, for connects to the Unix socket at `path`.
    pub fn to_unix_socket(path: &Path) -> Self {
        Self {
            target: path.display().to_string(),
            tried: Vec::new(),
        }
    }

    /// Records the start of an attempt, and returns the attempt's index.
    pub fn start(&mut self, address: impl Into<Address>) -> usize {
        self.tried.push((address.into(), Outcome::NoAnswer));
        self.tried.len() - 1
    }

    /// Records why an attempt failed.
    pub fn record_failure(&mut self, index: usize, error: impl Into<BoxError>) {
        if let Some((_, outcome)) = self.tried.get_mut(index) {
            *outcome = Outcome::Failed(error.into());
        }
    }

    /// Records that the socket of an attempt is connected. The TLS handshake or the tunnel follows.
    pub fn record_connected(&mut self, index: usize) {
        if let Some((_, outcome)) = self.tried.get_mut(index) {
            *outcome = Outcome::Connected;
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
                .with_context(format!("{} has no address", self.target));
        }
        let exhausted = self.tried.iter().position(|(_, outcome)| match outcome {
            Outcome::Failed(error) => descriptors::are_exhausted(&**error),
            _ => false,
        });
        let context = match &self.tried[..] {
            [(address, _)] => address.to_string(),
            _ => format!("no connection to {} (tried {})", self.target, self.list()),
        };
        let last = exhausted.unwrap_or(self.tried.len() - 1);
        let Outcome::Failed(error) = self.tried.swap_remove(last).1 else {
            return Error::new(ErrorKind::Connect).with_context(context);
        };
        if exhausted.is_some() {
            return descriptors::exhausted_error(&self.target, error);
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
        Error::timeout(phase)
            .with_context(format!("no connection to {} {limit}{tried}", self.target))
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
                    self.record_connected(index);
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

    /// Returns a socket that is connected to the Unix socket at `path`.
    ///
    /// If the listener's queue is full, tries again until the caller drops the future.
    pub(crate) async fn connect_unix(
        &mut self,
        runtime: &dyn Runtime,
        path: &Path,
    ) -> Result<Box<dyn Socket>, Error> {
        let index = self.start(path);
        let mut delays = unix::retry_delays();
        loop {
            let error = match runtime.connect_unix(path).await {
                Ok(socket) => {
                    self.record_connected(index);
                    return Ok(socket);
                }
                Err(error) => error,
            };
            let delay = delays.next().filter(|_| unix::is_queue_full(&error));
            self.record_failure(index, error);
            match delay {
                Some(delay) => runtime.sleep(delay).await,
                None => return Err(self.all_failed_error()),
            }
        }
    }
}
