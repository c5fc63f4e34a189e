//! The connection pool: idle connections, and the requests that wait for a connection.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::Either;
use inflight_core::bugs::{Bug, is_planted};
use inflight_core::{ClientOptions, Error, Runtime, Task};

use crate::descriptors;
use crate::key::Key;
use crate::sync::{Mutex, MutexGuard, oneshot};

/// The longest time between two checks of the idle connections.
const MAX_SWEEP_INTERVAL: Duration = Duration::from_secs(15);

/// The shortest time between two checks of the idle connections.
const MIN_SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// How many idle connections the background task checks before it yields to other tasks.
const CHECKED_AT_ONCE: usize = 100;

/// The longest idle time after which a connection is reused without a check. The check would cost a system
/// call for each request.
const MAX_UNCHECKED: Duration = Duration::from_millis(1);

/// A connection that a client keeps in a [`Pool`].
pub trait Pooled: Send + Sized + 'static {
    /// Returns another handle to the connection if several requests may use the connection at the same time.
    ///
    /// The pool calls this method while it holds its lock. The method must do no more than increment a
    /// counter.
    fn share(&self) -> Option<Self>;

    /// Returns `true` if a shared connection has room for one more request. If not, the request opens
    /// another connection. Default `true`.
    ///
    /// The pool calls this method while it holds its lock.
    fn has_room(&self) -> bool {
        true
    }

    /// Returns `true` if a request may be sent on the connection. Never waits.
    ///
    /// If `thoroughly` is `true`, the method also queries the system. For a shared connection, the pool
    /// calls the method with `false` while it holds its lock.
    fn is_open(&mut self, thoroughly: bool) -> bool;

    /// Returns `true` if a request is using a shared connection now.
    ///
    /// The pool calls this method while it holds its lock.
    fn is_in_use(&self) -> bool;
}

/// The pool of a client's connections, by [`Key`]. The pool hands out the most recently used connection
/// first.
///
/// A request that finds no connection opens one. If another request returns its connection first, the waiting
/// request uses that connection. A shared connection serves several requests at the same time, as long as it
/// has room. Waiting requests get connections in the order of their arrival.
///
/// The options limit the idle connections of each key and of the whole pool. At a limit, the pool closes
/// the least recently used connection. A background task closes connections that have exceeded the idle
/// timeout or that the peer has closed.
///
/// Clones share the same connections.
pub struct Pool<C: Pooled>(Arc<Inner<C>>);

struct Inner<C: Pooled> {
    runtime: Arc<dyn Runtime>,
    max_per_key: usize,
    max: usize,
    timeout: Duration,
    state: Mutex<State<C>>,
}

struct State<C> {
    /// The id that was assigned last. Idle connections, waiting requests and tasks have ids.
    last_id: u64,
    /// The number of idle connections.
    idle: usize,
    hosts: HashMap<Key, HostConnections<C>>,
    /// Tasks that are cancelled when the pool is dropped, by id. `None` until the task's handle is stored.
    tasks: HashMap<u64, Option<Task<()>>>,
    /// The task that closes idle connections. `None` while the pool has no connections.
    sweeper: Option<Task<()>>,
}

/// An idle connection.
struct Idle<C> {
    id: u64,
    connection: C,
    /// When the connection became idle.
    since: Instant,
}

/// The connections and the waiting requests of one key.
struct HostConnections<C> {
    /// Idle connections. The connection that was returned last is at the end.
    idle: VecDeque<Idle<C>>,
    /// Connections that several requests may use at the same time, and when each was last handed out.
    shared: Vec<(C, Instant)>,
    /// Waiting requests, in the order of their arrival.
    waiting: VecDeque<Waiter<C>>,
    /// Whether the most recent connection to this host could be shared. If so, one connection is enough for
    /// all waiting requests.
    is_shared: bool,
    /// Whether a request is opening a connection that will be shared.
    is_connecting: bool,
    /// How many background tasks are finishing a connect whose request got another connection.
    background_connects: usize,
}

/// A waiting request.
struct Waiter<C> {
    id: u64,
    sender: oneshot::Sender<Delivery<C>>,
    waits_for: ConnectionSource,
}

