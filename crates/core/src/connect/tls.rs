//! How a client secures its connections: whom it trusts, and as whom it shows itself.

use std::fmt;

use bytes::Bytes;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, ErrorKind};

/// How a client secures the connections of `https` URLs.
///
/// By default it trusts the certificate authorities that Mozilla trusts, as they were when the
/// program was built, and checks each server's certificate, its name and its times. The list is
/// compiled in, so that a program trusts the same servers on every machine and with every client;
/// the machine's own store and the environment are not read.
///
/// A client without TLS has no use for this: an `https` URL is an error there in any case.
///
/// ```
/// use inflight_core::{Certificate, ClientOptions};
///
/// fn of_a_company(pem: &str) -> Result<ClientOptions, inflight_core::Error> {
///     let mut options = ClientOptions::default();
///     options.tls.extra_roots = Certificate::from_pem(pem)?;
///     Ok(options)
/// }
/// # let pem = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
/// # assert_eq!(of_a_company(pem).unwrap().tls.extra_roots.len(), 1);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsOptions {
    /// Authorities that are trusted beside those that are compiled in: a company's own, say.
    pub extra_roots: Vec<Certificate>,
    /// Trusts [`extra_roots`](Self::extra_roots) alone: no authority of the public can then vouch
    /// for a server. Without any of them, a client cannot be built. Default false.
    pub only_extra_roots: bool,
    /// What the client shows to a server that asks for a certificate. Default: nothing.
    pub identity: Option<Identity>,
    /// Accepts any certificate for any name. Whoever sits between the client and the server can
    /// then read and change everything. Default false.
    pub danger_accept_invalid_certs: bool,
    /// Accepts a certificate that is valid, but for another name. Whoever has any valid
    /// certificate can then pass for any server. Default false.
    pub danger_accept_invalid_hostnames: bool,
}

/// An X.509 certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(Bytes);

impl Certificate {
    /// A certificate from its DER encoding, which is read when a client is built with it.
    pub fn from_der(der: impl Into<Bytes>) -> Self {
        Self(der.into())
    }

    /// The certificates in a PEM file's content, in order. Other sections are passed over.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`] when there is none, or one that is no Base64.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Vec<Self>, Error> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_ref())
            .map(|der| der.map(|der| Self(Bytes::copy_from_slice(&der))))
            .collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(unreadable("no certificate in the PEM text")),
            Err(error) => Err(unreadable("the PEM text cannot be read").with_source(error)),
        }
    }

    /// The DER encoding.
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} bytes)", self.0.len())
    }
}

/// A client's certificate with its private key. Its `Debug` does not show the key.
#[derive(Clone)]
pub struct Identity {
    chain: Vec<Certificate>,
    key: Bytes,
}

impl Identity {
    /// An identity from PEM: the certificate with those that lead up to its authority, in that
    /// order, and its key (PKCS #8, PKCS #1 or SEC 1, not encrypted). Both may be the same text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`] when either is missing or cannot be read.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        let chain = Certificate::from_pem(chain)?;
        // What went wrong is said without a cause, so that no part of a key gets into a message.
        let key = PrivateKeyDer::from_pem_slice(key.as_ref())
            .map_err(|_| unreadable("no private key in the PEM text"))?;
        Ok(Self {
            chain,
            key: Bytes::copy_from_slice(key.secret_der()),
        })
    }

    /// The certificate, followed by those that lead up to its authority.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The private key's DER encoding: PKCS #8, PKCS #1 or SEC 1.
    pub fn key_der(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

/// Which versions of HTTP a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HttpVersions {
    /// HTTP/1.1 alone.
    Http1Only,
    /// HTTP/2 where a TLS server takes it (ALPN) and the client can speak it; HTTP/1.1 with all
    /// others, and always over plain `http`.
    #[default]
    PreferHttp2,
    /// HTTP/2 alone, over plain `http` too, without asking (RFC 9113, 3.3). A client that does
    /// not speak HTTP/2 cannot be built so.
    Http2PriorKnowledge,
}

fn unreadable(what: &'static str) -> Error {
    Error::new(ErrorKind::Tls).with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "a comment\n-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n\
                       -----BEGIN CERTIFICATE-----\nBAU=\n-----END CERTIFICATE-----\n";

    #[test]
    fn pem_gives_its_certificates_in_order() {
        let found = Certificate::from_pem(PEM).unwrap();
        assert_eq!(found[0].der(), [1, 2, 3]);
        assert_eq!(found[1].der(), [4, 5]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn pem_without_a_certificate_is_an_error() {
        for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAQID\n"] {
            let error = Certificate::from_pem(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Tls, "{text:?}");
        }
    }

    #[test]
    fn an_identity_keeps_its_key_to_itself() {
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let identity = Identity::from_pem(PEM, key).unwrap();
        assert_eq!(identity.key_der(), b"secret");
        let shown = format!("{identity:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("115"),
            "{shown}"
        );
        assert!(Identity::from_pem(PEM, PEM).is_err());
    }
}
