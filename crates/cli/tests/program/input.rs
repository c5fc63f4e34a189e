//! Tests of the input of `gather`.

use std::fs::{self, File};
use std::io::Write;
use std::process::Stdio;
use std::thread;

use inflight_origin::Origin;

use crate::program::{ProgramOutput, finish, kinds, next_line, program, records, run};

fn run_with_stdin(args: &[&str], stdin: impl AsRef<[u8]>) -> ProgramOutput {
    let mut child = program(args).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_ref())
        .unwrap();
    finish(child)
}

#[test]
fn a_malformed_line_is_one_failure_with_its_line_number() {
    let origin = Origin::start().unwrap();
    let lines: Vec<String> = (1..=10)
        .map(|n| match n {
            7 => "http://[not-a-host/".to_owned(),
            n => origin.url(&format!("/page/{n}")),
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("urls.txt");
    fs::write(&file, lines.join("\n")).unwrap();
    let ran = run(["gather", "--input", file.to_str().unwrap()]);
    let records = ran.records();
    assert_eq!(records.len(), 10);
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record["url"], lines[n]);
        assert_eq!(record["error"].is_null(), n != 6, "{record}");
    }
    assert_eq!(kinds(&records)[6], "invalid_url");
    let message = records[6]["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("line 7 of {}: ", file.display())),
        "{message}"
    );
    assert_eq!((ran.code, origin.stats().requests), (Some(1), 9));
}

#[test]
fn urls_in_the_arguments_come_before_urls_in_the_input() {
    let origin = Origin::start().unwrap();
    let (one, two) = (origin.url("/page/1"), origin.url("/page/2"));
    let ran = run_with_stdin(&["gather", &one, "--input", "-"], format!("{two}\n"));
    let records = ran.records();
    assert_eq!(
        (&records[0]["url"], &records[1]["url"]),
        (&one.into(), &two.into())
    );
}

#[test]
fn a_line_that_is_not_utf_8_is_an_invalid_url() {
    let origin = Origin::start().unwrap();
    let mut lines = b"http://127.0.0.1/\xff\xfe\n".to_vec();
    lines.extend_from_slice(origin.url("/page/1").as_bytes());
    let ran = run_with_stdin(&["gather", "--input", "-"], lines);
    let records = ran.records();
    assert_eq!(kinds(&records), ["invalid_url", "ok"]);
    let message = records[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("line 1 of standard input"), "{message}");
}

#[test]
fn an_empty_input_succeeds() {
    let arguments = ["gather", "--summary", "none", "--input", "-"];
    let ran = run_with_stdin(&arguments, "\n# nothing\n");
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), "", ""));
}

/// A pipe that never ends is read as requests finish. When the reader closes the pipe of the output, the
/// program ends without a message.
#[test]
fn an_endless_input_is_read_until_the_output_is_closed() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/page/1");
    for format in ["jsonl", "table"] {
        let mut child = program(["gather", "--input", "-", "--limit", "4", "--format", format])
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let line = format!("{url}\n");
        // The write fails when the program has ended.
        let feeder = thread::spawn(move || while stdin.write_all(line.as_bytes()).is_ok() {});
        for _ in 0..100 {
            let line = next_line(&mut child);
            if format == "jsonl" {
                assert_eq!(kinds(&records(&line)), ["ok"]);
            }
        }
        drop(child.stdout.take());
        let ran = finish(child);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
        feeder.join().unwrap();
    }
}

/// A URL is fetched when its line has been read, not when the pipe is closed.
#[test]
fn a_pipe_that_pauses_does_not_delay_requests() {
    let origin = Origin::start().unwrap();
    let mut child = program(["gather", "--input", "-"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for n in 0..3 {
        writeln!(stdin, "{}", origin.url(&format!("/page/{n}"))).unwrap();
        let line = next_line(&mut child);
        assert_eq!(records(&line)[0]["index"], n);
    }
    drop(stdin);
    assert_eq!(finish(child).code, Some(0));
}

/// After the deadline, the program does not wait for the rest of a pipe. It reports that the rest was not
/// read.
#[test]
fn the_deadline_ends_the_program_while_a_pipe_is_idle() {
    let mut child = program(["gather", "--input", "-", "--deadline", "50ms"])
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let ran = finish(child);
    drop(stdin);
    assert_eq!((ran.code, &*ran.stdout), (Some(1), ""));
    assert!(ran.stderr.contains("deadline"), "{ran:?}");
}

/// A regular file on standard input is read to its end, as with `--input FILE`.
#[test]
fn the_rest_of_a_file_is_reported_after_a_deadline() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("urls.txt");
    let lines = vec![origin.url("/hang"); 600].join("\n");
    fs::write(&file, lines).unwrap();
    let as_stdin = Stdio::from(File::open(&file).unwrap());
    let child = program([
        "gather",
        "--input",
        "-",
        "--deadline",
        "100ms",
        "--limit",
        "2",
    ])
    .stdin(as_stdin)
    .spawn()
    .unwrap();
    let records = finish(child).records();
    assert_eq!(kinds(&records), vec!["deadline"; 600]);
    assert_eq!(records[599]["attempts"], 0);
    assert!(origin.stats().requests <= 2);
}
