//! Tests of `inflight gather --journal`.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inflight_origin::Origin;
use inflight_origin::script::refused_address;
use serde_json::Value;
use tempfile::TempDir;

use crate::output::file_names;
use crate::program::{ProgramOutput, finish, kinds, program, run, wait_for};

/// A folder with a list of URLs and a journal.
struct Run {
    _folder: TempDir,
    input: PathBuf,
    journal: PathBuf,
}

impl Run {
    fn new(urls: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = Self {
            input: folder.path().join("urls.txt"),
            journal: folder.path().join("journal.jsonl"),
            _folder: folder,
        };
        run.set_input(urls);
        run
    }

    fn set_input(&self, urls: &[String]) {
        fs::write(&self.input, urls.join("\n")).unwrap();
    }

    fn arguments(&self) -> [&str; 5] {
        let path = |path: &'_ Path| -> &str { Box::leak(path.to_str().unwrap().into()) };
        [
            "gather",
            "--input",
            path(&self.input),
            "--journal",
            path(&self.journal),
        ]
    }

    fn run(&self, options: &[&str]) -> ProgramOutput {
        run(self.arguments().into_iter().chain(options.iter().copied()))
    }

    /// Returns the lines of the journal. Panics if one is incomplete.
    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.journal).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn pages(origin: &Origin, count: usize) -> Vec<String> {
    (0..count)
        .map(|n| origin.url(&format!("/page/{n}")))
        .collect()
}

#[test]
fn the_second_run_fetches_nothing_that_is_finished() {
    let origin = Origin::start().unwrap();
    let gather = Run::new(&pages(&origin, 3));
    let first = gather.run(&["--summary", "none"]);
    assert_eq!((first.code, &*first.stderr), (Some(0), ""));
    let printed: Vec<Value> = first
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(gather.lines(), printed);
    let second = gather.run(&[]);
    assert_eq!((second.code, &*second.stdout), (Some(0), ""));
    assert!(second.stderr.contains("skipped 3 URLs"), "{second:?}");
    assert_eq!((origin.stats().requests, gather.lines().len()), (3, 3));
}

#[test]
fn failed_urls_are_fetched_again_only_with_retry_failed() {
    let origin = Origin::start().unwrap();
    let mut urls = pages(&origin, 2);
    urls.push(format!("http://{}/", refused_address().unwrap()));
    let gather = Run::new(&urls);
    assert_eq!(gather.run(&[]).code, Some(1));
    let again = gather.run(&[]);
    assert_eq!(
        (again.code, &*again.stdout),
        (Some(1), ""),
        "a failure remains"
    );
    let retried = gather.run(&["--retry-failed"]);
    assert_eq!(retried.code, Some(1));
    let record: Value = serde_json::from_str(&retried.stdout).unwrap();
    assert_eq!(
        (&record["index"], &record["error"]["kind"]),
        (&2.into(), &"connect".into())
    );
    assert_eq!((origin.stats().requests, gather.lines().len()), (2, 4));
}

#[test]
fn report_counts_the_last_result_of_each_url() {
    let origin = Origin::start().unwrap();
    let mut urls = pages(&origin, 2);
    urls.push(origin.url("/status/404"));
    urls.push(origin.url("/hang"));
    urls.push(format!("http://{}/", refused_address().unwrap()));
    let gather = Run::new(&urls);
    gather.run(&["--fail-status", "--timeout", "1s"]);
    gather.run(&["--fail-status", "--timeout", "1s", "--retry-failed"]);
    assert_eq!(gather.lines().len(), 8);
    let journal = gather.journal.to_str().unwrap();
    let ran = run(["report", journal]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "5 URLs: 2 ok, 3 failed");
    for expected in [
        "2  2xx",
        "1  status (404)",
        "1  timeout (total)",
        "1  connect",
    ] {
        assert!(
            lines.iter().any(|line| line.trim() == expected),
            "{expected}: {}",
            ran.stdout
        );
    }
    let ran = run(["report", journal, "--failed", "--format", "urls"]);
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), urls[2..]);
    let ran = run(["report", journal, "--failed", "--format", "jsonl"]);
    assert_eq!(ran.stdout.lines().count(), 3);
    let ran = run(["report", "missing.jsonl"]);
    assert_eq!(ran.code, Some(2));
}

