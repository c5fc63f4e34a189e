use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use url::form_urlencoded;

use crate::stats::Recorder;
use crate::timer::SharedClock;

/// The state that the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) clock: SharedClock,
}

/// The largest body that a handler reads into memory. `/upload` and `/echo` stream the body and
/// have no limit.
const BODY_LIMIT: usize = 64 << 20;

/// The time when a request's head was received, and the peer that sent it.
#[derive(Clone, Copy)]
pub(crate) struct RequestInfo {
    pub(crate) received: Instant,
    pub(crate) peer: Peer,
}

/// The client at the other end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) tls: bool,
}

/// Marks a delayed response with the time at which it was due.
#[derive(Clone, Copy)]
pub(crate) struct DueTime(pub(crate) Instant);

/// A request with its whole body.
///
/// Every handler reads the whole body, even if it ignores the content, so that the connection can
/// be reused.
pub(super) struct Call {
    pub(super) head: http::request::Parts,
    pub(super) body: Bytes,
    pub(super) query: Vec<(String, String)>,
    pub(super) peer: IpAddr,
    pub(super) tls: bool,
    pub(super) clock: SharedClock,
    received: Instant,
}

impl FromRequest<App> for Call {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Call, Refusal> {
        let (head, body) = request.into_parts();
        let Some(&RequestInfo { received, peer }) = head.extensions.get() else {
            return Err(Refusal::server_error("the request has no request info"));
        };
        let body = Limited::new(body, BODY_LIMIT).collect().await;
        let body = body
            .map_err(|error| Refusal::bad_request(format!("the body could not be read: {error}")))?
            .to_bytes();
        let query = form_urlencoded::parse(head.uri.query().unwrap_or("").as_bytes())
            .into_owned()
            .collect();
        Ok(Call {
            // A delay begins once the whole request was received.
            received: if body.is_empty() {
                received
            } else {
                app.clock.now()
            },
            head,
            body,
            query,
            peer: peer.addr.ip(),
            tls: peer.tls,
            clock: app.clock.clone(),
        })
    }
}

impl Call {
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the first query parameter of this name.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        let (_, value) = self.query.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    /// Returns the first query parameter of this name, parsed, or `default` if there is none.
    pub(super) fn param_or<T>(&self, name: &str, default: T) -> Result<T, Refusal>
    where
        T: FromStr<Err: Display>,
    {
        self.param(name).map_or(Ok(default), |value| {
            value
                .parse()
                .map_err(|error| Refusal::bad_request(format!("{name}={value}: {error}")))
        })
    }

    /// Returns the first query parameter of this name as a duration in seconds, or `default` if
    /// there is none.
    pub(super) fn seconds_or(&self, name: &str, default: f64) -> Result<Duration, Refusal> {
        seconds(name, self.param_or(name, default)?)
    }

    /// Waits until `delay` after the request was received, and marks `response` so that its lateness is
    /// recorded.
    pub(super) async fn delay_response(&self, delay: Duration, mut response: Response) -> Response {
        let due = self.received + delay;
        self.clock.sleep_until(due).await;
        response.extensions_mut().insert(DueTime(due));
        response
    }
}

/// The longest delay: an hour.
pub(super) const MAX_DELAY_MS: u64 = 3_600_000;

/// Returns `n`, or an error response if `n` exceeds the limit.
pub(super) fn check_limit(limit: u64, n: u64) -> Result<u64, Refusal> {
    if n > limit {
        return Err(Refusal::bad_request(format!("{n} is more than {limit}")));
    }
    Ok(n)
}

/// Converts a number of seconds to a duration of at most an hour.
pub(super) fn seconds(name: &str, seconds: f64) -> Result<Duration, Refusal> {
    if (0.0..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(Refusal::bad_request(format!(
            "{name}: {seconds} is not between 0 and 3600 seconds"
        )))
    }
}

/// An error response. Its body is the reason.
#[derive(Debug)]
pub(super) struct Refusal(StatusCode, String);

impl Refusal {
    pub(super) fn bad_request(why: impl Into<String>) -> Refusal {
        Refusal(StatusCode::BAD_REQUEST, why.into())
    }

    pub(super) fn server_error(why: impl Into<String>) -> Refusal {
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, why.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        text(self.0, self.1 + "\n")
    }
}

pub(super) fn answer(status: StatusCode, media: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    answer(status, "text/plain; charset=utf-8", text)
}

pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => answer(StatusCode::OK, "application/json", bytes),
        Err(error) => Refusal::server_error(error.to_string()).into_response(),
    }
}
