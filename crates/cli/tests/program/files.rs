//! Tests of the names of files, of the manifest, and of `gather --continue`.

use std::fs;
use std::path::Path;

use inflight_origin::script::{Script, ScriptedServer};
use inflight_origin::{Origin, payload};
use serde_json::{Value, json};

use crate::output::file_names;
use crate::program::{backends, finish, kinds, program, run, wait_for};

fn gather(directory: &Path, options: &[&str], urls: &[String]) -> Vec<Value> {
    let output = directory.to_str().unwrap();
    let arguments = ["gather", "--output", output].into_iter();
    let arguments = arguments.chain(options.iter().copied());
    run(arguments.chain(urls.iter().map(|url| &**url))).records()
}

fn files(records: &[Value]) -> Vec<&str> {
    let files = records.iter().map(|record| record["file"].as_str());
    files.map(Option::unwrap_or_default).collect()
}

fn manifest(directory: &Path) -> Vec<Value> {
    let text = fs::read_to_string(directory.join("manifest.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_template_names_the_files() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let urls = [
        origin.url("/anything/a/page.htm?q=1"),
        origin.url("/status/404"),
    ];
    let host = format!("127.0.0.1_{}", origin.addr().port());
    let records = gather(
        directory.path(),
        &["--names", "{host}/{path}.{ext}", "--fail-status"],
        &urls,
    );
    let name = format!("{host}/anything/a/page.json");
    assert_eq!(files(&records), [&*name, ""]);
    assert!(directory.path().join(&name).is_file());
    let manifest = manifest(directory.path());
    assert_eq!(manifest.len(), 1);
    assert_eq!(manifest[0]["file"], name);
    assert_eq!(manifest[0]["url"], urls[0]);
    assert_eq!(manifest[0]["content_type"], "application/json");
}

#[test]
fn names_that_are_taken_get_a_number() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    // One path is a file and a directory of other paths. Two names differ only in case.
    let urls = [
        origin.url("/anything/A"),
        origin.url("/anything/a"),
        origin.url("/anything"),
        origin.url("/anything/a/b"),
    ];
    let options = ["--names", "{path}", "--limit", "1"];
    let records = gather(directory.path(), &options, &urls);
    let expected = ["anything/A", "anything/a-2", "anything-2", "anything/a-3/b"];
    assert_eq!(files(&records), expected);
    for (record, url) in records.iter().zip(&urls) {
        let file = directory.path().join(record["file"].as_str().unwrap());
        let echo: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(echo["url"], **url, "{record}");
    }
}

#[test]
fn a_second_run_replaces_no_file() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let first = gather(directory.path(), &[], &[origin.url("/page/1")]);
    let second = gather(directory.path(), &[], &[origin.url("/page/2")]);
    assert_eq!(
        (files(&first), files(&second)),
        (vec!["000000"], vec!["000000-2"])
    );
    let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(read("000000"), payload::page(1));
    assert_eq!(read("000000-2"), payload::page(2));
}

