//! The addresses of a host: the order in which they are tried, and the results of the attempts.
//!
//! Each transfer gets one address, so the attempts run one after another.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use inflight_core::{BoxError, Error, Phase};
use inflight_net::Attempts;
use inflight_net::addresses::interleave;

use crate::descriptors::exhaustion_error;
use crate::error;
use crate::limits::Limits;

/// The time for which an address is preferred.
const PREFERENCE_TIME: Duration = Duration::from_secs(600);

/// The largest number of hosts with a preferred address.
const MAX_HOSTS: usize = 1024;

/// The addresses that answered after other addresses of the same host had failed.
///
/// They are tried first for 10 minutes. Otherwise a request would wait for a silent address even if libcurl
/// has a pooled connection to the address that answers.
#[derive(Default)]
pub(crate) struct PreferredAddresses(Mutex<HashMap<(String, u16), (SocketAddr, Instant)>>);

impl PreferredAddresses {
    /// Returns the addresses in the order in which they are tried.
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
            && since.elapsed() < PREFERENCE_TIME
            && let Some(position) = order.iter().position(|other| *other == address)
        {
            order[..=position].rotate_right(1);
        }
        order
    }

    /// Prefers an address that answered after others had failed.
    pub(crate) fn prefer(&self, (host, port): (&str, u16), address: SocketAddr) {
        let mut hosts = self.lock();
        if hosts.len() >= MAX_HOSTS {
            hosts.clear();
        }
        hosts.insert((host.to_owned(), port), (address, Instant::now()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, u16), (SocketAddr, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the reason why an attempt failed to connect.
pub(crate) fn failure_reason(error: isahc::Error) -> BoxError {
    match exhaustion_error() {
        Some(exhausted) => exhausted.into(),
        None if error::is_timeout(&error) => "no answer".into(),
        None => error.into(),
    }
}

/// Returns the error for a connect that timed out.
pub(crate) fn connect_timeout_error(attempts: &Attempts, limits: &Limits) -> Error {
    let phase = limits.timeout_error().phase().unwrap_or(Phase::Total);
    let limit = limits.connect_timeout.filter(|_| phase == Phase::Connect);
    attempts.timeout_error(phase, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preferred_address_is_tried_first() {
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
