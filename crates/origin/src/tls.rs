//! Certificates that are generated at run time, and TLS for servers.

use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    ALL_VERSIONS, RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto, version,
};
use tokio_rustls::server::TlsStream;

/// A certificate authority with its own key. Clients trust it only if they add its certificate.
///
/// ```
/// use inflight_origin::{Options, Origin, tls::Authority, tls::CertificateKind};
///
/// let authority = Authority::new()?;
/// let options = Options {
///     tls: Some(authority.server(CertificateKind::Valid)?),
///     ..Options::default()
/// };
/// let origin = Origin::bind(options)?;
/// assert!(origin.url("/get").starts_with("https://127.0.0.1:"));
/// assert!(authority.pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The kind of certificate that a server presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateKind {
    /// A certificate for `localhost`, `127.0.0.1` and `::1`, signed by the authority.
    Valid,
    /// A certificate like that of `Valid`, but expired in the year 2001.
    Expired,
    /// A certificate for `elsewhere.test`, signed by the authority.
    WrongHost,
    /// A certificate like that of `Valid`, but self-signed.
    SelfSigned,
}

impl Authority {
    /// Generates a new authority.
    ///
    /// # Errors
    ///
    /// Fails when the system provides no randomness.
    pub fn new() -> io::Result<Authority> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        // If two authorities had the same name, clients would confuse them and reject their signatures.
        let fingerprint = format!("{:x}", Sha256::digest(key.public_key_raw()));
        let mut params = certificate_params(&format!("authority {}", &fingerprint[..16]), &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        Ok(Authority(issuer))
    }

    /// Returns the authority's certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Returns the TLS settings of a server that presents this kind of certificate.
    ///
    /// # Errors
    ///
    /// Fails when the system provides no randomness.
    pub fn server(&self, kind: CertificateKind) -> io::Result<Tls> {
        let here = ["localhost", "127.0.0.1", "::1"];
        let mut params = match kind {
            CertificateKind::WrongHost => certificate_params("elsewhere", &["elsewhere.test"])?,
            _ => certificate_params("here", &here)?,
        };
        if kind == CertificateKind::Expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = match kind {
            CertificateKind::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.0),
        };
        Ok(Tls {
            chain: vec![certificate.map_err(io::Error::other)?.der().clone()],
            key: Arc::new(PrivatePkcs8KeyDer::from(key.serialize_der()).into()),
            client_authority: None,
            up_to_tls12: false,
        })
    }

    /// Returns a new client certificate and its key, both as PEM.
    ///
    /// # Errors
    ///
    /// Fails when the system provides no randomness.
    pub fn client(&self) -> io::Result<(String, String)> {
        let mut params = certificate_params("a client", &[])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.0).map_err(io::Error::other)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// Returns the parameters of a certificate. `name` must differ from the issuer's name. Otherwise
/// the certificate would look self-signed.
fn certificate_params(name: &str, hosts: &[&str]) -> io::Result<CertificateParams> {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// The TLS settings of an [`Origin`](crate::Origin). Created by [`Authority::server`].
#[derive(Clone, Debug)]
pub struct Tls {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    client_authority: Option<CertificateDer<'static>>,
    up_to_tls12: bool,
}

impl Tls {
    /// Refuses clients without a certificate of this authority. In TLS 1.3, the client receives the
    /// refusal only after the handshake has succeeded on the client's side.
    #[must_use]
    pub fn require_client_certificate(mut self, authority: &Authority) -> Tls {
        self.client_authority = Some(authority.0.der().clone());
        self
    }

    /// Limits the version to TLS 1.2.
    #[must_use]
    pub fn up_to_tls12(mut self) -> Tls {
        self.up_to_tls12 = true;
        self
    }

    /// Returns a TLS stream over a server's connection, for blocking reads and writes. The first
    /// read or write performs the handshake. `protocols` are the ALPN protocols, in order of
    /// preference.
    ///
    /// # Errors
    ///
    /// Fails when rustls cannot use the certificate.
    pub fn secure(
        &self,
        stream: std::net::TcpStream,
        protocols: &[&str],
    ) -> io::Result<impl io::Read + io::Write + Send + use<>> {
        let connection =
            ServerConnection::new(self.config(protocols)?).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }

    /// Returns the configuration for rustls. `protocols` are the ALPN protocols, in order of
    /// preference.
    pub(crate) fn config(&self, protocols: &[&str]) -> io::Result<Arc<ServerConfig>> {
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let versions: &[_] = match self.up_to_tls12 {
            true => &[&version::TLS12],
            false => ALL_VERSIONS,
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?;
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone()).map_err(io::Error::other)?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(io::Error::other)?)
            }
        };
        let mut config = builder
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(io::Error::other)?;
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(Arc::new(config))
    }
}

/// Performs the handshake. If it fails, returns `None`, and closes the connection in a way that
/// lets the client read the alert.
pub(crate) async fn accept(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> Option<TlsStream<TcpStream>> {
    match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => Some(stream),
        Err((_, mut stream)) => {
            // The bytes that the client has already sent must be read. Otherwise the system would
            // reset the connection on close, and the client would not receive the alert.
            let mut unread = [0; 1024];
            while matches!(stream.read(&mut unread).await, Ok(n) if n > 0) {}
            None
        }
    }
}
