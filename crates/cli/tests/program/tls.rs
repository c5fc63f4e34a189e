//! Tests of TLS and of trusted certificate authorities.

use std::fs;
use std::path::PathBuf;

use inflight_origin::tls::{Authority, CertificateKind};
use inflight_origin::{Options, Origin, payload};

use crate::program::{backends, kinds, run};

/// Returns a TLS server, a temporary folder, and the path of a file in this folder with the server's
/// certificate authority.
fn tls_origin() -> (Origin, tempfile::TempDir, PathBuf) {
    let authority = Authority::new().unwrap();
    let options = Options {
        tls: Some(authority.server(CertificateKind::Valid).unwrap()),
        http2: true,
        ..Options::default()
    };
    let origin = Origin::bind(options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    fs::write(&file, authority.pem()).unwrap();
    (origin, folder, file)
}

#[test]
fn cacert_adds_a_trusted_authority() {
    let (origin, _folder, file) = tls_origin();
    let (url, file) = (origin.url("/page/1"), file.to_str().unwrap());
    for backend in backends() {
        let ran = run(["get", "--backend", backend, "--cacert", file, &url]);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{backend}");
        assert_eq!(ran.stdout, payload::page(1), "{backend}");

        let ran = run(["gather", "--backend", backend, "--cacert", file, &url, &url]);
        assert_eq!(kinds(&ran.records()), ["ok", "ok"], "{backend}");
        assert_eq!(ran.code, Some(0), "{backend}");
    }
}

#[test]
fn insecure_accepts_an_unknown_authority_with_a_warning() {
    let (origin, _folder, _) = tls_origin();
    for backend in backends() {
        let ran = run([
            "get",
            "--backend",
            backend,
            "--insecure",
            &origin.url("/page/1"),
        ]);
        assert_eq!(
            (ran.code, ran.stdout),
            (Some(0), payload::page(1)),
            "{backend}"
        );
        assert!(ran.stderr.starts_with("warning: --insecure"), "{backend}");
    }
}

#[test]
fn the_http_version_can_be_chosen() {
    let (origin, _folder, file) = tls_origin();
    let (url, file) = (origin.url("/page/1"), file.to_str().unwrap());
    let version = |option: &str| {
        let ran = run([
            "gather",
            "--backend",
            "tokio",
            "--cacert",
            file,
            option,
            &url,
        ]);
        ran.records()[0]["version"].clone()
    };
    assert_eq!(version("--http1.1"), "HTTP/1.1");
    assert_eq!(version("--http2"), "HTTP/2.0");
    let ran = run(["get", "--http1.1", "--http2", &url]);
    assert_eq!(ran.code, Some(2));
}

#[test]
fn an_unknown_authority_is_not_trusted() {
    let (origin, _folder, _) = tls_origin();
    for backend in backends() {
        let ran = run(["gather", "--backend", backend, &origin.url("/page/1")]);
        assert_eq!(kinds(&ran.records()), ["tls"], "{backend}");
        assert_eq!(ran.code, Some(1), "{backend}");
    }
    assert_eq!(origin.stats().requests, 0);
}

#[test]
fn a_file_without_certificates_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    for file in [empty, folder.path().join("missing.pem")] {
        let file = file.to_str().unwrap();
        let ran = run(["get", "--cacert", file, "http://127.0.0.1:1/"]);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
        assert!(ran.stderr.contains(file), "{}", ran.stderr);
    }
}
