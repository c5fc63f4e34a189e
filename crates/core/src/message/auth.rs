//! Credentials as header values that nothing prints.

use base64::Engine;
use http::HeaderValue;

use crate::error::{Error, ErrorKind};

/// `user:password` as basic authentication (RFC 7617).
pub(crate) fn basic(pair: &[u8]) -> Result<HeaderValue, Error> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    sensitive(format!("Basic {encoded}"))
}

/// A token as RFC 6750 has it.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, Error> {
    sensitive(format!("Bearer {token}"))
}

fn sensitive(value: String) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|error| Error::new(ErrorKind::InvalidRequest).with_source(error))?;
    value.set_sensitive(true);
    Ok(value)
}
