//! Unix sockets whose listener accepts connections too slowly.

use std::io;
use std::iter::successors;
use std::time::Duration;

/// The longest time between two attempts to connect.
const MAX_DELAY: Duration = Duration::from_millis(100);

/// Returns `true` if a connect to a Unix socket failed because the queue of the listener is full.
///
/// With TCP, the system tries again by itself. With a Unix socket, a non-blocking connect fails.
pub fn is_queue_full(error: &io::Error) -> bool {
    // async-io reports `NotConnected`.
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

/// Returns the times to wait between attempts to connect to a Unix socket whose listener's queue is full. The
/// series has no end.
pub fn retry_delays() -> impl Iterator<Item = Duration> {
    let first = Duration::from_millis(1);
    successors(Some(first), |delay| Some((*delay * 2).min(MAX_DELAY)))
}