/// The message to a waiting request.
enum Delivery<C> {
    Connection(C),
    /// The new connection has no room for the request, so the request calls `enqueue` again.
    TryAgain,
}

/// What opens the connection that a request waits for. If another request returns its connection first,
/// the waiting request gets that connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConnectionSource {
    /// The request itself.
    Itself,
    /// The request that opens a shared connection for all waiting requests.
    Leader,
    /// A task that finishes the connect of a request that got another connection.
    Task,
}

/// The properties that a request requires of its connection.
#[derive(Debug, Clone, Copy)]
pub struct Requirements {
    /// Whether the request may be resent if its connection has ended. If not, the pool queries the system
    /// before it hands out a pooled connection, to check that the connection is open.
    pub can_resend: bool,
    /// Whether the connection must be new: see [`NewConnection`](inflight_core::NewConnection).
    pub must_be_new: bool,
    /// Whether the client expects that a new connection will be shared.
    pub will_share: bool,
}

/// A connection that the pool has handed out to a request.
pub struct Checkout<C: Pooled> {
    /// The connection.
    pub connection: C,
    /// Whether the connection comes from the pool. `false` if the request opened it.
    pub is_reused: bool,
}

impl<C: Pooled> Pool<C> {
    /// Returns an empty pool with the limits of the options. `runtime` runs the task that closes idle
    /// connections.
    pub fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Self {
        Self(Arc::new(Inner {
            runtime,
            max_per_key: options.max_idle_per_host,
            max: options
                .max_idle
                .unwrap_or_else(descriptors::default_max_idle),
            timeout: options.idle_timeout,
            state: Mutex::new(State {
                last_id: 0,
                idle: 0,
                hosts: HashMap::new(),
                tasks: HashMap::new(),
                sweeper: None,
            }),
        }))
    }

    /// Returns a pooled connection, a new one from `connect`, or one that another request returns while
    /// `connect` runs.
    ///
    /// If another request returns its connection first, a background task finishes `connect`, and the pool
    /// keeps the new connection. Without this task, the pool would have too few connections for concurrent
    /// requests to a server that answers faster than it accepts connections.
    ///
    /// If no file descriptor is left, the pool closes the least recently used connection of any key and
    /// connects again.
    ///
    /// # Errors
    ///
    /// The errors of `connect`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after the pool has assigned a connection to it, the connection goes back
    /// into the pool.
    pub async fn checkout<F>(
        &self,
        key: &Key,
        requirements: Requirements,
        connect: impl Fn() -> F,
    ) -> Result<Checkout<C>, Error>
    where
        F: Future<Output = Result<C, Error>> + Send + 'static,
    {
        // The pool detects when a shared connection ends, so an open shared connection counts as new.
        if requirements.must_be_new && !self.0.is_shared(key) {
            return Box::pin(self.connect_new(key, connect)).await;
        }
        match self.0.take(key, requirements) {
            Some(connection) => Ok(Checkout {
                connection,
                is_reused: true,
            }),
            // Boxed, because this case is rare and would make the future of every request larger.
            None => Box::pin(self.connect_or_wait(key, requirements, connect)).await,
        }
    }

