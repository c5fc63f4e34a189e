//! Whether a job has sent a request.

use std::cell::Cell;

thread_local! {
    /// Whether the job that this thread polls has sent a request during this poll.
    static SENT: Cell<bool> = const { Cell::new(false) };
}

/// Records that the job that this thread polls, if any, sends a request.
pub(crate) fn record() {
    SENT.set(true);
}

/// Polls a job with `poll`. Returns whether the job sent a request during the poll. The job that polls
/// this job has then sent a request too.
pub(crate) fn observe<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    let outer = SENT.replace(false);
    let polled = poll();
    let sent = SENT.get();
    SENT.set(outer | sent);
    (polled, sent)
}
