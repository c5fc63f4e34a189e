//! Tests of `assert_no_stall` and `NoStall`, with an async client whose name lookup blocks.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use futures_lite::future::{block_on, yield_now};
use inflight_probe::{FutureExt, NoStall, assert_no_stall};

const THRESHOLD: Duration = Duration::from_millis(50);

// ANCHOR: hidden
/// A slow name lookup, like `to_socket_addrs` with a name server that does not respond.
fn lookup() -> io::Result<SocketAddr> {
    thread::sleep(THRESHOLD * 4);
    Ok(SocketAddr::from(([127, 0, 0, 1], 80)))
}

/// An async client that hides the blocking lookup.
async fn connect() -> io::Result<SocketAddr> {
    yield_now().await;
    let address = lookup()?;
    yield_now().await;
    Ok(address)
}
// ANCHOR_END: hidden

#[test]
fn a_blocking_lookup_in_an_async_function_is_found() {
    // ANCHOR: check
    let checked = NoStall::within(THRESHOLD).check(async { connect().probed("connect").await });
    let (address, findings) = block_on(checked).unwrap();
    assert_eq!(address.unwrap().port(), 80);
    assert_eq!(findings.stalls.len(), 1, "{findings}");
    assert_eq!(findings.stalls[0].label, "connect");
    // ANCHOR_END: check
    assert!(!findings.is_clean());
}

#[test]
#[should_panic(expected = "assert_no_stall")]
fn assert_no_stall_panics_if_a_poll_stalls() {
    let _ = block_on(assert_no_stall(THRESHOLD, connect()));
}

#[test]
fn allowed_stalls_are_not_reported_but_unused_labels_are() {
    let rule = NoStall::within(THRESHOLD).allow("connect").allow("unused");
    let (_, findings) = block_on(rule.check(connect().probed("connect"))).unwrap();
    assert!(findings.stalls.is_empty(), "{findings}");
    assert_eq!(findings.unused, ["unused"]);
    assert_eq!(findings.to_string(), "allowed, but did not stall: unused");
}

#[test]
fn a_future_that_yields_while_it_waits_does_not_stall() {
    let thread = thread::spawn(|| thread::sleep(THRESHOLD * 4));
    let waits = async {
        while !thread.is_finished() {
            yield_now().await;
        }
        7
    };
    assert_eq!(block_on(assert_no_stall(THRESHOLD * 20, waits)), 7);
}
