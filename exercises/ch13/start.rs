//! Chapter 13: test an hour of waiting.
//!
//! `Poller::wait_for_report` requests `http://reports.test/today` every minute. While the status is 202, the report
//! is not ready. Then the function returns the report.
//!
//! `test` lets the report be ready at once, so it never waits. Change `test` so that the report is ready after an
//! hour. Your test must pass with a correct `Poller`, and panic with one that has a mistake.

use inflight::BlockOn;
use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::Virtual;

use crate::Poller;

/// Panics if the poller has a mistake.
pub fn test(poller: &Poller) {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    mock.on(When::get("/today"), Reply::text("all is well"));

    let session = mock.session().build().unwrap();
    let report = runtime.block_on(poller.wait_for_report(&session)).unwrap();
    assert_eq!(report, "all is well");
}
