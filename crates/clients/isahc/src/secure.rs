//! The TLS configuration of libcurl.

use std::sync::OnceLock;

use http::request::Builder;
use inflight_core::{ClientOptions, Error, HttpVersions, TlsOptions};
use inflight_net::tls::{Tls, roots};
use isahc::config::{Configurable, VersionNegotiation};
use isahc::tls::{TlsConfig, TrustStore};

use crate::unsupported_error;

/// The TLS settings of `https` requests.
pub(crate) struct TlsSettings {
    options: TlsOptions,
    http2: bool,
    /// Created at the first `https` request. `http` requests are sent without this configuration, because it
    /// contains all root certificates and libcurl copies them for each connection.
    config: OnceLock<TlsConfig>,
}

impl TlsSettings {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        if options.tls.identity.is_some() {
            return Err(unsupported_error(NO_IDENTITY));
        }
        if options.tls.danger_accept_invalid_hostnames {
            return Err(unsupported_error(NO_UNCHECKED_NAMES));
        }
        // Reports a mistake in the certificates now. libcurl would report it at the first connection.
        Tls::new(options, true)?;
        Ok(Self {
            options: options.tls.clone(),
            http2: options.versions == HttpVersions::PreferHttp2,
            config: OnceLock::new(),
        })
    }

    /// Adds the TLS settings to a request. A request that is not idempotent uses HTTP/1.1: over HTTP/2 it
    /// would share a connection, and libcurl would resend it if that connection died.
    pub(crate) fn apply(&self, request: Builder, is_idempotent: bool) -> Builder {
        let config = self.config.get_or_init(|| {
            let config = TlsConfig::builder();
            if self.options.danger_accept_invalid_certs {
                // Sets no root certificates: none are needed here, and the list may be empty, which libcurl
                // rejects.
                return config.danger_accept_invalid_certs(true).build();
            }
            let store = roots(&self.options).fold(TrustStore::builder(), |store, root| {
                store.certificate_from_der(root)
            });
            config.trust_store(store.build()).build()
        });
        let request = request.tls_config(config.clone());
        if self.http2 && is_idempotent {
            return request.version_negotiation(VersionNegotiation::latest_compatible());
        }
        request
    }
}

pub(crate) const NO_IDENTITY: &str = "libcurl's rustls reads client certificates only from files";
pub(crate) const NO_UNCHECKED_NAMES: &str =
    "libcurl's rustls checks both the certificate and its host name, or neither";
