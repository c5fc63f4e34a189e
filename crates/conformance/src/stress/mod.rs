//! A stress test: it sends many requests, one in ten with a fault. It checks that each request has
//! exactly one result, that the result is correct, and that no resources leak.
//!
//! Each cell (a runtime with a client) runs in a child process, so that the descriptors, threads
//! and memory of the child are those of the cell. The servers run in the parent process.
//!
//! The test has ten rounds. After each round, it fills the pools of connections and threads, so that
//! the sizes of the pools do not depend on how many requests the round had in flight by chance. A
//! leak of a single descriptor is then visible. `killed` sends the same requests with the program
//! `inflight gather`, kills it and resumes it.

mod faults;
pub(crate) mod killed;
mod resources;

use std::error::Error as StdError;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use inflight::backend::Runtime;
use inflight::http::Uri;
use inflight::{BlockOn, Cell, Error, ErrorKind, Session, gather, unblock};
use inflight_origin::payload;
use serde::{Deserialize, Serialize};

use faults::{FAULTS, MAX_BODY, MAX_REDIRECTS, Servers, Urls, choose_faults};
use resources::{Growth, Resources};

type BoxError = Box<dyn StdError>;

const ROUNDS: usize = 10;
/// The number of rounds after which a cell's resources must stop growing. Until then, allocators and
/// pools reach their size.
const WARMUP_ROUNDS: usize = 3;
const LIMIT: usize = 100;
/// The delay of the responses that fill the pools. It is longer than [`LIMIT`] requests need to start.
const FILLING_DELAY: Duration = Duration::from_millis(200);

/// Returns the growth per round that a cell with this many threads may have.
fn bounds(threads: usize) -> Growth {
    Growth {
        // Less than one descriptor or thread in all rounds.
        descriptors: 1.0 / ROUNDS as f64,
        threads: 1.0 / ROUNDS as f64,
        // An allocator gets memory from the system in steps. Each thread uses the full depth of its stack
        // and the buffers of a connection only once by chance, so the memory of a cell with hundreds of
        // threads reaches its maximum late.
        memory_kib: 512.0 + 8.0 * threads as f64,
    }
}

/// The requests of a stress test.
#[derive(Clone, Copy)]
pub(crate) struct StressLoad {
    /// How many requests a round has.
    pub(crate) requests: usize,
    /// Leaks one socket per so many requests, which the test must find.
    pub(crate) leak_every: Option<usize>,
}

/// The wrong results of one round, and the resources of the process after the round.
#[derive(Serialize, Deserialize)]
struct RoundResult {
    wrong: Vec<String>,
    seconds: f64,
    resources: Resources,
}

