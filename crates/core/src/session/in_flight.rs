//! The registry of a session's requests in flight, and the closing of the session.

use std::fmt;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use sync_wrapper::SyncWrapper;

use crate::backend::fetch::BoxFuture;
use crate::backend::runtime::Runtime;
use crate::sync::{AtomicU8, AtomicU64, AtomicUsize, Mutex, MutexGuard};

/// How often the coarse timer, which all exchanges share, wakes the waiting exchanges to check
/// their deadlines. Most requests end before this timer fires, so they never set a timer of their
/// own.
const COARSE_INTERVAL: Duration = Duration::from_secs(5);

/// Counts of a session's requests and connections.
///
/// ```
/// # use inflight_core::{BlockOn, Error};
/// # use inflight_mock::{Mock, Reply, When};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
/// # mock.on(When::any(), Reply::chunks(["a", "page"], std::time::Duration::from_secs(1)));
/// # let session = mock.session().build()?;
/// # runtime.block_on(async {
/// let response = session.get("http://pages.test/").send().await?;
/// assert_eq!(session.stats().in_flight, 1);
/// response.text().await?;
/// assert_eq!(session.stats().in_flight, 0);
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests in flight. A request is in flight until its response is read to the end or dropped.
    pub in_flight: usize,
    /// Requests that wait for a permit.
    pub waiting: usize,
    /// Connections opened so far; `None` if the client does not report its connections.
    pub opened: Option<u64>,
    /// Requests so far that reused a connection; `None` if the client does not report its
    /// connections.
    pub reused: Option<u64>,
}

/// The session accepts requests.
const OPEN: u8 = 0;
/// The session accepts no requests. Requests in flight may finish.
const CLOSING: u8 = 1;
/// The session accepts no requests. Requests in flight fail.
const CLOSED: u8 = 2;

/// The registry of a session's requests. It counts the requests, and wakes the waiting ones when the
/// session closes or the coarse timer fires.
pub(crate) struct InFlight {
    runtime: Arc<dyn Runtime>,
    stage: AtomicU8,
    /// The number of requests that have started and not ended, including those that wait for a permit.
    started: AtomicUsize,
    /// The number of requests that wait for a permit.
    waiting: AtomicUsize,
    /// The id of the current coarse timer, or 0 if there is none.
    coarse_timer_id: AtomicU64,
    wakers: Mutex<Wakers>,
}

#[derive(Default)]
struct Wakers {
    /// The id of the last coarse timer.
    last_timer_id: u64,
    coarse_timer: Option<CoarseTimer>,
    exchanges: Slab<Waker>,
    /// The wakers of calls of `close`, which wait until no request is in flight.
    closers: Vec<Waker>,
}

/// A timer that all exchanges share, so that most of them set no timer of their own.
struct CoarseTimer {
    id: u64,
    fires_at: Instant,
    /// `None` while the timer is being set.
    _sleep: Option<SyncWrapper<BoxFuture<'static, ()>>>,
}

