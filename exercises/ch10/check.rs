//! Checks which requests are repeated, and when.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use inflight::http::Method;
use inflight::{Error, ErrorKind, Response, Session};
use inflight_exercises::{Answer, Reason, Server, Verdict, require, run, seconds};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "the response of a POST was lost, and the POST was sent 4 times: the shop has 4 orders instead of one";
const RETRY_AFTER: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::send),
        || check(solution::send),
    )
}

fn check(send: impl AsyncFn(&Session, Method, &str) -> Result<Response, Error>) -> Verdict {
    check_post(&send)?;
    check_get(&send)?;
    check_missing(&send)?;
    Ok("the GET was retried when the server allowed it, and the POST was sent once".to_owned())
}

fn check_post(
    send: &impl AsyncFn(&Session, Method, &str) -> Result<Response, Error>,
) -> Result<(), Reason> {
    let server = Server::new(|_| Answer::error(ErrorKind::Incomplete));
    let result = server.block_on(send(
        &server.session(),
        Method::POST,
        "http://shop.test/orders",
    ));
    let sent = server.requests().len();
    require(
        sent == 1,
        format_args!(
            "the response of a POST was lost, and the POST was sent {sent} times: the shop has {sent} orders instead \
             of one"
        ),
    )?;
    require(
        result.is_err(),
        "the response of a POST was lost, and the function returned no error",
    )
}

fn check_get(
    send: &impl AsyncFn(&Session, Method, &str) -> Result<Response, Error>,
) -> Result<(), Reason> {
    let attempts = AtomicUsize::new(0);
    let server = Server::new(move |_| match attempts.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Answer::status(503, "overloaded").header("retry-after", "5"),
        _ => Answer::text("the report"),
    });
    let response = server.block_on(send(
        &server.session(),
        Method::GET,
        "http://shop.test/report",
    ))?;
    let requests = server.requests();
    for pair in requests.windows(2) {
        let pause = pair[1].start - pair[0].start;
        require(
            pause >= RETRY_AFTER,
            format_args!(
                "the server asked with `Retry-After` to wait {}, and the next GET came after {}",
                seconds(RETRY_AFTER),
                seconds(pause)
            ),
        )?;
    }
    let (status, sent) = (response.status(), requests.len());
    require(
        status == 200,
        format_args!(
            "the third GET to an overloaded server succeeds; the function returned the status {status} after \
             {sent} requests"
        ),
    )
}

fn check_missing(
    send: &impl AsyncFn(&Session, Method, &str) -> Result<Response, Error>,
) -> Result<(), Reason> {
    let server = Server::new(|_| Answer::status(404, "Not Found"));
    // A response and an error of the kind `Status` are both correct.
    let _ = server.block_on(send(
        &server.session(),
        Method::GET,
        "http://shop.test/missing",
    ));
    let sent = server.requests().len();
    require(
        sent == 1,
        format_args!(
            "a page does not exist, and the function requested it {sent} times: a 404 does not go away"
        ),
    )
}
