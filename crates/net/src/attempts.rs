//! Connecting to a host that has several addresses (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use inflight_core::{ConnectOptions, Error, ErrorKind, Phase, Runtime, Socket, connect_error};

use crate::addresses::{ATTEMPT_DELAY, interleave};
use crate::descriptors;

/// The addresses that were tried, in order, and how each attempt ended.
#[derive(Debug)]
pub(crate) struct Attempts {
    host: String,
    port: u16,
    tried: Vec<(SocketAddr, Outcome)>,
}

#[derive(Debug)]
enum Outcome {
    NoAnswer,
    Failed(io::Error),
    /// What came after that, such as a TLS handshake, is not known here.
    Connected,
}

impl Attempts {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tried: Vec::new(),
        }
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
                    let index = self.tried.len();
                    self.tried.push((address, Outcome::NoAnswer));
                    let connecting = runtime.connect(address, options);
                    running.push(async move { (index, connecting.await) });
                    true
                }
            };
            // The last address has nobody to make room for.
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
                    self.tried[index].1 = Outcome::Failed(error);
                }
            }
        }
    }

    /// No attempt is left.
    fn all_failed(&mut self) -> Error {
        let exhausted = self.tried.iter().position(|(_, outcome)| {
            matches!(outcome, Outcome::Failed(error) if descriptors::is_exhaustion(error))
        });
        let last = exhausted.unwrap_or(self.tried.len().saturating_sub(1));
        if self.tried.is_empty() {
            return Error::new(ErrorKind::Resolve)
                .with_context(format!("{} has no address", self.host));
        }
        let tried = format!(
            "no connection to {}:{} (tried {})",
            self.host,
            self.port,
            self.list()
        );
        let is_only = self.tried.len() == 1;
        let (address, outcome) = self.tried.swap_remove(last);
        let Outcome::Failed(error) = outcome else {
            return Error::new(ErrorKind::Connect).with_context(tried);
        };
        match error {
            error if exhausted.is_some() => descriptors::exhausted(&self.host, self.port, error),
            error if error.kind() == io::ErrorKind::Unsupported => {
                Error::new(ErrorKind::Unsupported).with_source(error)
            }
            error if is_only => connect_error(address, error),
            error => Error::new(ErrorKind::Connect)
                .with_context(tried)
                .with_source(error),
        }
    }

    /// The limit on connecting has passed.
    pub(crate) fn timed_out(&self, limit: Duration) -> Error {
        let tried = match self.tried.is_empty() {
            true => String::new(),
            false => format!(" (tried {})", self.list()),
        };
        Error::timeout(Phase::Connect).with_context(format!(
            "no connection to {}:{} in {limit:?}{tried}",
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
}
