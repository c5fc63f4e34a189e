//! Tests of `inflight get`.

use std::fs;
use std::io::{Read, Write};

use inflight_origin::script::{Script, ScriptedServer, refused_address};
use inflight_origin::{Origin, payload};
use serde_json::{Value, json};

use crate::output::file_names;
use crate::program::{backends, finish, program, records, run};

/// Fetches a URL that echoes the request as JSON, and returns this JSON.
fn get_echo(args: &[&str]) -> Value {
    let ran = run(["get"].iter().chain(args));
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn the_body_is_the_only_output() {
    let origin = Origin::start().unwrap();
    for backend in backends() {
        let ran = run(["get", "--backend", backend, &origin.url("/page/1")]);
        assert_eq!(ran.stdout, payload::page(1), "{backend}");
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    }
}

#[test]
fn a_compressed_body_is_decoded_by_default() {
    let origin = Origin::start().unwrap();
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("body");
    let path = path.to_str().unwrap();
    for backend in backends() {
        let echo = get_echo(&["--backend", backend, &origin.url("/gzip")]);
        assert_eq!(echo["gzipped"], true, "{backend}");
        let url = origin.url("/coded/zstd/1000");
        let ran = run([
            "get",
            "--backend",
            backend,
            "--no-decompress",
            "-o",
            path,
            &url,
        ]);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
        let coded = fs::read(path).unwrap();
        assert!(coded.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "{backend}");
        assert!(coded.len() < 1000, "{backend}");
        let echo = get_echo(&["--no-decompress", &origin.url("/headers")]);
        assert_eq!(echo["headers"]["Accept-Encoding"], Value::Null);
    }
}

#[test]
fn the_options_set_the_method_the_headers_and_the_body() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/anything?a=b");
    let plain = get_echo(&[&url]);
    assert_eq!(plain["method"], "GET");
    assert_eq!(
        plain["headers"]["User-Agent"],
        concat!("inflight/", env!("CARGO_PKG_VERSION"))
    );

    let echo = get_echo(&[
        "-X",
        "PATCH",
        "-H",
        "X-One: 1",
        "-H",
        "User-Agent: me",
        "-H",
        "Content-Type: text/plain",
        "-d",
        "some text",
        &url,
    ]);
    assert_eq!(echo["method"], "PATCH");
    assert_eq!(echo["data"], "some text");
    assert_eq!(echo["args"], json!({"a": "b"}));
    assert_eq!(echo["headers"]["X-One"], "1");
    assert_eq!(echo["headers"]["User-Agent"], "me");
    assert_eq!(echo["headers"]["Content-Type"], "text/plain");
}

#[test]
fn data_is_posted_as_a_form_by_default() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/anything");
    let posted = get_echo(&["-d", "a=1&b=2", &url]);
    assert_eq!(
        (&posted["method"], &posted["form"]),
        (&json!("POST"), &json!({"a": "1", "b": "2"}))
    );

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data");
    fs::write(&file, "line\r\nline\n").unwrap();
    let from_file = get_echo(&[
        "-H",
        "content-type: text/plain",
        "-d",
        &format!("@{}", file.display()),
        &url,
    ]);
    assert_eq!(from_file["data"], "line\r\nline\n");

    // A file is sent with its length, and is sent again after a redirect with status 307.
    fs::write(&file, payload::bytes(300_000, 0)).unwrap();
    let redirect = origin.url("/redirect-to?url=/upload&status_code=307");
    for backend in backends() {
        let data = format!("@{}", file.display());
        let uploaded = get_echo(&["--backend", backend, "-d", &data, &redirect]);
        assert_eq!(uploaded["bytes"], 300_000, "{backend}");
        assert_eq!(uploaded["content_length"], 300_000, "{backend}");
    }

    let mut child = program(["get", "-d", "@-", "-H", "Content-Type: text/plain", &url])
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"piped").unwrap();
    let ran = finish(child);
    assert_eq!(
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["data"],
        "piped"
    );
}

#[test]
fn include_writes_the_head_before_the_body() {
    let origin = Origin::start().unwrap();
    let ran = run(["get", "-i", &origin.url("/response-headers?X-Seen=yes")]);
    let (head, body) = ran.stdout.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nx-seen: yes"), "{head}");
    assert!(body.contains("X-Seen"), "{body}");

    // The response to a HEAD request declares a length but has no body, so `--max-body` is not
    // exceeded.
    let ran = run([
        "get",
        "-i",
        "-X",
        "HEAD",
        "--max-body",
        "1",
        &origin.url("/page/1"),
    ]);
    assert!(ran.stdout.ends_with("\r\n\r\n"), "{ran:?}");
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
}

