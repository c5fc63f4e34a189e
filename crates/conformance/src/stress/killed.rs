//! Sends the requests of a stress test with `inflight gather` and a journal. It kills the program at
//! random moments and starts it again until the list is complete. Then it checks that each URL has
//! exactly one result, and that the resources of a run do not depend on how many results the journal
//! had at its start.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use inflight::Cell;
use inflight_origin::payload;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::faults::{FAULTS, MAX_BODY, MAX_REDIRECTS, Servers, Urls, choose_faults};
use super::resources::{Growth, Resources};
use super::{BoxError, LIMIT, ROUNDS, wrong_counts};

/// How often the test reads the journal and the resources of the program.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

/// The growth per round of requests that a run may have because of the results of earlier runs.
fn bounds(requests: usize) -> Growth {
    Growth {
        // The samples are taken under load, so they depend on which requests overlap. A run that keeps one
        // descriptor or thread for each 10,000 earlier results exceeds these bounds.
        descriptors: 5.0,
        threads: 5.0,
        // The program keeps a hash, a position and a state for each result of the journal: 25 bytes in a
        // table that doubles its size when it is full to 7/8.
        memory_kib: 512.0 + 60.0 * requests as f64 / 1024.0,
    }
}

/// Runs the test on each cell, prints the results, and returns whether all cells passed. The list of a
/// cell has ten rounds of `requests` URLs. Each round is interrupted once.
pub(crate) fn run(cells: &[Cell], requests: usize, program: &Path) -> Result<bool, BoxError> {
    let mut passed = true;
    for cell in cells {
        let servers = Servers::start()?;
        let urls = ROUNDS * requests;
        println!(
            "{cell}: inflight gather with {urls} URLs, one in ten with a fault, {ROUNDS} kills"
        );
        println!("journalled  after  seconds  descriptors  threads  memory (MiB)");
        let list = List::create(*cell, servers.urls(), urls)?;
        let runs = list.run_with_kills(program, requests)?;
        let growth = growth(&runs, requests);
        println!("growth per {requests} results of earlier runs: {growth}");
        let mut findings: Vec<_> = list.wrong_results()?.into_iter().take(5).collect();
        findings.extend(growth.above(&bounds(requests)));
        for finding in &findings {
            println!("  {finding}");
        }
        passed &= findings.is_empty();
    }
    Ok(passed)
}

fn growth(runs: &[Run], requests: usize) -> Growth {
    let sample = |run: &Run| (run.before as f64 / requests as f64, run.resources);
    Growth::of(&runs.iter().map(sample).collect::<Vec<_>>())
}

/// A run of the program.
struct Run {
    /// How many results the journal had before the run.
    before: usize,
    /// The most that the program used during the run.
    resources: Resources,
}

/// A list of URLs, and its journal.
struct List {
    folder: TempDir,
    cell: Cell,
    urls: Urls,
    faults: Vec<Option<usize>>,
}

impl List {
    fn create(cell: Cell, urls: Urls, len: usize) -> io::Result<Self> {
        let list = Self {
            folder: tempfile::tempdir()?,
            cell,
            urls,
            faults: choose_faults(&mut fastrand::Rng::with_seed(7), len),
        };
        let mut file = BufWriter::new(File::create(list.input())?);
        for (index, fault) in list.faults.iter().enumerate() {
            writeln!(file, "{}", list.urls.of(index, *fault))?;
        }
        file.flush()?;
        Ok(list)
    }

    fn input(&self) -> PathBuf {
        self.folder.path().join("urls.txt")
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.jsonl")
    }

    /// Kills the program once in each round, and then lets it complete the list. Returns the runs.
    fn run_with_kills(&self, program: &Path, requests: usize) -> Result<Vec<Run>, BoxError> {
        let mut journal = JournalReader::new(self.journal());
        let mut random = fastrand::Rng::new();
        let mut runs = Vec::new();
        for round in 0..ROUNDS {
            // In the second half of the round, so that each run is long enough for its samples.
            let kill_at =
                ((round as f64 + f64::midpoint(1.0, random.f64())) * requests as f64) as usize;
            let mut child = KilledOnDrop(self.start(program)?);
            runs.push(self.watch(&mut child.0, &mut journal, Some(kill_at))?);
        }
        let mut child = KilledOnDrop(self.start(program)?);
        runs.push(self.watch(&mut child.0, &mut journal, None)?);
        Ok(runs)
    }

