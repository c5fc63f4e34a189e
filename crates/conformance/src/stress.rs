//! A stress test: it sends many requests, one in ten with a fault. It checks that each request has
//! exactly one result, that the result is correct, and that no resources leak.
//!
//! Each cell (a runtime with a client) runs in a child process, so that the descriptors, threads
//! and memory of the child are those of the cell. The servers run in the parent process.

use std::error::Error as StdError;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use inflight::{BlockOn, Cell, Error, ErrorKind, Session, gather};
use inflight_origin::script::{Script, ScriptedServer, refused_address};
use inflight_origin::{Origin, payload};
use serde::{Deserialize, Serialize};

type BoxError = Box<dyn StdError>;

const ROUNDS: usize = 10;
/// The number of rounds after which a cell's connections, threads and memory must stop growing.
const WARMUP_ROUNDS: usize = 5;
const LIMIT: usize = 100;

/// For each fault, the kind of error with which the request must fail.
const FAULTS: [&str; 10] = [
    "connect",
    "incomplete",
    "incomplete",
    "incomplete",
    "protocol",
    "timeout",
    "decode",
    "too_many_redirects",
    "body_too_large",
    "status",
];

/// The servers of a stress test, which stop when this is dropped.
struct Servers {
    origin: Origin,
    /// The servers that cause the faults.
    scripted: Vec<ScriptedServer>,
    /// A URL whose address refuses connections.
    refused: String,
}

impl Servers {
    fn start() -> io::Result<Self> {
        let request = || Script::new().read_request();
        // `Connection: close`, because these servers close the connection after the response. On a
        // reused connection, that would be another fault.
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n";
        let scripts = [
            request().close(),
            request().send(format!("{head}\r\nshort")).close(),
            request().send(format!("{head}\r\nshort")).reset(),
            request().send("nonsense\r\n\r\n").close(),
            request().hang(),
            request()
                .send(format!(
                    "{head}Content-Encoding: gzip\r\n\r\n{}",
                    "-".repeat(100)
                ))
                .close(),
            request()
                .send(
                    "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /again\r\n\
                     Content-Length: 0\r\n\r\n",
                )
                .close(),
        ];
        Ok(Self {
            origin: Origin::start()?,
            scripted: scripts
                .into_iter()
                .map(ScriptedServer::with_script)
                .collect::<Result<_, _>>()?,
            refused: format!("http://{}/", refused_address()?),
        })
    }

    /// Returns the common prefix of the URLs of pages, followed by one URL for each of [`FAULTS`].
    fn urls(&self) -> Vec<String> {
        let mut urls = vec![self.origin.url("/page/"), self.refused.clone()];
        urls.extend(self.scripted.iter().map(|server| server.url("/")));
        urls.push(self.origin.url("/bytes/100000"));
        urls.push(self.origin.url("/status/500"));
        urls
    }
}

/// The wrong results of one round, and the resources of the process after the round.
#[derive(Serialize, Deserialize)]
struct RoundResult {
    wrong: Vec<String>,
    seconds: f64,
    descriptors: usize,
    threads: usize,
    memory_kib: u64,
}

/// Runs the stress test on each cell, prints the results, and returns whether all cells passed.
pub(crate) fn run(cells: &[Cell], requests: usize) -> Result<bool, BoxError> {
    let mut passed = true;
    for cell in cells {
        // Starts new servers for each cell, because a server keeps a record of all requests.
        let servers = Servers::start()?;
        println!("{cell}: {ROUNDS} rounds of {requests} requests, one in ten with a fault");
        println!("round  wrong  seconds  descriptors  threads  memory (MiB)");
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--cell", &cell.to_string()])
            .args(["--stress", &requests.to_string()])
            .args(["--stress-servers", &serde_json::to_string(&servers.urls())?])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut rounds = Vec::new();
        if let Some(lines) = child.stdout.take() {
            for line in BufReader::new(lines).lines() {
                let round: RoundResult = serde_json::from_str(&line?)?;
                println!(
                    "{:>5}  {:>5}  {:>7.1}  {:>11}  {:>7}  {:>12.1}",
                    rounds.len() + 1,
                    round.wrong.len(),
                    round.seconds,
                    round.descriptors,
                    round.threads,
                    round.memory_kib as f64 / 1024.0,
                );
                rounds.push(round);
            }
        }
        if !child.wait()?.success() || rounds.len() != ROUNDS {
            println!("  the process ended early");
            passed = false;
        }
        for finding in findings(&rounds) {
            println!("  {finding}");
            passed = false;
        }
    }
    Ok(passed)
}

/// Returns the problems in the results of the rounds.
fn findings(rounds: &[RoundResult]) -> Vec<String> {
    let mut findings: Vec<String> = Vec::new();
    for round in rounds {
        findings.extend(round.wrong.iter().take(5).cloned());
    }
    let (warmup, after) = rounds.split_at(WARMUP_ROUNDS.min(rounds.len()));
    let mut grows = |label: &str, tolerated: f64, resource: &dyn Fn(&RoundResult) -> f64| {
        let most = warmup.iter().map(resource).fold(0.0, f64::max);
        // Compares the median, because one round may be an exception.
        if let Some(now) = median(after, resource)
            && now > most * tolerated
        {
            findings.push(format!("{label} grow: from {most} to {now}"));
        }
    };
    // The number of connections and threads that a round needs is random, and pools keep idle ones
    // for a while, so some growth is tolerated. If every fault leaks a resource, the leak grows by
    // 60 % from the fifth round to the eighth, which is the median of the last five.
    grows("descriptors", 1.05, &|round| round.descriptors as f64);
    grows("threads", 1.25, &|round| round.threads as f64);
    let memory = |round: &RoundResult| round.memory_kib as f64 / 1024.0;
    grows("MiB of memory", 1.1, &memory);
    findings
}

