//! Tests of the options for the requests of a run: headers, credentials, method, body and addresses.

use std::fs;
use std::io::Write;

use inflight_origin::Origin;
use serde_json::Value;

use crate::program::{backends, finish, kinds, program, run};

/// Runs `gather` with these options. Returns what the origin echoes for each of two URLs.
fn gather_echoes(origin: &Origin, options: &[&str]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().to_str().unwrap();
    let urls = [origin.url("/anything/1"), origin.url("/anything/2")];
    let arguments = ["gather", "--summary", "none", "--output", output].into_iter();
    let arguments = arguments.chain(options.iter().copied());
    let ran = run(arguments.chain(urls.iter().map(|url| &**url)));
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    let echoes = (0..urls.len()).map(|index| {
        let file = directory.path().join(format!("{index:06}"));
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    });
    echoes.collect()
}

#[test]
fn headers_and_credentials_apply_to_every_url() {
    let origin = Origin::start().unwrap();
    for backend in backends() {
        let options = [
            "--backend",
            backend,
            "-H",
            "X-Team: crawl",
            "--user",
            "me:a:b",
            "--user-agent",
            "my-crawler/1.0",
        ];
        for echo in gather_echoes(&origin, &options) {
            let headers = &echo["headers"];
            assert_eq!(headers["X-Team"], "crawl", "{backend}: {echo}");
            assert_eq!(headers["User-Agent"], "my-crawler/1.0", "{backend}");
            assert_eq!(headers["Authorization"], "Basic bWU6YTpi", "{backend}");
        }
    }
}

#[test]
fn an_authorization_header_replaces_the_credentials() {
    let origin = Origin::start().unwrap();
    let options = ["--user", "me:secret", "-H", "Authorization: Bearer token"];
    for echo in gather_echoes(&origin, &options) {
        assert_eq!(echo["headers"]["Authorization"], "Bearer token");
    }
}

#[test]
fn the_default_user_agent_has_the_name_and_the_version() {
    let origin = Origin::start().unwrap();
    let agent = format!("inflight/{}", env!("CARGO_PKG_VERSION"));
    for echo in gather_echoes(&origin, &[]) {
        assert_eq!(echo["headers"]["User-Agent"], agent);
    }
}

#[test]
fn the_method_and_the_body_apply_to_every_url() {
    let origin = Origin::start().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "from a file").unwrap();
    let from_file = format!("@{}", file.path().display());
    for (options, method, body) in [
        (&["-d", "n=1"][..], "POST", "n=1"),
        (&["-X", "PUT", "-d", &*from_file], "PUT", "from a file"),
    ] {
        let options: Vec<_> = options
            .iter()
            .copied()
            .chain(["-H", "content-type: text/plain"])
            .collect();
        for echo in gather_echoes(&origin, &options) {
            assert_eq!(
                (&echo["method"], &echo["data"]),
                (&method.into(), &body.into())
            );
        }
    }
}

#[test]
fn a_body_from_standard_input_is_sent_to_every_url() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/upload");
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().to_str().unwrap();
    let arguments = [
        "gather", "-d", "@-", "-X", "PUT", "--output", output, &url, &url,
    ];
    let mut child = program(arguments).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"piped").unwrap();
    let ran = finish(child);
    assert_eq!(kinds(&ran.records()), ["ok", "ok"], "{ran:?}");
    for name in ["000000", "000001"] {
        let report = fs::read(directory.path().join(name)).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["bytes"], 5);
    }
}

#[test]
fn resolve_connects_to_the_given_address() {
    let origin = Origin::start().unwrap();
    let port = origin.addr().port();
    let url = format!("http://pages.test:{port}/headers");
    let pinned = format!("pages.test:{port}:127.0.0.1");
    for backend in backends() {
        let ran = run(["get", "--backend", backend, "--resolve", &pinned, &url]);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{backend}");
        let echo: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(
            echo["headers"]["Host"],
            format!("pages.test:{port}"),
            "{backend}"
        );
    }
}

#[test]
fn queue_timeout_includes_the_wait_for_the_host() {
    let origin = Origin::start().unwrap();
    let (slow, page) = (origin.url("/delay-ms/3000"), origin.url("/page/1"));
    let limits = ["--per-host", "1", "--queue-timeout", "2s"];
    let ran = run(["gather"].into_iter().chain(limits).chain([&*slow, &*page]));
    let records = ran.records();
    assert_eq!(kinds(&records), ["ok", "timeout"], "{ran:?}");
    assert_eq!(
        (&records[1]["error"]["phase"], &records[1]["attempts"]),
        (&"queue".into(), &0.into())
    );
}