impl InFlight {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            stage: AtomicU8::new(OPEN),
            started: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            coarse_timer_id: AtomicU64::new(0),
            wakers: Mutex::default(),
        })
    }

    pub(crate) fn stats(&self) -> Stats {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let started = self.started.load(Ordering::Relaxed);
        Stats {
            in_flight: started.saturating_sub(waiting),
            waiting,
            opened: None,
            reused: None,
        }
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    fn stage(&self) -> u8 {
        self.stage.load(Ordering::SeqCst)
    }

    fn is_closed(&self) -> bool {
        self.stage() == CLOSED
    }

    /// Makes new requests fail. Requests in flight may finish.
    pub(crate) fn start_closing(&self) {
        self.stage.fetch_max(CLOSING, Ordering::SeqCst);
    }

    /// Makes all requests in flight fail.
    pub(crate) fn close(&self) {
        self.stage.store(CLOSED, Ordering::SeqCst);
        self.wake_exchanges(|_| true);
    }

    /// Wakes all waiting exchanges and drops the coarse timer, if `condition` holds.
    fn wake_exchanges(&self, condition: impl FnOnce(&Wakers) -> bool) {
        let (timer, wakers) = {
            let mut registered = self.wakers();
            if !condition(&registered) {
                return;
            }
            self.coarse_timer_id.store(0, Ordering::SeqCst);
            // Takes the wakers, because cloning them here would run the executor's code under the
            // lock. An exchange that keeps waiting registers its waker again.
            let wakers: Vec<Waker> = registered
                .exchanges
                .iter_mut()
                .map(|(_, waker)| mem::replace(waker, Waker::noop().clone()))
                .collect();
            (registered.coarse_timer.take(), wakers)
        };
        drop(timer);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Sets the coarse timer if there is none, unless the new timer would fire after `until`. Returns
    /// the id of the coarse timer and the time when it fires. Returns `None` if there is no coarse timer.
    fn ensure_coarse_timer(self: &Arc<Self>, until: Instant) -> Option<(u64, Instant)> {
        let (id, fires_at) = {
            let mut wakers = self.wakers();
            if let Some(timer) = &wakers.coarse_timer {
                return Some((timer.id, timer.fires_at));
            }
            let fires_at = self.runtime.now() + COARSE_INTERVAL;
            if until < fires_at || self.is_closed() {
                return None;
            }
            wakers.last_timer_id += 1;
            let id = wakers.last_timer_id;
            wakers.coarse_timer = Some(CoarseTimer {
                id,
                fires_at,
                _sleep: None,
            });
            self.coarse_timer_id.store(id, Ordering::SeqCst);
            (id, fires_at)
        };
        let waker = Waker::from(Arc::new(CoarseTimerWaker {
            id,
            in_flight: Arc::downgrade(self),
        }));
        // Polled outside the lock, because a runtime may wake the waker immediately.
        let mut sleep = self.runtime.sleep(COARSE_INTERVAL);
        match sleep.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => waker.wake(),
            Poll::Pending => {
                let mut wakers = self.wakers();
                let timer = wakers.coarse_timer.as_mut();
                if let Some(timer) = timer.filter(|timer| timer.id == id) {
                    timer._sleep = Some(SyncWrapper::new(sleep));
                }
            }
        }
        Some((id, fires_at))
    }

    /// Completes when no request is in flight.
    pub(crate) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut wakers = self.wakers();
        if self.started.load(Ordering::SeqCst) == 0 {
            drop(wakers);
            return Poll::Ready(());
        }
        let wakes_same_task = |other: &Waker| other.will_wake(&waker);
        if !wakers.closers.iter().any(wakes_same_task) {
            wakers.closers.push(waker);
        }
        Poll::Pending
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

/// The waker of the coarse timer.
struct CoarseTimerWaker {
    id: u64,
    in_flight: Weak<InFlight>,
}

impl Wake for CoarseTimerWaker {
    fn wake(self: Arc<Self>) {
        if let Some(in_flight) = self.in_flight.upgrade() {
            in_flight.wake_exchanges(|wakers| {
                let timer = wakers.coarse_timer.as_ref();
                timer.is_some_and(|timer| timer.id == self.id)
            });
        }
    }
}

/// A guard that registers a request in flight. Dropping it removes the request from the registry.
pub(crate) struct InFlightGuard {
    in_flight: Arc<InFlight>,
    /// The id of the coarse timer that wakes this request, and the time when that timer fires.
    coarse_timer: Option<(u64, Instant)>,
    /// The key of the request's waker.
    key: Option<usize>,
}

impl InFlightGuard {
    /// Registers a request. Returns `None` if the session accepts no more requests.
    pub(crate) fn new(in_flight: &Arc<InFlight>) -> Option<Self> {
        in_flight.started.fetch_add(1, Ordering::SeqCst);
        let guard = Self {
            in_flight: in_flight.clone(),
            coarse_timer: None,
            key: None,
        };
        // If the session is not open, dropping the guard reverts the count.
        (in_flight.stage() == OPEN).then_some(guard)
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        self.in_flight.runtime()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.in_flight.is_closed()
    }

    /// Completes when the session is closed.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Clones and drops wakers outside the lock, because both run the executor's code.
        match self.key {
            Some(key) => {
                let is_current = self.in_flight.wakers().exchanges[key].will_wake(cx.waker());
                if !is_current {
                    let waker = cx.waker().clone();
                    let last = mem::replace(&mut self.in_flight.wakers().exchanges[key], waker);
                    drop(last);
                }
            }
            None => {
                let waker = cx.waker().clone();
                let mut wakers = self.in_flight.wakers();
                self.key = Some(wakers.exchanges.insert(waker));
                let timer = wakers.coarse_timer.as_ref();
                self.coarse_timer = timer.map(|timer| (timer.id, timer.fires_at));
            }
        }
        match self.in_flight.is_closed() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Sets the coarse timer if there is none and the new timer would fire by `until`. Returns whether
    /// the coarse timer wakes this request by `until`. If not, the request needs its own timer.
    /// [`poll_closed`](Self::poll_closed) must have registered the request's waker.
    pub(crate) fn ensure_woken_before(&mut self, until: Instant) -> bool {
        // This code may run outside a single-threaded runtime. If no thread drives that runtime, a coarse
        // timer that was set inside the runtime never fires.
        if !self.runtime().is_entered() {
            return false;
        }
        let current = self.in_flight.coarse_timer_id.load(Ordering::SeqCst);
        if self.coarse_timer.is_none_or(|(id, _)| id != current) {
            self.coarse_timer = self.in_flight.ensure_coarse_timer(until);
        }
        self.coarse_timer
            .is_some_and(|(_, fires_at)| fires_at <= until)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.in_flight.wakers().exchanges.remove(key);
            drop(waker);
        }
        let was_last = self.in_flight.started.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last && self.in_flight.stage() != OPEN {
            let closers = mem::take(&mut self.in_flight.wakers().closers);
            closers.into_iter().for_each(Waker::wake);
        }
    }
}

/// A guard that counts a request as waiting for a permit until the guard is dropped.
pub(crate) struct WaitingGuard<'a>(&'a InFlight);

impl<'a> WaitingGuard<'a> {
    pub(crate) fn new(in_flight: &'a InFlight) -> Self {
        in_flight.waiting.fetch_add(1, Ordering::Relaxed);
        Self(in_flight)
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
