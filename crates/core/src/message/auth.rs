//! Header values that contain credentials. Their `Debug` output hides the credentials.

use base64::Engine;
use http::HeaderValue;

use crate::error::{Error, ErrorKind};

/// Returns the header value of basic authentication (RFC 7617) for `user:password`.
pub(crate) fn basic(pair: &[u8]) -> Result<HeaderValue, Error> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    sensitive(format!("Basic {encoded}"))
}

/// Returns the header value of a bearer token (RFC 6750).
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, Error> {
    sensitive(format!("Bearer {token}"))
}

fn sensitive(value: String) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|error| Error::new(ErrorKind::InvalidRequest).with_source(error))?;
    value.set_sensitive(true);
    Ok(value)
}
