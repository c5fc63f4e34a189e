//! Checks that an order is sent as JSON, that the receipt is read, and that a refusal is an error.

use std::process::ExitCode;

use inflight::clients::RecordedRequest;
use inflight::http::Method;
use inflight::{Error, ErrorKind, Session};
use inflight_exercises::{Answer, Reason, Server, Verdict, require, run};
use serde_json::{Value, json};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "the shop expects a body of the type `application/json`, \
    and received one of the type `application/x-www-form-urlencoded`";
const RECEIPT: &str = r#"{"customer": 4711, "number": 17, "total_cents": 3150}"#;
/// Another receipt, with another field `number`, other white space, and a larger number.
const OTHER_RECEIPT: &str =
    r#"{"item": {"number": 5}, "number" : 4000000017, "total_cents": 3150}"#;
/// The quotation mark has to be escaped in JSON. The no-break space must not be: Rust's `{:?}` escapes it in a way that
/// JSON does not have.
const ITEM: &str = "17\"\u{a0}monitor";

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::order),
        || check(solution::order),
    )
}

fn check(order: impl AsyncFn(&Session, &str, u32) -> Result<u32, Error>) -> Verdict {
    check_receipt(&order, RECEIPT, 17)?;
    check_receipt(&order, OTHER_RECEIPT, 4_000_000_017)?;

    let server = Server::new(|_| Answer::status(422, r#"{"reason": "the quantity is 0"}"#));
    match server.block_on(order(&server.session(), ITEM, 0)) {
        Err(error) if error.kind() == ErrorKind::Status => {}
        Err(error) => Err(Reason::new(format!(
            "the shop refused an order with the status 422, and the error has the kind `{:?}` instead of \
             `Status`: {error}",
            error.kind()
        )))?,
        Ok(number) => Err(Reason::new(format!(
            "the shop refused an order with the status 422, and the function returned the number {number}"
        )))?,
    }
    Ok("the order was sent as JSON, the receipt was read, and a refusal is an error".to_owned())
}

fn check_receipt(
    order: impl AsyncFn(&Session, &str, u32) -> Result<u32, Error>,
    receipt: &'static str,
    expected: u32,
) -> Result<(), Reason> {
    let server = Server::new(move |_| Answer::text(receipt));
    let result = server.block_on(order(&server.session(), ITEM, 2));
    check_request(&server)?;
    let actual = match &result {
        Ok(number) => number.to_string(),
        Err(error) => format!("an error: {error}"),
    };
    require(
        result.is_ok_and(|number| number == expected),
        format_args!(
            "the number of the receipt is {expected}, and the function returned {actual}; the response was {receipt}; \
             `json` parses every receipt if its type has a field `number` of the type `u32`"
        ),
    )
}

fn check_request(server: &Server) -> Result<(), Reason> {
    let requests = server.requests();
    let count = requests.len();
    require(
        count == 1,
        format_args!("the shop expects one request, and received {count}"),
    )?;
    let request = &requests[0].request;
    let method = &request.method;
    require(
        *method == Method::POST,
        format_args!("the shop expects a POST, and received a {method}"),
    )?;
    check_body(request)
}

fn check_body(request: &RecordedRequest) -> Result<(), Reason> {
    let content_type = match request.header("content-type") {
        Some(name) => format!("one of the type `{name}`"),
        None => "one without a type".to_owned(),
    };
    require(
        content_type.contains("application/json"),
        format_args!(
            "the shop expects a body of the type `application/json`, and received {content_type}"
        ),
    )?;
    let expected = json!({"item": ITEM, "quantity": 2});
    let body = request.text();
    let actual = serde_json::from_str::<Value>(&body);
    require(
        actual.is_ok_and(|actual| actual == expected),
        format_args!(
            "the shop expects the body {expected}, and received {body}; `json_body` writes valid JSON for any item"
        ),
    )
}
