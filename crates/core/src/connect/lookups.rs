//! Look-ups under way: one for each name, few at once, and none that nobody waits for in the way
//! of the others.
//!
//! Whoever asks for a name joins its look-up. Who finds none puts one up, and whichever of those
//! that wait for it first gets a permit starts it, so that one who leaves leaves nothing undone.
//! A look-up that nobody waits for any more is given up: nothing ends a call of the system's, so it
//! runs on, but no longer on its permit, up to a number of such calls.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_lock::{Semaphore, SemaphoreGuardArc};
use futures_util::future::{Either, select};

use crate::backend::cancel::Cancel;
use crate::backend::task::Panic;
use crate::connect::resolve::Resolve;
use crate::error::{Error, ErrorKind, Phase};

/// How many look-ups run at once that somebody waits for: enough to be no bottleneck, few enough
/// to leave the runtime's blocking pool to others.
const AT_ONCE: usize = 32;

/// How many may run beside them that nobody waits for. Those beyond keep their permits.
const GIVEN_UP: usize = 64;

/// The look-ups of one client.
pub(crate) struct SharedLookups {
    resolve: Arc<dyn Resolve>,
    limit: Option<Duration>,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    flights: HashMap<u64, Flight>,
    /// Those that can be joined.
    joinable: HashMap<Name, u64>,
    /// How many were given up, run on, and hold no permit.
    given_up: usize,
    /// The permits of those beyond.
    kept: Vec<SemaphoreGuardArc>,
}

type Name = (Arc<str>, u16);

/// A look-up that has not ended.
struct Flight {
    waiting: usize,
    started: Option<Instant>,
    /// While it runs and somebody waits for it.
    permit: Option<SemaphoreGuardArc>,
    /// Goes with the work, once it is started.
    end: Option<Sender<Never>>,
    outcome: Arc<Outcome>,
}

struct Outcome {
    answer: OnceLock<Answer>,
    /// Closes when there is an answer, or when there will be none.
    ended: Receiver<Never>,
}

enum Never {}

enum Answer {
    Found(Vec<SocketAddr>),
    Failed(Arc<io::Error>),
    /// The first who looks goes on with the panic; the others are told what it said.
    Panicked(Mutex<Option<Panic>>, String),
}

/// Work for a thread that may block.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

