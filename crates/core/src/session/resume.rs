//! A download that continues where an earlier one ended: [`RequestBuilder::resume_to`].
//!
//! [`RequestBuilder::resume_to`]: super::request::RequestBuilder::resume_to

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::header::{ACCEPT_ENCODING, HeaderValue, IF_RANGE, RANGE};
use http::{Method, Request};

use super::policy::RequestPolicy;
use super::retry::RetryPlan;
use super::send::exchange;
use super::state::SessionState;
use super::timer::ExchangeTimer;
use crate::backend::runtime::Runtime;
use crate::download::partial_file::CompleteFile;
use crate::download::representation::{RangeReply, Representation};
use crate::download::resumable_file::ResumableFile;
use crate::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::progress::{Progress, ProgressCallback};
use crate::message::response::Response;
use crate::message::target::{Origin, Target};
use crate::observe::{Event, RequestObservers, Step};

/// The context of an error after which the request itself must be changed.
pub(super) const NOT_RESUMABLE: &str = "only a GET without a body can be resumed";

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// Downloads to the partial file of `path`, and calls `commit` when it is complete. Returns the length of the
/// file and the result of `commit`.
pub(super) async fn resume<T, C>(
    session: Arc<SessionState>,
    target: Result<Target, Error>,
    request: Request<Body>,
    policy: Arc<RequestPolicy>,
    progress: Option<ProgressCallback>,
    path: PathBuf,
    commit: C,
) -> Result<(u64, T), Error>
where
    T: Send + 'static,
    C: FnOnce(CompleteFile) -> io::Result<T> + Send + 'static,
{
    let target = target?;
    check_request(&request).map_err(|error| target.add_url(error))?;
    let url = target.uri().to_string();
    let mut file = ResumableFile::open(session.clone(), path, &url)
        .await
        .map_err(|error| target.add_url(error))?;
    let now = session.runtime.now();
    let mut download = Download {
        timeout_end: policy.timeout.and_then(|timeout| now.checked_add(timeout)),
        plan: policy.retry.plan(),
        policy: RequestPolicy::clone(&policy),
        session,
        target,
        request,
        progress,
    };
    // The session would refuse the status 416.
    download.policy.error_for_status = false;
    download.policy.decompress = false;
    // The download itself requests the rest of a body, and writes the file accordingly.
    download.policy.retries_bodies = false;
    match download.run(&mut file, url).await {
        Ok(()) => {}
        Err(error) => return Err(download.target.add_url(error)),
    }
    let len = file.position();
    match file.finish_with(commit).await {
        Ok(value) => Ok((len, value)),
        Err(error) => Err(download.target.add_url(error)),
    }
}

fn check_request(request: &Request<Body>) -> Result<(), Error> {
    let headers = request.headers();
    let reason = if request.method() != Method::GET || !request.body().is_empty() {
        NOT_RESUMABLE
    } else if headers.contains_key(RANGE) || headers.contains_key(IF_RANGE) {
        "the request has a Range or an If-Range of its own"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidRequest).with_context(reason))
}

/// The requests of one download.
struct Download {
    session: Arc<SessionState>,
    target: Target,
    /// The caller's request. Each request of the download is a copy.
    request: Request<Body>,
    /// The settings of the next request. Its retries are those that are left.
    policy: RequestPolicy,
    /// When the whole download times out. The waits for limits move it.
    timeout_end: Option<Instant>,
    /// The pauses before the continuations.
    plan: RetryPlan,
    progress: Option<ProgressCallback>,
}

impl Download {
    /// Downloads until the file is complete.
    async fn run(&mut self, file: &mut ResumableFile, url: String) -> Result<(), Error> {
        let mut may_continue = true;
        loop {
            let range = partial(file).filter(|_| may_continue);
            let has_range = range.is_some();
            let response = self.send(range).await?;
            let reply = RangeReply::classify(response.head(), range);
            let end = match reply {
                RangeReply::Whole => {
                    let (head, total) = (response.headers(), response.content_length());
                    let representation = Representation::of(url.clone(), head, total);
                    file.restart(representation).await?;
                    may_continue = true;
                    total
                }
                RangeReply::Part { end, total } => {
                    file.set_total(total);
                    Some(end)
                }
                RangeReply::Complete => return Ok(()),
                RangeReply::Mismatch if has_range => {
                    may_continue = false;
                    continue;
                }
                RangeReply::Mismatch => {
                    let error = Error::new(ErrorKind::Protocol);
                    let context = "the server sent a part, but the request had no Range";
                    return Err(response.refuse(error.with_context(context)));
                }
                RangeReply::Other => {
                    let error = Error::status(response.status());
                    return Err(response.refuse(error));
                }
            };
            let is_part = matches!(reply, RangeReply::Part { .. });
            match self.receive(response, file, end).await? {
                // The server may send less than the rest (RFC 9110, 15.3.7).
                Ok(()) if is_part && total(file) != Some(file.position()) => {}
                Ok(()) => return Ok(()),
                Err(error) => {
                    file.flush().await?;
                    self.wait_for_retry(error).await?;
                }
            }
        }
    }