/// Runs the stress test on each cell, prints the results, and returns whether all cells passed.
pub(crate) fn run(cells: &[Cell], load: StressLoad) -> Result<bool, BoxError> {
    let mut passed = true;
    for cell in cells {
        // Starts new servers for each cell, because a server keeps a record of all requests.
        let servers = Servers::start()?;
        let requests = load.requests;
        println!("{cell}: {ROUNDS} rounds of {requests} requests, one in ten with a fault");
        println!("round  wrong  seconds  descriptors  threads  memory (MiB)");
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--cell", &cell.to_string()])
            .args(["--stress", &requests.to_string()])
            .args(["--stress-servers", &serde_json::to_string(&servers.urls())?]);
        if let Some(every) = load.leak_every {
            command.args(["--leak-every", &every.to_string()]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut rounds = Vec::new();
        if let Some(lines) = child.stdout.take() {
            for line in BufReader::new(lines).lines() {
                let round: RoundResult = serde_json::from_str(&line?)?;
                println!(
                    "{:>5}  {:>5}  {:>7.1}  {:>11}  {:>7}  {:>12.1}",
                    rounds.len() + 1,
                    round.wrong.len(),
                    round.seconds,
                    round.resources.descriptors,
                    round.resources.threads,
                    round.resources.memory_kib as f64 / 1024.0,
                );
                rounds.push(round);
            }
        }
        if !child.wait()?.success() || rounds.len() != ROUNDS {
            println!("  the process ended early");
            passed = false;
        }
        passed &= are_sound(&rounds);
    }
    Ok(passed)
}

/// Prints the growth and the problems of the rounds. Returns whether there is no problem.
fn are_sound(rounds: &[RoundResult]) -> bool {
    let growth = growth(rounds);
    println!("growth per round after round {WARMUP_ROUNDS}: {growth}");
    let findings = findings(rounds, &growth);
    for finding in &findings {
        println!("  {finding}");
    }
    findings.is_empty()
}

fn growth(rounds: &[RoundResult]) -> Growth {
    let rounds = rounds.iter().enumerate().skip(WARMUP_ROUNDS);
    let samples: Vec<_> = rounds
        .map(|(n, round)| (n as f64, round.resources))
        .collect();
    Growth::of(&samples)
}

/// Returns the problems in the results of the rounds.
fn findings(rounds: &[RoundResult], growth: &Growth) -> Vec<String> {
    let wrong = rounds.iter().flat_map(|round| round.wrong.iter().take(5));
    let threads = rounds.last().map_or(0, |round| round.resources.threads);
    let too_fast = growth.above(&bounds(threads));
    wrong.cloned().chain(too_fast).collect()
}

/// Runs the rounds of one cell and prints their results. This is the child process.
pub(crate) fn child(cell: Cell, load: StressLoad, urls: &str) -> Result<(), BoxError> {
    let urls: Urls = serde_json::from_str(urls)?;
    let backend = cell.start(None)?;
    let session = backend
        .builder()
        .max_redirects(MAX_REDIRECTS)
        .max_body(MAX_BODY)
        .timeout(Duration::from_secs(60))
        // So the pool never keeps more connections than `fill_pools` opens.
        .client_options(|options| options.max_idle_per_host = LIMIT)
        .build()?;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..ROUNDS {
        let faults = choose_faults(&mut random, load.requests);
        let started = Instant::now();
        let wrong = backend.block_on(run_round(&session, &urls, &faults, load.leak_every));
        let seconds = started.elapsed().as_secs_f64();
        if cell.client() == "ureq" {
            backend.block_on(settle_threads(&**session.runtime()))?;
        }
        backend.block_on(fill_pools(&session, &urls))?;
        wait_until("requests are still in flight after the round", || {
            Ok(session.stats().in_flight == 0)
        })?;
        let round = RoundResult {
            wrong,
            seconds,
            resources: Resources::of_this_process()?,
        };
        println!("{}", serde_json::to_string(&round)?);
    }
    backend.block_on(session.close(Duration::ZERO));
    Ok(())
}

/// Runs one round and returns the wrong results.
async fn run_round(
    session: &Session,
    urls: &Urls,
    faults: &[Option<usize>],
    leak_every: Option<usize>,
) -> Vec<String> {
    let jobs = faults.iter().enumerate().map(|(index, fault)| {
        if leak_every.is_some_and(|every| index.is_multiple_of(every)) {
            leak_socket(&urls.origin);
        }
        let (session, fault, url) = (session.clone(), *fault, urls.of(index, *fault));
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
    wrong.extend(wrong_counts(&results_seen));
    wrong
}

/// Returns a message for each request that does not have one result.
fn wrong_counts(results_seen: &[u8]) -> impl Iterator<Item = String> {
    let counts = results_seen.iter().enumerate();
    counts
        .filter(|(_, results_seen)| **results_seen != 1)
        .map(|(index, results_seen)| format!("request {index} has {results_seen} results"))
}

/// Opens a connection to the server and never closes it.
fn leak_socket(url: &str) {
    let address = url.parse::<Uri>().ok();
    let address = address.as_ref().and_then(Uri::authority);
    // If the connection cannot be opened, nothing leaks, and the test of the leak fails.
    if let Some(Ok(socket)) = address.map(|address| TcpStream::connect(address.as_str())) {
        std::mem::forget(socket);
    }
}

/// Makes the number of blocking threads independent of how many slow faults the round had at once by chance: fills the
/// pool up to its limit or, if it has no limit, waits until the idle threads have ended.
async fn settle_threads(runtime: &dyn Runtime) -> Result<(), BoxError> {
    let Some(limit) = runtime.blocking_ceiling() else {
        return wait_until("the threads of the round have not ended", || {
            Ok(Resources::of_this_process()?.threads < LIMIT)
        });
    };
    let jobs = (0..limit).map(|_| unblock(runtime, || std::thread::sleep(FILLING_DELAY)));
    // All are started before the first one ends.
    for job in jobs.collect::<Vec<_>>() {
        job.await?;
    }
    Ok(())
}

/// Sends [`LIMIT`] requests that are in flight at the same time. Afterwards, the pool of connections and
/// the pool of blocking threads have this size.
async fn fill_pools(session: &Session, urls: &Urls) -> Result<(), BoxError> {
    let url = format!("{}/delay-ms/{}", urls.origin, FILLING_DELAY.as_millis());
    let jobs = (0..LIMIT).map(|_| {
        let request = session.get(url.as_str());
        async move { request.send().await?.error_for_status()?.bytes().await }
    });
    gather(jobs)
        .limit(LIMIT)
        .on(session.runtime())
        .all()
        .await?;
    Ok(())
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

/// Waits until a condition holds. Fails with the message if it does not hold in time.
fn wait_until(message: &str, reached: impl Fn() -> Result<bool, BoxError>) -> Result<(), BoxError> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached()? {
        if Instant::now() > deadline {
            return Err(message.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(descriptors: impl Fn(usize) -> usize) -> Vec<RoundResult> {
        let round = |n| RoundResult {
            wrong: Vec::new(),
            seconds: 1.0,
            resources: Resources {
                descriptors: descriptors(n),
                threads: 5,
                memory_kib: 1024,
            },
        };
        (0..ROUNDS).map(round).collect()
    }

    #[test]
    fn growth_after_the_warmup_is_found_and_a_single_peak_is_not() {
        let findings = |rounds: Vec<RoundResult>| findings(&rounds, &growth(&rounds));
        // One descriptor per 10,000 requests, in rounds of 100,000.
        assert_eq!(findings(rounds(|n| 100 + 10 * n)).len(), 1);
        assert_eq!(findings(rounds(|n| 100 + n)).len(), 1);
        assert!(findings(rounds(|n| if n == 7 { 200 } else { 100 })).is_empty());
        assert!(findings(rounds(|n| if n < WARMUP_ROUNDS { n } else { 100 })).is_empty());
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
        assert_eq!(wrong_counts(&[1, 0, 1, 2]).count(), 2);
    }
}
