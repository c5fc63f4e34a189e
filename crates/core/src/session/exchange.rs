//! One request of a session's, from the caller's to the response that answers it: through the
//! caps, again after failures, on after redirects.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, PROXY_AUTHORIZATION};
use http::uri::Scheme;
use http::{Method, Request};

use super::caps::Seat;
use super::governed::{Alarm, Bell, Governed};
use super::retry::Plan;
use super::roll::InQueue;
use super::{Inner, Session};
use crate::body::{Body, Lent};
use crate::client::Support;
use crate::decode;
use crate::error::{Error, ErrorKind, Phase};
use crate::fetch::{Deadline, NewConnection};
use crate::head;
use crate::observe::{Observed, Step};
use crate::response::Response;
use crate::target::{Site, Target};
use crate::upload::Upload;

/// A redirect's body up to this size is read, so that its connection can be used again; others
/// are dropped with theirs.
const DRAINED: u64 = 16 << 10;

/// What has not come by then is not waited for: a new connection is sooner there.
const DRAINED_IN: Duration = Duration::from_millis(500);

/// Of a request that could be sent again but for its body.
const BODY_IS_GONE: &str =
    "the server has not processed the request, but its body was begun and cannot be produced again";

/// Counts the times that a request is resent without a retry: because the server has not processed it,
/// or because its kept connection ended before a response.
#[derive(Default)]
struct Resends {
    so_far: u32,
    unanswered: u32,
}

impl Resends {
    /// How many resends have no pause. A server that ends each connection after a few requests causes
    /// several.
    const WITHOUT_PAUSE: u32 = 10;
    const LONGEST_PAUSE: Duration = Duration::from_millis(256);
    /// How many resends an unanswered request gets. A client that then uses a new connection needs one;
    /// isahc may need more.
    const MOST_UNANSWERED: u32 = 3;
    /// How many resends a request gets in all. With the pauses they take about ten seconds.
    const MOST: u32 = 50;

    /// How long to wait before the request is sent again, or `None` if it is not.
    fn pause(&mut self, error: &Error, draft: &Draft, alarm: &Alarm) -> Option<Duration> {
        let is_of_use = match error.is_not_processed() {
            true => true,
            false => {
                self.unanswered += 1;
                error.is_of_a_dead_connection()
                    && draft.method().is_idempotent()
                    && self.unanswered <= Self::MOST_UNANSWERED
            }
        };
        if !is_of_use || !draft.can_be_sent() {
            return None;
        }
        let pause = match self.so_far.checked_sub(Self::WITHOUT_PAUSE) {
            None => Duration::ZERO,
            Some(n) => Duration::from_millis(1 << n.min(8)).min(Self::LONGEST_PAUSE),
        };
        self.so_far += 1;
        let ends = alarm.deadline;
        let is_in_time = ends.is_none_or(|deadline| alarm.now() + pause < deadline);
        (is_in_time && self.so_far <= Self::MOST).then_some(pause)
    }
}

/// What the caller wants sent: the pattern of the requests that are.
pub(crate) struct Draft {
    request: Request<Body>,
    /// The body is a stream and was given to the client.
    lent: Option<Lent>,
    /// A redirect has led to another site.
    elsewhere: bool,
    /// What comes is to be decoded.
    decompress: bool,
    /// The last request met a dead connection.
    needs_new_connection: bool,
}

impl Draft {
    pub(crate) fn new(mut request: Request<Body>, decompress: bool) -> Self {
        Self {
            decompress: decode::is_wanted(&mut request, decompress),
            request,
            lent: None,
            elsewhere: false,
            needs_new_connection: false,
        }
    }

