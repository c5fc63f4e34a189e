//! Chapter 13 (`docs/src/tutorial/ch13.md`): test a wait of an hour.
//!
//! `Poller::wait_for_report` requests `http://reports.test/today` every minute. While the report is not ready, the
//! response has the status 202. When the report is ready, the function returns it.
//!
//! In `test`, the report is ready at once, so the poller never waits. Change `test` so that the report is ready after
//! an hour. Your test must pass with a correct `Poller`, and panic with one that has a mistake.

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
