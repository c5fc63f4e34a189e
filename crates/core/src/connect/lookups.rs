//! Name lookups that requests share.
//!
//! Requests for the same name wait for the same lookup. These requests are the lookup's waiters.
//! Permits limit how many lookups run at once. The first waiter that gets a permit starts the lookup.
//! If a waiter is dropped before it gets a permit, another waiter can start the lookup.
//!
//! Nothing can interrupt a lookup that has started. If all its waiters are dropped, the lookup is
//! abandoned: it continues to run, but releases its permit. Only [`MAX_ABANDONED`] lookups may run
//! without a permit. If more lookups are abandoned, they keep their permits.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};

use crate::backend::cancel::Cancel;
use crate::backend::runtime::work_dropped;
use crate::backend::task::Panic;
use crate::connect::resolve::Resolve;
use crate::error::{Error, ErrorKind, Phase};
use crate::sync::{Mutex, MutexGuard, Receiver, Semaphore, SemaphoreGuardArc, Sender, bounded};

/// How many lookups with waiters may run at once. The limit leaves some threads of the runtime's blocking
/// pool to other work. A model needs a small limit.
const MAX_AWAITED: usize = if cfg!(inflight_loom) { 1 } else { 32 };

/// How many abandoned lookups may run without a permit. A model needs a small limit.
const MAX_ABANDONED: usize = if cfg!(inflight_loom) { 1 } else { 64 };

/// The lookups of one client.
pub(crate) struct SharedLookups {
    resolve: Arc<dyn Resolve>,
    timeout: Option<Duration>,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    lookups: HashMap<u64, Lookup>,
    /// The ids of the lookups that a waiter can join.
    joinable: HashMap<HostAndPort, u64>,
    /// How many abandoned lookups run without a permit.
    abandoned: usize,
    /// The permits of the abandoned lookups beyond [`MAX_ABANDONED`].
    held_permits: Vec<SemaphoreGuardArc>,
}

type HostAndPort = (Arc<str>, u16);

/// A lookup that has not ended.
struct Lookup {
    /// The number of waiters.
    waiting: usize,
    /// When the lookup started. `None` while it waits for a permit.
    started: Option<Instant>,
    /// Held while the lookup runs and has waiters.
    permit: Option<SemaphoreGuardArc>,
    /// The sender of [`Outcome::ended`]. The work takes it when the lookup starts. The lookup has
    /// ended when the last clone is dropped.
    end: Option<Sender<Infallible>>,
    outcome: Arc<Outcome>,
}

struct Outcome {
    answer: OnceLock<LookupResult>,
    /// A channel that closes when the lookup ends, with or without a result.
    ended: Receiver<Infallible>,
}

enum LookupResult {
    Found(Vec<SocketAddr>),
    Failed(Arc<io::Error>),
    /// The first waiter resumes the panic. The other waiters get an error with the message.
    Panicked(Mutex<Option<Panic>>, String),
}

/// Work for a thread that may block.
pub(crate) type BlockingWork = Box<dyn FnOnce() + Send>;