    pub(crate) fn method(&self) -> &Method {
        self.request.method()
    }

    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request.headers_mut()
    }

    pub(crate) fn can_be_sent(&self) -> bool {
        self.lent.as_ref().is_none_or(Lent::is_whole)
    }

    pub(crate) fn become_get(&mut self, of_the_body: &[HeaderName]) {
        *self.request.method_mut() = Method::GET;
        *self.request.body_mut() = Body::empty();
        self.lent = None;
        for name in of_the_body {
            self.headers_mut().remove(name);
        }
    }

    pub(crate) fn went_elsewhere(&mut self) {
        self.elsewhere = true;
    }

    /// The next request to send.
    fn request(&mut self, target: &Target, session: &Inner, alarm: &Alarm) -> Request<Body> {
        let own = self.request.body_mut();
        if let Some(lent) = self.lent.take().and_then(Lent::take_back) {
            *own = lent;
        }
        let body = own.try_clone().unwrap_or_else(|| {
            let (body, lent) = std::mem::take(own).lend();
            self.lent = Some(lent);
            body
        });
        let mut request = Request::new(body);
        *request.method_mut() = self.request.method().clone();
        *request.uri_mut() = target.uri().clone();
        *request.extensions_mut() = self.request.extensions().clone();
        *request.headers_mut() = self.request.headers().clone();
        let headers = request.headers_mut();
        if let Some(authorization) = target.authorization() {
            let own = headers.entry(AUTHORIZATION);
            own.or_insert_with(|| authorization.clone());
        }
        let redirects = &session.redirects;
        for name in session.headers.keys() {
            let stays = self.elsewhere && redirects.is_confidential(name);
            // The request's own headers win over the session's of the same name, all together.
            if !stays && !headers.contains_key(name) {
                for value in session.headers.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
        #[cfg(feature = "cookies")]
        if let Some(jar) = &session.cookies {
            jar.add(headers, target.url());
        }
        // For who forwards the request: neither a server nor a tunnel's other end is told.
        let proxies = &session.proxies;
        if !proxies.is_empty() && headers.contains_key(PROXY_AUTHORIZATION) {
            let uri = target.uri();
            let is_forwarded = uri.scheme() == Some(&Scheme::HTTP)
                && session.capabilities.proxied_whole.is_yes()
                && proxies.of(uri).is_some();
            if !is_forwarded {
                headers.remove(PROXY_AUTHORIZATION);
            }
        }
        if self.decompress {
            decode::accept(headers);
        }
        if let (true, Some(deadline)) = (session.capabilities.reads_deadline, alarm.deadline) {
            request.extensions_mut().insert(Deadline(deadline));
        }
        if std::mem::take(&mut self.needs_new_connection) {
            request.extensions_mut().insert(NewConnection);
        }
        request
    }
}

impl Session {
    pub(crate) async fn exchange(
        self,
        target: Result<Target, Error>,
        mut request: Request<Body>,
        upload: Option<Box<Upload>>,
        timeout: Option<Duration>,
    ) -> Result<Response, Error> {
        let mut target = target?;
        let inner = &*self.0;
        let observed = inner.observed(&mut request, &target);
        let alarm = match Alarm::start(timeout, self.clone()) {
            Ok(alarm) => alarm,
            Err(error) => {
                let error = target.name(error);
                if let Some(observed) = observed {
                    observed.failed(&error);
                }
                return Err(error);
            }
        };
        let mut exchange = Exchange {
            session: inner,
            draft: Draft::new(request, inner.decompress),
            upload,
            alarm,
            seat: Seat::default(),
            head: Head::default(),
            attempts: 0,
            retries: None,
            observed,
        };
        let mut history = Vec::new();
        match exchange.run(&mut target, &mut history).await {
            Ok(()) => {
                let mut response = exchange.head;
                let mut body = std::mem::take(response.body_mut());
                if http_body::Body::is_end_stream(&body) {
                    if let Some(observed) = exchange.observed {
                        observed.done();
                    }
                } else {
                    let mut governed = Governed::new(body, exchange.alarm, exchange.seat);
                    governed.read_timeout = inner.read_timeout;
                    governed.observed = exchange.observed;
                    body = Body::wrap(governed);
                }
                *response.body_mut() = body;
                let response = Response::new(response, target, inner.max_body);
                Ok(response.with_story(history, exchange.attempts))
            }
            Err(error) => {
                let error = target.name(error);
                let error = error.with_story(history.len(), exchange.attempts);
                if let Some(observed) = exchange.observed {
                    observed.failed(&error);
                }
                Err(error)
            }
        }
    }
}

type Head = http::Response<Body>;

/// A request under way.
struct Exchange<'a> {
    session: &'a Inner,
    draft: Draft,
    /// What there is to do for the body before it is sent.
    upload: Option<Box<Upload>>,
    alarm: Alarm,
    /// What it holds of the caps.
    seat: Seat,
    /// The last response; an empty one until one has come. It has one place, as it is large and
    /// goes through many hands.
    head: Head,
    attempts: u32,
    /// What is left of the request's retries, wherever redirects lead it.
    retries: Option<Box<Plan>>,
    observed: Option<Box<Observed>>,
}