    fn start(&self, program: &Path) -> io::Result<Child> {
        Command::new(program)
            .args([
                "gather",
                "--format",
                "jsonl",
                "--summary",
                "none",
                "--no-proxy",
            ])
            .args(["--fail-status", "--digest", "--timeout", "2s"])
            .args(["--max-redirects", &MAX_REDIRECTS.to_string()])
            .args(["--max-body", &MAX_BODY.to_string()])
            .args(["--limit", &LIMIT.to_string()])
            .args(["--backend", &self.cell.to_string()])
            .arg("--input")
            .arg(self.input())
            .arg("--journal")
            .arg(self.journal())
            // The folder has no configuration of the user.
            .env("XDG_CONFIG_HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
    }

    /// Watches a run until the journal has `kill_at` results, and kills it. Without `kill_at`, waits for
    /// its end. Prints and returns the run.
    fn watch(
        &self,
        child: &mut Child,
        journal: &mut JournalReader,
        kill_at: Option<usize>,
    ) -> Result<Run, BoxError> {
        let before = journal.advance()?;
        let started = Instant::now();
        let mut most = Resources::default();
        let status = loop {
            thread::sleep(SAMPLE_INTERVAL);
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            let results = journal.advance()?;
            // Before its first result, the program reads the journal.
            if results > before {
                // Fails if the program ends at this moment.
                most = Resources::of_process(child.id()).map_or(most, |now| most.max(now));
            }
            if kill_at.is_some_and(|kill_at| results >= kill_at) {
                child.kill()?;
                child.wait()?;
                break None;
            }
        };
        // The program has written results since the last look.
        let after = journal.advance()?;
        println!(
            "{before:>10}  {after:>7}  {:>7.1}  {:>11}  {:>7}  {:>12.1}",
            started.elapsed().as_secs_f64(),
            most.descriptors,
            most.threads,
            most.memory_kib as f64 / 1024.0,
        );
        match status {
            // Some URLs failed, as planned.
            Some(status) if kill_at.is_none() && status.code() == Some(1) => {}
            Some(status) => return Err(format!("the program ended early: {status}").into()),
            None => {}
        }
        Ok(Run {
            before,
            resources: most,
        })
    }

    /// Returns a message for each URL that does not have exactly one result, the right one.
    fn wrong_results(&self) -> Result<Vec<String>, BoxError> {
        let mut results_seen = vec![0_u8; self.faults.len()];
        let mut wrong = Vec::new();
        for line in BufReader::new(File::open(self.journal())?).lines() {
            let record: Record = serde_json::from_str(&line?)?;
            let index = record.index;
            let Some(fault) = self.faults.get(index) else {
                return Err(format!("the list has no URL {index}").into());
            };
            results_seen[index] = results_seen[index].saturating_add(1);
            if record.url != self.urls.of(index, *fault)
                || record.result() != expected(index, *fault)
            {
                wrong.push(format!("wrong result: {record:?}"));
            }
        }
        wrong.extend(wrong_counts(&results_seen));
        Ok(wrong)
    }
}

/// Kills the program when the test fails.
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Fails if the program has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The fields of a journal's line that the test checks.
#[derive(Debug, Deserialize)]
struct Record {
    index: usize,
    url: String,
    sha256: Option<String>,
    error: Option<RecordError>,
}

#[derive(Debug, Deserialize)]
struct RecordError {
    kind: String,
}

impl Record {
    /// Returns the kind of the error, or the digest of the body.
    fn result(&self) -> Result<String, String> {
        match &self.error {
            None => Ok(self.sha256.clone().unwrap_or_default()),
            Some(error) => Err(error.kind.clone()),
        }
    }
}

fn expected(index: usize, fault: Option<usize>) -> Result<String, String> {
    match fault {
        Some(fault) => Err(FAULTS[fault].to_owned()),
        None => {
            let digest = Sha256::digest(payload::page(index as u64));
            Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
        }
    }
}

/// Counts the results in a journal that grows.
struct JournalReader {
    path: PathBuf,
    results: usize,
    /// The end of the last complete line. The program truncates nothing before it.
    end: u64,
}

impl JournalReader {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            results: 0,
            end: 0,
        }
    }

    /// Reads the lines that were added, and returns the number of all complete lines.
    fn advance(&mut self) -> io::Result<usize> {
        let mut file = match File::open(&self.path) {
            // The program has not created the journal yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            opened => opened?,
        };
        file.seek(SeekFrom::Start(self.end))?;
        let mut added = Vec::new();
        file.read_to_end(&mut added)?;
        if let Some(last) = added.iter().rposition(|byte| *byte == b'\n') {
            self.results += added[..=last].iter().filter(|byte| **byte == b'\n').count();
            self.end += last as u64 + 1;
        }
        Ok(self.results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_lines_of_a_journal_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut reader = JournalReader::new(path.clone());
        assert_eq!(reader.advance().unwrap(), 0);
        std::fs::write(&path, "{}\n{}\n{\"in").unwrap();
        assert_eq!(reader.advance().unwrap(), 2);
        // The next run removes the incomplete line.
        std::fs::write(&path, "{}\n{}\n{}\n").unwrap();
        assert_eq!(reader.advance().unwrap(), 3);
    }

    #[test]
    fn lost_repeated_and_wrong_results_are_found() {
        let urls = Servers::start().unwrap().urls();
        let list = List::create(Cell::compiled().next().unwrap(), urls, 100).unwrap();
        let line = |index: usize| {
            let fault = list.faults[index];
            let (digest, error) = match expected(index, fault) {
                Ok(digest) => (Some(digest), None),
                Err(kind) => (None, Some(serde_json::json!({ "kind": kind }))),
            };
            serde_json::json!({
                "index": index, "url": list.urls.of(index, fault), "sha256": digest, "error": error,
            })
            .to_string()
        };
        let wrong_after = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines: Vec<_> = (0..100).map(line).collect();
            change(&mut lines);
            std::fs::write(list.journal(), lines.join("\n")).unwrap();
            list.wrong_results().unwrap().len()
        };
        assert_eq!(wrong_after(&|_| ()), 0);
        assert_eq!(wrong_after(&|lines| drop(lines.pop())), 1);
        assert_eq!(wrong_after(&|lines| lines.push(line(3))), 1);
        let fault = list.faults.iter().position(Option::is_some).unwrap();
        let kind = FAULTS[list.faults[fault].unwrap()];
        let without_error =
            |lines: &mut Vec<String>| lines[fault] = lines[fault].replace(kind, "body");
        assert_eq!(wrong_after(&without_error), 1);
    }
}
