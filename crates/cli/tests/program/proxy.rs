//! Proxies, from an option and from the environment.

use inflight_origin::{ForwardProxy, Origin, payload};

use crate::program::{ProgramOutput, backends, finish, kinds, program};

const VARIABLES: [&str; 8] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// Runs the program without proxy variables in the environment.
fn run<'a>(args: impl IntoIterator<Item = &'a str>) -> ProgramOutput {
    run_in(args, &[])
}

fn run_in<'a>(
    args: impl IntoIterator<Item = &'a str>,
    environment: &[(&str, &str)],
) -> ProgramOutput {
    let mut command = program(args);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    finish(command.spawn().unwrap())
}

/// Returns the backends that support proxies. surf does not.
fn with_proxies() -> impl Iterator<Item = &'static str> {
    backends().into_iter().filter(|name| *name != "async-std")
}

#[test]
fn an_option_names_a_proxy_with_its_credentials() {
    let origin = Origin::start().unwrap();
    // me:secret
    let proxy = ForwardProxy::start(Some("Basic bWU6c2VjcmV0".parse().unwrap())).unwrap();
    let named = format!("http://me:secret@{}", proxy.addr());
    let url = origin.url("/page/1");
    for backend in with_proxies() {
        let before = proxy.seen().len();
        let ran = run(["get", "--backend", backend, "--proxy", &named, &url]);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{backend}");
        assert_eq!(ran.stdout, payload::page(1), "{backend}");
        let ran = run([
            "gather",
            "--backend",
            backend,
            "--proxy",
            &named,
            &url,
            &url,
        ]);
        assert_eq!(kinds(&ran.records()), ["ok", "ok"], "{backend}");
        assert!(proxy.seen().len() >= before + 2, "{backend}");
    }
}

#[test]
fn a_proxy_that_fails_has_its_own_kind() {
    let origin = Origin::start().unwrap();
    let refused = format!(
        "http://me:secret@{}",
        inflight_origin::script::refused().unwrap()
    );
    for backend in with_proxies() {
        let ran = run([
            "gather",
            "--backend",
            backend,
            "--proxy",
            &refused,
            &origin.url("/get"),
        ]);
        assert_eq!(kinds(&ran.records()), ["proxy"], "{backend}");
        assert!(!ran.stdout.contains("secret"), "{backend}: {}", ran.stdout);
        assert_eq!(ran.code, Some(1), "{backend}");
    }
}

#[test]
fn the_environment_names_proxies_and_exceptions() {
    let origin = Origin::start().unwrap();
    let proxy = ForwardProxy::start(None).unwrap();
    let get = |more: &[&str], environment: &[(&str, &str)]| {
        let url = origin.url("/get");
        let before = proxy.seen().len();
        let ran = run_in(
            ["get", &url].into_iter().chain(more.iter().copied()),
            environment,
        );
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{environment:?}");
        proxy.seen().len() - before
    };
    let named = proxy.addr().to_string();
    assert_eq!(get(&[], &[]), 0);
    assert_eq!(get(&[], &[("http_proxy", &named)]), 1);
    assert_eq!(get(&[], &[("ALL_PROXY", &named)]), 1);
    assert_eq!(get(&[], &[("https_proxy", &named)]), 0);
    assert_eq!(get(&["--no-proxy"], &[("http_proxy", &named)]), 0);
    let except = ("NO_PROXY", "127.0.0.0/8");
    assert_eq!(get(&[], &[("http_proxy", &named), except]), 0);
    assert_eq!(get(&["--proxy", &named], &[except]), 0);
    assert_eq!(get(&["--proxy", &named], &[("no_proxy", ""), except]), 0);
    assert_eq!(
        get(&["--proxy", &named], &[("http_proxy", "nowhere.invalid")]),
        1
    );
}

#[test]
fn an_unsupported_proxy_in_the_environment_fails_only_requests_that_would_use_it() {
    let origin = Origin::start().unwrap();
    let proxy = ForwardProxy::start(None).unwrap();
    let (named, url) = (proxy.addr().to_string(), origin.url("/page/1"));
    let socks = ("ALL_PROXY", "socks5://me:secret@127.0.0.1:9");
    for backend in backends() {
        let get =
            |environment: &[(&str, &str)]| run_in(["get", "--backend", backend, &url], environment);
        for environment in [
            [socks, ("NO_PROXY", "127.0.0.1")],
            [socks, ("http_proxy", &named)],
            [("https_proxy", "https://127.0.0.1:9"), ("no_proxy", "")],
        ] {
            let ran = get(&environment);
            assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{environment:?}");
            assert_eq!(ran.stdout, payload::page(1), "{backend}: {environment:?}");
        }
        let before = origin.stats().requests;
        let ran = get(&[socks]);
        assert_eq!(ran.code, Some(1), "{backend}: {}", ran.stderr);
        for part in ["ALL_PROXY", "socks5", "NO_PROXY"] {
            assert!(ran.stderr.contains(part), "{backend}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("secret"), "{backend}: {}", ran.stderr);
        let ran = run_in(["gather", "--backend", backend, &url], &[socks]);
        assert_eq!(kinds(&ran.records()), ["unsupported"], "{backend}");
        // The request is not sent without the proxy.
        assert_eq!(origin.stats().requests, before, "{backend}");
    }
}

#[test]
fn an_invalid_proxy_is_a_usage_error() {
    for (named, message) in [("ftp://me:secret@host", "ftp"), ("http://", "proxy")] {
        let ran = run(["get", "--proxy", named, "http://127.0.0.1:9/"]);
        assert_eq!(ran.code, Some(2), "{named}");
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    let ran = run(["get", "--proxy", "a", "--no-proxy", "http://127.0.0.1:9/"]);
    assert_eq!(ran.code, Some(2));
}
