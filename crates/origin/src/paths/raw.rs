//! Handlers that echo or send the exact bytes of headers.

use axum::response::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json as value};

use super::call::{Call, Refusal, json, text};
use super::inspect::{group_by_name, latin1, title_case};

/// Responds with the headers that the query lists, and repeats them as JSON in the body.
pub(super) async fn response_headers(call: Call) -> Result<Response, Refusal> {
    let mut response = json("");
    // The first value of a name replaces the default, so that `Content-Type` can be chosen.
    let mut replaced = Vec::new();
    for (name, value) in &call.query {
        let (name, value) = parse_field(name, value.as_bytes())?;
        if replaced.contains(&name) {
            response.headers_mut().append(name, value);
        } else {
            response.headers_mut().insert(&name, value);
            replaced.push(name);
        }
    }
    // The body contains its own length as `Content-Length`. It is rebuilt until the length no longer
    // changes.
    let mut body = Vec::new();
    loop {
        let len = body.len();
        let headers = response.headers().iter();
        let fields = headers.map(|(name, value)| {
            let value = Value::from(latin1(value.as_bytes()));
            (title_case(name.as_str()), value)
        });
        let content_length = ("Content-Length".to_owned(), Value::from(len.to_string()));
        body = group_by_name(fields.chain([content_length]))
            .to_string()
            .into_bytes();
        if body.len() == len {
            *response.body_mut() = body.into();
            return Ok(response);
        }
    }
}

/// Responds with a pair for every field of the request: the name in lower case, and the bytes of the
/// value in hex. Fields of the same name keep their order.
pub(super) async fn echo_headers(call: Call) -> Response {
    let fields: Vec<[String; 2]> = call
        .headers()
        .iter()
        .map(|(name, value)| [name.as_str().to_owned(), to_hex(value.as_bytes())])
        .collect();
    json(&value!({ "headers": fields }))
}

/// Responds with a field for every `hex` parameter. The field's name is the last `name` parameter
/// before that `hex` parameter, or `X-Raw`.
pub(super) async fn raw_header(call: Call) -> Result<Response, Refusal> {
    let mut response = text(StatusCode::OK, "see the headers\n");
    let mut current = "X-Raw";
    for (key, value) in &call.query {
        match key.as_str() {
            "name" => current = value,
            "hex" => {
                let bytes = from_hex(value)
                    .ok_or_else(|| Refusal::bad_request(format!("hex={value} is not hex")))?;
                let (name, value) = parse_field(current, &bytes)?;
                response.headers_mut().append(name, value);
            }
            _ => {
                return Err(Refusal::bad_request(format!(
                    "{key} is neither name nor hex"
                )));
            }
        }
    }
    Ok(response)
}

/// Parses a field. Refuses the fields that determine where a message ends: for these, use
/// [`script`](crate::script).
fn parse_field(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), Refusal> {
    let framing = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];
    let known = HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|name| !framing.contains(name))
        .ok_or_else(|| {
            Refusal::bad_request(format!("this path does not send the header {name:?}"))
        })?;
    let value = HeaderValue::from_bytes(value).map_err(|_| {
        Refusal::bad_request(format!("{name}: these bytes are not allowed in a header"))
    })?;
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
