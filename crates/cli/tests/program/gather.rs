//! Tests of the results of `gather`, and of the options that stop it early.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use inflight_origin::script::{Script, ScriptedServer, refused_address};
use inflight_origin::{Origin, payload};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::program::{TIMEOUT, backends, finish, kinds, program, run};

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[test]
fn a_record_has_exactly_the_documented_fields() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/page/7");
    let ran = run(["gather", "--digest", "--summary", "none", &url]);
    let mut record = ran.records().remove(0);

    let elapsed = record["elapsed_ms"].take().as_f64().unwrap();
    assert!(elapsed > 0.0, "{elapsed}");
    let queued = record["queued_ms"].take().as_f64().unwrap();
    assert!(queued >= 0.0, "{queued}");
    let page = payload::page(7);
    let expected = json!({
        "index": 0,
        "url": url,
        "final_url": url,
        "status": 200,
        "version": "HTTP/1.1",
        "bytes": page.len(),
        "elapsed_ms": null,
        "queued_ms": null,
        "file": null,
        "id": null,
        "attempts": 1,
        "redirects": 0,
        "sha256": sha256(page),
        "error": null,
    });
    assert_eq!(record, expected);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));

    // The fields are in the order in which they are documented.
    let keys: Vec<_> = expected.as_object().unwrap().keys().cloned().collect();
    let mut keys_in_output_order = keys.clone();
    keys_in_output_order.sort_by_key(|key| ran.stdout.find(&format!("\"{key}\":")));
    let documented = [
        "index",
        "url",
        "final_url",
        "status",
        "version",
        "bytes",
        "elapsed_ms",
        "attempts",
        "redirects",
        "sha256",
        "queued_ms",
        "file",
        "id",
        "error",
    ];
    assert_eq!(keys_in_output_order, documented);
}

#[test]
fn every_url_is_fetched_once_and_its_body_is_hashed() {
    let origin = Origin::start().unwrap();
    let urls: Vec<String> = (0..40)
        .map(|n| origin.url(&format!("/bytes/{}?seed={n}", n * 5000)))
        .collect();
    let ran = run(["gather", "--digest", "--limit", "8"]
        .into_iter()
        .chain(urls.iter().map(|url| &**url)));
    for (n, record) in ran.records().iter().enumerate() {
        let body = payload::bytes(n * 5000, n as u64);
        assert_eq!(record["bytes"], body.len());
        assert_eq!(record["sha256"], sha256(body), "{record}");
    }
    let stats = origin.stats();
    assert_eq!(stats.requests, 40);
    assert!(stats.peak_in_flight <= 8, "{stats:?}");
    assert_eq!(ran.code, Some(0));
}

#[test]
fn bytes_and_digests_are_of_the_decoded_body() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/coded/gzip/5000?seed=4");
    let body = payload::bytes(5000, 4);
    let ran = run(["gather", "--digest", &url]);
    assert_eq!(ran.records()[0]["bytes"], 5000);
    assert_eq!(ran.records()[0]["sha256"], sha256(&body));
    let ran = run(["gather", "--max-body", "4999", &url]);
    assert_eq!(kinds(&ran.records()), ["body_too_large"]);
    let ran = run(["gather", "--digest", "--no-decompress", &url]);
    assert_ne!(ran.records()[0]["sha256"], sha256(&body));
    assert_eq!(ran.code, Some(0));
}

#[test]
fn without_the_digest_option_the_digest_is_null() {
    let origin = Origin::start().unwrap();
    let ran = run(["gather", &origin.url("/page/1")]);
    assert_eq!(ran.records()[0]["sha256"], Value::Null);
}

