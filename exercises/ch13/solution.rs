//! Sixty responses with the status 202 make the function wait sixty minutes. In virtual time, they take no time.
//! `elapsed` shows how long the function has waited. `assert_all_used` fails if the function has sent fewer requests.

use std::time::Duration;

use inflight::BlockOn;
use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::Virtual;

use crate::Poller;

/// Panics if the poller has a mistake.
pub fn test(poller: &Poller) {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    mock.on(When::get("/today").times(60), Reply::status(202));
    mock.on(When::get("/today"), Reply::text("all is well"));

    let session = mock.session().build().unwrap();
    let report = runtime.block_on(poller.wait_for_report(&session)).unwrap();
    assert_eq!(report, "all is well");
    assert_eq!(runtime.elapsed(), Duration::from_secs(60 * 60));
    mock.assert_all_used();
}
