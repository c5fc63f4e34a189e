//! TLS: the authorities that a client trusts, the client certificate, and the versions of HTTP.

use std::fmt;

use bytes::Bytes;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, ErrorKind};

/// The TLS options of a client, for `https` URLs.
///
/// By default, the client trusts the certificate authorities that Mozilla trusted when the program
/// was built. It checks each server's certificate, including the name and the validity period. The
/// list of authorities is compiled in, so that a program trusts the same servers on every machine and
/// with every client. The client does not read the machine's certificate store or the environment.
///
/// A client without TLS ignores these options and fails for every `https` URL.
///
/// ```
/// use inflight_core::{Certificate, ClientOptions};
///
/// fn company_options(pem: &str) -> Result<ClientOptions, inflight_core::Error> {
///     let mut options = ClientOptions::default();
///     options.tls.extra_roots = Certificate::from_pem(pem)?;
///     Ok(options)
/// }
/// # let pem = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
/// # assert_eq!(company_options(pem).unwrap().tls.extra_roots.len(), 1);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsOptions {
    /// Authorities that are trusted in addition to the compiled-in ones, for example the authority
    /// of a company.
    pub extra_roots: Vec<Certificate>,
    /// Trusts only [`extra_roots`](Self::extra_roots), and no public authority. Default `false`.
    ///
    /// If this is `true` and `extra_roots` is empty, building a client fails.
    pub only_extra_roots: bool,
    /// The client certificate, for servers that request one. Default: none.
    pub identity: Option<Identity>,
    /// Accepts any certificate for any name. Default `false`.
    ///
    /// Anyone on the path between the client and the server can then read and change all data.
    pub danger_accept_invalid_certs: bool,
    /// Accepts an otherwise valid certificate that was issued for the name of another server.
    /// Default `false`.
    ///
    /// Anyone with a valid certificate can then impersonate any server.
    pub danger_accept_invalid_hostnames: bool,
}

/// An X.509 certificate.
///
/// For an example, see [`TlsOptions`].
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(Bytes);

impl Certificate {
    /// Creates a certificate from its DER encoding. Building a client parses the encoding.
    pub fn from_der(der: impl Into<Bytes>) -> Self {
        Self(der.into())
    }

    /// Returns the certificates in a PEM file's content, in order. Other sections are ignored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`] if there is no certificate, or if one is not valid Base64.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Vec<Self>, Error> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_ref())
            .map(|der| der.map(|der| Self(Bytes::copy_from_slice(&der))))
            .collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(pem_error("no certificate in the PEM text")),
            Err(error) => Err(pem_error("the PEM text cannot be read").with_source(error)),
        }
    }

    /// Returns the DER encoding.
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} bytes)", self.0.len())
    }
}

/// A client certificate with its private key. `Debug` output does not contain the key.
///
/// ```
/// use inflight_core::{Error, Identity, SessionBuilder};
///
/// fn with_identity(builder: SessionBuilder, chain: &str, key: &str) -> Result<SessionBuilder, Error> {
///     Ok(builder.client_certificate(Identity::from_pem(chain, key)?))
/// }
/// ```
#[derive(Clone)]
pub struct Identity {
    chain: Vec<Certificate>,
    key: Bytes,
}

impl Identity {
    /// Creates an identity from PEM.
    ///
    /// `chain` contains the certificate, followed by its intermediate certificates in order. `key`
    /// contains the unencrypted private key (PKCS #8, PKCS #1 or SEC 1). Both may be the same text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`] if either is missing or cannot be read.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        let chain = Certificate::from_pem(chain)?;
        // The error has no source, so that no message contains a part of the key.
        let key = PrivateKeyDer::from_pem_slice(key.as_ref())
            .map_err(|_| pem_error("no private key in the PEM text"))?;
        Ok(Self {
            chain,
            key: Bytes::copy_from_slice(key.secret_der()),
        })
    }

    /// Returns the certificate, followed by its intermediate certificates.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// Returns the private key's DER encoding: PKCS #8, PKCS #1 or SEC 1.
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

/// The versions of HTTP that a client may use.
///
/// ```
/// # use inflight_core::{HttpVersions, SessionBuilder};
/// # fn with_http1(builder: SessionBuilder) -> SessionBuilder {
/// builder.http_versions(HttpVersions::Http1Only)
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HttpVersions {
    /// HTTP/1.1 only.
    Http1Only,
    /// HTTP/2 if both the client and the TLS server support it (ALPN), otherwise HTTP/1.1. Plain
    /// `http` always uses HTTP/1.1.
    #[default]
    PreferHttp2,
    /// HTTP/2 only, without negotiation, over plain `http` too (RFC 9113, 3.3). A client that does
    /// not support HTTP/2 cannot be built with this option.
    Http2PriorKnowledge,
}

fn pem_error(context: &'static str) -> Error {
    Error::new(ErrorKind::Tls).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "a comment\n-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n\
                       -----BEGIN CERTIFICATE-----\nBAU=\n-----END CERTIFICATE-----\n";

    #[test]
    fn from_pem_returns_the_certificates_in_order() {
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
    fn debug_output_of_an_identity_does_not_contain_the_key() {
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let identity = Identity::from_pem(PEM, key).unwrap();
        assert_eq!(identity.key_der(), b"secret");
        let output = format!("{identity:?}");
        assert!(
            !output.contains("secret") && !output.contains("115"),
            "{output}"
        );
        assert!(Identity::from_pem(PEM, PEM).is_err());
    }
}