#[test]
fn urls_that_wait_for_their_host_do_not_occupy_the_limit() {
    let (slow, other) = (Origin::start().unwrap(), Origin::start().unwrap());
    let urls = [
        slow.url("/hang"),
        slow.url("/hang"),
        slow.url("/page/1"),
        other.url("/page/1"),
        other.url("/page/2"),
    ];
    let limits = ["--limit", "2", "--per-host", "1", "--deadline", "2s"];
    let arguments = ["gather"].into_iter().chain(limits);
    let ran = run(arguments.chain(urls.iter().map(|url| &**url)));
    let records = ran.records();
    let late = "deadline";
    assert_eq!(kinds(&records), [late, late, late, "ok", "ok"], "{ran:?}");
    let attempts = records.iter().map(|record| record["attempts"].as_u64());
    let attempts: Vec<_> = attempts.map(Option::unwrap).collect();
    assert_eq!(attempts, [1, 0, 0, 1, 1]);
    // With space for one waiting URL, the other host cannot overtake.
    let arguments = ["gather", "--look-ahead", "1"].into_iter().chain(limits);
    let ran = run(arguments.chain(urls.iter().map(|url| &**url)));
    assert_eq!(kinds(&ran.records()), [late; 5], "{ran:?}");
}

#[test]
fn host_rate_limits_how_many_requests_to_a_host_start() {
    let (limited, other) = (Origin::start().unwrap(), Origin::start().unwrap());
    let urls = [
        limited.url("/page/1"),
        limited.url("/page/2"),
        limited.url("/page/3"),
        other.url("/page/1"),
    ];
    let arguments = ["gather", "--host-rate", "4/s"].into_iter();
    let started = Instant::now();
    let ran = run(arguments.chain(urls.iter().map(|url| &**url)));
    assert!(started.elapsed() >= Duration::from_millis(500));
    assert_eq!(kinds(&ran.records()), ["ok"; 4]);
    let printed: Vec<_> = ran.stdout.lines().map(|line| &line[..11]).collect();
    assert_eq!(printed[2..], ["{\"index\":1,", "{\"index\":2,"], "{ran:?}");
    // The wait for the rate is not a part of the request.
    assert!(
        ran.records()[2]["queued_ms"].as_f64().unwrap() >= 400.0,
        "{ran:?}"
    );
}

#[test]
fn all_backends_return_the_same_results() {
    let origin = Origin::start().unwrap();
    let truncating_server = ScriptedServer::with_script(
        Script::new()
            .read_request()
            .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            .close(),
    )
    .unwrap();
    let refused = format!("http://{}/", refused_address().unwrap());
    let urls = [
        origin.url("/page/3"),
        origin.url("/stream-bytes/300000?seed=5"),
        origin.url("/status/404"),
        origin.url("/status/503"),
        origin.url("/hang"),
        origin.url("/bytes/500001"),
        truncating_server.url("/"),
        refused,
        "no url".to_owned(),
        "ftp://127.0.0.1/".to_owned(),
    ];
    let results = &|backend: &str| -> Vec<Value> {
        let flags = [
            "gather",
            "--backend",
            backend,
            "--digest",
            "--fail-status",
            "--timeout",
            "1500ms",
            "--max-body",
            "500000",
        ];
        let ran = run(flags.into_iter().chain(urls.iter().map(|url| &**url)));
        assert_eq!(ran.code, Some(1), "{backend}: {ran:?}");
        let mut records = ran.records();
        for record in &mut records {
            record["elapsed_ms"].take();
            record["queued_ms"].take();
            // The message and the number of bytes before a failure depend on the client.
            if !record["error"].is_null() {
                record["bytes"].take();
                record["error"]["message"].take();
            }
        }
        records
    };
    let all: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = backends()
            .into_iter()
            .map(|name| (name, scope.spawn(move || results(name))))
            .collect();
        let threads = running.into_iter();
        threads
            .map(|(name, thread)| (name, thread.join().unwrap()))
            .collect()
    });
    for (name, records) in &all {
        assert_eq!(
            kinds(records),
            [
                "ok",
                "ok",
                "status",
                "status",
                "timeout",
                "body_too_large",
                "incomplete",
                "connect",
                "invalid_url",
                "invalid_url"
            ],
            "{name}"
        );
        assert_eq!(records, &all[0].1, "{name}");
    }
    let records = &all[0].1;
    assert_eq!(records[4]["error"]["phase"], "total");
    assert_eq!(records[4]["status"], Value::Null);
    assert_eq!(records[7]["error"]["phase"], Value::Null);
    assert_eq!(records[3]["status"], 503);
    assert_eq!(records[5]["status"], 200);
}

