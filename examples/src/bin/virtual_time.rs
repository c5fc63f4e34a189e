//! Tests a polling function in virtual time, with mock responses: `just run virtual_time`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::Duration;

use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::Virtual;
use inflight::{BlockOn, Error, Retry, Session};

// ANCHOR: poll
/// Requests the report once a minute until it is ready. This is the function under test.
async fn report(session: &Session) -> Result<String, Error> {
    loop {
        let response = session.get("http://reports.test/today").send().await?;
        if response.status() != 202 {
            return response.error_for_status()?.text().await;
        }
        session.runtime().sleep(Duration::from_secs(60)).await;
    }
}
// ANCHOR_END: poll

// ANCHOR: test
fn main() -> Result<(), Error> {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    mock.on(When::get("/today"), Reply::status(202));
    mock.on(
        When::get("/today"),
        Reply::status(202).after(Duration::from_secs(5)),
    );
    // An overloaded server that sends a Retry-After header.
    mock.on(
        When::get("/today"),
        Reply::status(503).header("retry-after", "3600"),
    );
    mock.on(When::get("/today"), Reply::text("all is well"));

    let session = mock.session().retry(Retry::new(2)).timeout(None).build()?;
    let text = runtime.block_on(report(&session))?;
    println!("{text:?} after {:?}", runtime.elapsed());
    println!("{} requests", mock.requests().len());
    // Panics if a rule was not used, or if a request matched no rule.
    mock.assert_all_used();
    Ok(())
}
// ANCHOR_END: test
