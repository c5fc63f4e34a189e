//! `assert_no_stall` and `NoStall`, with an async client whose name lookup blocks.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use futures_lite::future::{block_on, yield_now};
use inflight_probe::{FutureExt, NoStall, assert_no_stall};

const THRESHOLD: Duration = Duration::from_millis(50);

// ANCHOR: hidden
/// A slow name lookup, as `to_socket_addrs` is when a name server does not respond.
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
fn a_hidden_lookup_is_found() {
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
fn an_assertion_fails_with_the_report() {
    let _ = block_on(assert_no_stall(THRESHOLD, connect()));
}

#[test]
fn an_allowed_stall_is_not_reported_and_an_unused_label_is() {
    let rule = NoStall::within(THRESHOLD).allow("connect").allow("unused");
    let (_, findings) = block_on(rule.check(connect().probed("connect"))).unwrap();
    assert!(findings.stalls.is_empty(), "{findings}");
    assert_eq!(findings.unused, ["unused"]);
    assert_eq!(findings.to_string(), "allowed, but did not stall: unused");
}

#[test]
fn a_future_that_only_waits_is_clean() {
    let thread = thread::spawn(|| thread::sleep(THRESHOLD * 4));
    let waits = async {
        while !thread.is_finished() {
            yield_now().await;
        }
        7
    };
    assert_eq!(block_on(assert_no_stall(THRESHOLD * 20, waits)), 7);
}
