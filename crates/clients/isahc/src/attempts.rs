//! A host's addresses: the order in which they are tried, and how the attempts ended.
//!
//! libcurl is given one address for each transfer, so the attempts follow each other.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use inflight_core::{Error, ErrorKind, Phase};
use inflight_net::addresses::interleave;
use inflight_net::descriptors;

use crate::descriptors::exhaustion;
use crate::error;
use crate::limits::Limits;

/// How long an address is preferred.
const PREFERENCE: Duration = Duration::from_secs(600);

/// How many hosts have a preferred address at most.
const HOSTS: usize = 1024;

/// The addresses that answered where others of the same host did not. They are tried first for some
/// time: a request that finds the connection of the last one must not wait for a silent address
/// before.
#[derive(Default)]
pub(crate) struct Preferred(Mutex<HashMap<(String, u16), (SocketAddr, Instant)>>);

impl Preferred {
    /// The addresses in the order in which they are to be tried.
    pub(crate) fn order(
        &self,
        (host, port): (&str, u16),
        addresses: Vec<SocketAddr>,
    ) -> Vec<SocketAddr> {
        if addresses.len() < 2 {
            return addresses;
        }
        let mut order = interleave(addresses);
        let preferred = self.lock().get(&(host.to_owned(), port)).copied();
        if let Some((address, since)) = preferred
            && since.elapsed() < PREFERENCE
            && let Some(position) = order.iter().position(|other| *other == address)
        {
            order[..=position].rotate_right(1);
        }
        order
    }

    /// Prefers an address that answered after others had failed.
    fn prefer(&self, host: &str, port: u16, address: SocketAddr) {
        let mut hosts = self.lock();
        if hosts.len() >= HOSTS {
            hosts.clear();
        }
        hosts.insert((host.to_owned(), port), (address, Instant::now()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, u16), (SocketAddr, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attempts of one exchange that have failed.
pub(crate) struct Attempts {
    host: String,
    port: u16,
    failed: Vec<(SocketAddr, &'static str)>,
}

impl Attempts {
    pub(crate) fn new((host, port): (&str, u16)) -> Self {
        Self {
            host: host.to_owned(),
            port,
            failed: Vec::new(),
        }
    }

    /// Records that `address` refused, or did not answer in time, so that nothing was sent. Returns
    /// an error if no other address is to be tried.
    pub(crate) fn failed(
        &mut self,
        address: SocketAddr,
        error: isahc::Error,
        limits: &Limits,
        others: usize,
    ) -> Result<(), Error> {
        let why = match error::is_timeout(&error) {
            true => "no answer",
            false => "could not connect",
        };
        self.failed.push((address, why));
        if let Some(cause) = exhaustion() {
            return Err(descriptors::exhausted(&self.host, self.port, cause));
        }
        if others > 0 {
            return Ok(());
        }
        if error::is_timeout(&error) && !limits.may_connect() {
            return Err(self.timed_out(limits).with_source(error));
        }
        let context = match self.failed.len() {
            1 => address.to_string(),
            _ => format!(
                "no connection to {}:{} (tried {})",
                self.host,
                self.port,
                self.list()
            ),
        };
        Err(Error::new(ErrorKind::Connect)
            .with_context(context)
            .with_source(error))
    }

    /// The error when the time to connect is over.
    pub(crate) fn timed_out(&self, limits: &Limits) -> Error {
        let error = limits.verdict();
        let limit = match error.phase() {
            Some(Phase::Connect) => limits.connect_timeout,
            _ => None,
        };
        let limit = limit.map_or_else(
            || " before the request's deadline".to_owned(),
            |limit| format!(" in {limit:?}"),
        );
        let tried = match self.failed.is_empty() {
            true => String::new(),
            false => format!(" (tried {})", self.list()),
        };
        error.with_context(format!(
            "no connection to {}:{}{limit}{tried}",
            self.host, self.port
        ))
    }

    /// The error if the host has no address.
    pub(crate) fn without_address(&self) -> Error {
        Error::new(ErrorKind::Resolve).with_context(format!("{} has no address", self.host))
    }

    /// Records that `address` answered.
    pub(crate) fn answered(&self, address: SocketAddr, preferred: &Preferred) {
        if !self.failed.is_empty() {
            preferred.prefer(&self.host, self.port, address);
        }
    }

    fn list(&self) -> String {
        let failed = self.failed.iter();
        let failed = failed.map(|(address, why)| format!("{address}: {why}"));
        failed.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_that_answered_after_others_had_failed_is_first() {
        let addresses: Vec<SocketAddr> = ["127.0.0.1:1", "[::1]:1", "127.0.0.2:1"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        let (host, preferred) = (("pages.test", 1), Preferred::default());
        let attempts = Attempts::new(host);
        attempts.answered(addresses[2], &preferred);
        assert_eq!(preferred.order(host, addresses.clone()), addresses);
        preferred.prefer(host.0, host.1, addresses[2]);
        let order = [addresses[2], addresses[0], addresses[1]];
        assert_eq!(preferred.order(host, addresses.clone()), order);
        assert_eq!(
            preferred.order(("other.test", 1), addresses.clone()),
            addresses
        );
    }
}
