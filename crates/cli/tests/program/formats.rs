//! Tests of the formats of `gather --input`, and of the settings of single URLs.

use std::fs;

use inflight_origin::Origin;
use serde_json::{Value, json};

use crate::program::{ProgramOutput, kinds, run};

/// Runs `gather` with a file of this name and content.
fn gather(
    name: &str,
    content: impl AsRef<[u8]>,
    options: &[&str],
) -> (ProgramOutput, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join(name);
    fs::write(&input, content).unwrap();
    let output = directory.path().join("pages");
    let arguments = [
        "gather",
        "--summary",
        "none",
        "--input",
        input.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ];
    let ran = run(arguments.into_iter().chain(options.iter().copied()));
    (ran, directory)
}

fn echo(directory: &tempfile::TempDir, file: &str) -> Value {
    let file = directory.path().join("pages").join(file);
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn json_lines_have_their_own_requests_files_and_ids() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/anything/1");
    let lines = [
        json!({"url": url, "id": "first", "output": "a/first.json"}).to_string(),
        json!({"url": url, "method": "PUT", "headers": {"X-Team": "own", "Content-Type": "text/plain"}, "body": "text"})
            .to_string(),
        json!({"url": url, "body": {"n": 1}, "id": 3}).to_string(),
        "{\"url\": \"secret\"".to_owned(),
        format!("{{\"url\":\"{url}\",\"output\":\"../outside\",\"id\":18446744073709551616}}"),
    ];
    let (ran, directory) = gather(
        "urls.jsonl",
        lines.join("\n"),
        &["-H", "X-Team: common", "-H", "X-All: yes"],
    );
    let records = ran.records();
    assert_eq!(
        kinds(&records),
        ["ok", "ok", "ok", "invalid_request", "invalid_request"],
        "{ran:?}"
    );
    assert_eq!(ran.code, Some(1));
    let ids: Vec<_> = records.iter().map(|record| record["id"].as_str()).collect();
    assert_eq!(
        ids,
        [
            Some("first"),
            None,
            Some("3"),
            None,
            Some("18446744073709551616")
        ]
    );
    assert_eq!(records[0]["file"], "a/first.json");
    assert_eq!(records[3]["url"], "");
    let message = records[3]["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("line 4 of") && !message.contains("secret"),
        "{message}"
    );

    let first = echo(&directory, "a/first.json");
    assert_eq!(
        (&first["method"], &first["headers"]["X-Team"]),
        (&"GET".into(), &"common".into())
    );
    let second = echo(&directory, "000001");
    assert_eq!(
        (&second["method"], &second["data"]),
        (&"PUT".into(), &"text".into())
    );
    assert_eq!(second["headers"]["X-Team"], "own");
    assert_eq!(second["headers"]["X-All"], "yes");
    let third = echo(&directory, "000002");
    assert_eq!(
        (&third["method"], &third["data"]),
        (&"POST".into(), &"{\"n\":1}".into())
    );
    assert_eq!(third["headers"]["Content-Type"], "application/json");
    assert!(!directory.path().join("outside").exists());
}

#[test]
fn csv_has_a_header_and_a_bad_record_is_one_failure() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/anything/1");
    let csv = format!("title,url,id\r\n\"a, b\",{url},7\r\nx,too,many,fields\r\nc,{url},8\r\n");
    let (ran, _directory) = gather("urls.csv", csv, &["--names", "{id}.{ext}"]);
    let records = ran.records();
    assert_eq!(kinds(&records), ["ok", "invalid_request", "ok"], "{ran:?}");
    assert_eq!(
        (&records[0]["file"], &records[2]["file"]),
        (&"7.json".into(), &"8.json".into())
    );
    assert_eq!(records[1]["url"], "too");
    let unclosed = format!("url,id\n{url},1\n{url},\"2\n{url},3\n");
    let (ran, _directory) = gather("urls.csv", unclosed, &[]);
    assert_eq!(kinds(&ran.records()), ["ok"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("quotes is odd"), "{ran:?}");
    let (ran, _directory) = gather("urls.csv", "link\nhttp://a/\n", &[]);
    assert_eq!((ran.code, &*ran.stdout), (Some(1), ""));
    assert!(ran.stderr.contains("no column `url`"), "{ran:?}");
}

#[test]
fn plain_lines_may_be_utf_16_and_end_with_cr() {
    let origin = Origin::start().unwrap();
    let urls = [origin.url("/page/1"), origin.url("/page/2")];
    let text = format!("\u{feff}{}\r{}\r", urls[0], urls[1]);
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for content in [text.into_bytes(), utf_16] {
        let (ran, _directory) = gather("urls.txt", content, &[]);
        let records = ran.records();
        assert_eq!(kinds(&records), ["ok", "ok"], "{ran:?}");
        let fetched: Vec<_> = records
            .iter()
            .map(|record| record["url"].as_str().unwrap())
            .collect();
        assert_eq!(fetched, urls);
    }
}

#[test]
fn a_url_with_a_tab_is_never_joined_with_the_rest() {
    let origin = Origin::start().unwrap();
    let line = format!("{}\tA title", origin.url("/page/1"));
    let (ran, _directory) = gather("urls.txt", &line, &[&line]);
    let records = ran.records();
    assert_eq!(kinds(&records), ["invalid_url", "invalid_url"]);
    let message = records[1]["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("line 1 of") && message.contains("tab"),
        "{message}"
    );
    assert_eq!(origin.stats().requests, 0);
}

#[test]
fn equal_urls_are_fetched_once_with_dedup() {
    let origin = Origin::start().unwrap();
    let (page, other) = (origin.url("/page/1"), origin.url("/page/2"));
    let lines =
        [&page, &other, &page, &page].map(|url| json!({"url": url, "id": url.len()}).to_string());
    let (ran, _directory) = gather("urls.jsonl", lines.join("\n"), &["--dedup", "--digest"]);
    let records = ran.records();
    assert_eq!(kinds(&records), ["ok"; 4]);
    assert_eq!(origin.stats().requests, 2);
    let attempts: Vec<_> = records
        .iter()
        .map(|record| record["attempts"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, [1, 1, 0, 0]);
    for record in &records[2..] {
        assert_eq!(
            (&record["sha256"], &record["file"]),
            (&records[0]["sha256"], &"000000".into())
        );
    }
}

#[test]
fn a_run_with_many_duplicates_ends_at_its_deadline() {
    let origin = Origin::start().unwrap();
    let lines = vec![origin.url("/hang"); 25_000].join("\n");
    let (ran, _directory) = gather("urls.txt", lines, &["--dedup", "--deadline", "1s"]);
    let records = ran.records();
    assert_eq!((ran.code, records.len()), (Some(1), 25_000));
    assert!(kinds(&records).iter().all(|kind| *kind == "deadline"));
    assert_eq!(origin.stats().requests, 1);
}
