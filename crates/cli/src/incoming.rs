//! One exchange as it is seen from outside: what has come in so far, and how it ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use inflight::bytes::Bytes;
use inflight::http::{HeaderMap, StatusCode, Version};
use inflight::url::Url;
use inflight::{Error, ErrorKind, Event, RequestBuilder, Response, Step};

use crate::args::Requests;

/// What the options say of every response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) max_body: u64,
    pub(crate) fail_status: bool,
}

impl Policy {
    pub(crate) fn of(asked: &Requests) -> Self {
        Self {
            max_body: asked.max_body.unwrap_or(u64::MAX),
            fail_status: asked.fail_status,
        }
    }
}

/// What has been seen of an exchange. The job writes it and whoever reports reads it, so that
/// a job that is cut off takes nothing with it.
#[derive(Debug, Clone)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    started: Instant,
    ended: Option<Instant>,
    pub(crate) url: Option<Url>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) version: Option<Version>,
    pub(crate) bytes: u64,
    pub(crate) attempts: u32,
    pub(crate) redirects: u32,
}

impl Watch {
    /// An exchange that starts now.
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(Seen {
            started: Instant::now(),
            ended: None,
            url: None,
            status: None,
            version: None,
            bytes: 0,
            attempts: 0,
            redirects: 0,
        })))
    }

    /// The exchange is over, however late somebody asks how it went.
    pub(crate) fn end(&self) {
        self.lock().ended = Some(Instant::now());
    }

    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    pub(crate) fn elapsed(&self) -> Duration {
        self.ended.unwrap_or_else(Instant::now) - self.started
    }
}

/// A response whose body is being read, piece by piece and under the policy.
pub(crate) struct Incoming {
    response: Response,
    watch: Watch,
    max_body: u64,
}

impl Incoming {
    /// Sends the request; resolves at the response's head.
    pub(crate) async fn open(
        request: RequestBuilder,
        policy: Policy,
        watch: Watch,
    ) -> Result<Self, Error> {
        // Counted as they happen: a job that is cut off tells nothing at its end.
        let counts = watch.clone();
        let request = request.observe(move |event: &Event<'_>| match event.step {
            Step::Sending => counts.lock().attempts = event.attempt,
            Step::Redirected { .. } => counts.lock().redirects += 1,
            _ => {}
        });
        let response = request.send().await?;
        {
            let mut seen = watch.lock();
            seen.url = response.url().cloned();
            seen.status = Some(response.status());
            seen.version = Some(response.version());
        }
        let response = if policy.fail_status {
            response.error_for_status()?
        } else {
            response
        };
        let incoming = Self {
            response,
            watch,
            max_body: policy.max_body,
        };
        match incoming.content_length() {
            Some(length) if length > policy.max_body => Err(incoming.too_large()),
            _ => Ok(incoming),
        }
    }

    /// The next piece of the body, or `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.response.chunk().await?;
        if let Some(chunk) = &chunk {
            let mut seen = self.watch.lock();
            seen.bytes += chunk.len() as u64;
            if seen.bytes > self.max_body {
                drop(seen);
                return Err(self.too_large());
            }
        }
        Ok(chunk)
    }

    /// The body's length, if the response says.
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
