//! Handlers that echo the request as JSON.

use axum::extract::{FromRequest, Multipart};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Request};
use serde_json::map::Entry;
use serde_json::{Map, Value, json as value};
use url::form_urlencoded;

use super::call::{Call, Refusal, json};

pub(super) async fn without_body(call: Call) -> Response {
    json(&value!({
        "args": args(&call),
        "headers": headers_of(call.headers()),
        "origin": call.peer,
        "url": url(&call),
    }))
}

pub(super) async fn with_body(call: Call) -> Result<Response, Refusal> {
    Ok(json(&echo(&call).await?))
}

pub(super) async fn anything(call: Call) -> Result<Response, Refusal> {
    let mut object = echo(&call).await?;
    object["method"] = call.head.method.as_str().into();
    Ok(json(&object))
}

pub(super) async fn headers(call: Call) -> Response {
    json(&value!({ "headers": headers_of(call.headers()) }))
}

pub(super) async fn ip(call: Call) -> Response {
    json(&value!({ "origin": call.peer }))
}

pub(super) async fn user_agent(call: Call) -> Response {
    let agent = call.headers().get(USER_AGENT);
    json(&value!({ "user-agent": agent.map(|agent| latin1(agent.as_bytes())) }))
}

/// Returns the JSON that `/post` responds with.
pub(super) async fn echo(call: &Call) -> Result<Value, Refusal> {
    let mut object = value!({
        "args": args(call),
        "data": "",
        "files": {},
        "form": {},
        "headers": headers_of(call.headers()),
        "json": null,
        "origin": call.peer,
        "url": url(call),
    });
    let media = call.headers().get(CONTENT_TYPE);
    let media = media.map_or_else(String::new, |media| latin1(media.as_bytes()));
    match media.split(';').next().unwrap_or("").trim() {
        "application/x-www-form-urlencoded" => {
            let fields = form_urlencoded::parse(&call.body).into_owned();
            object["form"] = group_by_name(fields.map(|(name, value)| (name, value.into())));
        }
        "multipart/form-data" => (object["form"], object["files"]) = multipart_parts(call).await?,
        _ => {
            object["data"] = text_or_data_url(&call.body);
            object["json"] = serde_json::from_slice(&call.body).unwrap_or_default();
        }
    }
    Ok(object)
}

fn args(call: &Call) -> Value {
    let pairs = call.query.iter();
    group_by_name(pairs.map(|(name, value)| (name.clone(), Value::from(value.as_str()))))
}

/// Returns the headers as httpbin shows them: names in title case, the values of a repeated name
/// joined by commas, and bytes decoded as Latin-1.
pub(super) fn headers_of(headers: &HeaderMap) -> Value {
    let fields = headers.keys().map(|name| {
        let values: Vec<String> = headers
            .get_all(name)
            .iter()
            .map(|value| latin1(value.as_bytes()))
            .collect();
        (title_case(name.as_str()), Value::from(values.join(",")))
    });
    Value::Object(fields.collect())
}

/// Returns the request's URL: scheme, host, path and query.
fn url(call: &Call) -> String {
    base(call)
        + call
            .head
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
}

/// Returns the part of [`url`] before the path.
pub(super) fn base(call: &Call) -> String {
    let host = call.headers().get(HOST).map(|host| latin1(host.as_bytes()));
    // A request over HTTP/2 has the authority in its target, instead of a `Host` header.
    let authority = || call.head.uri.authority().map(ToString::to_string);
    let host = host.or_else(authority);
    let scheme = if call.tls { "https" } else { "http" };
    format!("{scheme}://{}", host.as_deref().unwrap_or("localhost"))
}

/// Returns the fields and the files of a multipart form.
async fn multipart_parts(call: &Call) -> Result<(Value, Value), Refusal> {
    let bad = |error: &dyn std::fmt::Display| Refusal::bad_request(format!("multipart: {error}"));
    let mut request = Request::new(call.body.clone().into());
    *request.headers_mut() = call.headers().clone();
    *request.extensions_mut() = call.head.extensions.clone();
    let mut multipart = Multipart::from_request(request, &())
        .await
        .map_err(|error| bad(&error))?;

    let (mut form, mut files) = (Vec::new(), Vec::new());
    while let Some(field) = multipart.next_field().await.map_err(|error| bad(&error))? {
        let name = field.name().unwrap_or("").to_owned();
        let part = if field.file_name().is_some() {
            &mut files
        } else {
            &mut form
        };
        let bytes = field.bytes().await.map_err(|error| bad(&error))?;
        part.push((name, text_or_data_url(&bytes)));
    }
    Ok((
        group_by_name(form.into_iter()),
        group_by_name(files.into_iter()),
    ))
}

/// Groups values by name. A name that occurs once maps to its value, and a repeated name maps to
/// the array of its values. The values themselves must not be arrays.
pub(super) fn group_by_name(pairs: impl Iterator<Item = (String, Value)>) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs {
        match object.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Value::Array(values) => values.push(value),
                first => *first = value!([first.take(), value]),
            },
        }
    }
    Value::Object(object)
}

/// Returns the bytes as text, or as a `data:` URL if they are not UTF-8.
fn text_or_data_url(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => format!(
            "data:application/octet-stream;base64,{}",
            STANDARD.encode(bytes)
        )
        .into(),
    }
}

pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

pub(super) fn title_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_title_case_as_in_httpbin() {
        for (name, expected) in [
            ("x-forwarded-FOR", "X-Forwarded-For"),
            ("etag", "Etag"),
            ("-a-", "-A-"),
            ("", ""),
        ] {
            assert_eq!(title_case(name), expected);
        }
    }
}
