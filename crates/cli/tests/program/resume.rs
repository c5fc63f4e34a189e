//! Tests of `inflight get --continue`.

use std::fs;

use inflight_origin::script::{Script, ScriptedServer};
use inflight_origin::{Origin, payload};
use sha2::{Digest, Sha256};

use crate::output::file_names;
use crate::program::{TIMEOUT, backends, finish, program, run, wait_for};

const LEN: usize = 300_000;
/// How many bytes the server sends before the program is killed.
const SENT: usize = 123_456;

/// A server that sends the beginning of a body on its first connection, and then nothing. On the next
/// connection, it sends the rest.
fn pausing_server() -> ScriptedServer {
    let body = payload::bytes(LEN, 5);
    ScriptedServer::start(move |connection| {
        let head = match connection {
            0 => format!("200 OK\r\nContent-Length: {LEN}"),
            _ => format!(
                "206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {SENT}-{}/{LEN}",
                LEN - SENT,
                LEN - 1
            ),
        };
        let head = format!("HTTP/1.1 {head}\r\nETag: \"v1\"\r\nConnection: close\r\n\r\n");
        let script = Script::new().read_request().send(head);
        match connection {
            0 => script.send(body[..SENT].to_vec()).hang(),
            _ => script.send(body[SENT..].to_vec()).close(),
        }
    })
    .unwrap()
}

#[test]
fn after_a_kill_only_the_missing_bytes_are_requested() {
    for backend in backends() {
        let server = pausing_server();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("book");
        let part = directory.path().join("book.part");
        let url = server.url("/book");
        let args = ["get", "--backend", backend, "--format", "jsonl", "-C", "-o"];
        let args = args.into_iter().chain([file.to_str().unwrap(), &url]);
        let mut child = program(args.clone()).spawn().unwrap();
        wait_for(|| {
            let len = fs::metadata(&part).map_or(0, |metadata| metadata.len());
            (len == SENT as u64).then_some(())
        });
        child.kill().unwrap();
        assert_eq!(finish(child).code, None, "{backend}");
        assert_eq!(
            file_names(directory.path()),
            ["book.part", "book.part.json"]
        );

        let ran = run(args);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{backend}");
        assert!(
            fs::read(&file).unwrap() == payload::bytes(LEN, 5),
            "{backend}"
        );
        assert_eq!(file_names(directory.path()), ["book"]);
        let record = ran.records().remove(0);
        assert_eq!(
            (record["bytes"].as_u64(), record["status"].as_u64()),
            (Some(LEN as u64), Some(206))
        );
        assert_eq!(record["attempts"], 1);
        let requests = server.requests();
        assert_eq!(requests.len(), 2, "{backend}");
        assert_eq!(requests[0].header("range"), None);
        let range = format!("bytes={SENT}-");
        assert_eq!(requests[1].header("range"), Some(range.as_bytes()));
        assert_eq!(requests[1].header("if-range"), Some(&b"\"v1\""[..]));
    }
}

#[test]
fn with_retries_a_transfer_that_is_cut_off_continues_in_the_same_run() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("book");
    let url = origin.url("/range/250000?seed=5&cut=100000");
    let args = ["get", "-C", "-o", file.to_str().unwrap(), &url];
    let ran = run(args);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("ended early"), "{ran:?}");
    let ran = run(args.into_iter().chain(["--retries", "5"]));
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    assert!(fs::read(&file).unwrap() == payload::bytes(250_000, 5));
    assert_eq!(file_names(directory.path()), ["book"]);
}

#[test]
fn with_retries_a_body_that_is_cut_off_is_complete_in_each_command() {
    let body = "0123456789".repeat(LEN / 10).into_bytes();
    for (has_tag, sends_rest) in [(true, true), (true, false), (false, false)] {
        let tag = if has_tag { "ETag: \"v1\"\r\n" } else { "" };
        let sent = body.clone();
        let server = ScriptedServer::start(move |connection| {
            let is_cut = connection % 2 == 0;
            let (first, status) = match is_cut || !sends_rest {
                true => (0, "200 OK".to_owned()),
                false => (
                    SENT,
                    format!(
                        "206 Partial Content\r\nContent-Range: bytes {SENT}-{}/{LEN}",
                        LEN - 1
                    ),
                ),
            };
            let end = if is_cut { SENT } else { LEN };
            let length = LEN - first;
            let head = format!(
                "HTTP/1.1 {status}\r\n{tag}Content-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let script = Script::new().read_request().send(head);
            script.send(sent[first..end].to_vec()).close()
        })
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("book");
        let (url, output) = (server.url("/"), directory.path().join("pages"));
        let output = output.to_str().unwrap();
        let case = format!("tag: {has_tag}, rest: {sends_rest}");
        let ran = run(["get", "--retries", "1", "-o", path.to_str().unwrap(), &url]);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{case}");
        assert!(fs::read(&path).unwrap() == body, "{case}");
        let ran = run([
            "gather",
            "--summary",
            "none",
            "--retries",
            "1",
            "--digest",
            "--output",
            output,
            &url,
        ]);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{case}");
        assert!(fs::read(directory.path().join("pages/000000")).unwrap() == body);
        let record = ran.records().remove(0);
        assert_eq!(
            record["sha256"],
            format!("{:x}", Sha256::digest(&body)),
            "{case}"
        );
        assert_eq!(
            (record["bytes"].as_u64(), record["attempts"].as_u64()),
            (Some(LEN as u64), Some(2)),
            "{case}"
        );
        // To standard output, only a continuation is possible, because the first bytes are written.
        let ran = run(["get", "--retries", "1", &url]);
        assert_eq!(ran.code, Some(i32::from(!has_tag)), "{case}");
    }
}

#[test]
fn an_error_status_is_a_failure_and_leaves_no_file() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("book");
    let url = origin.url("/status/404");
    let ran = run([
        "get",
        "--format",
        "jsonl",
        "-C",
        "-o",
        file.to_str().unwrap(),
        &url,
    ]);
    assert_eq!(ran.code, Some(1));
    let record = ran.records().remove(0);
    assert_eq!(record["error"]["kind"], "status");
    assert_eq!(
        (record["status"].as_u64(), record["bytes"].as_u64()),
        (Some(404), Some(0))
    );
    assert_eq!(file_names(directory.path()), Vec::<String>::new());
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_the_partial_file() {
    use rustix::process::{Pid, Signal, kill_process};

    let server = pausing_server();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("book");
    let part = directory.path().join("book.part");
    let url = server.url("/book");
    let args = ["get", "-C", "-o", file.to_str().unwrap(), &url];
    let child = program(args).spawn().unwrap();
    wait_for(|| {
        fs::metadata(&part)
            .is_ok_and(|part| part.len() == SENT as u64)
            .then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(finish(child).code, Some(130));
    assert!(server.wait_for_close(0, TIMEOUT).is_some());
    assert_eq!(run(args).code, Some(0));
    assert!(fs::read(&file).unwrap() == payload::bytes(LEN, 5));
}
