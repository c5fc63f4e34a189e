//! The limits on requests in flight, in total and for each host, and on requests per second.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use http::Uri;

use super::fair_semaphore::{Acquire, FairSemaphore, Permit};
use super::hosts::{HostState, Hosts};
use super::policy::RequestPolicy;
use super::timer::{ExchangeTimer, PhaseLimit};
use crate::backend::runtime::Runtime;
use crate::bugs::{Bug, is_planted};
use crate::error::{Error, Phase};
use crate::message::target::Origin;

/// How long unread responses may hold all permits before the first waiter fails. A program usually
/// begins to read a body sooner, and the delay is too short to look like a hang.
const UNREAD_TIMEOUT: Duration = Duration::from_millis(250);

/// The limits of a session.
#[derive(Default)]
pub(crate) struct Limits {
    pub(crate) all: Option<Arc<FairSemaphore>>,
    pub(crate) hosts: Hosts,
    pub(crate) rate: Option<RateLimit>,
}

/// The permits that a request holds, if the session has limits. Dropping this value releases them.
#[derive(Default)]
pub(crate) struct Permits(Option<Box<HeldPermits>>);

#[derive(Default)]
struct HeldPermits {
    all: Option<Permit>,
    host: Option<(Origin, Permit)>,
}

impl Permits {
    /// Marks the response as arrived and unread.
    pub(crate) fn mark_unread(&mut self, now: Instant) {
        self.for_each(|permit| permit.mark_unread(now));
    }

    /// Marks the body as being read.
    pub(crate) fn mark_read(&mut self) {
        self.for_each(Permit::mark_read);
    }

    fn for_each(&mut self, mark: impl Fn(&mut Permit)) {
        if let Some(held) = &mut self.0 {
            held.all.iter_mut().for_each(&mark);
            held.host.iter_mut().for_each(|(_, permit)| mark(permit));
        }
    }
}

impl Limits {
    /// Waits for the permits that the request does not hold yet, and until the rates permit it to start.
    /// After a redirect, the request already holds some permits.
    pub(crate) async fn acquire(
        &self,
        permits: &mut Permits,
        uri: &Uri,
        timer: &mut ExchangeTimer,
        policy: &RequestPolicy,
    ) -> Result<(), Error> {
        let held = permits.0.get_or_insert_default();
        let limit = timer.limit(policy.queue_timeout, Phase::Queue);
        let origin = Origin::of(uri);
        let mut host = self.hosts.state(&origin, timer.now());
        // Acquires the host's permit first, so that a request that waits for a slow host holds no
        // permit that requests to other hosts need.
        if let Some(in_flight) = host.as_ref().and_then(|host| host.in_flight.as_ref()) {
            acquire_host(held, &origin, in_flight, timer, limit).await?;
        }
        let mut turn = None;
        loop {
            if let Some(host) = &host {
                wait_for_start(host, held, &mut turn, timer, limit, policy).await?;
            }
            if let (Some(all), None) = (&self.all, &held.all) {
                held.all = Some(acquire(all, timer, limit).await?);
            }
            if let Some(rate) = &self.rate {
                rate.wait(timer, limit).await?;
            }
            // The host may have been paused meanwhile, or may have got another interval.
            host = self.hosts.state(&origin, timer.now());
            if host.as_ref().is_none_or(|host| host.start(timer.now())) {
                return Ok(());
            }
            held.all = None;
        }
    }

    /// Lets no request to the host start before `until`.
    pub(crate) fn pause_host(&self, origin: &Origin, until: Instant, now: Instant) {
        self.hosts.pause(origin, until, now);
    }

    /// Sets the shortest time between the starts of two requests to this host. Zero means no limit.
    pub(crate) fn set_host_interval(&self, origin: &Origin, interval: Duration, now: Instant) {
        self.hosts.set_interval(origin, interval, now);
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        self.all.is_none() && self.rate.is_none() && self.hosts.is_unlimited()
    }
}

async fn acquire_host(
    held: &mut HeldPermits,
    origin: &Origin,
    in_flight: &Arc<FairSemaphore>,
    timer: &mut ExchangeTimer,
    limit: PhaseLimit,
) -> Result<(), Error> {
    if matches!(&held.host, Some((held_origin, _)) if held_origin == origin) {
        return Ok(());
    }
    // Releases all permits before it waits for a permit of the next host. Otherwise two requests
    // could deadlock, because each could hold the permit that the other one waits for.
    *held = HeldPermits::default();
    held.host = Some((origin.clone(), acquire(in_flight, timer, limit).await?));
    Ok(())
}