impl Exchange<'_> {
    fn tell(&self, step: Step<'_>) {
        if let Some(observed) = &self.observed {
            observed.tell(step);
        }
    }

    /// Follows redirects; `target` is where they have led to.
    async fn run(
        &mut self,
        target: &mut Target,
        history: &mut Vec<super::Redirect>,
    ) -> Result<(), Error> {
        if let Some(upload) = self.upload.take() {
            let prepared = upload.prepare(&mut self.draft.request, &self.session.runtime);
            Box::pin(self.alarm.bound(None, prepared)).await?;
        }
        loop {
            self.attempt(target).await?;
            let redirects = &self.session.redirects;
            let next = redirects.follow(target, &mut self.draft, &self.head, history)?;
            let Some(next) = next else {
                // Beneath the alarm: the limits hold for what a few bytes swell to.
                if self.draft.decompress {
                    decode::response(&mut self.head)?;
                }
                return Ok(());
            };
            self.tell(Step::Redirected { to: next.url() });
            let body = std::mem::take(&mut self.head).into_body();
            if body.len().is_some_and(|len| len <= DRAINED) {
                // What becomes of it is nothing to the request.
                let drained = body.collect(DRAINED).map(|_| Ok(()));
                let limit = self.alarm.limit(Some(DRAINED_IN), Phase::Body);
                match Box::pin(self.alarm.bound(limit, drained)).await {
                    Err(error) if error.phase() != Some(Phase::Body) => return Err(error),
                    _ => {}
                }
            }
            *target = next;
        }
    }

    /// Sends the request, and again when that is of use.
    async fn attempt(&mut self, target: &Target) -> Result<(), Error> {
        let inner = self.session;
        if let (Support::No(reason), Some("https")) =
            (inner.capabilities.tls, target.uri().scheme_str())
        {
            return Err(Error::new(ErrorKind::Unsupported).with_context(reason));
        }
        let mut resends = Resends::default();
        let site = (!inner.retry.is_off()).then(|| Site::of(target.uri()));
        if let Some(site) = &site {
            inner.budgets.earn(site);
        }
        loop {
            if !inner.caps.is_none() {
                let _queued = InQueue::new(&inner.roll);
                self.tell(Step::Queued);
                // Rare and large: in a box it makes no other exchange larger.
                let turn = inner
                    .caps
                    .enter(&mut self.seat, target.uri(), &mut self.alarm);
                Box::pin(turn).await?;
            }
            let mut outcome = self.send(target).await;
            if let Err(error) = &outcome
                && let Some(pause) = resends.pause(error, &self.draft, &self.alarm)
            {
                self.draft.needs_new_connection = error.is_of_a_dead_connection();
                self.tell(Step::Resending { pause, error });
                if !pause.is_zero() {
                    let resume = self.alarm.now() + pause;
                    self.alarm.sleep_until(resume, None).await?;
                }
                continue;
            }
            if !self.draft.can_be_sent() {
                outcome = outcome.map_err(|error| match error.is_not_processed() {
                    true => error.with_context(BODY_IS_GONE),
                    false => error,
                });
            }
            let Some(site) = site.as_ref().filter(|_| self.draft.can_be_sent()) else {
                return outcome;
            };
            let plan = self
                .retries
                .get_or_insert_with(|| Box::new(inner.retry.plan()));
            let seen = outcome.as_ref().map(|()| &self.head);
            let Some(pause) = plan.pause(self.draft.method(), seen) else {
                return outcome;
            };
            // A server may ask for more time than there is.
            let resume = self.alarm.now().checked_add(pause);
            let in_time = |resume: &Instant| self.alarm.deadline.is_none_or(|end| *resume < end);
            let Some(resume) = resume.filter(in_time) else {
                return outcome;
            };
            if !inner.budgets.spend(site) {
                return outcome;
            }
            let error = outcome.as_ref().err();
            self.tell(Step::Retrying { pause, error });
            self.head = Head::default();
            self.seat = Seat::default();
            self.alarm.sleep_until(resume, None).await?;
        }
    }

    /// Sends the request once. What comes is in `head`, also where it is refused.
    async fn send(&mut self, target: &Target) -> Result<(), Error> {
        self.attempts += 1;
        let inner = self.session;
        let limit = self.alarm.limit(inner.head_timeout, Phase::Head);
        let client = inner.client().ok_or(Bell::Closed)?;
        // A block of its own: the future would keep room for the request while it waits.
        let fetched = {
            let mut request = self.draft.request(target, inner, &self.alarm);
            if let Some(observed) = &mut self.observed {
                observed.sending(target, &mut request);
            }
            client.fetch_boxed(request)
        };
        self.head = self.alarm.bound(limit, fetched).await?;
        head::check(&self.head)?;
        if let Some(observed) = &self.observed {
            observed.head(&self.head);
        }
        #[cfg(feature = "cookies")]
        if let Some(jar) = &inner.cookies {
            jar.keep(self.head.headers(), target.url());
        }
        Ok(())
    }
}
