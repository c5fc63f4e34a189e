//! The call in progress on this thread. A call is a request up to the response's head, or one read of a
//! response's body.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use inflight_core::{Cancel, CancelGuard, Error, Proxy, Trace};
use inflight_net::InterimCounter;

thread_local! {
    /// The innermost call in progress on this thread.
    ///
    /// ureq chooses the connection of a request, and ureq's `Resolver`, `Connector` and `Transport` traits
    /// pass no context of the request. A call occupies its thread from start to end, so the thread identifies
    /// the call.
    static CURRENT: RefCell<Option<Call>> = const { RefCell::new(None) };
}

/// The state of a call.
struct Call {
    cancel: Cancel,
    trace: Option<Trace>,
    proxy: Option<Proxy>,
    lookup_started: Option<Instant>,
    must_be_new: bool,
    has_connected: bool,
    has_written: bool,
    is_upload_stopped: bool,
    has_read: bool,
    has_abnormal_end: bool,
    /// Counts interim responses. `None` for a call that reads a body.
    interim: Option<InterimCounter>,
    /// The flag of the request's connection: see [`retire_connection`].
    retired: Option<Arc<AtomicBool>>,
}

/// Runs `work` as a call. Another thread can end the call with `cancel`. The call reports a new connection
/// to `trace`.
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
        proxy: None,
        lookup_started: None,
        must_be_new: false,
        has_connected: false,
        has_written: false,
        is_upload_stopped: false,
        has_read: false,
        has_abnormal_end: false,
        interim: trace.map(|_| InterimCounter::default()),
        retired: None,
    };
    // Calls nest, because a request's body may be read from another response.
    let _restore = Restore(CURRENT.replace(Some(call)));
    work()
}

fn with_current<T>(change: impl FnOnce(&mut Call) -> T) -> Option<T> {
    CURRENT.with_borrow_mut(|call| call.as_mut().map(change))
}

/// Returns the call's `Cancel`.
pub(crate) fn cancel() -> Cancel {
    with_current(|call| call.cancel.clone()).unwrap_or_default()
}

/// Runs `hook` if the call is cancelled while the guard exists.
pub(crate) fn on_cancel(hook: impl FnOnce() + Send + 'static) -> CancelGuard {
    // The hook runs immediately if the call is already cancelled, so `CURRENT` must not be borrowed here.
    cancel().on_cancel(hook)
}

/// Records that the lookup of the host's name starts now.
pub(crate) fn record_lookup_start() {
    with_current(|call| call.lookup_started = Some(Instant::now()));
}

/// Returns when the last lookup of the call started.
pub(crate) fn lookup_started() -> Option<Instant> {
    with_current(|call| call.lookup_started).flatten()
}

/// Prevents the call from using a pooled connection.
pub(crate) fn require_new_connection() {
    with_current(|call| call.must_be_new = true);
}

/// Returns `true` if the call must not use a pooled connection.
pub(crate) fn must_be_new() -> bool {
    with_current(|call| call.must_be_new).unwrap_or(false)
}

/// Records that the call opens a new connection.
pub(crate) fn record_connect() {
    with_current(|call| call.has_connected = true);
}

/// Reports a new connection to the call's trace.
pub(crate) fn report_connection() {
    if let Some(trace) = with_current(|call| call.trace.clone()).flatten() {
        trace.report_new_connection();
    }
}

/// Returns `true` if the call has opened a connection or tried to open one. If `false`, the call uses a
/// pooled connection.
pub(crate) fn has_connected() -> bool {
    with_current(|call| call.has_connected).unwrap_or(false)
}

/// Sets the proxy of the call.
pub(crate) fn set_proxy(proxy: Option<&Proxy>) {
    with_current(|call| call.proxy = proxy.cloned());
}

/// Returns the proxy of the call.
pub(crate) fn proxy() -> Option<Proxy> {
    with_current(|call| call.proxy.clone()).flatten()
}

/// Converts the error of a connection to the call's proxy, if it has one.
pub(crate) fn via_proxy(error: Error) -> Error {
    match proxy() {
        Some(proxy) => proxy.connection_error(error),
        None => error,
    }
}

/// Stops sending the request, because the server has refused it or accepts no more bytes.
pub(crate) fn stop_upload() {
    with_current(|call| call.is_upload_stopped = true);
}

/// Returns `true` if no more bytes of the request are sent.
pub(crate) fn is_upload_stopped() -> bool {
    with_current(|call| call.is_upload_stopped).unwrap_or(false)
}

/// Records that the system has accepted a part of the request.
pub(crate) fn record_write() {
    with_current(|call| call.has_written = true);
}

/// Returns `true` if the system has accepted a part of the request.
pub(crate) fn has_written() -> bool {
    with_current(|call| call.has_written).unwrap_or(false)
}

/// Records whether a part of a response has arrived.
pub(crate) fn set_has_read(has_read: bool) {
    with_current(|call| call.has_read = has_read);
}

/// Returns `true` if a part of a response has arrived.
pub(crate) fn has_read() -> bool {
    with_current(|call| call.has_read).unwrap_or(false)
}

/// Inspects bytes that the server has sent. Fails after too many interim responses, which ureq skips without
/// a limit.
pub(crate) fn inspect(bytes: &[u8]) -> Result<(), Error> {
    let inspected = with_current(|call| {
        let counter = call.interim.as_mut();
        counter.map_or(Ok(()), |counter| counter.inspect(bytes))
    });
    inspected.unwrap_or(Ok(()))
}

/// Returns `true` if the server has refused the request: a final response with a status of 300 or more has
/// begun to arrive.
pub(crate) fn is_refused() -> bool {
    let is_refused = |call: &mut Call| {
        call.interim
            .as_ref()
            .is_some_and(InterimCounter::is_refusal)
    };
    with_current(is_refused).unwrap_or(false)
}

/// Records that the connection ended without a regular close by the server.
pub(crate) fn record_abnormal_end() {
    with_current(|call| call.has_abnormal_end = true);
}

/// Returns `true` if the connection ended without a regular close by the server.
pub(crate) fn has_abnormal_end() -> bool {
    with_current(|call| call.has_abnormal_end).unwrap_or(false)
}

/// Stores the flag of the connection on which the request is sent. [`retire_connection`] sets this flag.
pub(crate) fn set_retired_flag(retired: &Arc<AtomicBool>) {
    with_current(|call| call.retired = Some(retired.clone()));
}

/// Prevents ureq from using the call's connection for another request.
pub(crate) fn retire_connection() {
    if let Some(retired) = with_current(|call| call.retired.take()).flatten() {
        retired.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_panic_restores_the_outer_call() {
        let cancel = Cancel::default();
        run(&cancel, None, || {
            record_write();
            let call_panics = || run(&cancel, None, || -> () { panic!("in a body") });
            assert!(catch_unwind(AssertUnwindSafe(call_panics)).is_err());
            assert!(has_written());
        });
        assert!(!has_written());
    }
}