    async fn connect_new<F>(&self, key: &Key, connect: impl Fn() -> F) -> Result<Checkout<C>, Error>
    where
        F: Future<Output = Result<C, Error>> + Send + 'static,
    {
        loop {
            match connect().await {
                Ok(connection) => {
                    return Ok(Checkout {
                        connection: self.0.add_new(key, connection, true),
                        is_reused: false,
                    });
                }
                Err(error) if descriptors::are_exhausted(&error) && self.0.evict_oldest() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect_or_wait<F>(
        &self,
        key: &Key,
        requirements: Requirements,
        connect: impl Fn() -> F,
    ) -> Result<Checkout<C>, Error>
    where
        F: Future<Output = Result<C, Error>> + Send + 'static,
    {
        let reused = |connection| Checkout {
            connection,
            is_reused: true,
        };
        // `false` after the request or the task that this request waited for has failed to connect. This
        // request then opens its own connection.
        let mut may_wait = true;
        loop {
            let (waiting, leader) = match self.0.enqueue(key, requirements, may_wait) {
                NextStep::Reuse(connection) => match self.0.if_open(connection, true) {
                    Some(connection) => return Ok(reused(connection)),
                    None => continue,
                },
                NextStep::Connect(waiting, leader) => (waiting, leader),
                NextStep::Wait(waiting) => {
                    let delivery = waiting.await;
                    may_wait = delivery.is_some();
                    match self.0.open_delivery(delivery, requirements) {
                        Some(connection) => return Ok(reused(connection)),
                        None => continue,
                    }
                }
            };
            let mut connecting = Box::pin(connect());
            let mut waiting = Some(waiting);
            let mut has_begun = false;
            let first = poll_fn(|cx| {
                if let Some(waiter) = &mut waiting
                    && let Poll::Ready(delivery) = Pin::new(waiter).poll(cx)
                {
                    waiting = None;
                    if let Some(connection) = self.0.open_delivery(delivery, requirements) {
                        return Poll::Ready(Either::Left(connection));
                    }
                }
                has_begun = true;
                connecting.as_mut().poll(cx).map(Either::Right)
            });
            let connected = match first.await {
                Either::Left(connection) => {
                    if has_begun && connection.share().is_none() {
                        self.0.finish_in_background(key.clone(), connecting);
                    }
                    return Ok(reused(connection));
                }
                Either::Right(connected) => connected,
            };
            // Leaves the queue first, so that `add_new` does not deliver the connection to its own request.
            drop(waiting);
            match connected {
                Ok(connection) => {
                    let connection = self.0.add_new(key, connection, false);
                    // Set after `add_new`, so that waiting requests find the connection when they retry.
                    if let Some(mut leader) = leader {
                        leader.has_connected = true;
                    }
                    return Ok(Checkout {
                        connection,
                        is_reused: false,
                    });
                }
                Err(error) if descriptors::are_exhausted(&error) && self.0.evict_oldest() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns a connection to the pool after a successful request. If requests wait for this key, the first
    /// one gets the connection.
    ///
    /// Do not return the connection of a request that failed, was dropped or panicked. Dropping the
    /// connection closes it.
    pub fn put(&self, key: Key, connection: C) {
        Inner::put(&self.0, key, connection);
    }

    /// Returns the runtime of the pool's tasks.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.0.runtime
    }

    /// Spawns a task that is cancelled when the pool is dropped. The task must not hold a clone of the
    /// pool. It may hold a `WeakPool`.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    /// Returns a handle that does not keep the pool alive.
    pub fn downgrade(&self) -> WeakPool<C> {
        WeakPool(Arc::downgrade(&self.0))
    }

    /// Returns the number of idle connections.
    pub fn idle(&self) -> usize {
        self.0.state().idle
    }
}

impl<C: Pooled> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A handle to a [`Pool`] that does not keep the pool alive.
pub struct WeakPool<C: Pooled>(Weak<Inner<C>>);

impl<C: Pooled> WeakPool<C> {
    /// Returns the connection to the pool, like [`Pool::put`]. Closes the connection if the pool was dropped.
    pub fn put(&self, key: Key, connection: C) {
        if let Some(pool) = self.0.upgrade() {
            pool.put(key, connection);
        }
    }
}

impl<C: Pooled> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, hosts) = {
            let state = self.0.state();
            (state.idle, state.hosts.len())
        };
        f.debug_struct("Pool")
            .field("idle", &idle)
            .field("hosts", &hosts)
            .finish()
    }
}

/// The next step of a request that has found no connection.
enum NextStep<C: Pooled> {
    /// Use a connection that another request has returned.
    Reuse(C),
    /// Open a connection, or use a connection that another request returns first. The `LeaderGuard` is
    /// present if other requests can wait for the new connection.
    Connect(WaitForConnection<C>, Option<LeaderGuard<C>>),
    /// Wait for a connection that another request or a task opens.
    Wait(WaitForConnection<C>),
}

impl<C: Pooled> Inner<C> {
    // Callers drop connections and wake tasks after they have released the lock.
    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if the most recent connection to the host could be shared.
    fn is_shared(&self, key: &Key) -> bool {
        self.state()
            .hosts
            .get(key)
            .is_some_and(|host| host.is_shared)
    }

    /// Returns the connection if it is open.
    fn if_open(&self, mut connection: C, thoroughly: bool) -> Option<C> {
        let is_open = is_planted(Bug::LeftoverBytes) || connection.is_open(thoroughly);
        is_open.then_some(connection)
    }

    /// Returns the connection of a delivery, if there is one and it is open.
    fn open_delivery(
        &self,
        delivery: Option<Delivery<C>>,
        requirements: Requirements,
    ) -> Option<C> {
        match delivery? {
            Delivery::Connection(connection) => self.if_open(connection, !requirements.can_resend),
            Delivery::TryAgain => None,
        }
    }

    /// Takes a pooled connection that is open.
    fn take(&self, key: &Key, requirements: Requirements) -> Option<C> {
        loop {
            let now = self.runtime.now();
            let taken = self.state().take(key, now, self.timeout);
            let (connection, idle) = match taken {
                TakeResult::Taken(connection, idle) => (connection, idle),
                TakeResult::Closed(closed) => {
                    drop(closed);
                    continue;
                }
                TakeResult::Empty => return None,
            };
            let thoroughly = idle > MAX_UNCHECKED || !requirements.can_resend;
            if let Some(connection) = self.if_open(connection, thoroughly) {
                return Some(connection);
            }
        }
    }

    /// Adds a request to the queue, unless a connection is available now.
    fn enqueue(
        self: &Arc<Self>,
        key: &Key,
        requirements: Requirements,
        may_wait: bool,
    ) -> NextStep<C> {
        let now = self.runtime.now();
        let mut state = self.state();
        loop {
            match state.take(key, now, self.timeout) {
                TakeResult::Taken(connection, _) => return NextStep::Reuse(connection),
                TakeResult::Closed(closed) => {
                    drop(state);
                    drop(closed);
                    state = self.state();
                }
                TakeResult::Empty => break,
            }
        }
        let id = state.next_id();
        let host = state.hosts.entry(key.clone()).or_default();
        let waits_for = match may_wait {
            // Background tasks are opening more connections than there are waiting requests.
            true if host.background_connects > host.waiting.len() => ConnectionSource::Task,
            true if host.is_connecting => ConnectionSource::Leader,
            _ => ConnectionSource::Itself,
        };
        let (sender, receiver) = oneshot::channel();
        host.waiting.push_back(Waiter {
            id,
            sender,
            waits_for,
        });
        let waiting = WaitForConnection {
            pool: Some(self.clone()),
            key: key.clone(),
            id,
            receiver,
        };
        if waits_for != ConnectionSource::Itself {
            return NextStep::Wait(waiting);
        }
        let leader = (requirements.will_share || host.is_shared)
            && !mem::replace(&mut host.is_connecting, true);
        let leader = leader.then(|| LeaderGuard {
            pool: self.clone(),
            key: key.clone(),
            has_connected: false,
        });
        NextStep::Connect(waiting, leader)
    }

    /// Adds a new connection. If it can be shared, the waiting requests get it while it has room. If the
    /// host already has a shared connection with room, closes the new connection and returns a handle to the
    /// existing one, unless `must_be_new` is `true`.
    fn add_new(self: &Arc<Self>, key: &Key, connection: C, must_be_new: bool) -> C {
        let Some(mut handle) = connection.share() else {
            if let Some(host) = self.state().hosts.get_mut(key) {
                host.is_shared = false;
            }
            return connection;
        };
        let now = self.runtime.now();
        let (waiting, spare) = {
            let mut state = self.state();
            let host = state.hosts.entry(key.clone()).or_default();
            host.is_shared = true;
            let others = host.shared.iter_mut();
            let other = others
                .filter(|(other, _)| !must_be_new && other.has_room())
                .find_map(|(other, _)| other.is_open(false).then(|| other.share())?);
            let mut spare = vec![Some(connection)];
            match other {
                Some(other) => spare.push(Some(mem::replace(&mut handle, other))),
                None => host
                    .shared
                    .extend(spare.pop().flatten().map(|connection| (connection, now))),
            }
            let waiting = mem::take(&mut host.waiting);
            if state.len() > self.max {
                spare.push(state.evict_oldest());
            }
            (waiting, spare)
        };
        drop(spare);
        for waiter in waiting {
            let connection = handle.has_room().then(|| handle.share()).flatten();
            let delivery = connection.map_or(Delivery::TryAgain, Delivery::Connection);
            let _ = waiter.sender.send(delivery);
        }
        self.start_sweeper();
        handle
    }

    fn put(self: &Arc<Self>, key: Key, connection: C) {
        let (mut key, mut connection) = (key, connection);
        loop {
            let since = self.runtime.now();
            let put = self
                .state()
                .put(key, connection, since, self.max_per_key, self.max);
            match put {
                PutResult::Stored {
                    dropped,
                    has_sweeper,
                } => {
                    drop(dropped);
                    if !has_sweeper {
                        self.start_sweeper();
                    }
                    return;
                }
                PutResult::Deliver(sender, returned, returned_key) => {
                    match sender.send(Delivery::Connection(returned)) {
                        // The waiting request was dropped.
                        Err(Delivery::Connection(returned)) => {
                            (key, connection) = (returned_key, returned);
                        }
                        Err(Delivery::TryAgain) | Ok(()) => return,
                    }
                }
            }
        }
    }

    /// Spawns a task that finishes a connect whose request got another connection. The pool keeps the new
    /// connection.
    fn finish_in_background<F>(self: &Arc<Self>, key: Key, connecting: Pin<Box<F>>)
    where
        F: Future<Output = Result<C, Error>> + Send + 'static,
    {
        let host = self
            .state()
            .hosts
            .get_mut(&key)
            .map(|host| host.background_connects += 1);
        if host.is_none() {
            return;
        }
        let guard = BackgroundConnectGuard {
            pool: Arc::downgrade(self),
            key: key.clone(),
        };
        self.spawn(async move {
            let connected = connecting.await;
            if let (Ok(connection), Some(pool)) = (connected, guard.pool.upgrade()) {
                let connection = pool.add_new(&key, connection, false);
                if connection.share().is_none() {
                    pool.put(key, connection);
                }
            }
            drop(guard);
        });
    }

    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let id = {
            let mut state = self.state();
            let id = state.next_id();
            state.tasks.insert(id, None);
            id
        };
        let guard = TaskGuard {
            pool: Arc::downgrade(self),
            id,
        };
        let task = Task::spawn(&*self.runtime, async move {
            let _guard = guard;
            task.await;
        });
        // The task may have ended before its handle is stored.
        let ended = {
            let mut state = self.state();
            match state.tasks.get_mut(&id) {
                Some(handle) => handle.replace(task),
                None => Some(task),
            }
        };
        drop(ended);
    }

    /// Closes the least recently used connection. Returns `false` if there is none.
    fn evict_oldest(&self) -> bool {
        let evicted = self.state().evict_oldest();
        evicted.is_some()
    }

    /// Starts the task that closes idle connections, unless it is running.
    fn start_sweeper(self: &Arc<Self>) {
        let task = Task::spawn(&*self.runtime, sweep(Arc::downgrade(self)));
        let spare = {
            let mut state = self.state();
            match state.sweeper {
                None => state.sweeper.replace(task),
                Some(_) => Some(task),
            }
        };
        drop(spare);
    }

    /// Closes expired connections. Returns the keys and ids of the other idle connections.
    fn close_expired(&self) -> Vec<(Key, u64)> {
        let now = self.runtime.now();
        let is_expired = |since: Instant| now.saturating_duration_since(since) >= self.timeout;
        let mut expired = Vec::new();
        let mut left = Vec::new();
        let mut state = self.state();
        for (key, host) in &mut state.hosts {
            let count = host.idle.partition_point(|idle| is_expired(idle.since));
            expired.extend(host.idle.drain(..count).map(|idle| idle.connection));
            left.extend(host.idle.iter().map(|idle| (key.clone(), idle.id)));
            let unused = host.shared.extract_if(.., |(connection, used)| {
                is_expired(*used) && !connection.is_in_use() || !connection.is_open(false)
            });
            expired.extend(unused.map(|(connection, _)| connection));
        }
        state.idle = left.len();
        drop(state);
        drop(expired);
        left
    }

    /// Closes an idle connection that the peer has closed. The check runs outside the lock, so requests can
    /// take other connections at the same time.
    fn drop_if_peer_closed(&self, key: &Key, id: u64) {
        let taken = self.state().remove(key, id);
        if let Some(mut idle) = taken
            && idle.connection.is_open(true)
        {
            self.state().put_back(key, idle);
        }
    }
}

impl<C> Default for HostConnections<C> {
    fn default() -> Self {
        Self {
            idle: VecDeque::new(),
            shared: Vec::new(),
            waiting: VecDeque::new(),
            is_shared: false,
            is_connecting: false,
            background_connects: 0,
        }
    }
}

impl<C> HostConnections<C> {
    fn is_empty(&self) -> bool {
        self.idle.is_empty()
            && self.shared.is_empty()
            && self.waiting.is_empty()
            && !self.is_connecting
            && self.background_connects == 0
    }
}

impl<C: Pooled> State<C> {
    /// Takes a connection for a request.
    fn take(&mut self, key: &Key, now: Instant, timeout: Duration) -> TakeResult<C> {
        let Some(host) = self.hosts.get_mut(key) else {
            return TakeResult::Empty;
        };
        for at in (0..host.shared.len()).rev() {
            let (connection, used) = &mut host.shared[at];
            if !connection.is_open(false) {
                return TakeResult::Closed(host.shared.remove(at).0);
            }
            if connection.has_room()
                && let Some(connection) = connection.share()
            {
                *used = now;
                return TakeResult::Taken(connection, Duration::ZERO);
            }
        }
        let Some(idle) = host.idle.pop_back() else {
            return TakeResult::Empty;
        };
        self.idle -= 1;
        let time = now.saturating_duration_since(idle.since);
        match time < timeout {
            true => TakeResult::Taken(idle.connection, time),
            false => TakeResult::Closed(idle.connection),
        }
    }

