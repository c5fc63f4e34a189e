//! Runs the learner's test with a correct function, and with functions that have a mistake.

use std::cell::Cell;
use std::process::ExitCode;
use std::time::Duration;

use inflight::{Error, ErrorKind, Session};
use inflight_exercises::{Reason, Verdict, catch_panic, require, run};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str =
    "in the test, a correct function waits for 0 min, and it should wait for 60 min";
const MINUTE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::test),
        || check(solution::test),
    )
}

/// Waits for a report. Some pollers have a mistake.
pub struct Poller {
    pause: Duration,
    max_requests: u32,
    is_202_ready: bool,
    waited: Cell<Duration>,
}

impl Poller {
    /// Requests the report every minute until it is ready. Fails if it is not ready after a day.
    ///
    /// # Errors
    ///
    /// The error of a request. If the report is not ready after a day, an error of the kind `Deadline`.
    pub async fn wait_for_report(&self, session: &Session) -> Result<String, Error> {
        let start = session.runtime().now();
        let report = self.poll(session).await;
        self.waited.set(session.runtime().now() - start);
        report
    }

    async fn poll(&self, session: &Session) -> Result<String, Error> {
        for _ in 0..self.max_requests {
            let response = session.get("http://reports.test/today").send().await?;
            if response.status() != 202 || self.is_202_ready {
                return response.text().await;
            }
            session.runtime().sleep(self.pause).await;
        }
        let requests = self.max_requests;
        Err(Error::new(ErrorKind::Deadline)
            .with_context(format!("no report after {requests} requests")))
    }

    fn correct() -> Self {
        Self {
            pause: MINUTE,
            max_requests: 24 * 60,
            is_202_ready: false,
            waited: Cell::default(),
        }
    }
}

fn check(test: fn(&Poller)) -> Verdict {
    let correct = Poller::correct();
    catch_panic(|| test(&correct))
        .map_err(|panic| Reason::new(format!("the test fails with a correct function: {panic}")))?;
    let minutes = correct.waited.get().as_secs() / 60;
    require(
        minutes >= 60,
        format_args!(
            "in the test, a correct function waits for {minutes} min, and it should wait for 60 min"
        ),
    )?;

    let with_mistakes = [
        (
            "returns the first response, even if its status is 202",
            Poller {
                is_202_ready: true,
                ..Poller::correct()
            },
        ),
        (
            "stops after 30 requests",
            Poller {
                max_requests: 30,
                ..Poller::correct()
            },
        ),
        (
            "waits a second between two requests instead of a minute",
            Poller {
                pause: Duration::from_secs(1),
                ..Poller::correct()
            },
        ),
    ];
    for (mistake, poller) in &with_mistakes {
        require(
            catch_panic(|| test(poller)).is_err(),
            format_args!("the test also passes with a function that {mistake}"),
        )?;
    }
    Ok("the test waits for an hour of virtual time, and finds every mistake".to_owned())
}
