//! Checks that a worker loses no result and fetches no page twice without need, wherever it is killed.

use std::collections::BTreeMap;
use std::process::ExitCode;

use inflight_exercises::{Reason, Verdict, require, run};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "the program was killed after `acknowledge(0)` and started again: job 0 has no result, and \
    no worker will do it, because it is acknowledged";

/// How many jobs the queue has.
const JOBS: usize = 3;

/// How many calls a worker may need for each job.
const MAX_CALLS: usize = 5 * (JOBS + 1);

/// The program was killed. Return this error at once, because a killed program does nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Killed;

/// A queue on another machine, which remembers everything when the program is killed.
#[derive(Debug, Default)]
pub struct Queue {
    acknowledged: Vec<usize>,
    results: BTreeMap<usize, String>,
    /// How often each page was fetched after it had a result.
    fetched_again: Vec<usize>,
    calls: usize,
    /// The number of the call after which the program is killed.
    kill_after: Option<usize>,
    /// The call after which it was killed.
    killed_after: Option<String>,
}

impl Queue {
    /// Returns a job that is not acknowledged, or `None` if there is none.
    pub fn take(&mut self) -> Result<Option<usize>, Killed> {
        let job = (0..JOBS).find(|job| !self.acknowledged.contains(job));
        self.called("take", None)?;
        Ok(job)
    }

    /// Returns whether a result is stored.
    pub fn has_result(&mut self, job: usize) -> Result<bool, Killed> {
        let has_result = self.results.contains_key(&job);
        self.called("has_result", Some(job))?;
        Ok(has_result)
    }

    /// Fetches the page of a job.
    pub fn fetch(&mut self, job: usize) -> Result<String, Killed> {
        if self.results.contains_key(&job) {
            self.fetched_again.push(job);
        }
        self.called("fetch", Some(job))?;
        Ok(page(job))
    }

    /// Stores a page as the result of a job. The first result of a job stays.
    pub fn store(&mut self, job: usize, page: String) -> Result<(), Killed> {
        self.results.entry(job).or_insert(page);
        self.called("store", Some(job))
    }

    /// Removes a job from the queue.
    pub fn acknowledge(&mut self, job: usize) -> Result<(), Killed> {
        self.acknowledged.push(job);
        self.called("acknowledge", Some(job))
    }

    /// Counts a call, whose effect has happened, and kills the program after one of them.
    fn called(&mut self, name: &str, job: Option<usize>) -> Result<(), Killed> {
        self.calls += 1;
        if self.kill_after == Some(self.calls) {
            let job = job.map_or_else(String::new, |job| job.to_string());
            self.killed_after = Some(format!("{name}({job})"));
            return Err(Killed);
        }
        // A worker that never ends would otherwise take jobs for ever.
        assert!(
            self.calls < 4 * MAX_CALLS,
            "the worker made {} calls for {JOBS} jobs",
            self.calls
        );
        Ok(())
    }
}

fn page(job: usize) -> String {
    format!("<h1>Page {job}</h1>")
}

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::work),
        || check(solution::work),
    )
}

fn check(work: fn(&mut Queue) -> Result<(), Killed>) -> Verdict {
    for kill_after in 1..MAX_CALLS {
        check_kill(work, kill_after)?;
    }
    check_kill(work, usize::MAX)?;
    Ok("every job has its result, wherever the program was killed".to_owned())
}

fn check_kill(work: fn(&mut Queue) -> Result<(), Killed>, kill_after: usize) -> Result<(), Reason> {
    let mut queue = Queue {
        kill_after: Some(kill_after),
        ..Queue::default()
    };
    let first = work(&mut queue);
    let history = match &queue.killed_after {
        Some(call) => format!("the program was killed after `{call}` and started again"),
        None => "the program was not killed".to_owned(),
    };
    require(
        first.is_err() == queue.killed_after.is_some(),
        format_args!("{history}: `work` must return the error `Killed`, and no other"),
    )?;
    if first.is_err() {
        require(
            work(&mut queue).is_ok(),
            "the second run was not killed, and returned an error",
        )?;
    }
    for job in 0..JOBS {
        let is_acknowledged = queue.acknowledged.contains(&job);
        let why = match is_acknowledged {
            true => "no worker will do it, because it is acknowledged",
            false => "it is still in the queue",
        };
        require(
            queue.results.contains_key(&job),
            format_args!("{history}: job {job} has no result, and {why}"),
        )?;
        require(
            queue.results[&job] == page(job),
            format_args!("{history}: the result of job {job} is not its page"),
        )?;
        require(
            is_acknowledged,
            format_args!("{history}: job {job} has a result, and is still in the queue"),
        )?;
    }
    require(
        queue.fetched_again.is_empty(),
        format_args!("{history}: a job had a result, and its page was fetched again"),
    )
}
