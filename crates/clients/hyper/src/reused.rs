//! Whether a request had a connection that was there before it.
//!
//! hyper says of two things that the message was incomplete: of a server that hangs up on a
//! request, and of one that had hung up before it came. Only after the second is a request worth
//! sending again, and only a kept connection can have that.
//!
//! hyper-util waits for a kept connection and for the connector at once, in the poll of the
//! request that needs one; when the kept one is there first, the connector goes on in a task of
//! its own. So a connector that ends in a request's poll has made that request's connection.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

thread_local! {
    static CONNECTED: Cell<bool> = const { Cell::new(false) };
}

/// Called by the connector at its end.
pub(crate) fn connected() {
    CONNECTED.set(true);
}

/// The output of a request, and whether it went out on a kept connection.
pub(crate) async fn watch<F: Future>(request: F) -> (F::Output, bool) {
    let mut request = pin!(request);
    let mut reused = true;
    let output = poll_fn(|cx| {
        let outer = CONNECTED.replace(false);
        let polled = request.as_mut().poll(cx);
        reused &= !CONNECTED.replace(outer);
        polled
    })
    .await;
    (output, reused)
}
