//! Conversion of rustls's errors to inflight's.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use inflight_core::{Error, TlsFault};
use rustls::CertificateError;

/// The error of [`Verifier`](super::verify::Verifier) for a self-signed certificate.
#[derive(Debug)]
pub(crate) struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is self-signed")
    }
}

impl StdError for SelfSigned {}

/// Converts an error of rustls.
pub fn from_rustls(error: rustls::Error) -> Error {
    Error::tls(fault(&error)).with_source(error)
}

/// Converts the error of a failed handshake. The result always has the kind
/// [`Tls`](inflight_core::ErrorKind::Tls).
pub fn handshake_error(error: io::Error) -> Error {
    from_source_chain(&error).unwrap_or_else(|| {
        let kind = error.kind();
        let context = match kind {
            io::ErrorKind::UnexpectedEof => "the server closed the connection during the handshake",
            _ => "the connection failed during the handshake",
        };
        Error::tls(TlsFault::Other)
            .with_context(context)
            .with_source(error)
    })
}

/// Converts the first error of rustls in the error's chain of sources, if there is one.
pub fn from_source_chain(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(from_rustls(found.clone()));
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn fault(error: &rustls::Error) -> TlsFault {
    let rustls::Error::InvalidCertificate(error) = error else {
        return TlsFault::Other;
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::WrongHost
        }
        CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
        CertificateError::Other(other) if other.0.is::<SelfSigned>() => TlsFault::SelfSigned,
        _ => TlsFault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_source_chain_converts_the_first_error_of_rustls() {
        let nested = io::Error::other(io::Error::other(rustls::Error::DecryptError));
        let found = from_source_chain(&nested).unwrap();
        assert_eq!(found.tls_fault(), Some(TlsFault::Other));
        assert!(from_source_chain(&io::Error::other("another")).is_none());
    }
}
