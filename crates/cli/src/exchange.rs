//! An exchange: one request and its response. Its statistics can be read while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use inflight::bytes::Bytes;
use inflight::download::ChunkOrRestart;
use inflight::http::header::CONTENT_TYPE;
use inflight::http::{HeaderMap, StatusCode, Version};
use inflight::observe::{Event, Step};
use inflight::url::Url;
use inflight::{Error, ErrorKind, RequestBuilder, Response, Retry};

use crate::args::RequestArgs;

/// Options that apply to every response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResponseOptions {
    /// The maximum length of a decoded body, in bytes.
    pub(crate) max_body: u64,
    /// Whether a status of 400 or above is a failure.
    pub(crate) fail_status: bool,
}

impl ResponseOptions {
    pub(crate) fn from_args(args: &RequestArgs) -> Self {
        Self {
            max_body: args.max_body.unwrap_or(u64::MAX),
            fail_status: args.fail_status,
        }
    }
}

/// A handle to the statistics of an exchange. Clones share the same statistics.
///
/// The future that runs the exchange updates the statistics. The caller of this future keeps a clone of
/// the handle, and can read the statistics even if the future is cancelled.
#[derive(Debug, Clone)]
pub(crate) struct SharedStats(Arc<Mutex<ExchangeStats>>);

/// The statistics of an exchange.
#[derive(Debug, Clone)]
pub(crate) struct ExchangeStats {
    created: Instant,
    /// When the request got its permits and was sent for the first time.
    started: Option<Instant>,
    ended: Option<Instant>,
    pub(crate) url: Option<Url>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) version: Option<Version>,
    pub(crate) content_type: Option<String>,
    /// The pause that a transient status requires before the next request. `None` for all other statuses.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) bytes: u64,
    pub(crate) attempts: u32,
    pub(crate) redirects: u32,
}

impl SharedStats {
    /// Creates the statistics of an exchange, which begins to wait for its permits now.
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(ExchangeStats {
            created: Instant::now(),
            started: None,
            ended: None,
            url: None,
            status: None,
            version: None,
            content_type: None,
            retry_after: None,
            bytes: 0,
            attempts: 0,
            redirects: 0,
        })))
    }

    /// Forgets the redirects, because the request starts at its first URL again.
    pub(crate) fn forget_redirects(&self) {
        self.lock().redirects = 0;
    }

    /// Forgets the last attempt, which was not sent.
    pub(crate) fn uncount_attempt(&self) {
        let mut stats = self.lock();
        stats.attempts = stats.attempts.saturating_sub(1);
    }

    /// Sets the length of a download that is complete. If the server has only confirmed that, an earlier response
    /// had the status 200.
    pub(crate) fn finish_download(&self, bytes: u64) {
        let mut stats = self.lock();
        stats.bytes = bytes;
        stats.status.get_or_insert(StatusCode::OK);
    }

    /// Marks the end of the exchange. The elapsed time no longer increases.
    pub(crate) fn finish(&self) {
        self.lock().ended = Some(Instant::now());
    }

    /// Returns a copy of the statistics.
    pub(crate) fn snapshot(&self) -> ExchangeStats {
        self.lock().clone()
    }

    /// Makes the request update the number of attempts and of redirects. An observer counts them, because a
    /// request that is cancelled returns no response.
    fn count_attempts(&self, request: RequestBuilder) -> RequestBuilder {
        let stats = self.clone();
        request.observe(move |event: &Event<'_>| match event.step {
            Step::Sending => {
                let mut stats = stats.lock();
                stats.attempts += 1;
                stats.started.get_or_insert_with(Instant::now);
            }
            Step::Redirected { .. } => stats.lock().redirects += 1,
            _ => {}
        })
    }

    /// Makes the request update the statistics, for a download that sends several requests.
    pub(crate) fn observe_download(&self, request: RequestBuilder) -> RequestBuilder {
        let stats = self.clone();
        let request = self.count_attempts(request);
        request.observe(move |event: &Event<'_>| match event.step {
            Step::Head {
                status,
                version,
                headers,
            } => {
                let mut stats = stats.lock();
                stats.url = event.url.cloned();
                stats.version = Some(version);
                // The server confirms with this status that an earlier call has received the whole body.
                if status != StatusCode::RANGE_NOT_SATISFIABLE {
                    stats.status = Some(status);
                    stats.content_type = content_type(headers);
                    stats.retry_after = retry_after(status, headers);
                }
            }
            Step::Redirected { .. } => stats.lock().status = None,
            _ => {}
        })
    }

    /// Sets the number of bytes of the body that the program has.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.lock().bytes = bytes;
    }

    fn lock(&self) -> MutexGuard<'_, ExchangeStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExchangeStats {
    /// Returns whether the request has been sent.
    pub(crate) fn has_started(&self) -> bool {
        self.started.is_some()
    }

    /// Returns the time from the first permits to the end, or until now while the exchange runs.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started
            .map_or(Duration::ZERO, |start| self.end() - start)
    }

    /// Returns how long the exchange waited for its first permits.
    pub(crate) fn queued(&self) -> Duration {
        self.started.unwrap_or_else(|| self.end()) - self.created
    }

    fn end(&self) -> Instant {
        self.ended.unwrap_or_else(Instant::now)
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(CONTENT_TYPE)?.to_str().ok()?.to_owned())
}

fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    Retry::is_transient_status(status).then(|| Retry::retry_after(headers))
}

/// Reads a response chunk by chunk and applies the [`ResponseOptions`].
pub(crate) struct ResponseReader {
    response: Response,
    stats: SharedStats,
    max_body: u64,
}

impl ResponseReader {
    /// Sends the request and waits for the head of the response.
    pub(crate) async fn open(
        request: RequestBuilder,
        options: ResponseOptions,
        stats: SharedStats,
    ) -> Result<Self, Error> {
        let request = stats.count_attempts(request);
        let response = request.send().await?;
        {
            let mut stats = stats.lock();
            stats.url = response.url().cloned();
            stats.status = Some(response.status());
            stats.version = Some(response.version());
            stats.content_type = content_type(response.headers());
            stats.retry_after = retry_after(response.status(), response.headers());
        }
        let response = if options.fail_status {
            response.error_for_status()?
        } else {
            response
        };
        let reader = Self {
            response,
            stats,
            max_body: options.max_body,
        };
        match reader.content_length() {
            Some(length) if length > options.max_body => Err(reader.too_large()),
            _ => Ok(reader),
        }
    }

    /// Returns the next chunk of the body, or `None` at its end. A failed transfer is retried only if the
    /// server sends the rest of the same body.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.response.chunk().await?;
        if let Some(chunk) = &chunk {
            self.count(chunk)?;
        }
        Ok(chunk)
    }

    /// Returns the next chunk of the body, a restart, or `None` at the end of the body.
    pub(crate) async fn chunk_or_restart(&mut self) -> Result<Option<ChunkOrRestart>, Error> {
        let part = self.response.chunk_or_restart().await?;
        match &part {
            Some(ChunkOrRestart::Chunk(chunk)) => self.count(chunk)?,
            Some(ChunkOrRestart::Restart) => self.stats.set_bytes(0),
            None => {}
        }
        Ok(part)
    }

    fn count(&self, chunk: &Bytes) -> Result<(), Error> {
        let mut stats = self.stats.lock();
        stats.bytes += chunk.len() as u64;
        let is_too_large = stats.bytes > self.max_body;
        drop(stats);
        match is_too_large {
            true => Err(self.too_large()),
            false => Ok(()),
        }
    }

    /// Returns the length of the body, if the response declares it.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn version(&self) -> Version {
        self.response.version()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    fn too_large(&self) -> Error {
        Error::new(ErrorKind::BodyTooLarge)
            .with_context(format!("more than {} bytes", self.max_body))
    }
}