impl SharedLookups {
    pub(crate) fn new(resolve: Arc<dyn Resolve>, timeout: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            resolve,
            timeout,
            permits: Arc::new(Semaphore::new(MAX_AWAITED)),
            state: Mutex::default(),
        })
    }

    /// Returns the addresses of a name. `now` and `sleep` are the clock and the timer of the caller.
    /// `spawn` runs the lookup on a thread that may block.
    pub(crate) async fn lookup<S: Future<Output = ()>>(
        self: &Arc<Self>,
        (host, port): (&str, u16),
        now: impl Fn() -> Instant,
        sleep: impl FnOnce(Duration) -> S,
        spawn: impl FnOnce(BlockingWork) -> io::Result<()>,
    ) -> Result<Vec<SocketAddr>, Error> {
        let waiter = self.join(host, port, now());
        let answer = waiter.answer(&now, spawn);
        let Some(remaining) = waiter.remaining else {
            return answer.await;
        };
        match select(pin!(answer), pin!(sleep(remaining))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(waiter.timeout_error(remaining)),
        }
    }

    /// Like [`lookup`](Self::lookup), but blocks the calling thread. Ends early if `timeout` passes
    /// or `cancel` is cancelled.
    pub(crate) fn lookup_blocking(
        self: &Arc<Self>,
        (host, port): (&str, u16),
        timeout: Option<Duration>,
        cancel: &Cancel,
        spawn: impl FnOnce(BlockingWork) -> io::Result<()>,
    ) -> Result<Vec<SocketAddr>, Error> {
        let start = Instant::now();
        let waiter = self.join(host, port, start);
        let answer = pin!(waiter.answer(&Instant::now, spawn));
        let limit = [waiter.remaining, timeout].into_iter().flatten().min();
        let until = limit.and_then(|limit| start.checked_add(limit));
        match (block_until(answer, until, cancel), limit) {
            (Some(answer), _) => answer,
            (None, Some(limit)) if !cancel.is_cancelled() => Err(waiter.timeout_error(limit)),
            (None, _) => Err(Error::new(ErrorKind::Cancelled)),
        }
    }

    /// Joins the lookup of this name, or adds a new one.
    fn join(self: &Arc<Self>, host: &str, port: u16, now: Instant) -> Waiter {
        let mut state = self.state();
        let state = &mut *state;
        let name = (Arc::from(host), port);
        let joined = state.joinable.get(&name).and_then(|id| {
            let lookup = state.lookups.get_mut(id)?;
            let remaining = self.remaining(lookup, now);
            // Does not join a lookup without remaining time, because its waiters are about to fail.
            (remaining != Some(Duration::ZERO)).then_some((*id, lookup, remaining))
        });
        let (id, lookup, remaining) = match joined {
            Some(joined) => joined,
            None => {
                let id = state.next_id;
                state.next_id += 1;
                state.joinable.insert(name.clone(), id);
                let lookup = state.lookups.entry(id).or_insert_with(Lookup::new);
                (id, lookup, self.timeout)
            }
        };
        lookup.waiting += 1;
        let outcome = lookup.outcome.clone();
        Waiter {
            lookups: self.clone(),
            name,
            id,
            outcome,
            remaining,
        }
    }

    /// Returns how long a waiter waits at most if it joins the lookup now. `None` means no limit.
    fn remaining(&self, lookup: &Lookup, now: Instant) -> Option<Duration> {
        let timeout = self.timeout?;
        let elapsed = lookup.started.map(|at| now.saturating_duration_since(at));
        Some(timeout.saturating_sub(elapsed.unwrap_or_default()))
    }

    fn run_resolver(&self, (host, port): &HostAndPort) -> LookupResult {
        match catch_unwind(AssertUnwindSafe(|| self.resolve.resolve(host, *port))) {
            Ok(Ok(addresses)) => LookupResult::Found(addresses),
            Ok(Err(error)) => LookupResult::Failed(Arc::new(error)),
            Err(payload) => {
                let panic = Panic::new(payload);
                let message = panic.message().to_owned();
                LookupResult::Panicked(Mutex::new(Some(panic)), message)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is valid after a panic, because only code of this module runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookup {
    fn new() -> Self {
        let (end, ended) = bounded(1);
        Self {
            waiting: 0,
            started: None,
            permit: None,
            end: Some(end),
            outcome: Arc::new(Outcome {
                answer: OnceLock::new(),
                ended,
            }),
        }
    }
}

impl State {
    /// Prevents more waiters from joining the lookup.
    fn remove_joinable(&mut self, name: &HostAndPort, id: u64) {
        if self.joinable.get(name) == Some(&id) {
            self.joinable.remove(name);
        }
    }
}

/// A waiter: a request that waits for a lookup.
struct Waiter {
    lookups: Arc<SharedLookups>,
    name: HostAndPort,
    id: u64,
    outcome: Arc<Outcome>,
    remaining: Option<Duration>,
}

impl Waiter {
    async fn answer(
        &self,
        now: impl Fn() -> Instant,
        spawn: impl FnOnce(BlockingWork) -> io::Result<()>,
    ) -> Result<Vec<SocketAddr>, Error> {
        // The channel carries no message. It closes when the lookup ends.
        let ended = &self.outcome.ended;
        if !self.is_started() {
            let permit = self.lookups.permits.acquire_arc();
            if let Either::Right((permit, _)) = select(pin!(ended.recv()), pin!(permit)).await {
                self.start(permit, now(), spawn);
            }
        }
        let _ = ended.recv().await;
        let host = &*self.name.0;
        match self.outcome.answer.get() {
            Some(LookupResult::Found(addresses)) if addresses.is_empty() => {
                Err(no_address_error(host))
            }
            Some(LookupResult::Found(addresses)) => Ok(addresses.clone()),
            Some(LookupResult::Failed(error)) => {
                Err(lookup_error(host).with_shared_source(error.clone()))
            }
            Some(LookupResult::Panicked(panic, message)) => {
                let panic = panic.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(panic) = panic {
                    panic.resume();
                }
                Err(lookup_error(host).with_source(format!("the resolver panicked: {message}")))
            }
            None => Err(work_dropped("a name lookup")),
        }
    }

    fn is_started(&self) -> bool {
        let state = self.lookups.state();
        let lookup = state.lookups.get(&self.id);
        lookup.is_none_or(|lookup| lookup.started.is_some())
    }

    /// Starts the lookup, unless another waiter has started it.
    fn start(
        &self,
        permit: SemaphoreGuardArc,
        now: Instant,
        spawn: impl FnOnce(BlockingWork) -> io::Result<()>,
    ) {
        let end = {
            let mut state = self.lookups.state();
            let Some(lookup) = state.lookups.get_mut(&self.id) else {
                return;
            };
            let Some(end) = lookup.end.take() else {
                return;
            };
            lookup.started = Some(now);
            lookup.permit = Some(permit);
            end
        };
        let run = LookupGuard {
            lookups: self.lookups.clone(),
            name: self.name.clone(),
            id: self.id,
            outcome: self.outcome.clone(),
            _end: end.clone(),
        };
        if let Err(error) = spawn(Box::new(move || run.run_resolver())) {
            let _ = self
                .outcome
                .answer
                .set(LookupResult::Failed(Arc::new(error)));
        }
        // Dropped after the error is stored, so that every waiter finds the error.
        drop(end);
    }

    /// Returns the error for a lookup that has no answer after `limit`.
    fn timeout_error(&self, limit: Duration) -> Error {
        let blocked_by = {
            let state = self.lookups.state();
            let started = state.lookups.get(&self.id).map(|lookup| lookup.started);
            (started == Some(None) && !state.held_permits.is_empty())
                .then(|| state.abandoned_count())
        };
        let host = &*self.name.0;
        match blocked_by {
            Some(abandoned) => lookup_error(host).with_context(format!(
                "{host}: no lookup can start until one of {abandoned} abandoned lookups ends"
            )),
            None => Error::timeout(Phase::Connect)
                .with_context(format!("no address for {host} in {limit:?}")),
        }
    }
}

impl State {
    fn abandoned_count(&self) -> usize {
        self.abandoned + self.held_permits.len()
    }
}

/// Dropping the last waiter abandons the lookup.
impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.lookups.state();
        let Some(lookup) = state.lookups.get_mut(&self.id) else {
            return;
        };
        lookup.waiting -= 1;
        if lookup.waiting > 0 {
            return;
        }
        let (started, mut permit) = (lookup.started.is_some(), lookup.permit.take());
        state.remove_joinable(&self.name, self.id);
        if !started {
            state.lookups.remove(&self.id);
        } else if state.abandoned < MAX_ABANDONED {
            state.abandoned += 1;
        } else {
            state.held_permits.extend(permit.take());
        }
        // Dropped outside the lock, because dropping the permit wakes other waiters.
        drop(state);
        drop(permit);
    }
}

/// A guard for a lookup that was started. Dropping the guard ends the lookup, with or without an
/// answer.
struct LookupGuard {
    lookups: Arc<SharedLookups>,
    name: HostAndPort,
    id: u64,
    outcome: Arc<Outcome>,
    // Dropped last, after the state is updated.
    _end: Sender<Infallible>,
}

impl LookupGuard {
    fn run_resolver(self) {
        // All waiters may have been dropped while the lookup waited for its thread.
        let has_waiters = {
            let state = self.lookups.state();
            let lookup = state.lookups.get(&self.id);
            lookup.is_some_and(|lookup| lookup.waiting > 0)
        };
        if has_waiters {
            let answer = self.lookups.run_resolver(&self.name);
            let _ = self.outcome.answer.set(answer);
        }
    }
}

impl Drop for LookupGuard {
    fn drop(&mut self) {
        let mut state = self.lookups.state();
        state.remove_joinable(&self.name, self.id);
        let lookup = state.lookups.remove(&self.id);
        let mut permit = lookup.and_then(|lookup| lookup.permit);
        if permit.is_none() {
            // The lookup was abandoned. After its end, one more abandoned lookup may run without a
            // permit, so one of the held permits is released.
            permit = state.held_permits.pop();
            if permit.is_none() {
                state.abandoned -= 1;
            }
        }
        // Dropped outside the lock, because dropping the permit wakes other waiters.
        drop(state);
        drop(permit);
    }
}

/// Blocks this thread until the future completes. Returns `None` at the time `until`, or if `cancel`
/// is cancelled.
fn block_until<F: Future>(
    mut future: Pin<&mut F>,
    until: Option<Instant>,
    cancel: &Cancel,
) -> Option<F::Output> {
    let unpark = Arc::new(Unpark(thread::current()));
    let waker = Waker::from(unpark.clone());
    let mut cx = Context::from_waker(&waker);
    let _guard = cancel.on_cancel(move || unpark.wake());
    loop {
        if cancel.is_cancelled() {
            return None;
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(Duration::ZERO) => return None,
            Some(remaining) => thread::park_timeout(remaining),
        }
    }
}

/// A waker that unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn lookup_error(host: &str) -> Error {
    Error::new(ErrorKind::Resolve).with_context(host.to_owned())
}

fn no_address_error(host: &str) -> Error {
    Error::new(ErrorKind::Resolve).with_context(format!("{host} has no address"))
}
