//! How many requests are active at once: in all, for each host, and how many start in a second.

use std::collections::HashMap;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use http::Uri;

use super::gate::{Gate, Place, Waiting};
use super::governed::{Alarm, Limit};
use crate::error::{Error, Phase};
use crate::runtime::Runtime;
use crate::target::Site;

/// How long a queue may be blocked by responses that nobody reads before its first is told.
/// Long enough for a reader to get from the head to the body, short enough not to be a hang.
const UNREAD: Duration = Duration::from_millis(250);

/// The caps of a session, and how long a request may wait for them.
#[derive(Default)]
pub(crate) struct Caps {
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) all: Option<Arc<Gate>>,
    pub(crate) hosts: Option<Hosts>,
    pub(crate) starts: Option<Starts>,
}

/// What an active request holds of the caps, if there are any. Dropping it lets the next in.
#[derive(Default)]
pub(crate) struct Seat(Option<Box<Places>>);

#[derive(Default)]
struct Places {
    all: Option<Place>,
    host: Option<(Site, Place)>,
}

impl Seat {
    /// Notes that the response is there.
    pub(crate) fn unread(&mut self, alarm: &Alarm) {
        self.each(|place| place.unread(alarm.now()));
    }

    /// Notes that somebody reads its body.
    pub(crate) fn read(&mut self) {
        self.each(Place::read);
    }

    fn each(&mut self, act: impl Fn(&mut Place)) {
        if let Some(places) = &mut self.0 {
            places.all.iter_mut().for_each(&act);
            places.host.iter_mut().for_each(|(_, place)| act(place));
        }
    }
}

impl Caps {
    /// Waits for this request's turn: all of it, or what is new when it goes on to another URL
    /// with the places it has.
    pub(crate) async fn enter(
        &self,
        seat: &mut Seat,
        uri: &Uri,
        alarm: &mut Alarm,
    ) -> Result<(), Error> {
        let places = seat.0.get_or_insert_default();
        let limit = alarm.limit(self.queue_timeout, Phase::Queue);
        // The host first: who waits for a slow host takes nothing from the others.
        self.sit(places, uri, alarm, limit).await?;
        if let (Some(all), None) = (&self.all, &places.all) {
            places.all = Some(place(all, alarm, limit).await?);
        }
        if let Some(starts) = &self.starts {
            starts.wait(alarm, limit).await?;
        }
        Ok(())
    }

    pub(crate) fn is_none(&self) -> bool {
        self.all.is_none() && self.hosts.is_none() && self.starts.is_none()
    }

    async fn sit(
        &self,
        places: &mut Places,
        uri: &Uri,
        alarm: &mut Alarm,
        limit: Limit,
    ) -> Result<(), Error> {
        let Some(hosts) = &self.hosts else {
            return Ok(());
        };
        let site = Site::of(uri);
        if matches!(&places.host, Some((own, _)) if *own == site) {
            return Ok(());
        }
        // Given up before the next is waited for, so that two hosts which redirect to each other
        // do not wait for each other; and so is the place among all, as whoever has a place at the
        // next host may be waiting for that one.
        *places = Places::default();
        let gate = hosts.gate(&site);
        places.host = Some((site, place(&gate, alarm, limit).await?));
        Ok(())
    }
}

async fn place(gate: &Arc<Gate>, alarm: &mut Alarm, limit: Limit) -> Result<Place, Error> {
    let mut waiting = Waiting::new(gate);
    poll_fn(|cx| {
        if let Poll::Ready(place) = waiting.poll(cx) {
            return Poll::Ready(Ok(place));
        }
        loop {
            let told = waiting.stuck_since().map(|since| since + UNREAD);
            ready!(alarm.poll_until(cx, told, limit))?;
            if waiting.stuck_since().map(|since| since + UNREAD) == told {
                return Poll::Ready(Err(Error::timeout(Phase::Queue).with_context(
                    "every place is held by a response whose body nobody reads: read it or drop it",
                )));
            }
        }
    })
    .await
}

/// A gate for each host that has requests.
pub(crate) struct Hosts {
    places: usize,
    gates: Mutex<HashMap<Site, Weak<Gate>>>,
}

impl Hosts {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places,
            gates: Mutex::default(),
        }
    }

    fn gate(&self, site: &Site) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(site).and_then(Weak::upgrade) {
            return gate;
        }
        // Hosts without requests are forgotten before the table grows.
        if gates.len() == gates.capacity() {
            gates.retain(|_, gate| gate.strong_count() > 0);
        }
        let gate = Gate::new(self.places);
        gates.insert(site.clone(), Arc::downgrade(&gate));
        gate
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<Nanos>>;

/// How many requests start in a second.
pub(crate) struct Starts {
    limiter: Limiter,
    clock: RuntimeClock,
    // One at a time asks for its turn, so that they start in order.
    turn: Arc<Gate>,
}

impl Starts {
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
            turn: Gate::new(1),
        }
    }

    async fn wait(&self, alarm: &mut Alarm, limit: Limit) -> Result<(), Error> {
        let _turn = place(&self.turn, alarm, limit).await?;
        while let Err(not_until) = self.limiter.check() {
            let moment = self.clock.zero + Duration::from(not_until.earliest_possible());
            alarm.sleep_until(moment, limit).await?;
        }
        Ok(())
    }
}

/// The runtime's clock, as time since the session began.
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
