use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use inflight_core::{BoxFuture, Support};

use crate::backend::TestedBackend;
use crate::case::Case;
use crate::cases::cases;
use crate::check::Failure;
use crate::context::Context;

/// A case that takes longer than this fails.
const WATCHDOG: Duration = Duration::from_secs(20);

const NEEDS_SOCKETS: &str =
    "it needs sockets or threads: this backend responds from memory, on one thread";

/// How many cases run at once. Cases wait most of the time.
const AT_ONCE: usize = 4;

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The backend has the property.
    Passed,
    /// The client does not support the property, for this reason.
    Skipped(&'static str),
    /// The backend does not have the property. The text describes the failure.
    Failed(String),
}

/// The outcome of a case, and the time that the case took.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CaseResult {
    /// The case.
    pub case: &'static Case,
    /// The outcome.
    pub outcome: Outcome,
    /// How long the case took.
    pub took: Duration,
}

impl fmt::Display for CaseResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (case, took) = (self.case, self.took);
        match &self.outcome {
            Outcome::Passed => write!(f, "ok   {case} ({took:.1?})"),
            Outcome::Skipped(reason) => write!(f, "skip {case}: {reason}"),
            Outcome::Failed(why) => write!(f, "FAIL {case} ({took:.1?}): {why}"),
        }
    }
}

/// Runs the cases for which `filter` returns true, a few at once, each on its own thread.
///
/// For a backend that runs [against](TestedBackend::against) another server, only the cases with
/// [`Case::anywhere`] run.
///
/// Calls `observe` with each result when the case has ended. The returned results are in the order
/// of [`cases`].
pub fn run(
    backend: &TestedBackend,
    filter: impl Fn(&Case) -> bool,
    mut observe: impl FnMut(&CaseResult),
) -> Vec<CaseResult> {
    let anywhere = backend.external_url().is_some() && !backend.is_in_memory();
    let selected = |case: &&Case| (case.anywhere || !anywhere) && filter(case);
    let selected: Vec<&'static Case> = cases().iter().filter(selected).collect();
    let next = AtomicUsize::new(0);
    let (sender, ended) = mpsc::channel();
    let mut results = thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (sender, selected, next) = (sender.clone(), &selected, &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = selected.get(index) else {
                        break;
                    };
                    let _ = sender.send((index, backend.run(case)));
                }
            });
        }
        drop(sender);
        let observed = ended.iter().inspect(|(_, result)| observe(result));
        observed.collect::<Vec<_>>()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

impl TestedBackend {
    /// Runs one case on a new thread and waits for its end.
    ///
    /// The outcome is [`Outcome::Failed`] if the case panics or does not end in time.
    pub fn run(&self, case: &'static Case) -> CaseResult {
        let start = Instant::now();
        CaseResult {
            case,
            outcome: self.outcome(case),
            took: start.elapsed(),
        }
    }

    fn outcome(&self, case: &Case) -> Outcome {
        let capabilities = self.capabilities.get_or_init(|| {
            // The case with six hundred requests at once needs 1,200 descriptors, because its
            // server is in this process. If the system does not allow so many, that case fails.
            let _ = inflight_origin::raise_file_limit();
            let backend = self.clone();
            let built = run_on_new_thread(self, WATCHDOG, async move {
                let session = backend.builder().build()?;
                Ok(Arc::new(session.capabilities().clone()))
            });
            built.map_err(|why| format!("cannot build a session: {why}"))
        });
        let capabilities = match capabilities {
            Ok(capabilities) => capabilities.clone(),
            Err(why) => return Outcome::Failed(why.clone()),
        };
        if self.is_in_memory() && !case.in_memory {
            return Outcome::Skipped(NEEDS_SOCKETS);
        }
        if let Support::No(reason) = case.support(&capabilities) {
            return Outcome::Skipped(reason);
        }
        let backend = self.clone();
        let context = Context {
            backend,
            capabilities,
        };
        match run_on_new_thread(self, WATCHDOG, case.run(context)) {
            Ok(()) => Outcome::Passed,
            Err(why) => Outcome::Failed(why),
        }
    }
}

/// Runs a future in the backend's runtime, on a new thread. If the future does not complete within
/// the time `watchdog`, returns an error and abandons the thread.
fn run_on_new_thread<T: Send + 'static>(
    backend: &TestedBackend,
    watchdog: Duration,
    future: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, String> {
    let (sender, result) = mpsc::channel();
    let backend = backend.clone();
    let spawned = thread::Builder::new()
        .name("conformance-case".to_owned())
        .spawn(move || {
            let (output_sender, output) = mpsc::channel();
            let future: BoxFuture<'static, ()> = Box::pin(async move {
                let _ = output_sender.send(future.await);
            });
            let result = catch_unwind(AssertUnwindSafe(|| backend.block_on(future)));
            let result = match result {
                Err(panic) => Err(format!("panicked: {}", panic_message(&*panic))),
                Ok(()) => match output.try_recv() {
                    Ok(result) => result.map_err(|failure| failure.to_string()),
                    Err(_) => Err("block_on returned before the future's end".to_owned()),
                },
            };
            // Sending fails if the watchdog has already timed out.
            let _ = sender.send(result);
        });
    if let Err(error) = spawned {
        return Err(format!("cannot start a thread for the case: {error}"));
    }
    result
        .recv_timeout(watchdog)
        .unwrap_or_else(|_| Err(format!("no end within {} s", watchdog.as_secs())))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;

    use inflight_core::{Body, Capabilities, Error, Fetch, Runtime, Session, http};

    use super::*;

    /// Returns a backend that cannot build sessions. These tests use only its `block_on`.
    fn backend_with(
        block_on: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
    ) -> TestedBackend {
        let builder = || {
            Session::builder(|_| -> Result<(UnusedClient, Arc<dyn Runtime>), Error> {
                Err(Error::new(inflight_core::ErrorKind::NoRuntime))
            })
        };
        TestedBackend::new("without-sessions", builder, block_on)
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
        let backend = backend_with(futures_lite::future::block_on);
        let hang = pending::<Result<(), Failure>>();
        let why = run_on_new_thread(&backend, Duration::from_millis(50), hang).unwrap_err();
        assert!(why.contains("no end within"), "{why}");
    }

    #[test]
    fn a_panic_is_a_failure() {
        let backend = backend_with(futures_lite::future::block_on);
        let panicking = async {
            std::panic::resume_unwind(Box::new("a case's panic"));
        };
        let why = run_on_new_thread::<()>(&backend, WATCHDOG, panicking).unwrap_err();
        assert_eq!(why, "panicked: a case's panic");
    }

    #[test]
    fn a_runtime_that_returns_early_is_a_failure() {
        let backend = backend_with(drop);
        let why =
            run_on_new_thread(&backend, WATCHDOG, pending::<Result<(), Failure>>()).unwrap_err();
        assert!(why.contains("before the future's end"), "{why}");
    }
}
