//! The journal of `inflight gather`: a killed run leaves a prefix of its lines, and the next run continues after the
//! last complete one. Other files are refused or left as they are.
#![no_main]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tempfile::TempDir;

#[allow(dead_code, reason = "the target uses a part of this file")]
#[path = "../../crates/cli/src/exit.rs"]
mod exit;
#[allow(dead_code, reason = "the target uses a part of this file")]
#[path = "../../crates/cli/src/journal.rs"]
mod journal;
#[allow(dead_code, reason = "the target uses a part of this file")]
#[path = "../../crates/cli/src/line_file.rs"]
mod line_file;

/// The URLs of this target have no credentials.
mod output {
    pub(crate) fn redacted(url: &str) -> &str {
        url
    }
}

mod summary {
    pub(crate) fn is_unfinished(kind: &str) -> bool {
        matches!(kind, "cancelled" | "deadline")
    }
}

use journal::{Decision, Journal};

#[derive(Arbitrary, Clone, Debug)]
struct Record {
    index: u8,
    url: String,
    outcome: Outcome,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Outcome {
    Status(u16),
    Failed,
    Cancelled,
}

#[derive(Arbitrary, Debug)]
struct Runs {
    records: Vec<Record>,
    /// The number of bytes that the first run has written when it is killed.
    killed_after: u16,
    retry_failed: bool,
}

thread_local! {
    static FOLDER: TempDir = {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        folder.expect("a temporary folder")
    };
}

fuzz_target!(|data: &[u8]| {
    let path = FOLDER.with(|folder| folder.path().join("journal"));
    check_other_file(&path, data);
    if let Ok(runs) = Runs::arbitrary(&mut Unstructured::new(data)) {
        check_runs(&path, &runs);
    }
});

/// Checks that opening a file of any content does not panic, and removes at most an incomplete line.
fn check_other_file(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("the file can be written");
    let opened = Journal::open(path, false);
    let left = fs::read(path).expect("the file can be read");
    match opened {
        Ok((mut journal, _)) => {
            let complete = content
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            assert_eq!(left, content[..complete]);
            assert!(journal.finish().is_ok());
        }
        Err(_) => assert_eq!(left, content),
    }
}

fn check_runs(path: &Path, runs: &Runs) {
    let lines: Vec<String> = runs.records.iter().map(line).collect();
    let whole = lines.concat();
    let killed_after = usize::from(runs.killed_after).min(whole.len());
    fs::write(path, &whole[..killed_after]).expect("the file can be written");
    let (mut journal, earlier) =
        Journal::open(path, runs.retry_failed).expect("a killed run left the journal");
    let mut len = 0;
    let complete = lines.iter().take_while(|line| {
        len += line.len();
        len <= killed_after
    });
    let complete = complete.count();
    check_decisions(&earlier, &runs.records[..complete], runs.retry_failed);
    for line in &lines[complete..] {
        assert!(journal.append(line).is_ok());
    }
    assert!(journal.finish().is_ok());
    drop(journal);
    assert_eq!(
        fs::read_to_string(path).expect("the file can be read"),
        whole
    );
}

/// Returns the line of a record, as `inflight gather` writes it. Its text has only ASCII characters, so that a run can
/// be killed after any byte.
fn line(record: &Record) -> String {
    let url = url(record);
    let (status, error) = match record.outcome {
        Outcome::Status(status) => (Some(status), None),
        Outcome::Failed => (None, Some("connect")),
        Outcome::Cancelled => (None, Some("cancelled")),
    };
    let error = error.map(|kind| json!({"kind": kind, "message": "a message"}));
    let index = record.index;
    format!(
        "{{\"index\":{index},\"url\":{},\"status\":{},\"bytes\":0,\"error\":{}}}\n",
        json!(url),
        json!(status),
        json!(error)
    )
}

fn url(record: &Record) -> String {
    record.url.escape_default().to_string()
}

fn check_decisions(earlier: &journal::EarlierRecords, records: &[Record], retry_failed: bool) {
    let last: HashMap<u8, &Record> = records
        .iter()
        .map(|record| (record.index, record))
        .collect();
    assert_eq!(earlier.is_empty(), last.is_empty());
    for index in 0..=u8::MAX {
        let decision = |url: &str| earlier.decide(usize::from(index), url);
        let Some(record) = last.get(&index) else {
            assert_eq!(decision("http://pages.test/"), Decision::Fetch);
            continue;
        };
        let expected = match record.outcome {
            Outcome::Status(..400) => Decision::Skip { has_failed: false },
            Outcome::Status(_) if !retry_failed => Decision::Skip { has_failed: false },
            Outcome::Failed if !retry_failed => Decision::Skip { has_failed: true },
            Outcome::Status(_) | Outcome::Failed | Outcome::Cancelled => Decision::Fetch,
        };
        assert_eq!(decision(&url(record)), expected);
        if !record.url.is_empty() {
            assert_eq!(decision("http://other.test/"), Decision::Mismatch);
        }
    }
}