#[test]
fn no_name_leaves_the_directory() {
    let origin = Origin::start().unwrap();
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("pages");
    let outside = parent.path().join("outside");
    fs::create_dir_all(&directory).unwrap();
    fs::create_dir(&outside).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&outside, directory.join("anything")).unwrap();
    let urls = [
        origin.url("/anything/..%2f..%2fx"),
        origin.url("/anything/%2e%2e%2fx"),
    ];
    let records = gather(&directory, &["--names", "{path}"], &urls);
    assert_eq!(kinds(&records), ["ok", "ok"]);
    for file in files(&records) {
        let path = directory.join(file).canonicalize().unwrap();
        assert!(
            path.starts_with(directory.canonicalize().unwrap()),
            "{file}"
        );
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    for template in ["../{index}", "/{index}", "{page}"] {
        let ran = run(["gather", "--output", "x", "--names", template, &urls[0]]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
}

#[test]
fn a_vanished_directory_is_an_io_error_of_each_url() {
    let origin = Origin::start().unwrap();
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("pages");
    let output = directory.to_str().unwrap();
    let mut child = program(["gather", "--input", "-", "--output", output])
        .spawn()
        .unwrap();
    wait_for(|| directory.join("manifest.jsonl").exists().then_some(()));
    fs::remove_dir_all(&directory).unwrap();
    use std::io::Write;
    writeln!(child.stdin.take().unwrap(), "{}", origin.url("/page/1")).unwrap();
    let ran = finish(child);
    assert_eq!((ran.code, kinds(&ran.records())), (Some(1), vec!["io"]));
    assert!(!directory.exists());
}

/// A server that sends half of a body and then nothing, and the rest on request.
fn halting_server(len: usize) -> ScriptedServer {
    ScriptedServer::start(move |connection| {
        let head = |status: &str, length: usize| {
            format!("HTTP/1.1 {status}\r\nETag: \"v1\"\r\nContent-Length: {length}\r\n\r\n")
        };
        let script = Script::new().read_request();
        match connection {
            0 => script
                .send(head("200 OK", len))
                .send(vec![b'a'; len / 2])
                .hang(),
            _ => {
                let range = format!("Content-Range: bytes {}-{}/{len}", len / 2, len - 1);
                let status = format!("206 Partial Content\r\n{range}");
                script
                    .send(head(&status, len - len / 2))
                    .send(vec![b'b'; len - len / 2])
                    .close()
            }
        }
    })
    .unwrap()
}

#[cfg(unix)]
#[test]
fn an_unfinished_body_is_kept_with_continue_and_deleted_without() {
    use rustix::process::{Pid, Signal, kill_process};
    const LEN: usize = 600_000;
    for backend in backends() {
        let server = halting_server(LEN);
        let directory = tempfile::tempdir().unwrap();
        let (path, url) = (directory.path(), server.url("/book.pdf"));
        let output = path.to_str().unwrap();
        let arguments = [
            "gather",
            "--backend",
            backend,
            "--output",
            output,
            "--names",
            "{basename}",
            "--digest",
            "--continue",
            &url,
        ];
        let part = path.join(".inflight-000000.part");
        let mut child = program(arguments).spawn().unwrap();
        wait_for(|| {
            fs::metadata(&part)
                .is_ok_and(|part| part.len() == LEN as u64 / 2)
                .then_some(())
        });
        match backend {
            "tokio" => child.kill().unwrap(),
            _ => kill_process(Pid::from_child(&child), Signal::TERM).unwrap(),
        }
        let ran = finish(child);
        if backend != "tokio" {
            assert_eq!(
                (ran.code, kinds(&ran.records())),
                (Some(130), vec!["cancelled"]),
                "{backend}"
            );
        }
        assert!(part.exists(), "{backend}");

        let ran = run(arguments);
        let records = ran.records();
        assert_eq!(kinds(&records), ["ok"], "{backend}: {ran:?}");
        assert_eq!(records[0]["bytes"], LEN);
        assert_eq!(file_names(path), ["book.pdf"], "{backend}");
        let mut expected = vec![b'a'; LEN / 2];
        expected.extend(vec![b'b'; LEN - LEN / 2]);
        assert!(
            fs::read(path.join("book.pdf")).unwrap() == expected,
            "{backend}"
        );
        let requests = server.requests();
        assert_eq!(requests.len(), 2, "{backend}");
        assert_eq!(
            requests[1].header("range"),
            Some(&b"bytes=300000-"[..]),
            "{backend}"
        );

        // A finished body is not requested again.
        let ran = run(arguments);
        assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{backend}");
        assert!(ran.stderr.contains("skipped 1 URL"), "{ran:?}");
        assert_eq!(server.requests().len(), 2, "{backend}");

        fs::write(&part, "a part").unwrap();
        let origin = Origin::start().unwrap();
        gather(path, &[], &[origin.url("/page/1")]);
        assert!(!part.exists(), "{backend}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_leaves_only_the_files_that_its_records_name() {
    use rustix::process::{Pid, Signal, kill_process};
    let origin = Origin::start().unwrap();
    let urls: Vec<_> = (0..2000)
        .map(|n| origin.url(&format!("/bytes/2000?seed={n}")))
        .collect();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let directory = tempfile::tempdir().unwrap();
        let pages = directory.path().join("pages");
        let input = directory.path().join("urls.txt");
        fs::write(&input, urls.join("\n")).unwrap();
        let input = input.to_str().unwrap();
        let arguments = [
            "gather",
            "--input",
            input,
            "--output",
            pages.to_str().unwrap(),
        ];
        let child = program(arguments).spawn().unwrap();
        wait_for(|| (pages.exists() && file_names(&pages).len() > 20).then_some(()));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let ran = finish(child);
        let records = ran.records();
        assert_eq!((ran.code, records.len()), (Some(130), urls.len()));
        let mut named: Vec<_> = files(&records)
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect();
        named.sort();
        assert_eq!(file_names(&pages), named, "{signal:?}");
        for record in &records {
            assert_eq!(
                record["file"].is_null(),
                !record["error"].is_null(),
                "{record}"
            );
        }
    }
}

#[test]
fn a_new_journal_does_not_make_the_files_of_another_list_its_own() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("pages");
    gather(&pages, &[], &[origin.url("/page/1")]);
    let journal = directory.path().join("journal.jsonl");
    let options = ["--journal", journal.to_str().unwrap()];
    let records = gather(&pages, &options, &[origin.url("/page/2")]);
    assert_eq!(files(&records), ["000000-2"]);
    assert_eq!(
        fs::read_to_string(pages.join("000000")).unwrap(),
        payload::page(1)
    );
}

#[test]
fn with_continue_a_damaged_file_gets_its_old_name() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let urls = [origin.url("/range/1000"), origin.url("/range/1000?seed=2")];
    let options = ["--names", "{basename}.dat", "--continue", "--limit", "1"];
    let records = gather(directory.path(), &options, &urls);
    assert_eq!(files(&records), ["1000.dat", "1000-2.dat"]);
    let contents = ["1000.dat", "1000-2.dat"].map(|name| directory.path().join(name));
    let expected = contents.each_ref().map(|path| fs::read(path).unwrap());
    assert_ne!(expected[0], expected[1]);
    for path in &contents {
        fs::write(path, "damaged").unwrap();
    }
    let records = gather(directory.path(), &options, &urls);
    assert_eq!(files(&records), ["1000.dat", "1000-2.dat"]);
    assert!(contents.each_ref().map(|path| fs::read(path).unwrap()) == expected);
    assert_eq!(file_names(directory.path()).len(), 2);
}

/// As after a kill between the end of the transfer and the rename.
#[test]
fn with_continue_a_complete_partial_file_is_only_confirmed() {
    let server = ScriptedServer::with_script(
        Script::new()
            .read_request()
            .send(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\nETag: \"v1\"\r\n\
                 Content-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            )
            .close(),
    )
    .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = server.url("/book.pdf");
    let part = directory.path().join(".inflight-000000.part");
    fs::write(&part, "12345").unwrap();
    let description = json!({"url": url, "validator": "\"v1\"", "total": 5}).to_string();
    fs::write(
        directory.path().join(".inflight-000000.part.json"),
        description,
    )
    .unwrap();
    let options = ["--continue", "--names", "{basename}.{ext}"];
    let records = gather(directory.path(), &options, &[url]);
    assert_eq!(
        (kinds(&records), files(&records)),
        (vec!["ok"], vec!["book.pdf"]),
        "{records:?}"
    );
    assert_eq!(
        (&records[0]["bytes"], &records[0]["status"]),
        (&5.into(), &200.into())
    );
    assert_eq!(file_names(directory.path()), ["book.pdf"]);
    assert_eq!(server.requests()[0].header("range"), Some(&b"bytes=5-"[..]));
}

#[test]
fn names_may_begin_with_any_directory() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for name in ["body", "manifest.jsonl"] {
        let template = format!("{name}/{{index}}");
        let records = gather(
            directory.path(),
            &["--names", &template],
            &[origin.url("/page/1")],
        );
        assert_eq!(kinds(&records), ["ok"]);
    }
    assert_eq!(manifest(directory.path()).len(), 2);
}

#[test]
fn directories_that_differ_only_in_case_get_a_number_also_in_later_runs() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let options = ["--names", "{path}"];
    for (path, expected) in [
        ("/anything/P/x", "anything/P/x"),
        ("/anything/p/x", "anything/p-2/x"),
        ("/anything/p/y", "anything/p-2/y"),
        ("/anything/P/y", "anything/P/y"),
    ] {
        let records = gather(directory.path(), &options, &[origin.url(path)]);
        assert_eq!(files(&records), [expected]);
    }
}

