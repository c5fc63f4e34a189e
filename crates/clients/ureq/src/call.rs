//! The call that is in progress in this thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use inflight_core::{Cancel, CancelGuard, Trace};

thread_local! {
    /// The innermost call in progress in this thread.
    ///
    /// ureq chooses the connection of a request itself, and its `Resolver`, `Connector` and
    /// `Transport` traits pass no context of the request. A call occupies its thread from start to
    /// end, so the thread identifies the call.
    static CURRENT: RefCell<Option<Call>> = const { RefCell::new(None) };
}

/// The state of a call.
struct Call {
    cancel: Cancel,
    trace: Option<Trace>,
    lookup_started: Option<Instant>,
    must_be_new: bool,
    has_connected: bool,
    has_tunnel: bool,
    has_written: bool,
    has_read: bool,
    has_broken: bool,
    /// The mark of the connection that the request was sent on: see [`retire_connection`].
    retired: Option<Arc<AtomicBool>>,
}

/// Runs `work` as a call that `cancel` ends from another thread. The call reports to `trace` when
/// it has connected.
pub(crate) fn run<T>(cancel: &Cancel, trace: Option<&Trace>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Call>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let call = Call {
        cancel: cancel.clone(),
        trace: trace.cloned(),
        lookup_started: None,
        must_be_new: false,
        has_connected: false,
        has_tunnel: false,
        has_written: false,
        has_read: false,
        has_broken: false,
        retired: None,
    };
    // The body of a request may be read from another response: calls nest.
    let _restore = Restore(CURRENT.replace(Some(call)));
    work()
}

fn with<T>(change: impl FnOnce(&mut Call) -> T) -> Option<T> {
    CURRENT.with_borrow_mut(|call| call.as_mut().map(change))
}

/// The call's `Cancel`.
pub(crate) fn cancel() -> Cancel {
    with(|call| call.cancel.clone()).unwrap_or_default()
}

/// Runs `hook` if the call is cancelled while the guard lives.
pub(crate) fn on_cancel(hook: impl FnOnce() + Send + 'static) -> CancelGuard {
    // A hook runs at once if the call is already cancelled: not while the call is borrowed.
    cancel().on_cancel(hook)
}

/// Records that the look-up of the host's name starts now.
pub(crate) fn lookup_starts() {
    with(|call| call.lookup_started = Some(Instant::now()));
}

/// When the last look-up of the call started.
pub(crate) fn lookup_started() -> Option<Instant> {
    with(|call| call.lookup_started).flatten()
}

/// Keeps the call from using a pooled connection.
pub(crate) fn demand_new_connection() {
    with(|call| call.must_be_new = true);
}

/// Whether the call may not use a pooled connection.
pub(crate) fn must_be_new() -> bool {
    with(|call| call.must_be_new).unwrap_or(false)
}

/// Records that the call needs a new connection.
pub(crate) fn connects() {
    with(|call| call.has_connected = true);
}

/// Reports a new connection to the call's trace.
pub(crate) fn connected() {
    if let Some(trace) = with(|call| call.trace.clone()).flatten() {
        trace.connected();
    }
}

/// Whether the call has made a connection, or has tried to. If not, it uses a pooled one.
pub(crate) fn has_connected() -> bool {
    with(|call| call.has_connected).unwrap_or(false)
}

/// Records that a proxy has opened a tunnel for the call.
pub(crate) fn tunnel_opened() {
    with(|call| call.has_tunnel = true);
}

/// Whether a proxy has opened a tunnel for the call.
pub(crate) fn has_tunnel() -> bool {
    with(|call| call.has_tunnel).unwrap_or(false)
}

/// Records that the system took a piece of the request.
pub(crate) fn writes() {
    with(|call| call.has_written = true);
}

/// Whether the system took anything of the request.
pub(crate) fn has_written() -> bool {
    with(|call| call.has_written).unwrap_or(false)
}

/// Records whether anything of a response came.
pub(crate) fn set_read(has_read: bool) {
    with(|call| call.has_read = has_read);
}

/// Whether anything of a response came.
pub(crate) fn has_read() -> bool {
    with(|call| call.has_read).unwrap_or(false)
}

/// Records that the connection ended otherwise than by the server's close.
pub(crate) fn breaks() {
    with(|call| call.has_broken = true);
}

/// Whether the connection ended otherwise than by the server's close.
pub(crate) fn has_broken() -> bool {
    with(|call| call.has_broken).unwrap_or(false)
}

/// Records the connection that the request is sent on, by its mark.
pub(crate) fn sends_on(retired: &Arc<AtomicBool>) {
    with(|call| call.retired = Some(retired.clone()));
}

/// Keeps ureq from using the call's connection for another request.
pub(crate) fn retire_connection() {
    if let Some(retired) = with(|call| call.retired.take()).flatten() {
        retired.store(true, Ordering::Relaxed);
    }
}
