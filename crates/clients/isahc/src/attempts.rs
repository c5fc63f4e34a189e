//! A host's addresses: the order in which they are tried, and how the attempts ended.
//!
//! libcurl is given one address for each transfer, so the attempts follow each other.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use inflight_core::{BoxError, Error, Phase};
use inflight_net::Attempts;
use inflight_net::addresses::interleave;

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
pub(crate) struct PreferredAddresses(Mutex<HashMap<(String, u16), (SocketAddr, Instant)>>);

impl PreferredAddresses {
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
    pub(crate) fn prefer(&self, (host, port): (&str, u16), address: SocketAddr) {
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

/// Why an attempt failed, in which nothing was sent.
pub(crate) fn reason(error: isahc::Error) -> BoxError {
    match exhaustion() {
        Some(exhausted) => exhausted.into(),
        None if error::is_timeout(&error) => "no answer".into(),
        None => error.into(),
    }
}

/// The error when the time to connect is over.
pub(crate) fn timed_out(attempts: &Attempts, limits: &Limits) -> Error {
    let phase = limits.verdict().phase().unwrap_or(Phase::Total);
    let limit = limits.connect_timeout.filter(|_| phase == Phase::Connect);
    attempts.timed_out(phase, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_that_answered_after_others_had_failed_is_first() {
        let addresses: Vec<SocketAddr> = ["127.0.0.1:1", "[::1]:1", "127.0.0.2:1"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        let (host, preferred) = (("pages.test", 1), PreferredAddresses::default());
        assert_eq!(preferred.order(host, addresses.clone()), addresses);
        preferred.prefer(host, addresses[2]);
        let order = [addresses[2], addresses[0], addresses[1]];
        assert_eq!(preferred.order(host, addresses.clone()), order);
        assert_eq!(
            preferred.order(("other.test", 1), addresses.clone()),
            addresses
        );
    }
}
