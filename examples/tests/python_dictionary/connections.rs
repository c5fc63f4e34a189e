//! Connections: proxies, TLS, addresses and limits.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use inflight::connect::{HttpVersions, Identity, Proxies, Resolve, SystemResolver};
use inflight::http::Version;
use inflight::{ErrorKind, gather};
use inflight_origin::tls::{Authority, CertificateKind};
use inflight_origin::{ForwardProxy, Options, Origin};

use crate::{TestResult, run};

/// Starts an origin with a certificate of this authority.
fn start_tls(authority: &Authority) -> io::Result<Origin> {
    Origin::bind(Options {
        tls: Some(authority.server(CertificateKind::Valid)?),
        ..Options::default()
    })
}

#[test]
fn proxy() -> TestResult {
    run(async |origin: &Origin| {
        let forward = ForwardProxy::start(None)?;
        let proxy = format!("http://{}", forward.addr());
        let url = format!("http://pages.test:{}/page/1", origin.addr().port());
        // ANCHOR: proxy
        let session = inflight::builder().proxy(&proxy).build()?;
        let text = session.get(url).text().await?;
        // ANCHOR_END: proxy
        assert!(text.contains("Page 1"));
        assert_eq!(forward.requests().len(), 1);
        Ok(())
    })
}

#[test]
fn environment_proxies() -> TestResult {
    run(async |origin: &Origin| {
        let forward = ForwardProxy::start(None)?;
        let port = origin.addr().port();
        let variable = |name: &str| match name {
            "http_proxy" => Some(format!("http://{}", forward.addr())),
            "no_proxy" => Some("127.0.0.1".to_owned()),
            _ => None,
        };
        // ANCHOR: environment_proxies
        // In a program, `variable` is `|name| std::env::var(name).ok()`.
        let proxies = Proxies::from_env(variable)?;
        let session = inflight::builder().proxies(proxies).build()?;
        // ANCHOR_END: environment_proxies
        for host in ["pages.test", "127.0.0.1"] {
            let url = format!("http://{host}:{port}/page/1");
            assert_eq!(session.get(url).send().await?.status(), 200);
        }
        assert_eq!(forward.requests().len(), 1);
        Ok(())
    })
}

#[test]
fn own_authority() -> TestResult {
    run(async |_: &Origin| {
        let authority = Authority::new()?;
        let secure = start_tls(&authority)?;
        let (url, pem) = (secure.url("/page/1"), authority.pem());
        // ANCHOR: own_authority
        let session = inflight::builder().add_root_certificate(pem).build()?;
        let response = session.get(&url).send().await?;
        // ANCHOR_END: own_authority
        assert_eq!(response.status(), 200);
        let error = inflight::session()?.get(&url).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls);
        Ok(())
    })
}

#[test]
fn no_verification() -> TestResult {
    run(async |_: &Origin| {
        let secure = start_tls(&Authority::new()?)?;
        let url = secure.url("/page/1");
        // ANCHOR: no_verification
        let session = inflight::builder()
            .danger_accept_invalid_certs(true)
            .build()?;
        // ANCHOR_END: no_verification
        assert_eq!(session.get(url).send().await?.status(), 200);
        Ok(())
    })
}

#[test]
fn client_certificate() -> TestResult {
    run(async |_: &Origin| {
        let authority = Authority::new()?;
        let tls = authority.server(CertificateKind::Valid)?;
        let secure = Origin::bind(Options {
            tls: Some(tls.require_client_certificate(&authority)),
            ..Options::default()
        })?;
        if !inflight::session()?
            .capabilities()
            .client_certificates
            .is_yes()
        {
            return Ok(());
        }
        let (certificate, key) = authority.client()?;
        let (url, pem) = (secure.url("/page/1"), authority.pem());
        // ANCHOR: client_certificate
        let identity = Identity::from_pem(certificate, key)?;
        let session = inflight::builder()
            .add_root_certificate(pem)
            .client_certificate(identity)
            .build()?;
        // ANCHOR_END: client_certificate
        assert_eq!(session.get(url).send().await?.status(), 200);
        Ok(())
    })
}

