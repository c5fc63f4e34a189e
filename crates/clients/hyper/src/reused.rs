//! Whether a request had a connection that was there before it.
//!
//! hyper says of two things that the message was incomplete: of a server that hangs up on a
//! request, and of one that had hung up before it came. Only after the second is a request worth
//! sending again, and only a kept connection can have that.
//!
//! hyper-util asks the connector while it polls the request that needs a connection, on the same
//! thread. So what the connector notes in a thread-local is of this request.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

thread_local! {
    static CONNECTS: Cell<bool> = const { Cell::new(false) };
}

/// Called by the connector.
pub(crate) fn connects() {
    CONNECTS.set(true);
}

/// The output of a request, and whether it went out on a kept connection. `false` when another
/// request gave its connection back while this one was making its own.
pub(crate) async fn watch<F: Future>(request: F) -> (F::Output, bool) {
    let mut request = pin!(request);
    let mut reused = true;
    let output = poll_fn(|cx| {
        let outer = CONNECTS.replace(false);
        let polled = request.as_mut().poll(cx);
        reused &= !CONNECTS.replace(outer);
        polled
    })
    .await;
    (output, reused)
}
