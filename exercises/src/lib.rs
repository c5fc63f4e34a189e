//! Runs the check of an exercise and prints its result. The folder of a chapter contains the exercise,
//! `start.rs`, a solution, `solution.rs`, and the check of both, `check.rs`.
#![allow(clippy::print_stdout, reason = "a library for programs")]

use std::env;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::{self, ExitCode};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use inflight::Error;

mod server;

pub use server::{Answer, ServedRequest, Server, most_in_flight};

/// The time after which the program ends a check. A check takes a few milliseconds, or up to 12 s if it waits for a
/// report of the probe.
const PATIENCE: Duration = Duration::from_secs(15);
/// The time after which the program ends `--verify`, which runs two checks, perhaps on a busy machine.
const VERIFY_PATIENCE: Duration = Duration::from_secs(60);

/// The result of a check. A success is a sentence about what the code achieved.
pub type Verdict = Result<String, Reason>;

/// The reason why a check failed, as a sentence for the learner. A panic with a `Reason` as its payload shows
/// only this sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Returns a reason that consists of this sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        Self(format!("the function returned an error: {error}"))
    }
}

/// Fails with this reason unless the condition is true.
///
/// # Errors
///
/// The reason.
pub fn require(condition: bool, reason: impl fmt::Display) -> Result<(), Reason> {
    match condition {
        true => Ok(()),
        false => Err(Reason(reason.to_string())),
    }
}

/// Returns the duration in seconds, for a sentence.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Checks the learner's file, prints the result, and returns the exit status of the program.
///
/// With the argument `--verify`, checks the exercise instead: `start.rs` must fail with a reason that begins with
/// `expected`, and `solution.rs` must pass.
pub fn run(
    expected: &str,
    check_start: impl FnOnce() -> Verdict,
    check_solution: impl FnOnce() -> Verdict,
) -> ExitCode {
    let is_verify = env::args().nth(1).as_deref() == Some("--verify");
    let result = match is_verify {
        true => {
            end_if_stuck(VERIFY_PATIENCE);
            verify(expected, catch(check_start), catch(check_solution))
        }
        false => {
            end_if_stuck(PATIENCE);
            catch(check_start)
        }
    };
    match result {
        Ok(sentence) => {
            println!("Passed: {sentence}.");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            println!("Not yet: {reason}.");
            ExitCode::FAILURE
        }
    }
}

/// Ends the program if the check does not finish. Code that blocks the thread stops virtual time too, so no check can
/// notice it.
fn end_if_stuck(patience: Duration) {
    thread::spawn(move || {
        thread::sleep(patience);
        println!(
            "Not yet: the code did not return within {} of real time: it has an endless loop, or it blocks the \
             thread, for example with `block_on` or `thread::sleep`.",
            seconds(patience)
        );
        process::exit(1);
    });
}

fn verify(expected: &str, start: Verdict, solution: Verdict) -> Verdict {
    match (start, solution) {
        (_, Err(reason)) => Err(Reason(format!("solution.rs fails: {reason}"))),
        (Ok(_), _) => Err(Reason::new("start.rs already passes")),
        (Err(reason), _) if !reason.0.starts_with(expected) => Err(Reason(format!(
            "start.rs fails for another reason than the expected one\n  expected: {expected}\n  actual:   {reason}"
        ))),
        _ => Ok("start.rs fails for the expected reason, and solution.rs passes".to_owned()),
    }
}

/// Runs a check, and returns a panic as the reason of a failure.
fn catch(check: impl FnOnce() -> Verdict) -> Verdict {
    catch_panic(check).unwrap_or_else(Err)
}

/// Runs a function, and returns a panic as a sentence, without a backtrace.
///
/// # Errors
///
/// The reason and the place of the panic.
pub fn catch_panic<T>(function: impl FnOnce() -> T) -> Result<T, Reason> {
    static LAST_PANIC: Mutex<String> = Mutex::new(String::new());
    let last_panic = || LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner);
    panic::set_hook(Box::new(move |info| *last_panic() = describe(info)));
    let result = panic::catch_unwind(AssertUnwindSafe(function));
    result.map_err(|_| Reason::new(last_panic().clone()))
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    if let Some(Reason(sentence)) = payload.downcast_ref() {
        return sentence.clone();
    }
    let message = match (payload.downcast_ref::<String>(), payload.downcast_ref()) {
        (Some(message), _) => message,
        (_, Some(&message)) => message,
        _ => "no message",
    };
    if message.starts_with("deadlock") {
        return "the code waits for something that never happens: no request is in flight, and no time is awaited"
            .to_owned();
    }
    let place = info.location().map_or(String::new(), |location| {
        format!(" in {}, line {}", location.file(), location.line())
    });
    format!("the code panicked{place}: {message}")
}