#[test]
fn an_error_is_one_line_on_standard_error() {
    let origin = Origin::start().unwrap();
    let dead = format!(
        "http://me:secret@{}/?key=secret",
        refused_address().unwrap()
    );
    let hang = origin.url("/hang");
    let missing = origin.url("/status/404");
    let long = origin.url("/bytes/1001");
    let cases: [(&[&str], &str); 5] = [
        (&["get", &dead], "could not connect"),
        (&["get", "--timeout", "100ms", &hang], "timed out (total)"),
        (&["get", "--fail-status", &missing], "404"),
        (
            &["get", "--max-body", "1000", &long],
            "more than 1000 bytes",
        ),
        (&["get", "nonsense"], "invalid URL"),
    ];
    for (args, text) in cases {
        let ran = run(args);
        assert_eq!(
            (ran.code, ran.stderr.lines().count()),
            (Some(1), 1),
            "{ran:?}"
        );
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains(text),
            "{ran:?}"
        );
        assert!(!ran.stderr.contains("secret"), "{ran:?}");
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn a_file_is_complete_or_does_not_exist() {
    let origin = Origin::start().unwrap();
    let truncating_server = ScriptedServer::with_script(
        Script::new()
            .read_request()
            .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            .close(),
    )
    .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("page");
    let path = file.to_str().unwrap();

    let ran = run(["get", "-o", path, &truncating_server.url("/")]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(file_names(directory.path()), Vec::<String>::new());

    let ran = run(["get", "-o", path, &origin.url("/page/1")]);
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), "", ""));
    assert_eq!(fs::read_to_string(&file).unwrap(), payload::page(1));

    // An existing file is kept if the new request fails.
    let ran = run(["get", "-o", path, &truncating_server.url("/")]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), payload::page(1));
    assert_eq!(file_names(directory.path()), ["page"]);
}

#[test]
fn with_the_format_option_a_record_is_written() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("page");
    let url = origin.url("/page/1");
    let ran = run([
        "get",
        "--format",
        "jsonl",
        "-o",
        file.to_str().unwrap(),
        &url,
    ]);
    let record = ran.records().remove(0);
    assert_eq!(
        (&record["url"], &record["status"]),
        (&json!(url), &json!(200))
    );
    assert_eq!(record["bytes"], payload::page(1).len());

    let ran = run([
        "get",
        "--format",
        "jsonl",
        "--fail-status",
        &origin.url("/status/500"),
    ]);
    let record = records(&ran.stderr).remove(0);
    assert_eq!((ran.code, &*ran.stdout), (Some(1), ""));
    assert_eq!(
        (&record["error"]["kind"], &record["status"]),
        (&json!("status"), &json!(500))
    );
}

#[test]
fn the_body_is_written_as_it_arrives_and_a_closed_pipe_ends_without_a_message() {
    let origin = Origin::start().unwrap();
    // A chunk every 10 ms, until the connection is closed.
    let url = origin.url("/slow-body?chunks=1000000&size=16&pause_ms=10");
    let mut child = program(["get", &url]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut start = [0; 16];
    stdout.read_exact(&mut start).unwrap();
    drop(stdout);
    let ran = finish(child);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
}

#[test]
fn remote_name_is_the_last_name_of_the_path_and_replaces_no_file() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let get = |path: &str, options: &[&str]| {
        let url = origin.url(path);
        let arguments = ["get", "-O"].into_iter().chain(options.iter().copied());
        let mut command = program(arguments.chain([&*url]));
        finish(command.current_dir(directory.path()).spawn().unwrap())
    };
    let ran = get("/anything/a%20b.json?x=1", &[]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
    let file = directory.path().join("a b.json");
    let content = fs::read(&file).unwrap();
    assert!(!content.is_empty());
    let ran = get("/anything/a%20b.json", &[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("a b.json exists"), "{ran:?}");
    assert_eq!(fs::read(&file).unwrap(), content);
    assert_eq!(get("/", &[]).code, Some(2));
    let ran = get("/range/1000", &["-C"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        fs::metadata(directory.path().join("1000")).unwrap().len(),
        1000
    );
}