    /// Requests the bytes from a position if the resource still has this representation, or all bytes.
    async fn send(&mut self, range: Option<(&Representation, u64)>) -> Result<Response, Error> {
        let mut request = Request::new(Body::empty());
        *request.extensions_mut() = self.request.extensions().clone();
        let headers = request.headers_mut();
        headers.clone_from(self.request.headers());
        headers.insert(ACCEPT_ENCODING, IDENTITY);
        if let Some((known, position)) = range {
            headers.extend(known.range_from(position)?);
        }
        let mut policy = self.policy.clone();
        policy.timeout = self.timeout();
        let waits = Waits::observe(&mut request, &self.session.runtime);
        let (session, target) = (self.session.clone(), Ok(self.target.clone()));
        let response = exchange(session, target, request, None, Arc::new(policy));
        let response = Box::pin(response).await;
        let waited = waits.lock().total;
        self.timeout_end = self.timeout_end.and_then(|end| end.checked_add(waited));
        let response = response?;
        let repeats = (response.attempts() as usize).saturating_sub(1);
        let retries = repeats.saturating_sub(response.history().len());
        self.policy.retry.spend(retries);
        Ok(response)
    }

    /// Appends the body to the file. The inner result is that of the transfer, the outer one that of the
    /// file. A body that does not end at `end` is an error.
    async fn receive(
        &self,
        mut response: Response,
        file: &mut ResumableFile,
        end: Option<u64>,
    ) -> Result<Result<(), Error>, Error> {
        loop {
            let chunk = match response.chunk().now_or_never() {
                Some(chunk) => chunk,
                // While the server is slow, no byte waits in memory. So the partial file has them all if the
                // program is killed.
                None => {
                    file.flush().await?;
                    response.chunk().await
                }
            };
            let chunk = match chunk {
                Ok(Some(chunk)) => chunk,
                Ok(None) if end.is_some_and(|end| file.position() < end) => {
                    return Ok(Err(response.refuse(Error::new(ErrorKind::Incomplete))));
                }
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            let position = file.position() + chunk.len() as u64;
            if end.is_some_and(|end| position > end) {
                // Nothing that this server declares can be trusted.
                file.clear().await?;
                let error = Error::new(ErrorKind::Protocol)
                    .with_context("the body is longer than the server declared");
                return Ok(Err(response.refuse(error)));
            }
            file.write(&chunk).await?;
            if let Some(progress) = &self.progress {
                progress.on_chunk(Progress {
                    bytes: position,
                    total: total(file),
                });
            }
        }
    }

    /// Returns the time that is left of the timeout.
    fn timeout(&self) -> Option<Duration> {
        let now = self.session.runtime.now();
        let left = |end: Instant| end.saturating_duration_since(now);
        self.timeout_end.map(left)
    }

    /// Waits before the download continues. Returns `error` if the policy does not allow another request.
    async fn wait_for_retry(&mut self, error: Error) -> Result<(), Error> {
        let timeout = self.timeout();
        let retry = &mut self.policy.retry;
        if retry.is_off() {
            return Err(error);
        }
        let outcome = Err::<&http::Response<Body>, _>(&error);
        let Some(pause) = self.plan.next_pause(retry, &Method::GET, outcome) else {
            return Err(error);
        };
        let mut timer =
            ExchangeTimer::start(timeout, self.policy.deadline, &self.session.in_flight)?;
        let resume = timer.now().checked_add(pause);
        let Some(resume) = resume.filter(|resume| timer.is_before_end(*resume)) else {
            return Err(error);
        };
        let origin = Origin::of(self.target.uri());
        if !self.session.budgets.withdraw(&origin, retry) {
            return Err(error.with_retry_budget_exhausted(true));
        }
        retry.spend(1);
        timer.sleep_until(resume, None).await
    }
}

/// How long a request has waited for the limits of the session. These waits do not count towards the timeout.
#[derive(Default)]
struct Waits {
    since: Option<Instant>,
    total: Duration,
}

/// The waits of a request, which its observer counts.
struct SharedWaits(Arc<Mutex<Waits>>);

impl Waits {
    fn observe(request: &mut Request<Body>, runtime: &Arc<dyn Runtime>) -> SharedWaits {
        let waits = SharedWaits(Arc::default());
        let (counted, runtime) = (SharedWaits(waits.0.clone()), runtime.clone());
        let observer = move |event: &Event<'_>| match event.step {
            Step::Queued => counted.lock().since = Some(runtime.now()),
            Step::Sending => {
                let mut waits = counted.lock();
                if let Some(since) = waits.since.take() {
                    waits.total += runtime.now().saturating_duration_since(since);
                }
            }
            _ => {}
        };
        let extensions = request.extensions_mut();
        let own = extensions.get_or_insert_default::<RequestObservers>();
        own.observers.push(Arc::new(observer));
        waits
    }
}

impl SharedWaits {
    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the representation of the partial file, and the position where it ends. `None` if a request cannot
/// ask for the rest.
fn partial(file: &ResumableFile) -> Option<(&Representation, u64)> {
    let known = file.representation()?;
    let is_identified = known.validator.is_some() && file.position() > 0;
    is_identified.then_some((known, file.position()))
}

/// Returns the length of the complete file, if it is known.
fn total(file: &ResumableFile) -> Option<u64> {
    file.representation()?.total
}
