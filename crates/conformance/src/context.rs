//! The backend under test, and helpers to wait for events.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_util::future::{Either, select};
use inflight_core::{Capabilities, Session, SessionBuilder};
use inflight_origin::Origin;

use crate::backend::TestedBackend;
use crate::check::{Failure, Result, truncated_debug};

/// How long a case waits for an event before it fails. A case that passes never waits this long.
pub(crate) const EVENT_TIMEOUT: Duration = Duration::from_secs(8);

/// The backend under test.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) backend: TestedBackend,
    pub(crate) capabilities: Arc<Capabilities>,
}

impl Context {
    /// Returns a builder whose sessions have the timeout [`EVENT_TIMEOUT`].
    pub(crate) fn builder(&self) -> SessionBuilder {
        self.backend.builder().timeout(EVENT_TIMEOUT)
    }

    /// Returns a new origin, or the external server that the cases run against.
    pub(crate) fn httpbin(&self) -> Result<HttpbinServer> {
        Ok(match self.backend.external_url() {
            Some(url) => HttpbinServer::External(url),
            None => HttpbinServer::Origin(Origin::start()?),
        })
    }

    pub(crate) fn session(&self) -> Result<Session> {
        Ok(self.builder().build()?)
    }
}

/// A server with httpbin's paths.
pub(crate) enum HttpbinServer {
    Origin(Origin),
    External(Arc<str>),
}

impl HttpbinServer {
    pub(crate) fn url(&self, path: &str) -> String {
        match self {
            Self::Origin(origin) => origin.url(path),
            Self::External(url) => format!("{url}{path}"),
        }
    }
}

/// Waits for an event for at most `time`. The timer is independent of the backend.
pub(crate) async fn within<T>(
    event_name: &str,
    time: Duration,
    event: impl Future<Output = T>,
) -> Result<T> {
    match select(pin!(event), pin!(Timer::after(time))).await {
        Either::Left((value, _)) => Ok(value),
        Either::Right(_) => Err(Failure::new(format!("not within {time:?}: {event_name}"))),
    }
}

/// Waits for an event for at most half of [`EVENT_TIMEOUT`], which is the timeout of a session. So
/// this wait fails before a request of the session times out.
pub(crate) async fn wait_for<T>(event_name: &str, event: impl Future<Output = T>) -> Result<T> {
    within(event_name, EVENT_TIMEOUT / 2, event).await
}

/// Polls `work`, drops it once `event` has completed, and returns the output of `event`. Fails if
/// `work` completes first.
pub(crate) async fn drop_after<W, T>(work: W, event: impl Future<Output = Result<T>>) -> Result<T>
where
    W: Future<Output: fmt::Debug>,
{
    match select(pin!(work), pin!(event)).await {
        Either::Left((output, _)) => Err(Failure::new(format!(
            "ended before it was dropped: {}",
            truncated_debug(&output)
        ))),
        Either::Right((output, _)) => output,
    }
}

/// Runs blocking work on a new thread, independent of the backend.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (sender, result) = async_channel::bounded(1);
    std::thread::Builder::new()
        .name("conformance-wait".to_owned())
        .spawn(move || {
            // Sending fails if the case has already failed.
            let _ = sender.send_blocking(work());
        })?;
    let received = result.recv().await;
    received.map_err(|_| Failure::new("a thread of the suite panicked"))
}