#[test]
fn an_interrupted_run_continues_with_the_indices_of_the_input() {
    let origin = Origin::start().unwrap();
    let mut urls = pages(&origin, 3);
    urls[1] = origin.url("/flaky?fail=1&id=journal");
    let hang = origin.url("/hang");
    let gather = Run::new(&[urls[0].clone(), hang.clone(), urls[2].clone()]);
    let ran = gather.run(&["--limit", "1", "--deadline", "1s"]);
    assert_eq!(kinds(&ran.records()), ["ok", "deadline", "deadline"]);
    // The page that was not reached is fetched, and the page that was cut off too.
    let ran = gather.run(&["--timeout", "300ms"]);
    let mut lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.sort_by_key(|line| line["index"].as_u64());
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert_eq!(
        (&lines[0]["index"], &lines[0]["error"]["kind"]),
        (&1.into(), &"timeout".into())
    );
    assert_eq!(
        (&lines[1]["index"], &lines[1]["error"]),
        (&2.into(), &Value::Null)
    );
}

#[test]
fn an_incomplete_last_line_is_removed() {
    let origin = Origin::start().unwrap();
    let gather = Run::new(&pages(&origin, 3));
    gather.run(&[]);
    let complete = fs::read_to_string(&gather.journal).unwrap();
    let (kept, _) = complete.trim_end().rsplit_once('\n').unwrap();
    for torn in [0, 5, 100] {
        let torn = format!("{kept}\n{}", &complete[..torn]);
        fs::write(&gather.journal, torn).unwrap();
        let ran = gather.run(&[]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(gather.lines().len(), 3);
    }
    assert_eq!(origin.stats().requests, 6);
}

#[test]
fn another_input_is_a_usage_error_that_names_the_line() {
    let origin = Origin::start().unwrap();
    let urls = pages(&origin, 3);
    let gather = Run::new(&urls);
    gather.run(&[]);
    gather.set_input(&[urls[0].clone(), urls[2].clone(), urls[1].clone()]);
    let ran = gather.run(&[]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
    assert!(ran.stderr.contains("line 2 of"), "{ran:?}");
    gather.set_input(&urls[..2]);
    let ran = gather.run(&[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("index 2"), "{ran:?}");
    // More URLs at the end are new URLs.
    let mut longer = urls.clone();
    longer.push(origin.url("/page/9"));
    gather.set_input(&longer);
    assert_eq!(gather.run(&[]).code, Some(0));
    assert_eq!(origin.stats().requests, 4);
}

#[test]
fn another_file_is_never_changed() {
    let origin = Origin::start().unwrap();
    let gather = Run::new(&pages(&origin, 1));
    for content in [
        "only copy of my notes",
        "{\"name\":\"package\"}",
        "\n",
        "notes\n",
    ] {
        fs::write(&gather.journal, content).unwrap();
        let ran = gather.run(&[]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert_eq!(fs::read_to_string(&gather.journal).unwrap(), content);
        let ran = run(["report", gather.journal.to_str().unwrap()]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
    let input = gather.input.to_str().unwrap();
    let ran = run(["gather", "--input", input, "--journal", input]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(fs::read_to_string(input).unwrap(), origin.url("/page/0"));
    assert_eq!(origin.stats().requests, 0);
}

#[cfg(unix)]
#[test]
fn a_device_is_no_journal() {
    for device in ["/dev/full", "/dev/zero"] {
        let ran = run(["gather", "--journal", device, "http://127.0.0.1:1/"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert_eq!(run(["report", device]).code, Some(2));
    }
}

#[test]
fn a_body_cannot_replace_the_journal() {
    let origin = Origin::start().unwrap();
    let gather = Run::new(&pages(&origin, 2));
    let folder = gather.journal.parent().unwrap();
    let (input, journal) = (gather.input.to_str().unwrap(), folder.join("000001"));
    let output = folder.to_str().unwrap();
    let arguments = ["gather", "--input", input, "--output", output, "--journal"];
    let ran = run(arguments.into_iter().chain([journal.to_str().unwrap()]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut files = ran
        .records()
        .into_iter()
        .map(|mut record| record["file"].take());
    assert_eq!(files.next().unwrap(), "000000");
    assert_eq!(files.next().unwrap(), "000001-2");
    assert_eq!(fs::read_to_string(&journal).unwrap().lines().count(), 2);
    // Two lists cannot be in one file.
    let manifest = folder.join("manifest.jsonl");
    let ran = run(arguments.into_iter().chain([manifest.to_str().unwrap()]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn a_run_with_another_input_appends_nothing() {
    let origin = Origin::start().unwrap();
    let urls = pages(&origin, 3);
    let gather = Run::new(&urls);
    let ran = gather.run(&["--limit", "1", "--fail-fast"]);
    assert_eq!(ran.code, Some(0));
    // The journal does not have the first URL.
    let text = fs::read_to_string(&gather.journal).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&gather.journal, rest).unwrap();
    gather.set_input(&[origin.url("/page/8"), origin.url("/page/9")]);
    assert_eq!(gather.run(&[]).code, Some(2));
    assert_eq!(fs::read_to_string(&gather.journal).unwrap(), rest);
    gather.set_input(&urls);
    assert_eq!(gather.run(&[]).code, Some(0));
}

#[test]
fn a_line_that_is_no_record_is_a_usage_error() {
    let origin = Origin::start().unwrap();
    let gather = Run::new(&pages(&origin, 1));
    gather.run(&[]);
    let mut file = OpenOptions::new()
        .append(true)
        .open(&gather.journal)
        .unwrap();
    file.write_all(b"no record\n").unwrap();
    let ran = gather.run(&[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("line 2 of"), "{ran:?}");
}

#[cfg(unix)]
#[test]
fn a_second_process_cannot_use_the_journal() {
    let origin = Origin::start().unwrap();
    let gather = Run::new(&[origin.url("/hang")]);
    let child = program(gather.arguments()).spawn().unwrap();
    wait_for(|| (origin.stats().requests == 1).then_some(()));
    let second = gather.run(&[]);
    assert_eq!(second.code, Some(2));
    assert!(second.stderr.contains("another run is using"), "{second:?}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(finish(child).code, Some(130));
    assert_eq!(gather.lines()[0]["error"]["kind"], "cancelled");
}

/// Kills the program at random times. Each URL must end with exactly one result, and the origin must not get
/// more requests than the kills explain.
#[cfg(unix)]
#[test]
fn a_killed_program_loses_no_result_and_repeats_only_unfinished_urls() {
    const URLS: usize = 10_000;
    const KILLS: usize = 20;
    const LIMIT: usize = 20;
    let origin = Origin::start().unwrap();
    let gather = Run::new(&pages(&origin, URLS));
    let limit = LIMIT.to_string();
    let results = || {
        let text = fs::read(&gather.journal).unwrap_or_default();
        text.iter().filter(|byte| **byte == b'\n').count()
    };
    let pages = gather.journal.with_file_name("pages");
    let options = ["--limit", &limit, "--output", pages.to_str().unwrap()];
    let arguments = || gather.arguments().into_iter().chain(options);
    // The same sequence in every run of the test. The kills are at other moments in every run.
    let mut random = (1_usize..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
    for kill in 0..KILLS {
        let step = URLS / (KILLS + 2);
        let wanted = kill * step + random.next().unwrap() % step;
        let mut child = program(arguments()).spawn().unwrap();
        let stdout = child.stdout.take();
        let drained =
            std::thread::spawn(move || std::io::copy(&mut stdout.unwrap(), &mut std::io::sink()));
        wait_for(|| {
            std::thread::sleep(Duration::from_millis(1));
            (results() >= wanted).then_some(())
        });
        std::thread::sleep(Duration::from_micros(random.next().unwrap() as u64 % 3000));
        child.kill().unwrap();
        child.wait().unwrap();
        drained.join().unwrap().unwrap();
    }
    let last = run(arguments());
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    let mut results: HashMap<u64, usize> = HashMap::new();
    for line in gather.lines() {
        assert_eq!(line["error"], Value::Null);
        let index = line["index"].as_u64().unwrap();
        *results.entry(index).or_default() += 1;
        assert_eq!(line["file"], format!("{index:06}"));
    }
    assert_eq!(results.len(), URLS);
    assert!(results.values().all(|count| *count == 1));
    // Neither a temporary file nor a second copy remains.
    let expected: Vec<_> = (0..URLS).map(|index| format!("{index:06}")).collect();
    assert!(file_names(&pages) == expected);
    let requests = origin.stats().requests as usize;
    // Records reach the journal within 10 ms, and requests that have finished may lack their record.
    const UNFLUSHED: usize = 100;
    assert!(
        requests <= URLS + KILLS * (2 * LIMIT + UNFLUSHED),
        "{requests}"
    );
}