    /// Returns the number of idle and shared connections.
    fn len(&self) -> usize {
        let shared = self.hosts.values().map(|host| host.shared.len());
        self.idle + shared.sum::<usize>()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Stores a connection, unless a request waits for a connection to the same host.
    fn put(
        &mut self,
        key: Key,
        connection: C,
        since: Instant,
        max_per_key: usize,
        max: usize,
    ) -> PutResult<C> {
        let id = self.next_id();
        let host = match self.hosts.get_mut(&key) {
            Some(host) => host,
            None => self.hosts.entry(key.clone()).or_default(),
        };
        if let Some(waiter) = host.waiting.pop_front() {
            return PutResult::Deliver(waiter.sender, connection, key);
        }
        if max_per_key == 0 || max == 0 {
            return PutResult::Stored {
                dropped: [Some(connection), None],
                has_sweeper: true,
            };
        }
        host.idle.push_back(Idle {
            id,
            connection,
            since,
        });
        let surplus = match host.idle.len() > max_per_key {
            true => host.idle.pop_front(),
            false => None,
        };
        self.idle += usize::from(surplus.is_none());
        let oldest = match self.idle > max {
            true => self.evict_oldest(),
            false => None,
        };
        PutResult::Stored {
            dropped: [surplus.map(|idle| idle.connection), oldest],
            has_sweeper: self.sweeper.is_some(),
        }
    }

    /// Removes the least recently used idle connection. If there is no idle connection, removes the least
    /// recently used shared connection that no request uses.
    fn evict_oldest(&mut self) -> Option<C> {
        self.evict_idle().or_else(|| self.evict_shared())
    }

    fn evict_idle(&mut self) -> Option<C> {
        // A search over all hosts is cheaper than an index: an eviction is rare, and each request would
        // have to update the index.
        let hosts = self.hosts.values_mut();
        let host = hosts
            .filter(|host| !host.idle.is_empty())
            .min_by_key(|host| host.idle.front().map(|idle| idle.id))?;
        let idle = host.idle.pop_front()?;
        self.idle -= 1;
        Some(idle.connection)
    }

    fn evict_shared(&mut self) -> Option<C> {
        let unused = self.hosts.values_mut().flat_map(|host| {
            let unused = host.shared.iter().enumerate();
            let unused = unused.filter(|(_, (connection, _))| !connection.is_in_use());
            let oldest = unused.min_by_key(|(_, (_, used))| *used);
            oldest
                .map(|(at, (_, used))| (*used, at))
                .map(|found| (found, host))
        });
        let ((_, at), host) = unused.min_by_key(|((used, _), _)| *used)?;
        Some(host.shared.remove(at).0)
    }

    /// Removes a request from the queue. Removes the host if it is then empty.
    fn remove_waiter(&mut self, key: &Key, id: u64) -> Option<oneshot::Sender<Delivery<C>>> {
        let host = self.hosts.get_mut(key)?;
        let at = host.waiting.binary_search_by_key(&id, |waiter| waiter.id);
        let waiter = host.waiting.remove(at.ok()?)?;
        self.remove_if_empty(key);
        Some(waiter.sender)
    }

    /// Removes the host if it has no connections and no requests, unless its connections can be shared.
    fn remove_if_empty(&mut self, key: &Key) {
        let host = self.hosts.get(key);
        if host.is_some_and(|host| host.is_empty() && !host.is_shared) {
            self.hosts.remove(key);
        }
    }

    /// Removes requests from the queue and returns them, if more requests wait for background connects than
    /// there are background connects.
    fn take_surplus_waiters(&mut self, key: &Key) -> Vec<Waiter<C>> {
        let Some(host) = self.hosts.get_mut(key) else {
            return Vec::new();
        };
        let waits = |waiter: &Waiter<C>| waiter.waits_for == ConnectionSource::Task;
        let count = host.waiting.iter().filter(|waiter| waits(waiter)).count();
        let mut surplus = count.saturating_sub(host.background_connects);
        let mut remaining = VecDeque::new();
        let mut removed = Vec::new();
        for waiter in mem::take(&mut host.waiting) {
            match surplus > 0 && waits(&waiter) {
                true => {
                    surplus -= 1;
                    removed.push(waiter);
                }
                false => remaining.push_back(waiter),
            }
        }
        host.waiting = remaining;
        removed
    }

    /// Removes the connection with this id, if it is still idle.
    fn remove(&mut self, key: &Key, id: u64) -> Option<Idle<C>> {
        let host = self.hosts.get_mut(key)?;
        let at = host.idle.binary_search_by_key(&id, |idle| idle.id);
        let idle = host.idle.remove(at.ok()?)?;
        self.idle -= 1;
        Some(idle)
    }

    /// Stores a connection again, with its previous id.
    fn put_back(&mut self, key: &Key, idle: Idle<C>) {
        let host = self.hosts.entry(key.clone()).or_default();
        let at = host.idle.partition_point(|other| other.id < idle.id);
        host.idle.insert(at, idle);
        self.idle += 1;
    }
}

/// The result of [`State::take`].
enum TakeResult<C> {
    /// A connection, and how long it was idle.
    Taken(C, Duration),
    /// A closed or expired connection. The caller drops it outside the lock and tries again.
    Closed(C),
    /// No connection.
    Empty,
}

/// The result of [`State::put`].
enum PutResult<C> {
    /// The connection is idle now, unless a limit forbids it. The caller drops the `dropped` connections
    /// outside the lock.
    Stored {
        dropped: [Option<C>; 2],
        has_sweeper: bool,
    },
    /// The caller sends the connection to a waiting request.
    Deliver(oneshot::Sender<Delivery<C>>, C, Key),
}

/// A request's entry in the queue. Resolves to the delivery, or to `None` if the leader or the task
/// failed to connect.
struct WaitForConnection<C: Pooled> {
    // `None` after the delivery.
    pool: Option<Arc<Inner<C>>>,
    key: Key,
    id: u64,
    receiver: oneshot::Receiver<Delivery<C>>,
}

impl<C: Pooled> Future for WaitForConnection<C> {
    type Output = Option<Delivery<C>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery<C>>> {
        let delivery = ready!(Pin::new(&mut self.receiver).poll(cx));
        self.pool = None;
        Poll::Ready(delivery.ok())
    }
}

impl<C: Pooled> Unpin for WaitForConnection<C> {}

impl<C: Pooled> Drop for WaitForConnection<C> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let waiter = pool.state().remove_waiter(&self.key, self.id);
        drop(waiter);
        self.receiver.close();
        // Returns a connection that was delivered and not used. A shared connection is still in the pool.
        if let Ok(Some(Delivery::Connection(connection))) = self.receiver.try_recv()
            && connection.share().is_none()
        {
            pool.put(self.key.clone(), connection);
        }
    }
}

