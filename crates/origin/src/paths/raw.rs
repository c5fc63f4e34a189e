//! Paths with exact control over header bytes.

use axum::response::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json as value};

use super::call::{Call, Refusal, json, text};
use super::inspect::{grouped, latin1, title};

/// Responds with the headers in the query, and shows them in the body.
pub(super) async fn response_headers(call: Call) -> Result<Response, Refusal> {
    let mut response = json("");
    // The first value of a name replaces the default, so that `Content-Type` can be chosen.
    let mut seen = Vec::new();
    for (name, value) in &call.query {
        let (name, value) = field(name, value.as_bytes())?;
        if seen.contains(&name) {
            response.headers_mut().append(name, value);
        } else {
            response.headers_mut().insert(&name, value);
            seen.push(name);
        }
    }
    // The body contains its own length, so it is made again until the length no longer changes.
    let mut body = Vec::new();
    loop {
        let len = body.len();
        let headers = response.headers().iter();
        let shown = headers.map(|(name, value)| {
            let value = Value::from(latin1(value.as_bytes()));
            (title(name.as_str()), value)
        });
        let own = ("Content-Length".to_owned(), Value::from(len.to_string()));
        body = grouped(shown.chain([own])).to_string().into_bytes();
        if body.len() == len {
            *response.body_mut() = body.into();
            return Ok(response);
        }
    }
}

/// Responds with every field of the request as a pair of its name in lower case and its bytes in hex.
/// Fields of the same name keep their order.
pub(super) async fn echo_headers(call: Call) -> Response {
    let fields: Vec<[String; 2]> = call
        .headers()
        .iter()
        .map(|(name, value)| [name.as_str().to_owned(), to_hex(value.as_bytes())])
        .collect();
    json(&value!({ "headers": fields }))
}

/// Responds with a field for every `hex`, named by the last `name` before it.
pub(super) async fn raw_header(call: Call) -> Result<Response, Refusal> {
    let mut response = text(StatusCode::OK, "see the headers\n");
    let mut current = "X-Raw";
    for (key, value) in &call.query {
        match key.as_str() {
            "name" => current = value,
            "hex" => {
                let bytes = from_hex(value)
                    .ok_or_else(|| Refusal::bad(format!("hex={value} is not hex")))?;
                let (name, value) = field(current, &bytes)?;
                response.headers_mut().append(name, value);
            }
            _ => return Err(Refusal::bad(format!("{key} is neither name nor hex"))),
        }
    }
    Ok(response)
}

/// Returns a field, unless it would change where the message ends. Use a script for such faults.
fn field(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), Refusal> {
    let framing = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];
    let known = HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|name| !framing.contains(name))
        .ok_or_else(|| Refusal::bad(format!("{name:?} is not a header this path sends")))?;
    let value = HeaderValue::from_bytes(value)
        .map_err(|_| Refusal::bad(format!("{name}: these bytes are not allowed in a header")))?;
    Ok((known, value))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| {
        pairs
            .iter()
            .map(|[high, low]| (high << 4 | low) as u8)
            .collect()
    })
}
