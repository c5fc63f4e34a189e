//! The rows of the book's dictionary "Coming from aiohttp and httpx": one test for each row.
//!
//! The book includes the anchors. `docs/dictionary.py` checks that each row has a test and that each test has a
//! row.

mod bodies;
mod concurrency;
mod connections;
mod credentials;
mod failures;
mod observing;
mod requests;
mod sessions;
mod testing;
mod timeouts;

use std::error::Error as StdError;

use inflight::BlockOn;
use inflight::clients::Mock;
use inflight::runtimes::Virtual;
use inflight_origin::Origin;

type TestResult = Result<(), Box<dyn StdError>>;

/// Runs a test with a server of its own.
fn run(test: impl AsyncFnOnce(&Origin) -> TestResult) -> TestResult {
    let origin = Origin::start()?;
    inflight::block_on(test(&origin))
}

/// Runs a test in virtual time, in which a sleep takes no real time. The client responds from the rules of the
/// mock.
fn run_in_virtual_time(test: impl AsyncFnOnce(&Virtual, &Mock) -> TestResult) -> TestResult {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    runtime.block_on(test(&runtime, &mock))
}