/// A guard for the request that opens a shared connection for all waiting requests.
struct LeaderGuard<C: Pooled> {
    pool: Arc<Inner<C>>,
    key: Key,
    has_connected: bool,
}

impl<C: Pooled> Drop for LeaderGuard<C> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.pool.state();
            let Some(host) = state.hosts.get_mut(&self.key) else {
                return;
            };
            host.is_connecting = false;
            let waiting = mem::take(&mut host.waiting);
            state.remove_if_empty(&self.key);
            waiting
        };
        for waiter in waiting {
            // If the leader failed, each waiter is dropped and its request opens a connection.
            if self.has_connected {
                let _ = waiter.sender.send(Delivery::TryAgain);
            }
        }
    }
}

/// A guard for a task that finishes the connect of a request that got another connection.
struct BackgroundConnectGuard<C: Pooled> {
    pool: Weak<Inner<C>>,
    key: Key,
}

impl<C: Pooled> Drop for BackgroundConnectGuard<C> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        let surplus = {
            let mut state = pool.state();
            if let Some(host) = state.hosts.get_mut(&self.key) {
                host.background_connects = host.background_connects.saturating_sub(1);
            }
            let surplus = state.take_surplus_waiters(&self.key);
            state.remove_if_empty(&self.key);
            surplus
        };
        // Dropping the waiters makes their requests open connections.
        drop(surplus);
    }
}

