//! rustls's errors as ours: one table.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use inflight_core::{Error, TlsFault};
use rustls::CertificateError;

/// What [`Verifier`](super::verify::Verifier) found out about a certificate of an unknown issuer.
#[derive(Debug)]
pub(crate) struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is its own issuer")
    }
}

impl StdError for SelfSigned {}

/// The verdict on an error of rustls's.
pub fn verdict(error: rustls::Error) -> Error {
    Error::tls(fault(&error)).with_source(error)
}

/// The verdict on a handshake that failed. Whatever ended it, the connection could not be
/// secured.
pub fn handshake_error(error: io::Error) -> Error {
    find(&error).unwrap_or_else(|| {
        let kind = error.kind();
        let context = match kind {
            io::ErrorKind::UnexpectedEof => "the server ended the handshake",
            _ => "the handshake broke off",
        };
        Error::tls(TlsFault::Other)
            .with_context(context)
            .with_source(error)
    })
}

/// The verdict on an error of rustls's in a chain of causes, if one is there.
pub fn find(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(verdict(found.clone()));
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
    fn an_error_is_found_beneath_others() {
        let beneath = io::Error::other(io::Error::other(rustls::Error::DecryptError));
        let found = find(&beneath).unwrap();
        assert_eq!(found.tls_fault(), Some(TlsFault::Other));
        assert!(find(&io::Error::other("another")).is_none());
    }
}
