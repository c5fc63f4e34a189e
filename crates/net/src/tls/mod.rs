//! TLS for inflight's clients: a shared rustls configuration and shared error kinds.
//!
//! [`Tls`] creates a rustls configuration from the core's [`ClientOptions`], for clients without their own
//! TLS. [`from_rustls`], [`handshake_error`] and [`from_source_chain`] convert rustls's errors, so every
//! client reports the same kinds. libcurl uses its own build of rustls, with the same [`roots`].
//!
//! The cryptography provider is aws-lc-rs, because libcurl's rustls depends on it in any case.

mod error;
mod verify;

use std::sync::{Arc, OnceLock};

use inflight_core::{ClientOptions, Error, HttpVersions, TlsFault, TlsOptions};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

pub use error::{from_rustls, from_source_chain, handshake_error};
pub use rustls;

/// The TLS configuration of a client.
///
/// The built-in root certificates are parsed when the first connection needs them, so a session without
/// `https` does not parse them.
#[derive(Debug)]
pub struct Tls {
    options: TlsOptions,
    protocols: Vec<Vec<u8>>,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    /// Returns the TLS configuration of a client.
    ///
    /// With `supports_http2`, it offers the HTTP versions that the options select; without, it offers only
    /// HTTP/1.1.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`](inflight_core::ErrorKind::Tls) if a certificate or a key among the
    /// options cannot be read, or if the key does not match the certificate.
    pub fn new(options: &ClientOptions, supports_http2: bool) -> Result<Self, Error> {
        let protocols: &[&[u8]] = match options.versions {
            _ if !supports_http2 => &[b"http/1.1"],
            HttpVersions::Http1Only => &[b"http/1.1"],
            HttpVersions::Http2PriorKnowledge => &[b"h2"],
            _ => &[b"h2", b"http/1.1"],
        };
        let tls = Self {
            options: options.tls.clone(),
            protocols: protocols.iter().map(|name| name.to_vec()).collect(),
            config: OnceLock::new(),
        };
        // Reports a mistake in the caller's certificates now and not at the first request.
        let custom = &tls.options;
        if !custom.extra_roots.is_empty() || custom.only_extra_roots || custom.identity.is_some() {
            tls.config()?;
        }
        Ok(tls)
    }

    /// Returns the rustls configuration.
    ///
    /// # Errors
    ///
    /// The same as [`new`](Self::new), which has already checked the caller's certificates.
    pub fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let built = Arc::new(self.build()?);
        // Another thread may have set an equal configuration in the meantime.
        Ok(self.config.get_or_init(|| built).clone())
    }

    fn build(&self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = verify::Verifier::new(
            self.chain_verifier(&provider)?,
            &provider,
            self.options.danger_accept_invalid_hostnames,
        );
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(from_rustls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.options.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = identity.chain().iter();
                let chain =
                    chain.map(|certificate| CertificateDer::from(certificate.der().to_vec()));
                let key = PrivateKeyDer::try_from(identity.key_der().to_vec())
                    .map_err(|_| config_error("the client certificate's key cannot be read"))?;
                builder
                    .with_client_auth_cert(chain.collect(), key)
                    .map_err(|error| {
                        config_error("the client certificate cannot be used").with_source(error)
                    })?
            }
        };
        config.alpn_protocols.clone_from(&self.protocols);
        Ok(config)
    }

    /// Returns a verifier of certificate chains, or `None` if the options accept every certificate.
    fn chain_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<WebPkiServerVerifier>>, Error> {
        let mut store = RootCertStore::empty();
        for root in &self.options.extra_roots {
            store
                .add(CertificateDer::from(root.der()))
                .map_err(|error| {
                    config_error("a root certificate cannot be read").with_source(error)
                })?;
        }
        if self.options.danger_accept_invalid_certs {
            return Ok(None);
        }
        store.add_parsable_certificates(built_in(&self.options).iter().cloned());
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
            .build()
            .map(Some)
            .map_err(|error| config_error("no root certificate is configured").with_source(error))
    }
}

/// Returns the root certificates that the options trust, in DER: the caller's certificates and, unless the
/// options exclude them, the built-in ones.
pub fn roots(options: &TlsOptions) -> impl Iterator<Item = &[u8]> {
    let extra = options.extra_roots.iter().map(|root| root.der());
    let built_in = built_in(options).iter();
    built_in.map(|root| &**root).chain(extra)
}

fn built_in(options: &TlsOptions) -> &'static [CertificateDer<'static>] {
    match options.only_extra_roots {
        true => &[],
        false => webpki_root_certs::TLS_SERVER_ROOT_CERTS,
    }
}

/// Converts the host of a URL to the name that the server's certificate must have.
///
/// # Errors
///
/// [`ErrorKind::Tls`](inflight_core::ErrorKind::Tls) if the host is neither a DNS name nor an IP address.
pub fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|error| {
        config_error("the host is not a valid certificate name").with_source(error)
    })
}

fn config_error(context: &'static str) -> Error {
    Error::tls(TlsFault::Other).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use inflight_core::{Certificate, ErrorKind};

    /// Returns a root certificate that the tests add to `extra_roots`.
    fn root() -> Certificate {
        Certificate::from_der(webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].to_vec())
    }

    #[test]
    fn extra_roots_are_trusted_in_addition_or_exclusively() {
        let mut options = TlsOptions::default();
        options.extra_roots = vec![root()];
        let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.len() + 1;
        assert_eq!(roots(&options).count(), all);
        options.only_extra_roots = true;
        assert_eq!(roots(&options).collect::<Vec<_>>(), [root().der()]);
    }

    #[test]
    fn new_fails_without_root_certificates() {
        let mut options = ClientOptions::default();
        options.tls.only_extra_roots = true;
        assert_eq!(Tls::new(&options, true).unwrap_err().kind(), ErrorKind::Tls);
        options.tls.extra_roots = vec![root()];
        assert!(Tls::new(&options, true).is_ok());
    }
}
