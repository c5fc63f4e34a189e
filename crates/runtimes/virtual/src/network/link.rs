//! The properties of the link between clients and the server at an address.

use std::time::Duration;

/// The properties of the link to an address: latency, bandwidth, buffer size and random faults.
///
/// The default link has no latency, unlimited bandwidth, buffers of 64 KiB and no faults.
/// [`Network::set_link`](crate::Network::set_link) and
/// [`Network::set_default_link`](crate::Network::set_default_link) apply the options to connections
/// that are opened afterwards.
///
/// ```
/// use std::time::Duration;
/// use inflight_virtual::LinkOptions;
///
/// let mobile = LinkOptions::new()
///     .latency(Duration::from_millis(60))
///     .bandwidth(250_000)
///     .connect_jitter(Duration::from_millis(300))
///     .reset_probability(0.001);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkOptions {
    /// The latency of packets to each [`Side`], indexed by the side.
    latencies: [Duration; 2],
    bandwidth: Option<u64>,
    pub(super) buffer_size: usize,
    pub(super) connect_jitter: Duration,
    pub(super) reset_probability: f64,
}

impl LinkOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self {
            latencies: [Duration::ZERO; 2],
            bandwidth: None,
            buffer_size: 64 * 1024,
            connect_jitter: Duration::ZERO,
            reset_probability: 0.0,
        }
    }

    /// Sets how long a byte travels from one end to the other, in both directions. Default zero.
    ///
    /// A round trip takes twice the latency. A connect takes one round trip.
    #[must_use]
    pub fn latency(self, latency: Duration) -> Self {
        self.latency_to_server(latency).latency_to_client(latency)
    }

    /// Sets the latency from the client to the server only. Default zero.
    #[must_use]
    pub fn latency_to_server(mut self, latency: Duration) -> Self {
        self.latencies[Side::Server as usize] = latency;
        self
    }

    /// Sets the latency from the server to the client only. Default zero.
    #[must_use]
    pub fn latency_to_client(mut self, latency: Duration) -> Self {
        self.latencies[Side::Client as usize] = latency;
        self
    }

    /// Sets how many bytes per second a connection transmits in each direction. Default unlimited.
    ///
    /// Connections do not share the bandwidth. Bytes travel in segments of up to 1,460 bytes. A
    /// segment arrives when its last byte arrives.
    ///
    /// # Panics
    ///
    /// Panics if the bandwidth is zero. Use [`Network::partition`](crate::Network::partition) for a link
    /// that transmits nothing.
    #[must_use]
    #[track_caller]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        assert_ne!(bytes_per_second, 0, "the bandwidth of a link is zero");
        self.bandwidth = Some(bytes_per_second);
        self
    }

    /// Sets the size of a connection's buffer in each direction. The buffer holds the bytes that were sent
    /// and not yet read by the peer. Default 65,536.
    ///
    /// A write waits while the buffer is full. The write continues as soon as the peer reads, without
    /// latency.
    ///
    /// # Panics
    ///
    /// Panics if the size is zero.
    #[must_use]
    #[track_caller]
    pub fn buffer_size(mut self, bytes: usize) -> Self {
        assert_ne!(bytes, 0, "the buffer size of a link is zero");
        self.buffer_size = bytes;
        self
    }

    /// Sets the longest random delay of a connect, in addition to the round trip. Default zero.
    ///
    /// The delay of each connect is random, between zero and `max`. The runtime's seed determines the delays.
    #[must_use]
    pub fn connect_jitter(mut self, max: Duration) -> Self {
        self.connect_jitter = max;
        self
    }

    /// Sets the probability, from 0 to 1, that a segment of up to 1,460 bytes resets its connection
    /// instead of arriving. Default 0.
    ///
    /// Both sockets then fail with [`ConnectionReset`](std::io::ErrorKind::ConnectionReset) at the
    /// time when the segment would have arrived. The runtime's seed determines which segments fail.
    ///
    /// # Panics
    ///
    /// Panics if the probability is not between 0 and 1.
    #[must_use]
    #[track_caller]
    pub fn reset_probability(mut self, probability: f64) -> Self {
        assert!(
            (0.0..=1.0).contains(&probability),
            "the reset probability {probability} is not between 0 and 1"
        );
        self.reset_probability = probability;
        self
    }

    pub(super) fn latency_to(&self, side: Side) -> Duration {
        self.latencies[side as usize]
    }

    /// Returns how long the link takes to transmit a segment of `len` bytes.
    pub(super) fn transmission_time(&self, len: usize) -> Duration {
        let Some(bandwidth) = self.bandwidth else {
            return Duration::ZERO;
        };
        Duration::from_nanos((len as u64 * 1_000_000_000).div_ceil(bandwidth))
    }
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