#[test]
fn http2() -> TestResult {
    run(async |_: &Origin| {
        let authority = Authority::new()?;
        let secure = Origin::bind(Options {
            tls: Some(authority.server(CertificateKind::Valid)?),
            http2: true,
            ..Options::default()
        })?;
        let (url, pem) = (secure.url("/page/1"), authority.pem());
        // ANCHOR: http2
        let session = inflight::builder().add_root_certificate(&pem).build()?;
        let version = session.get(&url).send().await?.version();
        let has_http2 = session.capabilities().http2.is_yes();
        assert_eq!(version == Version::HTTP_2, has_http2);
        // ANCHOR_END: http2
        let session = inflight::builder()
            .add_root_certificate(pem)
            .http_versions(HttpVersions::Http1Only)
            .build()?;
        assert_eq!(session.get(url).send().await?.version(), Version::HTTP_11);
        Ok(())
    })
}

#[cfg(unix)]
#[test]
fn unix_socket() -> TestResult {
    run(async |origin: &Origin| {
        if !inflight::session()?.capabilities().unix_sockets.is_yes() {
            return Ok(());
        }
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("pages.sock");
        let relay = inflight_origin::UnixRelay::bind(&path, origin.addr())?;
        // ANCHOR: unix_socket
        let session = inflight::builder().unix_socket(path).build()?;
        let text = session.get("http://localhost/page/1").text().await?;
        // ANCHOR_END: unix_socket
        assert!(text.contains("Page 1"));
        assert_eq!(relay.connections(), 1);
        Ok(())
    })
}

// ANCHOR: resolver
/// Resolves one name to this machine, like an entry in the hosts file.
struct Pinned;

impl Resolve for Pinned {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match host {
            "pages.test" => Ok(vec![([127, 0, 0, 1], port).into()]),
            _ => SystemResolver.resolve(host, port),
        }
    }
}
// ANCHOR_END: resolver

#[test]
fn resolver() -> TestResult {
    run(async |origin: &Origin| {
        let url = format!("http://pages.test:{}/page/1", origin.addr().port());
        // ANCHOR: resolver

        let session = inflight::builder().resolver(Pinned).build()?;
        // ANCHOR_END: resolver
        assert_eq!(session.get(url).send().await?.status(), 200);
        Ok(())
    })
}

#[test]
fn limit() -> TestResult {
    run(async |origin: &Origin| {
        let urls = (1..=6).map(|n| origin.url(&format!("/page/{n}?delay_ms=20")));
        // ANCHOR: limit
        let session = inflight::builder().max_in_flight(2).build()?;
        let pages = gather(urls.map(|url| session.get(url).text()))
            .all()
            .await?;
        // ANCHOR_END: limit
        assert_eq!(pages.len(), 6);
        assert!(origin.stats().peak_in_flight <= 2);
        Ok(())
    })
}

#[test]
fn limit_per_host() -> TestResult {
    run(async |origin: &Origin| {
        let urls = (1..=6).map(|n| origin.url(&format!("/page/{n}?delay_ms=20")));
        // ANCHOR: limit_per_host
        let session = inflight::builder().max_per_host(2).build()?;
        // ANCHOR_END: limit_per_host
        gather(urls.map(|url| session.get(url).text()))
            .all()
            .await?;
        assert!(origin.stats().peak_in_flight <= 2);
        Ok(())
    })
}

#[test]
fn keepalive() -> TestResult {
    run(async |origin: &Origin| {
        // ANCHOR: keepalive
        let session = inflight::builder()
            .client_options(|options| {
                options.idle_timeout = Duration::from_secs(15);
                options.max_idle = Some(20);
            })
            .build()?;
        // ANCHOR_END: keepalive
        for _ in 0..3 {
            session.get(origin.url("/page/1")).text().await?;
        }
        assert_eq!(origin.stats().connections_accepted, 1);
        Ok(())
    })
}