/// Waits until it is the request's turn, if the host has an interval, and until a request to the host may
/// start. Releases the permit of the session before it waits.
async fn wait_for_start(
    host: &HostState,
    held: &mut HeldPermits,
    turn: &mut Option<Permit>,
    timer: &mut ExchangeTimer,
    limit: PhaseLimit,
    policy: &RequestPolicy,
) -> Result<(), Error> {
    loop {
        let now = timer.now();
        let start = host.next_start(now);
        // The host may get an interval while the request waits.
        if let (Some(semaphore), None) = (host.turn(), &turn) {
            // The request whose turn it is may wait for this permit.
            held.all = None;
            *turn = Some(acquire(semaphore, timer, limit).await?);
            continue;
        }
        let Some(start) = start else { return Ok(()) };
        held.all = None;
        check_pause(host, now, policy)?;
        sleep_until_start(host, start, turn.is_some(), timer, limit).await?;
    }
}

/// Fails if the host is paused for longer than the queue timeout or, without one, than the timeout.
/// Otherwise a server could stop a program for days.
fn check_pause(host: &HostState, now: Instant, policy: &RequestPolicy) -> Result<(), Error> {
    let pause = host.paused_until(now);
    let pause = pause.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
    let longest = policy.queue_timeout.or(policy.timeout);
    match longest.is_some_and(|longest| pause > longest) {
        true => Err(Error::timeout(Phase::Queue).with_context(format!(
            "the server has asked for a pause of {:.1} s (Retry-After): set a longer queue timeout",
            pause.as_secs_f64()
        ))),
        false => Ok(()),
    }
}

/// Waits until `start` or, if it is the request's turn, until a change of the host's interval permits an
/// earlier start.
async fn sleep_until_start(
    host: &HostState,
    start: Instant,
    has_turn: bool,
    timer: &mut ExchangeTimer,
    limit: PhaseLimit,
) -> Result<(), Error> {
    let slept = poll_fn(|cx| {
        if has_turn && host.poll_earlier_start(start, cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        timer.poll_until(cx, Some(start), limit)
    })
    .await;
    if has_turn {
        host.forget_waker();
    }
    Ok(slept?)
}

async fn acquire(
    semaphore: &Arc<FairSemaphore>,
    timer: &mut ExchangeTimer,
    limit: PhaseLimit,
) -> Result<Permit, Error> {
    let mut acquire = Acquire::new(semaphore);
    poll_fn(|cx| {
        if let Poll::Ready(permit) = acquire.poll(cx) {
            return Poll::Ready(Ok(permit));
        }
        loop {
            let fails_at = acquire.stuck_since().map(|since| since + UNREAD_TIMEOUT);
            ready!(timer.poll_until(cx, fails_at, limit))?;
            if acquire.stuck_since().map(|since| since + UNREAD_TIMEOUT) == fails_at {
                return Poll::Ready(Err(Error::timeout(Phase::Queue).with_context(
                    "unread responses hold all permits: read their bodies or drop the responses",
                )));
            }
        }
    })
    .await
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<Nanos>>;

/// A limit on the number of requests per second.
pub(crate) struct RateLimit {
    limiter: Limiter,
    clock: RuntimeClock,
    /// A semaphore with one permit, so that one request at a time waits for the limiter and
    /// requests start in order.
    turn: Arc<FairSemaphore>,
}

impl RateLimit {
    pub(crate) fn new(quota: (NonZeroU32, NonZeroU32), runtime: Arc<dyn Runtime>) -> Self {
        let (per_second, burst) = quota;
        let clock = RuntimeClock {
            zero: runtime.now(),
            runtime,
        };
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            limiter: RateLimiter::direct_with_clock(quota, clock.clone()),
            clock,
            turn: FairSemaphore::new(1),
        }
    }

    async fn wait(&self, timer: &mut ExchangeTimer, limit: PhaseLimit) -> Result<(), Error> {
        let _turn = acquire(&self.turn, timer, limit).await?;
        if is_planted(Bug::RateAfterJump) && self.clock.now().as_u64() > 60_000_000_000 {
            return Ok(());
        }
        while let Err(not_until) = self.limiter.check() {
            let moment = self.clock.zero + Duration::from(not_until.earliest_possible());
            timer.sleep_until(moment, limit).await?;
        }
        Ok(())
    }
}

/// The runtime's clock. It returns the time since the session was built.
#[derive(Clone)]
struct RuntimeClock {
    runtime: Arc<dyn Runtime>,
    zero: Instant,
}

impl Clock for RuntimeClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let since = self.runtime.now().saturating_duration_since(self.zero);
        since.into()
    }
}
