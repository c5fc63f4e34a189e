use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use inflight_core::{BoxFuture, Capabilities, Support};

use crate::case::Case;
use crate::cases::cases;
use crate::check::Failure;
use crate::context::Context;
use crate::subject::Subject;

/// The time after which a case has failed.
const WATCHDOG: Duration = Duration::from_secs(20);

const NEEDS_SOCKETS: &str =
    "it needs sockets or threads: this backend responds from memory, on one thread";

/// How many cases run at once. They wait most of the time.
const AT_ONCE: usize = 4;

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The backend has the property.
    Passed,
    /// The client does not support the property, for this reason.
    Skipped(&'static str),
    /// The backend does not have the property, with a description of the failure.
    Failed(String),
}

/// A case with its outcome.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Verdict {
    /// The case.
    pub case: &'static Case,
    /// The outcome.
    pub outcome: Outcome,
    /// How long the case took.
    pub took: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group, name, took) = (self.case.group, self.case.name, self.took);
        match &self.outcome {
            Outcome::Passed => write!(f, "ok   {group}::{name} ({took:.1?})"),
            Outcome::Skipped(reason) => write!(f, "skip {group}::{name}: {reason}"),
            Outcome::Failed(why) => write!(f, "FAIL {group}::{name} ({took:.1?}): {why}"),
        }
    }
}

/// Runs the cases for which `filter` returns true, a few at once, each on its own thread.
///
/// For a subject that runs [against](Subject::against) another server, only the cases with
/// [`Case::anywhere`] run.
///
/// `observe` is called with each verdict when its case ends. The returned verdicts are in the order of
/// [`cases`].
pub fn run(
    subject: &Subject,
    filter: impl Fn(&Case) -> bool,
    mut observe: impl FnMut(&Verdict),
) -> Vec<Verdict> {
    // Six hundred requests at once need 1,200 descriptors, because the server is in this process. If
    // the system does not allow so many, the case fails.
    let _ = inflight_origin::raise_file_limit();
    let anywhere = subject.foreign().is_some() && !subject.is_in_memory();
    let wanted = cases().iter().filter(|case| case.anywhere || !anywhere);
    let wanted: Vec<&'static Case> = wanted.filter(|case| filter(case)).collect();
    let capabilities = match capabilities(subject) {
        Ok(capabilities) => Arc::new(capabilities),
        Err(why) => {
            let failed = wanted.into_iter().map(|case| Verdict {
                case,
                outcome: Outcome::Failed(format!("cannot build a session: {why}")),
                took: Duration::ZERO,
            });
            return failed.inspect(|verdict| observe(verdict)).collect();
        }
    };

    let queue = Mutex::new(wanted.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (sender, ended) = mpsc::channel();
    let mut verdicts = thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (sender, capabilities) = (sender.clone(), &capabilities);
            scope.spawn(move || {
                while let Some((index, case)) = next() {
                    let verdict = try_case(subject, case, capabilities);
                    let _ = sender.send((index, verdict));
                }
            });
        }
        drop(sender);
        let observed = ended.iter().inspect(|(_, verdict)| observe(verdict));
        observed.collect::<Vec<_>>()
    });
    verdicts.sort_by_key(|(index, _)| *index);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

fn capabilities(subject: &Subject) -> Result<Capabilities, String> {
    let builder = subject.clone();
    enter(subject, WATCHDOG, async move {
        let session = builder.builder().build()?;
        Ok(session.capabilities().clone())
    })
}

fn try_case(subject: &Subject, case: &'static Case, capabilities: &Arc<Capabilities>) -> Verdict {
    let support = match subject.is_in_memory() && !case.in_memory {
        true => Support::No(NEEDS_SOCKETS),
        false => case.support(capabilities),
    };
    if let Support::No(reason) = support {
        return Verdict {
            case,
            outcome: Outcome::Skipped(reason),
            took: Duration::ZERO,
        };
    }
    let context = Context {
        subject: subject.clone(),
        capabilities: capabilities.clone(),
    };
    let start = Instant::now();
    let outcome = match enter(subject, WATCHDOG, case.run(context)) {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed(why),
    };
    Verdict {
        case,
        outcome,
        took: start.elapsed(),
    }
}

/// Runs a future in the subject's runtime, on a new thread. If it hangs, the thread is abandoned.
fn enter<T: Send + 'static>(
    subject: &Subject,
    watchdog: Duration,
    future: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, String> {
    let (sender, result) = mpsc::channel();
    let subject = subject.clone();
    let spawned = thread::Builder::new()
        .name("conformance-case".to_owned())
        .spawn(move || {
            let (value, output) = mpsc::channel();
            let future: BoxFuture<'static, ()> = Box::pin(async move {
                let _ = value.send(future.await);
            });
            let result = catch_unwind(AssertUnwindSafe(|| subject.block_on(future)));
            let result = match result {
                Err(panic) => Err(format!("panicked: {}", message(&*panic))),
                Ok(()) => match output.try_recv() {
                    Ok(result) => result.map_err(|failure| failure.to_string()),
                    Err(_) => Err("block_on returned before the future's end".to_owned()),
                },
            };
            // The watchdog may already have timed out.
            let _ = sender.send(result);
        });
    if let Err(error) = spawned {
        return Err(format!("cannot start a thread for the case: {error}"));
    }
    result
        .recv_timeout(watchdog)
        .unwrap_or_else(|_| Err(format!("no end within {} s", watchdog.as_secs())))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;

    use inflight_core::{Body, Error, Fetch, Runtime, Session, http};

    use super::*;

    /// Returns a subject without sessions, because these tests only use its runtime.
    fn subject_with(block_on: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Subject {
        let none = || {
            Session::builder(|_| -> Result<(UnusedClient, Arc<dyn Runtime>), Error> {
                Err(Error::new(inflight_core::ErrorKind::NoRuntime))
            })
        };
        Subject::new("entered", none, block_on)
    }

    struct UnusedClient(Infallible);

    impl Fetch for UnusedClient {
        async fn fetch(&self, _: http::Request<Body>) -> Result<http::Response<Body>, Error> {
            match self.0 {}
        }

        fn capabilities(&self) -> Capabilities {
            match self.0 {}
        }
    }

    #[test]
    fn a_hang_is_a_failure_and_does_not_block() {
        let subject = subject_with(futures_lite::future::block_on);
        let hang = pending::<Result<(), Failure>>();
        let why = enter(&subject, Duration::from_millis(50), hang).unwrap_err();
        assert!(why.contains("no end within"), "{why}");
    }

    #[test]
    fn a_panic_is_a_failure() {
        let subject = subject_with(futures_lite::future::block_on);
        let panicking = async {
            std::panic::resume_unwind(Box::new("a case's panic"));
        };
        let why = enter::<()>(&subject, WATCHDOG, panicking).unwrap_err();
        assert_eq!(why, "panicked: a case's panic");
    }

    #[test]
    fn a_runtime_that_returns_early_is_a_failure() {
        let subject = subject_with(drop);
        let why = enter(&subject, WATCHDOG, pending::<Result<(), Failure>>()).unwrap_err();
        assert!(why.contains("before the future's end"), "{why}");
    }
}