fn median(rounds: &[RoundResult], resource: &dyn Fn(&RoundResult) -> f64) -> Option<f64> {
    let mut values: Vec<f64> = rounds.iter().map(resource).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Runs the rounds of one cell and prints their results. This is the child process.
pub(crate) fn child(cell: Cell, requests: usize, servers: &str) -> Result<(), BoxError> {
    let urls: Vec<String> = serde_json::from_str(servers)?;
    let backend = cell.start(None)?;
    let session = backend
        .builder()
        .max_redirects(3)
        .max_body(50_000)
        .timeout(Duration::from_secs(60))
        .build()?;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..ROUNDS {
        let faults: Vec<Option<usize>> = (0..requests)
            .map(|_| (random.u8(..10) == 0).then(|| random.usize(..FAULTS.len())))
            .collect();
        let started = Instant::now();
        let wrong = backend.block_on(run_round(&session, &urls, &faults));
        let seconds = started.elapsed().as_secs_f64();
        let idle = || session.stats().in_flight == 0;
        wait_until(idle)?;
        let round = RoundResult {
            wrong,
            seconds,
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            threads: fs::read_dir("/proc/self/task")?.count(),
            memory_kib: resident_memory_kib()?,
        };
        println!("{}", serde_json::to_string(&round)?);
    }
    backend.block_on(session.close(Duration::ZERO));
    Ok(())
}

/// Runs one round and returns the wrong results.
async fn run_round(session: &Session, urls: &[String], faults: &[Option<usize>]) -> Vec<String> {
    let jobs = faults.iter().enumerate().map(|(index, fault)| {
        let (session, fault) = (session.clone(), *fault);
        let url = match fault {
            None => format!("{}{index}", urls[0]),
            Some(fault) => urls[1 + fault].clone(),
        };
        async move {
            let mut request = session.get(url);
            if fault.is_some_and(|fault| FAULTS[fault] == "timeout") {
                request = request.timeout(Duration::from_millis(100));
            }
            request.send().await?.error_for_status()?.text().await
        }
    });
    let mut results_seen = vec![0_u8; faults.len()];
    let mut wrong = Vec::new();
    let mut results = gather(jobs).limit(LIMIT).on(session.runtime()).completed();
    while let Some((index, result)) = results.next().await {
        results_seen[index] += 1;
        let kind = match &result {
            Ok(text) => Ok(text.as_str()),
            Err(error) => Err(error.failure().map(Error::kind)),
        };
        if let Err(message) = check_result(index, faults[index], kind) {
            wrong.push(message);
        }
    }
    for (index, results_seen) in results_seen.iter().enumerate() {
        if *results_seen != 1 {
            wrong.push(format!("request {index} has {results_seen} results"));
        }
    }
    wrong
}

/// Checks one result: the text, or the kind of the error (`None` if the job panicked or was
/// cancelled).
fn check_result(
    index: usize,
    fault: Option<usize>,
    result: Result<&str, Option<ErrorKind>>,
) -> Result<(), String> {
    match (result, fault.map(|fault| FAULTS[fault])) {
        (Ok(text), None) if text == payload::page(index as u64) => Ok(()),
        (Ok(_), None) => Err(format!("request {index} got the page of another request")),
        (Ok(_), Some(kind)) => Err(format!("request {index} succeeded, wanted {kind}")),
        (Err(None), _) => Err(format!("request {index} panicked or was cancelled")),
        (Err(Some(kind)), Some(wanted)) if kind.as_str() == wanted => Ok(()),
        (Err(Some(kind)), wanted) => {
            let wanted = wanted.unwrap_or("a page");
            Err(format!(
                "request {index} failed with {kind}, wanted {wanted}"
            ))
        }
    }
}

/// Waits until a condition holds.
fn wait_until(reached: impl Fn() -> bool) -> Result<(), BoxError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        if Instant::now() > deadline {
            return Err("requests are still in flight after the round".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Returns the resident memory of this process, in KiB.
fn resident_memory_kib() -> Result<u64, BoxError> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmRSS")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(descriptors: impl Fn(usize) -> usize) -> Vec<RoundResult> {
        let round = |n| RoundResult {
            wrong: Vec::new(),
            seconds: 1.0,
            descriptors: descriptors(n),
            threads: 5,
            memory_kib: 1024,
        };
        (0..ROUNDS).map(round).collect()
    }

    #[test]
    fn growth_is_found_and_a_single_peak_is_not() {
        // One fault in ten leaks a descriptor: three of the thirty faults in a round.
        assert_eq!(findings(&rounds(|n| 100 + 3 * n)).len(), 1);
        assert!(findings(&rounds(|n| if n == 7 { 200 } else { 100 })).is_empty());
        // From the sixth round on, the number of descriptors is higher by chance, but it does not
        // grow further.
        assert!(findings(&rounds(|n| if n < 5 { 211 } else { 214 })).is_empty());
    }

    #[test]
    fn wrong_results_are_reported() {
        let page = payload::page(3);
        assert!(check_result(3, None, Ok(&page)).is_ok());
        assert!(check_result(4, None, Ok(&page)).is_err());
        assert!(check_result(3, Some(0), Ok(&page)).is_err());
        assert!(check_result(3, Some(0), Err(Some(ErrorKind::Connect))).is_ok());
        assert!(check_result(3, Some(1), Err(Some(ErrorKind::Connect))).is_err());
        assert!(check_result(3, None, Err(Some(ErrorKind::Connect))).is_err());
        assert!(check_result(3, None, Err(None)).is_err());
    }
}