#[test]
fn an_error_status_is_a_failure_only_with_fail_status() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/status/418");
    let lax = run(["gather", &url]);
    assert_eq!((lax.code, kinds(&lax.records())[0]), (Some(0), "ok"));
    assert_eq!(lax.records()[0]["status"], 418);
    let strict = run(["gather", "--fail-status", &url]);
    assert_eq!(
        (strict.code, kinds(&strict.records())[0]),
        (Some(1), "status")
    );
    assert_eq!(strict.records()[0]["status"], 418);
}

#[test]
fn a_body_of_the_maximum_length_succeeds() {
    let origin = Origin::start().unwrap();
    let (exact, chunked) = (origin.url("/bytes/1000"), origin.url("/stream-bytes/1000"));
    let ran = run(["gather", "--max-body", "1000", &exact, &chunked]);
    assert_eq!(
        (ran.code, kinds(&ran.records())),
        (Some(0), vec!["ok", "ok"])
    );
    let ran = run(["gather", "--max-body", "999", &exact, &chunked]);
    let records = ran.records();
    assert_eq!(
        (ran.code, kinds(&records)),
        (Some(1), vec!["body_too_large"; 2])
    );
    assert_eq!(records[0]["status"], 200);
}

#[test]
fn with_fail_fast_the_first_failure_cancels_all_other_requests() {
    let origin = Origin::start().unwrap();
    let refused = format!("http://{}/", refused_address().unwrap());
    let hang = origin.url("/hang");
    let mut child = program(["gather", "--fail-fast", "--limit", "3", "--input", "-"])
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Both requests are in flight before the failure, whatever the order of the workers.
    writeln!(stdin, "{hang}\n{hang}").unwrap();
    origin
        .wait_for(TIMEOUT, |stats| stats.requests == 2)
        .unwrap();
    writeln!(stdin, "{refused}\n{hang}\n{hang}").unwrap();
    drop(stdin);
    let ran = finish(child);
    let records = ran.records();
    assert_eq!(
        kinds(&records),
        [
            "cancelled",
            "cancelled",
            "connect",
            "cancelled",
            "cancelled"
        ]
    );
    assert_eq!(ran.code, Some(1));
    // Requests that were never started have no attempts.
    let attempts: Vec<_> = records.iter().map(|record| &record["attempts"]).collect();
    assert_eq!(attempts, [1, 1, 1, 0, 0]);
    assert_eq!(origin.stats().requests, 2);
}

#[test]
fn the_deadline_cancels_unfinished_requests_and_keeps_finished_results() {
    let origin = Origin::start().unwrap();
    let (page, hang, half) = (
        origin.url("/page/1"),
        origin.url("/hang"),
        origin.url("/hang-body"),
    );
    let ran = run([
        "gather",
        "--deadline",
        "1s",
        "--limit",
        "2",
        &page,
        &half,
        &hang,
        &hang,
    ]);
    let records = ran.records();
    assert_eq!(kinds(&records), ["ok", "deadline", "deadline", "deadline"]);
    assert_eq!(ran.code, Some(1));
    // The status and the bytes of a cancelled request are reported.
    assert_eq!(
        (&records[1]["status"], &records[1]["bytes"]),
        (&json!(200), &json!(16))
    );
    assert_eq!(records[1]["error"]["phase"], Value::Null);
    assert_eq!(records[3]["attempts"], 0);
}

#[test]
fn the_record_of_a_failure_has_the_whole_url_and_its_message_has_none() {
    let origin = Origin::start().unwrap();
    let missing = origin.url("/status/404?key=value");
    let refused = format!("http://{}/?key=value", refused_address().unwrap());
    let ran = run(["gather", "--fail-status", &missing, &refused]);
    let records = ran.records();
    assert_eq!(kinds(&records), ["status", "connect"]);
    for (record, url) in records.iter().zip([&missing, &refused]) {
        assert_eq!(record["url"], **url);
        let message = record["error"]["message"].as_str().unwrap();
        assert!(!message.contains("http://"), "{message}");
    }
    assert_eq!(records[0]["final_url"], missing);
}

