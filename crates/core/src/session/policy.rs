//! The settings of a request.

use std::time::{Duration, Instant};

use super::retry::Retry;
use crate::message::response::MAX_BODY;

/// The settings of a request. A session has defaults, and a request may change its own copy.
#[derive(Debug, Clone)]
pub(crate) struct RequestPolicy {
    /// The limit for the whole request without the waits for permits.
    pub(crate) timeout: Option<Duration>,
    /// The time at which the request fails, even if it still waits for permits.
    pub(crate) deadline: Option<Instant>,
    /// The limit for the wait for permits.
    pub(crate) queue_timeout: Option<Duration>,
    /// The limit for one attempt, from its permits to the end of its response's body.
    pub(crate) attempt_timeout: Option<Duration>,
    /// The limit for one attempt, from its permits to its response's head.
    pub(crate) head_timeout: Option<Duration>,
    /// The limit for the wait for the next chunk of the response's body.
    pub(crate) read_timeout: Option<Duration>,
    /// How many redirects in a row are followed.
    pub(crate) max_redirects: usize,
    pub(crate) retry: Retry,
    /// Whether a request is also retried if the body of its response ends early.
    pub(crate) retries_bodies: bool,
    /// The size of the largest body that is collected, in bytes.
    pub(crate) max_body: u64,
    /// Whether the response is decoded.
    pub(crate) decompress: bool,
    /// Whether a response with a status of 400 or above is an error.
    pub(crate) error_for_status: bool,
}

impl Default for RequestPolicy {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(300)),
            deadline: None,
            queue_timeout: None,
            attempt_timeout: None,
            head_timeout: None,
            read_timeout: None,
            max_redirects: 10,
            retry: Retry::new(0),
            retries_bodies: true,
            max_body: MAX_BODY,
            decompress: true,
            error_for_status: false,
        }
    }
}
