//! TLS, as libcurl is told of it.

use std::sync::OnceLock;

use http::request::Builder;
use inflight_core::{ClientOptions, Error, HttpVersions, TlsOptions};
use inflight_net::tls::{Tls, roots};
use isahc::config::{Configurable, VersionNegotiation};
use isahc::tls::{TlsConfig, TrustStore};

use crate::unsupported;

/// What an `https` request is given beside all others.
pub(crate) struct TlsSettings {
    options: TlsOptions,
    http2: bool,
    /// Made at the first such request. It holds every authority, and libcurl copies it for each
    /// connection, so other requests go without.
    config: OnceLock<TlsConfig>,
}

impl TlsSettings {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        if options.tls.identity.is_some() {
            return Err(unsupported(NO_IDENTITY));
        }
        if options.tls.danger_accept_invalid_hostnames {
            return Err(unsupported(NO_UNCHECKED_NAMES));
        }
        // libcurl reads the certificates at the first connection; a mistake is found here.
        Tls::new(options, true)?;
        Ok(Self {
            options: options.tls.clone(),
            http2: options.versions == HttpVersions::PreferHttp2,
            config: OnceLock::new(),
        })
    }

    /// A request that is not idempotent stays with HTTP/1.1: over HTTP/2 it would share a connection with
    /// others, and libcurl would resend it if that connection died.
    pub(crate) fn apply(&self, request: Builder, is_idempotent: bool) -> Builder {
        let config = self.config.get_or_init(|| {
            let config = TlsConfig::builder();
            if self.options.danger_accept_invalid_certs {
                // No authority is asked for, and libcurl takes no list without any.
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

pub(crate) const NO_IDENTITY: &str = "libcurl's rustls reads client certificates from files alone";
pub(crate) const NO_UNCHECKED_NAMES: &str = "libcurl's rustls checks names, or nothing at all";
