//! Tests of `gather --robots` and `--polite`.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use inflight_origin::script::{Script, ScriptedServer};
use serde_json::Value;

use crate::program::{backends, kinds, run};

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// A server whose first response, that to the request for robots.txt, is `robots`.
fn server(robots: String, page: String) -> ScriptedServer {
    ScriptedServer::start(move |connection| {
        let text = if connection == 0 { &robots } else { &page };
        Script::new().read_request().send(text.clone()).close()
    })
    .unwrap()
}

fn with_rules(rules: &str) -> ScriptedServer {
    server(response("200 OK", rules), response("200 OK", "a page"))
}

fn gather(options: &[&str], urls: &[String]) -> Vec<Value> {
    let arguments = ["gather", "--robots", "--timeout", "10s"].into_iter();
    let arguments = arguments.chain(options.iter().copied());
    run(arguments.chain(urls.iter().map(|url| &**url))).records()
}

fn paths(server: &ScriptedServer) -> Vec<String> {
    let requests = server.requests();
    requests
        .iter()
        .map(|request| request.target.clone())
        .collect()
}

#[test]
fn a_url_that_robots_txt_disallows_is_not_requested() {
    let rules = "User-agent: *\nDisallow: /\n\nUser-agent: Inflight\nDisallow: /private\nAllow: /private/open\n";
    for backend in backends() {
        let server = with_rules(rules);
        let urls = ["/a", "/private/b", "/private/open", "/privat"].map(|path| server.url(path));
        let records = gather(&["--backend", backend], &urls);
        assert_eq!(
            kinds(&records),
            ["ok", "disallowed", "ok", "ok"],
            "{backend}: {records:?}"
        );
        assert_eq!(records[1]["attempts"], 0);
        let mut paths = paths(&server);
        assert_eq!(paths[0], "/robots.txt", "{backend}");
        paths[1..].sort();
        assert_eq!(paths[1..], ["/a", "/privat", "/private/open"], "{backend}");
    }
    let server = with_rules(rules);
    let records = gather(&["--user-agent", "other/1.0"], &[server.url("/a")]);
    assert_eq!(kinds(&records), ["disallowed"]);
}

