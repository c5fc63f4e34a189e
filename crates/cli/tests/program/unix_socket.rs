//! Tests of `--unix-socket`.

use inflight_origin::{Origin, UnixRelay, payload};

use crate::program::{backends, finish, kinds, program, run};

#[test]
fn requests_use_the_unix_socket_and_no_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let socket = path.to_str().unwrap();
    let origin = Origin::start().unwrap();
    let relay = UnixRelay::bind(&path, origin.addr()).unwrap();
    let url = "http://pages.test/page/1";
    for backend in backends() {
        let before = relay.connections();
        let options = ["--backend", backend, "--unix-socket", socket];
        let mut get = program([&["get", url][..], &options].concat());
        get.env_remove("NO_PROXY").env("ALL_PROXY", "127.0.0.1:9");
        let ran = finish(get.spawn().unwrap());
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{backend}");
        assert_eq!(ran.stdout, payload::page(1), "{backend}");
        let ran = run([&["gather", url, url][..], &options].concat());
        assert_eq!(kinds(&ran.records()), ["ok", "ok"], "{backend}");
        assert!(relay.connections() >= before + 2, "{backend}");
    }
}

#[test]
fn a_unix_socket_that_does_not_exist_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing.sock");
    let ran = run([
        "get",
        "--unix-socket",
        path.to_str().unwrap(),
        "http://pages.test/",
    ]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains(path.to_str().unwrap()),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_path_that_is_too_long_and_a_proxy_are_usage_errors() {
    let too_long = "x".repeat(200);
    let ran = run(["get", "--unix-socket", &too_long, "http://pages.test/"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains(&too_long), "{}", ran.stderr);
    let ran = run([
        "get",
        "--unix-socket",
        "http.sock",
        "--proxy",
        "127.0.0.1:9",
        "http://pages.test/",
    ]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--proxy"), "{}", ran.stderr);
}
