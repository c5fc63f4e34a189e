//! Header fields.

use http::header::{HeaderName, HeaderValue};

use crate::error::{Error, ErrorKind};

/// Converts a name and a value to a header. The error has the kind [`ErrorKind::InvalidRequest`].
pub(crate) fn parse_header<N, V>(name: N, value: V) -> Result<(HeaderName, HeaderValue), Error>
where
    N: TryInto<HeaderName>,
    N::Error: Into<http::Error>,
    V: TryInto<HeaderValue>,
    V::Error: Into<http::Error>,
{
    let invalid = |error: http::Error| Error::new(ErrorKind::InvalidRequest).with_source(error);
    Ok((
        name.try_into().map_err(|error| invalid(error.into()))?,
        value.try_into().map_err(|error| invalid(error.into()))?,
    ))
}
