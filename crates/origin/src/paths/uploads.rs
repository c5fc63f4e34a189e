//! Handlers that stream a request body of any length and keep at most one chunk in memory.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body_util::BodyExt;
use serde_json::json as value;
use sha2::{Digest, Sha256};

use super::call::{Refusal, answer, json};

/// Responds with the request's body, and sends each chunk back as soon as it arrives.
pub(super) async fn echo(request: Request) -> Response {
    answer(
        StatusCode::OK,
        "application/octet-stream",
        request.into_body(),
    )
}

/// Responds with the length and the SHA-256 of the body, and with the framing that the head declares.
pub(super) async fn upload(request: Request) -> Result<Response, Refusal> {
    let (head, mut body): (_, Body) = request.into_parts();
    let text = |name| head.headers.get(name)?.to_str().ok();
    let chunked = text(TRANSFER_ENCODING).is_some_and(|coding| coding.contains("chunked"));
    let declared: Option<u64> = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());

    let mut digest = Sha256::new();
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::bad_request(format!("the body could not be read: {error}"))
        })?;
        if let Some(data) = frame.data_ref() {
            digest.update(data);
            len += data.len() as u64;
        }
    }
    Ok(json(&value!({
        "bytes": len,
        "sha256": format!("{:x}", digest.finalize()),
        "chunked": chunked,
        "content_length": declared,
    })))
}
