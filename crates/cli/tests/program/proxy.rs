//! Tests of proxies from an option and from the environment.

use inflight_origin::{ForwardProxy, Origin, SocksProxy, payload};

use crate::program::{ProgramOutput, backends, finish, kinds, program};

/// The environment variables that configure proxies.
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
    run_with_environment(args, &[])
}

fn run_with_environment<'a>(
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

#[test]
fn the_proxy_option_accepts_credentials() {
    let origin = Origin::start().unwrap();
    // The credentials are `me:secret`.
    let proxy = ForwardProxy::start(Some("Basic bWU6c2VjcmV0".parse().unwrap())).unwrap();
    let proxy_url = format!("http://me:secret@{}", proxy.addr());
    let url = origin.url("/page/1");
    for backend in backends() {
        let before = proxy.requests().len();
        let ran = run(["get", "--backend", backend, "--proxy", &proxy_url, &url]);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{backend}");
        assert_eq!(ran.stdout, payload::page(1), "{backend}");
        let ran = run([
            "gather",
            "--backend",
            backend,
            "--proxy",
            &proxy_url,
            &url,
            &url,
        ]);
        assert_eq!(kinds(&ran.records()), ["ok", "ok"], "{backend}");
        assert!(proxy.requests().len() >= before + 2, "{backend}");
    }
}

#[test]
fn socks5_proxies_come_from_the_option_and_the_environment() {
    let origin = Origin::start().unwrap();
    let proxy = SocksProxy::start(Some(("me", "secret"))).unwrap();
    let socks5 = format!("socks5://me:secret@{}", proxy.addr());
    let socks5h = format!("socks5h://me:secret@{}", proxy.addr());
    let url = format!("http://pages.test:{}/page/1", origin.addr().port());
    for backend in backends() {
        let before = proxy.requests().len();
        let get = ["get", "--backend", backend];
        let option = run([&get[..], &["--proxy", &socks5h, &url]].concat());
        let environment = [("ALL_PROXY", &*socks5h)];
        let variable = run_with_environment([&get[..], &[&url]].concat(), &environment);
        let environment = [("ALL_PROXY", &*socks5)];
        let local =
            run_with_environment([&get[..], &[&origin.url("/page/1")]].concat(), &environment);
        for ran in [option, variable, local] {
            assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{backend}");
            assert_eq!(ran.stdout, payload::page(1), "{backend}");
        }
        let hosts: Vec<_> = proxy
            .requests()
            .into_iter()
            .map(|request| request.host)
            .collect();
        assert_eq!(
            hosts[before..],
            ["pages.test", "pages.test", "127.0.0.1"],
            "{backend}"
        );
        let wrong = format!("socks5h://me:secret2@{}", proxy.addr());
        let ran = run(["gather", "--backend", backend, "--proxy", &wrong, &url]);
        assert_eq!(kinds(&ran.records()), ["proxy"], "{backend}");
        assert!(!ran.stdout.contains("secret"), "{backend}: {}", ran.stdout);
    }
}

#[test]
fn a_refused_proxy_is_an_error_of_kind_proxy() {
    let origin = Origin::start().unwrap();
    let refused = format!(
        "http://me:secret@{}",
        inflight_origin::script::refused_address().unwrap()
    );
    for backend in backends() {
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
fn the_environment_sets_proxies_and_exceptions() {
    let origin = Origin::start().unwrap();
    let proxy = ForwardProxy::start(None).unwrap();
    let get = |options: &[&str], environment: &[(&str, &str)]| {
        let url = origin.url("/get");
        let before = proxy.requests().len();
        let ran = run_with_environment(
            ["get", &url].into_iter().chain(options.iter().copied()),
            environment,
        );
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{environment:?}");
        proxy.requests().len() - before
    };
    let proxy_url = proxy.addr().to_string();
    assert_eq!(get(&[], &[]), 0);
    assert_eq!(get(&[], &[("http_proxy", &proxy_url)]), 1);
    assert_eq!(get(&[], &[("ALL_PROXY", &proxy_url)]), 1);
    assert_eq!(get(&[], &[("https_proxy", &proxy_url)]), 0);
    assert_eq!(get(&["--no-proxy"], &[("http_proxy", &proxy_url)]), 0);
    let except = ("NO_PROXY", "127.0.0.0/8");
    assert_eq!(get(&[], &[("http_proxy", &proxy_url), except]), 0);
    assert_eq!(get(&["--proxy", &proxy_url], &[except]), 0);
    assert_eq!(
        get(&["--proxy", &proxy_url], &[("no_proxy", ""), except]),
        0
    );
    assert_eq!(
        get(
            &["--proxy", &proxy_url],
            &[("http_proxy", "nowhere.invalid")]
        ),
        1
    );
}

#[test]
fn an_unsupported_proxy_in_the_environment_fails_only_requests_that_would_use_it() {
    let origin = Origin::start().unwrap();
    let proxy = ForwardProxy::start(None).unwrap();
    let (proxy_url, url) = (proxy.addr().to_string(), origin.url("/page/1"));
    let socks = ("ALL_PROXY", "socks4://me:secret@127.0.0.1:9");
    for backend in backends() {
        let get = |environment: &[(&str, &str)]| {
            run_with_environment(["get", "--backend", backend, &url], environment)
        };
        for environment in [
            [socks, ("NO_PROXY", "127.0.0.1")],
            [socks, ("http_proxy", &proxy_url)],
            [("https_proxy", "https://127.0.0.1:9"), ("no_proxy", "")],
        ] {
            let ran = get(&environment);
            assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{environment:?}");
            assert_eq!(ran.stdout, payload::page(1), "{backend}: {environment:?}");
        }
        let before = origin.stats().requests;
        let ran = get(&[socks]);
        assert_eq!(ran.code, Some(1), "{backend}: {}", ran.stderr);
        for part in ["ALL_PROXY", "socks4", "NO_PROXY"] {
            assert!(ran.stderr.contains(part), "{backend}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("secret"), "{backend}: {}", ran.stderr);
        let ran = run_with_environment(["gather", "--backend", backend, &url], &[socks]);
        assert_eq!(kinds(&ran.records()), ["unsupported"], "{backend}");
        // The request is not sent without the proxy.
        assert_eq!(origin.stats().requests, before, "{backend}");
    }
}

#[test]
fn an_invalid_proxy_is_a_usage_error() {
    for (proxy_url, message) in [("ftp://me:secret@host", "ftp"), ("http://", "proxy")] {
        let ran = run(["get", "--proxy", proxy_url, "http://127.0.0.1:9/"]);
        assert_eq!(ran.code, Some(2), "{proxy_url}");
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    let ran = run(["get", "--proxy", "a", "--no-proxy", "http://127.0.0.1:9/"]);
    assert_eq!(ran.code, Some(2));
}