impl SharedLookups {
    pub(crate) fn new(resolve: Arc<dyn Resolve>, limit: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            resolve,
            limit,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            state: Mutex::default(),
        })
    }

    /// The addresses of a name. `now` and `sleep` are the caller's clock, and `spawn` runs the
    /// look-up where it may block.
    pub(crate) async fn ask<S: Future<Output = ()>>(
        self: &Arc<Self>,
        (host, port): (&str, u16),
        now: impl Fn() -> Instant,
        sleep: impl FnOnce(Duration) -> S,
        spawn: impl FnOnce(Work) -> io::Result<()>,
    ) -> Result<Vec<SocketAddr>, Error> {
        let waiter = self.join(host, port, now());
        let answer = waiter.answer(&now, spawn);
        let Some(left) = waiter.left else {
            return answer.await;
        };
        match select(pin!(answer), pin!(sleep(left))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(waiter.late(left)),
        }
    }

    /// The same for a thread that waits, no longer than `timeout` or until `cancel` fires.
    pub(crate) fn ask_blocking(
        self: &Arc<Self>,
        (host, port): (&str, u16),
        timeout: Option<Duration>,
        cancel: &Cancel,
        spawn: impl FnOnce(Work) -> io::Result<()>,
    ) -> Result<Vec<SocketAddr>, Error> {
        let start = Instant::now();
        let waiter = self.join(host, port, start);
        let answer = pin!(waiter.answer(&Instant::now, spawn));
        let limit = [waiter.left, timeout].into_iter().flatten().min();
        let until = limit.and_then(|limit| start.checked_add(limit));
        match (wait(answer, until, cancel), limit) {
            (Some(answer), _) => answer,
            (None, Some(limit)) if !cancel.is_cancelled() => Err(waiter.late(limit)),
            (None, _) => Err(Error::new(ErrorKind::Cancelled)),
        }
    }

    fn join(self: &Arc<Self>, host: &str, port: u16, now: Instant) -> Waiter {
        let mut state = self.state();
        let state = &mut *state;
        let name = (Arc::from(host), port);
        let joined = state.joinable.get(&name).and_then(|id| {
            let flight = state.flights.get_mut(id)?;
            let left = self.left(flight, now);
            // One whose time has passed is about to be given up by all who wait for it.
            (left != Some(Duration::ZERO)).then_some((*id, flight, left))
        });
        let (id, flight, left) = match joined {
            Some(joined) => joined,
            None => {
                let id = state.next;
                state.next += 1;
                state.joinable.insert(name.clone(), id);
                let flight = state.flights.entry(id).or_insert_with(Flight::new);
                (id, flight, self.limit)
            }
        };
        flight.waiting += 1;
        let outcome = flight.outcome.clone();
        Waiter {
            lookups: self.clone(),
            name,
            id,
            outcome,
            left,
        }
    }

    /// How long it is waited for by one who joins it now.
    fn left(&self, flight: &Flight, now: Instant) -> Option<Duration> {
        let limit = self.limit?;
        let runs = flight.started.map(|at| now.saturating_duration_since(at));
        Some(limit.saturating_sub(runs.unwrap_or_default()))
    }

    fn look_up(&self, (host, port): &Name) -> Answer {
        match catch_unwind(AssertUnwindSafe(|| self.resolve.resolve(host, *port))) {
            Ok(Ok(addresses)) => Answer::Found(addresses),
            Ok(Err(error)) => Answer::Failed(Arc::new(error)),
            Err(payload) => {
                let panic = Panic::new(payload);
                let message = panic.message().to_owned();
                Answer::Panicked(Mutex::new(Some(panic)), message)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code of others runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn new() -> Self {
        let (end, ended) = async_channel::bounded(1);
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
    /// Lets nobody join it any more.
    fn seal(&mut self, name: &Name, id: u64) {
        if self.joinable.get(name) == Some(&id) {
            self.joinable.remove(name);
        }
    }
}

/// One who waits for a look-up.
struct Waiter {
    lookups: Arc<SharedLookups>,
    name: Name,
    id: u64,
    outcome: Arc<Outcome>,
    left: Option<Duration>,
}

impl Waiter {
    async fn answer(
        &self,
        now: impl Fn() -> Instant,
        spawn: impl FnOnce(Work) -> io::Result<()>,
    ) -> Result<Vec<SocketAddr>, Error> {
        // A channel that carries nothing: an error is its end.
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
            Some(Answer::Found(addresses)) if addresses.is_empty() => Err(no_address(host)),
            Some(Answer::Found(addresses)) => Ok(addresses.clone()),
            Some(Answer::Failed(error)) => Err(failed(host).with_shared_source(error.clone())),
            Some(Answer::Panicked(panic, message)) => {
                let panic = panic.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(panic) = panic {
                    panic.resume();
                }
                Err(failed(host).with_source(format!("the resolver panicked: {message}")))
            }
            None => Err(Error::new(ErrorKind::Cancelled)
                .with_context("the runtime ended during a name look-up")),
        }
    }

    fn is_started(&self) -> bool {
        let state = self.lookups.state();
        let flight = state.flights.get(&self.id);
        flight.is_none_or(|flight| flight.started.is_some())
    }

    /// Starts the look-up, unless another one has who waits for it.
    fn start(
        &self,
        permit: SemaphoreGuardArc,
        now: Instant,
        spawn: impl FnOnce(Work) -> io::Result<()>,
    ) {
        let end = {
            let mut state = self.lookups.state();
            let Some(flight) = state.flights.get_mut(&self.id) else {
                return;
            };
            let Some(end) = flight.end.take() else {
                return;
            };
            flight.started = Some(now);
            flight.permit = Some(permit);
            end
        };
        let run = Run {
            lookups: self.lookups.clone(),
            name: self.name.clone(),
            id: self.id,
            outcome: self.outcome.clone(),
            _end: end.clone(),
        };
        if let Err(error) = spawn(Box::new(move || run.look_up())) {
            let _ = self.outcome.answer.set(Answer::Failed(Arc::new(error)));
        }
        // Only now, so that nobody looks for an answer before the error is there.
        drop(end);
    }

    /// Why there is no answer in this time.
    fn late(&self, limit: Duration) -> Error {
        let stuck = {
            let state = self.lookups.state();
            let started = state.flights.get(&self.id).map(|flight| flight.started);
            (started == Some(None) && !state.kept.is_empty()).then(|| state.given_up())
        };
        let host = &*self.name.0;
        match stuck {
            Some(given_up) => failed(host).with_context(format!(
                "{host}: no look-up can begin before one of the {given_up} ends that were given up"
            )),
            None => Error::timeout(Phase::Connect)
                .with_context(format!("no address for {host} in {limit:?}")),
        }
    }
}

impl State {
    fn given_up(&self) -> usize {
        self.given_up + self.kept.len()
    }
}

/// Who leaves last gives the look-up up.
impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.lookups.state();
        let Some(flight) = state.flights.get_mut(&self.id) else {
            return;
        };
        flight.waiting -= 1;
        if flight.waiting > 0 {
            return;
        }
        let (started, mut permit) = (flight.started.is_some(), flight.permit.take());
        state.seal(&self.name, self.id);
        if !started {
            state.flights.remove(&self.id);
        } else if state.given_up < GIVEN_UP {
            state.given_up += 1;
        } else {
            state.kept.extend(permit.take());
        }
        // Not under the lock: others are woken with it.
        drop(state);
        drop(permit);
    }
}

/// A look-up that was started. Its end is when this is dropped, done or not.
struct Run {
    lookups: Arc<SharedLookups>,
    name: Name,
    id: u64,
    outcome: Arc<Outcome>,
    // Dropped after the rest is settled.
    _end: Sender<Never>,
}

impl Run {
    fn look_up(self) {
        // It may have waited for its thread for longer than anybody for its answer.
        let wanted = {
            let state = self.lookups.state();
            let flight = state.flights.get(&self.id);
            flight.is_some_and(|flight| flight.waiting > 0)
        };
        if wanted {
            let answer = self.lookups.look_up(&self.name);
            let _ = self.outcome.answer.set(answer);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut state = self.lookups.state();
        state.seal(&self.name, self.id);
        let flight = state.flights.remove(&self.id);
        let mut permit = flight.and_then(|flight| flight.permit);
        if permit.is_none() {
            // It was given up. Another such one takes its place, if one keeps its permit.
            permit = state.kept.pop();
            if permit.is_none() {
                state.given_up -= 1;
            }
        }
        // Not under the lock: others are woken with it.
        drop(state);
        drop(permit);
    }
}

/// Waits in this thread for a future; `None` when the time has come or `cancel` has fired.
fn wait<F: Future>(
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
            Some(left) => thread::park_timeout(left),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn failed(host: &str) -> Error {
    Error::new(ErrorKind::Resolve).with_context(host.to_owned())
}

fn no_address(host: &str) -> Error {
    Error::new(ErrorKind::Resolve).with_context(format!("{host} has no address"))
}