/// A guard that removes a task from the pool's list when the task ends.
struct TaskGuard<C: Pooled> {
    pool: Weak<Inner<C>>,
    id: u64,
}

impl<C: Pooled> Drop for TaskGuard<C> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            let handle = pool.state().tasks.remove(&self.id);
            // Dropping the handle would cancel the task.
            if let Some(handle) = handle.flatten() {
                handle.detach();
            }
        }
    }
}

/// Closes idle connections that have expired or that the peer has closed, until the pool is empty.
async fn sweep<C: Pooled>(pool: Weak<Inner<C>>) {
    let pause = |pool: &Inner<C>| {
        let interval = pool.timeout.clamp(MIN_SWEEP_INTERVAL, MAX_SWEEP_INTERVAL);
        pool.runtime.sleep(interval)
    };
    while let Some(pause) = pool.upgrade().map(|pool| pause(&pool)) {
        pause.await;
        let Some(ids) = pool.upgrade().map(|pool| pool.close_expired()) else {
            return;
        };
        for ids in ids.chunks(CHECKED_AT_ONCE) {
            let Some(pool) = pool.upgrade() else { return };
            ids.iter()
                .for_each(|(key, id)| pool.drop_if_peer_closed(key, *id));
            drop(pool);
            yield_now().await;
        }
        let Some(pool) = pool.upgrade() else { return };
        let handle = {
            let mut state = pool.state();
            state.hosts.retain(|_, host| !host.is_empty());
            match state.hosts.is_empty() {
                // The next connection that the pool stores starts a new task.
                true => state.sweeper.take(),
                false => None,
            }
        };
        if let Some(handle) = handle {
            handle.detach();
            return;
        }
    }
}

/// Lets other tasks run.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
