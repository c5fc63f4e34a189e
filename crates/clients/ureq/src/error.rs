//! Conversion of ureq's errors to inflight's.

use inflight_core::{Error, ErrorKind, Phase};
use ureq::Timeout;

/// Converts an error of ureq.
pub(crate) fn from_ureq(error: ureq::Error) -> Error {
    let kind = match error {
        // An error of this crate's resolver or transport is returned unchanged.
        ureq::Error::Other(ref source) => match Error::find_in(&**source) {
            Some(inner) => return inner,
            None => ErrorKind::Io,
        },
        ureq::Error::Io(error) => {
            return inflight_net::tls::from_source_chain(&error)
                .unwrap_or_else(|| Error::from_read(error));
        }
        ureq::Error::Timeout(Timeout::Connect) => return Error::timeout(Phase::Connect),
        ureq::Error::Timeout(_) => return Error::timeout(Phase::Total),
        ureq::Error::BadUri(_) => ErrorKind::InvalidUrl,
        ureq::Error::Http(_) => ErrorKind::InvalidRequest,
        ureq::Error::BodyStalled => ErrorKind::Incomplete,
        ureq::Error::HostNotFound => ErrorKind::Resolve,
        ureq::Error::ConnectionFailed => ErrorKind::Connect,
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => ErrorKind::Proxy,
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => ErrorKind::Protocol,
        _ => ErrorKind::Io,
    };
    Error::new(kind).with_source(error)
}

/// Wraps an inflight error in ureq's error type.
pub(crate) fn to_ureq_error(error: Error) -> ureq::Error {
    ureq::Error::Other(error.into())
}