#[test]
fn a_status_of_4xx_allows_and_5xx_disallows_everything() {
    for (status, expected) in [
        ("404 Not Found", "ok"),
        ("403 Forbidden", "ok"),
        ("500 Internal Server Error", "disallowed"),
        ("503 Service Unavailable", "disallowed"),
    ] {
        let robots = response(status, "User-agent: *\nDisallow: /");
        let server = server(robots, response("200 OK", "a page"));
        let records = gather(&[], &[server.url("/a")]);
        assert_eq!(kinds(&records), [expected], "{status}: {records:?}");
    }
    let refused = inflight_origin::script::refused_address().unwrap();
    let records = gather(&[], &[format!("http://{refused}/")]);
    assert_eq!(kinds(&records), ["connect"]);
    let message = records[0]["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("robots.txt: "), "{message}");
}

#[test]
fn requests_to_a_host_start_a_crawl_delay_apart_and_other_hosts_do_not_wait() {
    // Each request has its own connection.
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let times = accepted.clone();
    let slow = ScriptedServer::start(move |_| {
        times.lock().unwrap().push(Instant::now());
        let rules = response("200 OK", "User-agent: *\nCrawl-delay: 0.4\n");
        Script::new().read_request().send(rules).close()
    })
    .unwrap();
    let fast = with_rules("");
    let mut urls: Vec<_> = (0..4).map(|n| slow.url(&format!("/{n}"))).collect();
    urls.push(fast.url("/"));
    let started = Instant::now();
    // The URLs that wait for the slow host do not occupy the limit.
    let records = gather(&["--limit", "2"], &urls);
    assert!(started.elapsed() >= Duration::from_millis(4 * 400));
    assert_eq!(kinds(&records), ["ok"; 5], "{records:?}");
    assert!(records[4]["elapsed_ms"].as_f64().unwrap() < 400.0);
    let accepted = accepted.lock().unwrap();
    assert_eq!(accepted.len(), 5);
    // The server may accept a connection late, and never early.
    for (n, at) in (0..).zip(accepted.iter()) {
        assert!(*at - started >= n * Duration::from_millis(400), "{n}");
    }
}

#[test]
fn the_rules_also_apply_to_the_targets_of_redirects() {
    let other = with_rules("User-agent: *\nDisallow: /private\n");
    let redirect = |to: &str| {
        let location = other.url(to);
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n");
        with_page(format!(
            "{head}Content-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    };
    let (bad, good) = (redirect("/private"), redirect("/open"));
    let records = gather(&["--limit", "1"], &[bad.url("/1"), good.url("/2")]);
    assert_eq!(kinds(&records), ["disallowed", "ok"], "{records:?}");
    assert_eq!(records[1]["redirects"], 1);
    assert_eq!(paths(&other), ["/robots.txt", "/open"]);
}

fn with_page(page: String) -> ScriptedServer {
    server(response("404 Not Found", ""), page)
}

#[test]
fn a_delay_that_is_longer_than_the_timeout_fails_at_once() {
    let server = with_rules("User-agent: *\nCrawl-delay: 86400\n");
    let records = gather(&[], &[server.url("/a")]);
    assert_eq!(kinds(&records), ["disallowed"]);
    let message = records[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("86400 s"), "{message}");
}

#[test]
fn polite_limits_each_host_and_obeys_robots_txt() {
    let server = with_rules("User-agent: *\nDisallow: /private\n");
    let urls = ["/1", "/private", "/2"].map(|path| server.url(path));
    let started = Instant::now();
    let arguments = ["gather", "--polite"].into_iter();
    let ran = run(arguments.chain(urls.iter().map(|url| &**url)));
    assert_eq!(kinds(&ran.records()), ["ok", "disallowed", "ok"], "{ran:?}");
    // Three requests at two per second.
    assert!(started.elapsed() >= Duration::from_secs(1), "{ran:?}");
    let started = Instant::now();
    let arguments = ["gather", "--polite", "--host-rate", "1000"].into_iter();
    run(arguments.chain(urls.iter().map(|url| &**url)));
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_refused_url_is_retried_only_on_request() {
    let server = server(
        response("503 Service Unavailable", ""),
        response("200 OK", ""),
    );
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal.jsonl");
    let journal = journal.to_str().unwrap();
    let urls = [server.url("/a")];
    let options = ["--journal", journal];
    assert_eq!(kinds(&gather(&options, &urls)), ["disallowed"]);
    assert!(gather(&options, &urls).is_empty());
    let records = gather(&["--journal", journal, "--retry-failed"], &urls);
    assert_eq!(kinds(&records), ["ok"]);
    assert_eq!(fs::read_to_string(journal).unwrap().lines().count(), 2);
}

#[test]
fn robots_txt_may_be_a_redirect_to_another_path() {
    let location = "HTTP/1.1 302 Found\r\nLocation: /static/rules\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = ScriptedServer::start(move |connection| {
        let text = match connection {
            0 => location.to_owned(),
            1 => response("200 OK", "User-agent: *\nDisallow: /private\n"),
            _ => response("200 OK", "a page"),
        };
        Script::new().read_request().send(text).close()
    })
    .unwrap();
    // The limit is for the pages.
    let urls = [server.url("/private"), server.url("/open")];
    let records = gather(&["--max-redirects", "0"], &urls);
    assert_eq!(kinds(&records), ["disallowed", "ok"], "{records:?}");
    assert_eq!(paths(&server), ["/robots.txt", "/static/rules", "/open"]);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.header("inflight-robots-txt").is_none())
    );
}

/// A server that redirects each request except the first.
fn redirecting(status: &str, location: &str) -> ScriptedServer {
    with_page(format!(
        "HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ))
}

#[test]
fn a_redirect_to_a_host_with_unknown_rules_repeats_no_request() {
    for options in [&[][..], &["-d", "n=1"]] {
        let last = with_rules("");
        let second = redirecting("302 Found", &last.url("/last"));
        let first = redirecting("303 See Other", &second.url("/second"));
        let secret = ["-H", "Authorization: Bearer secret"];
        let options: Vec<_> = options.iter().copied().chain(secret).collect();
        let records = gather(&options, &[first.url("/form")]);
        assert_eq!(kinds(&records), ["ok"], "{records:?}");
        assert_eq!(
            (&records[0]["attempts"], &records[0]["redirects"]),
            (&3.into(), &2.into())
        );
        assert_eq!(records[0]["final_url"], last.url("/last"));
        for server in [&first, &second, &last] {
            let requests = server.requests();
            assert_eq!(requests.len(), 2, "{requests:?}");
            let has_secret = requests[1].header("authorization").is_some();
            assert_eq!(has_secret, server.addr() == first.addr(), "{requests:?}");
        }
        assert_eq!(last.requests()[1].method, "GET");
    }
}

#[test]
fn a_redirect_with_a_body_to_a_host_with_unknown_rules_is_refused() {
    let other = with_rules("");
    let server = redirecting("307 Temporary Redirect", &other.url("/target"));
    let records = gather(&["-d", "n=1"], &[server.url("/form")]);
    assert_eq!(kinds(&records), ["disallowed"]);
    assert_eq!(
        (&records[0]["attempts"], &records[0]["redirects"]),
        (&1.into(), &1.into())
    );
    assert_eq!((paths(&server).len(), paths(&other).len()), (2, 0));
}

#[test]
fn the_limit_on_redirects_includes_those_to_hosts_with_unknown_rules() {
    let last = with_rules("");
    let second = redirecting("302 Found", &last.url("/last"));
    let first = redirecting("302 Found", &second.url("/second"));
    let records = gather(&["--max-redirects", "1"], &[first.url("/")]);
    assert_eq!(kinds(&records), ["too_many_redirects"], "{records:?}");
    let records = gather(&["--max-redirects", "2"], &[first.url("/")]);
    assert_eq!(kinds(&records), ["ok"], "{records:?}");
}

#[test]
fn requests_for_the_rules_have_the_user_agent_of_the_run() {
    let server = with_rules("User-agent: mybot\nDisallow: /\n");
    let records = gather(&["-H", "User-Agent: MyBot/1.0"], &[server.url("/a")]);
    assert_eq!(kinds(&records), ["disallowed"]);
    assert_eq!(
        server.requests()[0].header("user-agent"),
        Some(&b"MyBot/1.0"[..])
    );
}

#[test]
fn with_continue_a_redirect_to_a_host_with_unknown_rules_is_counted_once() {
    let last = with_rules("");
    let first = redirecting("302 Found", &last.url("/last"));
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().to_str().unwrap();
    let records = gather(&["--output", output, "--continue"], &[first.url("/")]);
    assert_eq!(kinds(&records), ["ok"], "{records:?}");
    assert_eq!(records[0]["redirects"], 1);
    assert_eq!(records[0]["file"], "000000");
}
