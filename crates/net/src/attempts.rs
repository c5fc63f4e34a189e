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
    tried: Vec<(SocketAddr, Option<io::Error>)>,
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
            let Some(address) = waiting.next() else {
                match running.next().await {
                    Some((_, Ok(socket))) => return Ok(socket),
                    Some((index, Err(error))) => self.failed(index, error)?,
                    None => return Err(self.all_failed()),
                }
                continue;
            };
            let index = self.tried.len();
            self.tried.push((address, None));
            let connecting = runtime.connect(address, options);
            running.push(async move { (index, connecting.await) });
            // The last address has nobody to make room for.
            if waiting.len() == 0 {
                continue;
            }
            match select(running.next(), runtime.sleep(ATTEMPT_DELAY)).await {
                Either::Left((Some((_, Ok(socket))), _)) => return Ok(socket),
                Either::Left((Some((index, Err(error))), _)) => self.failed(index, error)?,
                Either::Left((None, _)) | Either::Right(_) => {}
            }
        }
    }

    /// Ends the attempts where no other address can help.
    fn failed(&mut self, index: usize, error: io::Error) -> Result<(), Error> {
        if descriptors::is_exhaustion(&error) {
            return Err(descriptors::exhausted(&self.host, self.port, error));
        }
        if error.kind() == io::ErrorKind::Unsupported {
            return Err(Error::new(ErrorKind::Unsupported).with_source(error));
        }
        self.tried[index].1 = Some(error);
        Ok(())
    }

    /// Every address has refused.
    fn all_failed(&mut self) -> Error {
        let Some((address, Some(last))) = self.tried.pop() else {
            return Error::new(ErrorKind::Resolve)
                .with_context(format!("{} has no address", self.host));
        };
        if self.tried.is_empty() {
            return connect_error(address, last);
        }
        self.tried
            .push((address, Some(io::Error::from(last.kind()))));
        Error::new(ErrorKind::Connect)
            .with_context(format!(
                "no connection to {}:{} (tried {})",
                self.host,
                self.port,
                self.list()
            ))
            .with_source(last)
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
        let ended = self.tried.iter().map(|(address, error)| match error {
            None => format!("{address}: no answer"),
            Some(error) => format!("{address}: {error}"),
        });
        ended.collect::<Vec<_>>().join("; ")
    }
}