#[test]
fn with_continue_and_dedup_a_second_run_fetches_nothing() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let urls = vec![origin.url("/range/100"); 3];
    let options = ["--continue", "--dedup"];
    assert_eq!(gather(directory.path(), &options, &urls).len(), 3);
    assert!(gather(directory.path(), &options, &urls).is_empty());
    assert_eq!(origin.stats().requests, 1);
    assert_eq!(file_names(directory.path()), ["000000"]);
}

#[test]
fn the_journal_may_be_in_a_directory_that_does_not_exist() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("pages");
    let journal = pages.join("journal.jsonl");
    let records = gather(
        &pages,
        &["--journal", journal.to_str().unwrap()],
        &[origin.url("/page/1")],
    );
    assert_eq!(kinds(&records), ["ok"]);
    let output = ["gather", "--output", pages.to_str().unwrap(), "--journal"];
    let manifest = pages.join("manifest.jsonl");
    let ran = run(output
        .into_iter()
        .chain([manifest.to_str().unwrap(), &*origin.url("/page/1")]));
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("another name than the manifest"),
        "{ran:?}"
    );
}

#[test]
fn a_run_with_another_list_deletes_no_unfinished_file() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal.jsonl");
    let pages = directory.path().join("pages");
    let options = ["--journal", journal.to_str().unwrap()];
    gather(&pages, &options, &[origin.url("/page/1")]);
    let part = pages.join(".inflight-000007.part");
    fs::write(&part, "unfinished").unwrap();
    assert!(gather(&pages, &options, &[origin.url("/page/2")]).is_empty());
    assert!(part.exists());
    assert!(gather(&pages, &options, &[origin.url("/page/1")]).is_empty());
    assert!(!part.exists());
}