#[test]
fn credentials_are_sent_and_never_printed() {
    let origin = Origin::start().unwrap();
    let with = |path: &str| origin.url(path).replace("http://", "http://me:secret@");
    let (good, dead) = (
        with("/basic-auth/me/secret"),
        format!("http://me:secret@{}/", refused_address().unwrap()),
    );
    for format in ["jsonl", "table"] {
        let ran = run([
            "gather",
            "--format",
            format,
            &good,
            &dead,
            "http://me:secret@[broken/",
        ]);
        assert!(ran.stdout.contains("/basic-auth/me/secret"), "{ran:?}");
        let shown = ran.stdout.replace("/me/secret", "") + &ran.stderr;
        assert!(!shown.contains("secret"), "{shown}");
    }
    let ran = run(["gather", &good]);
    assert_eq!(ran.records()[0]["status"], 200);
    assert_eq!(ran.records()[0]["url"], origin.url("/basic-auth/me/secret"));
}

#[test]
fn a_table_is_aligned_and_ends_in_a_summary() {
    let origin = Origin::start().unwrap();
    let refused = format!("http://{}/", refused_address().unwrap());
    let url = origin.url("/bytes/123456");
    let ran = run(["gather", "--format", "table", &url, &refused, "nonsense"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 4);
    let column = lines[0].find("URL").unwrap();
    let dead = format!("{refused}  connect: ");
    for start in [&*url, &*dead, "nonsense  invalid_url: "] {
        let found = lines.iter().any(|line| line[column..].starts_with(start));
        assert!(found, "{start:?} in {ran:?}");
    }
    let summary: Vec<_> = ran.stderr.lines().map(str::trim).collect();
    assert!(
        summary[0].starts_with("3 URLs: 1 ok, 2 failed, in "),
        "{ran:?}"
    );
    assert!(summary[0].ends_with(" requests/s)"), "{ran:?}");
    for count in ["1  2xx", "1  connect", "1  invalid_url"] {
        assert!(summary.contains(&count), "{ran:?}");
    }
    assert_eq!(ran.code, Some(1));
}

#[test]
fn progress_is_on_standard_error_and_only_if_enabled() {
    let origin = Origin::start().unwrap();
    // The bar is drawn ten times per second.
    let url = origin.url("/delay-ms/500");
    let arguments = ["gather", "--summary", "none", "--progress"];
    let show = |when: &str| run(arguments.into_iter().chain([when, &*url, &*url]));
    let (never, auto, always) = (show("never"), show("auto"), show("always"));
    assert_eq!((&*never.stderr, &*auto.stderr), ("", ""));
    assert!(always.stderr.contains("/2"), "{always:?}");
    for ran in [never, auto, always] {
        assert_eq!((ran.records().len(), ran.code), (2, Some(0)));
    }
}

#[test]
fn the_probe_reports_the_lateness_of_the_loop_at_the_end() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/page/7");
    for backend in backends() {
        let arguments = ["gather", "--probe", "--summary", "none", "--backend"];
        let ran = run(arguments.into_iter().chain([backend, &url]));
        if backend == "ureq" {
            assert_eq!(ran.code, Some(2), "{}", ran.stderr);
            assert!(ran.stderr.contains("--probe"), "{}", ran.stderr);
            continue;
        }
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.records().len(), 1);
        let lines: Vec<_> = ran.stderr.lines().collect();
        assert!(
            lines[0].starts_with("probe: timer ticks on the loop were late by "),
            "{lines:?}"
        );
        assert!(lines.len() > 1, "{lines:?}");
        assert!(
            lines.iter().all(|line| line.starts_with("probe: ")),
            "{lines:?}"
        );
    }
}

#[test]
fn progress_names_the_hosts_that_the_run_waits_for() {
    let origin = Origin::start().unwrap();
    let hang = origin.url("/hang");
    let mut child = program(["gather", "--progress", "always", "--input", "-"])
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}\n{hang}\n{hang}", origin.url("/page/1")).unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let host = format!("http://{}", origin.addr());
    let mut shown = String::new();
    // The length of the list is unknown while the pipe is open.
    let expected = format!("2 in flight, 0 failed, waiting for {host} (2)");
    while !(shown.contains("1 done, ") && shown.contains(&expected)) {
        let mut bytes = [0; 1024];
        let read = stderr.read(&mut bytes).unwrap();
        assert!(read > 0, "{shown}");
        shown.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
