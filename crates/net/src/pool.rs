//! Idle connections, and the requests that wait for one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use inflight_core::{ClientOptions, Error, Runtime, Task};

use crate::descriptors;
use crate::key::Key;

/// How often idle connections are looked at, at least.
const SWEEP: Duration = Duration::from_secs(15);

/// A connection that was idle for no longer than this is given out without asking the system
/// whether it is still open: the question would cost a system call for each request.
const FRESH: Duration = Duration::from_millis(1);

/// What a client keeps in a [`Pool`].
pub trait Pooled: Send + Sized + 'static {
    /// Another handle on the connection, if several requests may use it at once. The pool calls it
    /// under its lock, so it must do no more than count.
    fn share(&self) -> Option<Self>;

    /// Whether a request may be sent on the connection. It never waits. `thoroughly` asks the system
    /// too.
    fn is_open(&mut self, thoroughly: bool) -> bool;

    /// Whether a request uses a shared connection now. The pool calls it under its lock.
    fn is_in_use(&self) -> bool;
}

/// The connections of a client, by [`Key`]: the last one that was used is given out first.
///
/// A request that finds none waits for whichever comes first, a connection of its own or one that
/// is returned; those that wait are served in the order in which they came. Idle connections are
/// limited for each key and in all, and the one that was idle for the longest makes room. A task
/// closes those whose time is over or whose peer has closed them.
///
/// Clones are the same pool.
pub struct Pool<C: Pooled>(Arc<Inner<C>>);

struct Inner<C: Pooled> {
    runtime: Arc<dyn Runtime>,
    max_per_key: usize,
    max: usize,
    timeout: Duration,
    state: Mutex<State<C>>,
}

struct State<C> {
    /// The next number, of a connection that is returned or of a request that waits.
    next: u64,
    /// Those that are idle, the one that was returned first in front.
    idle: BTreeMap<u64, Idle<C>>,
    hosts: HashMap<Key, Host<C>>,
    /// Closes what nobody comes for, while there is anything.
    sweeper: Option<Task<()>>,
}

struct Idle<C> {
    key: Key,
    connection: C,
    since: Instant,
}

/// What there is for one key.
struct Host<C> {
    /// The numbers of its idle connections, the last one returned at the end.
    idle: VecDeque<u64>,
    /// Connections that any number of requests use, and when one was last given out.
    shared: Vec<(C, Instant)>,
    /// Requests that wait, by number, the one that came first in front.
    waiting: VecDeque<(u64, oneshot::Sender<C>)>,
    /// The server's last connection could be shared, so one is enough for all who wait.
    is_shared: bool,
    /// A connection that will be shared is being made.
    is_connecting: bool,
}

/// What a request wants of its connection.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// Whether the request may be sent again when its connection turns out to be dead. For one that
    /// may not, every kept connection is looked at first.
    pub is_idempotent: bool,
    /// Whether a new connection is going to be shared, as far as the client knows.
    pub will_share: bool,
}

/// A connection for one request, and the way back into the pool.
pub struct Checkout<C: Pooled> {
    /// The connection.
    pub connection: C,
    /// Whether it was in the pool before.
    pub is_reused: bool,
}

impl<C: Pooled> Pool<C> {
    /// An empty pool with the options' limits. `runtime` runs the task that closes idle
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
                next: 0,
                idle: BTreeMap::new(),
                hosts: HashMap::new(),
                sweeper: None,
            }),
        }))
    }

    /// A kept connection, or the one that `connect` makes, or one that is returned meanwhile.
    ///
    /// When no file descriptor is left, an idle connection is closed for the new one, whatever its
    /// key.
    ///
    /// # Errors
    ///
    /// Those of `connect`.
    ///
    /// # Cancel safety
    ///
    /// A connection that was handed to a request which is dropped before it has seen it goes back
    /// into the pool.
    pub async fn checkout<F>(
        &self,
        key: &Key,
        want: Want,
        connect: impl Fn() -> F,
    ) -> Result<Checkout<C>, Error>
    where
        F: Future<Output = Result<C, Error>>,
    {
        match self.0.take(key, want) {
            Some(connection) => Ok(Checkout {
                connection,
                is_reused: true,
            }),
            // Rare and large: in a box it makes no other request larger.
            None => Box::pin(self.connect_or_wait(key, want, connect)).await,
        }
    }

    async fn connect_or_wait<F>(
        &self,
        key: &Key,
        want: Want,
        connect: impl Fn() -> F,
    ) -> Result<Checkout<C>, Error>
    where
        F: Future<Output = Result<C, Error>>,
    {
        loop {
            let reused = |connection| Checkout {
                connection,
                is_reused: true,
            };
            let (waiting, leads) = match self.0.wait(key, want) {
                Turn::Kept(connection) => match self.0.opened(connection, true) {
                    Some(connection) => return Ok(reused(connection)),
                    None => continue,
                },
                Turn::Connect(waiting, leads) => (waiting, leads),
                Turn::Wait(waiting) => match waiting.await {
                    Some(connection) => return Ok(reused(connection)),
                    // Whoever was to make it has failed.
                    None => continue,
                },
            };
            let made = match select(waiting, pin!(connect())).await {
                Either::Left((Some(connection), _)) => return Ok(reused(connection)),
                Either::Left((None, connecting)) => connecting.await,
                Either::Right((made, _)) => made,
            };
            match made {
                Ok(connection) => {
                    let connection = self.0.made(key, connection);
                    // Only now, so that nobody who waits looks before the connection is there.
                    drop(leads);
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

    /// Takes a connection back after a request that went well. The next that waits for one with
    /// this key gets it.
    ///
    /// A connection whose request failed, was dropped or panicked is not returned, which closes it.
    pub fn put(&self, key: Key, connection: C) {
        Inner::put(&self.0, key, connection);
    }

    /// How many connections are idle.
    pub fn idle(&self) -> usize {
        self.0.state().idle.len()
    }
}

impl<C: Pooled> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Pooled> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, hosts) = {
            let state = self.0.state();
            (state.idle.len(), state.hosts.len())
        };
        f.debug_struct("Pool")
            .field("idle", &idle)
            .field("hosts", &hosts)
            .finish()
    }
}

/// What a request does that has found no connection.
enum Turn<C: Pooled> {
    /// One was returned meanwhile.
    Kept(C),
    /// It makes one, and takes one that is returned before. `Leads` if others wait for what it
    /// makes.
    Connect(Waiting<C>, Option<Leads<C>>),
    /// Another makes one for both.
    Wait(Waiting<C>),
}

impl<C: Pooled> Inner<C> {
    // No code of others runs under the lock: connections are dropped and tasks woken without it.
    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if it is open.
    fn opened(&self, mut connection: C, thoroughly: bool) -> Option<C> {
        connection.is_open(thoroughly).then_some(connection)
    }

    /// A kept connection that is open.
    fn take(&self, key: &Key, want: Want) -> Option<C> {
        loop {
            let now = self.runtime.now();
            let (connection, since) = self.state().take(key, now)?;
            let is_fresh = since.is_none_or(|since| now.saturating_duration_since(since) <= FRESH);
            let thoroughly = !(is_fresh && want.is_idempotent);
            let is_shared = since.is_none();
            if let Some(connection) = self.opened(connection, thoroughly) {
                return Some(connection);
            }
            if is_shared {
                self.forget_closed(key);
            }
        }
    }

    /// Drops shared connections that are closed.
    fn forget_closed(&self, key: &Key) {
        let shared = {
            let mut state = self.state();
            let host = state.hosts.get_mut(key);
            host.map(|host| mem::take(&mut host.shared))
        };
        let shared = shared.unwrap_or_default();
        let open = shared
            .into_iter()
            .filter_map(|(connection, used)| Some((self.opened(connection, false)?, used)));
        let open: Vec<_> = open.collect();
        if let Some(host) = self.state().hosts.get_mut(key) {
            host.shared.extend(open);
        }
    }

    /// Queues a request up for a connection.
    fn wait(self: &Arc<Self>, key: &Key, want: Want) -> Turn<C> {
        let now = self.runtime.now();
        let mut state = self.state();
        if let Some((connection, _)) = state.take(key, now) {
            return Turn::Kept(connection);
        }
        let number = state.number();
        let host = state.hosts.entry(key.clone()).or_default();
        let (sender, receiver) = oneshot::channel();
        host.waiting.push_back((number, sender));
        let waiting = Waiting {
            pool: Some(self.clone()),
            key: key.clone(),
            number,
            receiver,
        };
        if !(want.will_share || host.is_shared) {
            return Turn::Connect(waiting, None);
        }
        if mem::replace(&mut host.is_connecting, true) {
            return Turn::Wait(waiting);
        }
        let leads = Leads {
            pool: self.clone(),
            key: key.clone(),
        };
        Turn::Connect(waiting, Some(leads))
    }

    /// A connection was made: those that wait get it too, if it can be shared.
    fn made(self: &Arc<Self>, key: &Key, connection: C) -> C {
        let Some(own) = connection.share() else {
            if let Some(host) = self.state().hosts.get_mut(key) {
                host.is_shared = false;
            }
            return connection;
        };
        let waiting = {
            let now = self.runtime.now();
            let mut state = self.state();
            let host = state.hosts.entry(key.clone()).or_default();
            host.is_shared = true;
            host.shared.push((connection, now));
            mem::take(&mut host.waiting)
        };
        for (_, sender) in waiting {
            if let Some(connection) = own.share() {
                let _ = sender.send(connection);
            }
        }
        self.start_sweeper();
        own
    }

    fn put(self: &Arc<Self>, key: Key, connection: C) {
        let (mut key, mut connection) = (key, connection);
        loop {
            let since = self.runtime.now();
            let put = self
                .state()
                .put(key, connection, since, self.max_per_key, self.max);
            match put {
                Put::Kept { dropped, is_swept } => {
                    drop(dropped);
                    if !is_swept {
                        self.start_sweeper();
                    }
                    return;
                }
                Put::Serve(sender, back, own_key) => match sender.send(back) {
                    Ok(()) => return,
                    // Who has left does not take it.
                    Err(back) => (key, connection) = (own_key, back),
                },
            }
        }
    }

    /// Closes the connection that was idle for the longest. Whether there was one.
    fn evict_oldest(&self) -> bool {
        let evicted = self.state().evict_oldest();
        evicted.is_some()
    }

    /// Starts the task that closes idle connections, unless it runs.
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

    /// Closes what is over; whether anything is left.
    fn close_idle(&self) -> bool {
        let now = self.runtime.now();
        let is_over = |since: Instant| now.saturating_duration_since(since) >= self.timeout;
        let (over, numbers) = {
            let mut state = self.state();
            let mut over = Vec::new();
            while let Some(first) = state.idle.first_entry()
                && is_over(first.get().since)
            {
                over.extend(state.evict_oldest());
            }
            for host in state.hosts.values_mut() {
                let is_unused = |(connection, used): &mut (C, Instant)| {
                    is_over(*used) && !connection.is_in_use()
                };
                let unused = host.shared.extract_if(.., is_unused);
                over.extend(unused.map(|(connection, _)| connection));
            }
            (over, state.idle.keys().copied().collect::<Vec<_>>())
        };
        drop(over);
        // One by one, and asked without the lock: a request finds all the others meanwhile.
        for number in numbers {
            let taken = self.state().remove(number);
            if let Some(mut idle) = taken
                && idle.connection.is_open(true)
            {
                self.state().put_back(number, idle);
            }
        }
        let mut state = self.state();
        state.hosts.retain(|_, host| !host.is_empty());
        !state.hosts.is_empty()
    }
}

impl<C> Default for Host<C> {
    fn default() -> Self {
        Self {
            idle: VecDeque::new(),
            shared: Vec::new(),
            waiting: VecDeque::new(),
            is_shared: false,
            is_connecting: false,
        }
    }
}

impl<C> Host<C> {
    fn is_empty(&self) -> bool {
        self.idle.is_empty()
            && self.shared.is_empty()
            && self.waiting.is_empty()
            && !self.is_connecting
    }
}

impl<C: Pooled> State<C> {
    /// The connection for a request, and since when it was idle if it is the request's alone.
    fn take(&mut self, key: &Key, now: Instant) -> Option<(C, Option<Instant>)> {
        let host = self.hosts.get_mut(key)?;
        if let Some((connection, used)) = host.shared.last_mut()
            && let Some(connection) = connection.share()
        {
            *used = now;
            return Some((connection, None));
        }
        let number = host.idle.pop_back()?;
        let idle = self.idle.remove(&number)?;
        Some((idle.connection, Some(idle.since)))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Keeps a connection, unless a request waits for it.
    fn put(
        &mut self,
        key: Key,
        connection: C,
        since: Instant,
        max_per_key: usize,
        max: usize,
    ) -> Put<C> {
        let number = self.number();
        if !self.hosts.contains_key(&key) {
            self.hosts.insert(key.clone(), Host::default());
        }
        let mut surplus = None;
        if let Some(host) = self.hosts.get_mut(&key) {
            if let Some((_, sender)) = host.waiting.pop_front() {
                return Put::Serve(sender, connection, key);
            }
            host.idle.push_back(number);
            if host.idle.len() > max_per_key {
                surplus = host.idle.pop_front();
            }
        }
        let idle = Idle {
            key,
            connection,
            since,
        };
        self.idle.insert(number, idle);
        let surplus = surplus.and_then(|number| self.idle.remove(&number));
        let oldest = match self.idle.len() > max {
            true => self.evict_oldest(),
            false => None,
        };
        Put::Kept {
            dropped: [surplus.map(|idle| idle.connection), oldest],
            is_swept: self.sweeper.is_some(),
        }
    }

    fn evict_oldest(&mut self) -> Option<C> {
        let (number, idle) = self.idle.pop_first()?;
        if let Some(host) = self.hosts.get_mut(&idle.key) {
            // The oldest of all is the oldest of its host.
            let oldest = host.idle.pop_front();
            debug_assert_eq!(oldest, Some(number));
        }
        Some(idle.connection)
    }

    /// Takes a request out of the queue, and the host with it if nothing else is there.
    fn leave(&mut self, key: &Key, number: u64) -> Option<oneshot::Sender<C>> {
        let host = self.hosts.get_mut(key)?;
        let at = host
            .waiting
            .binary_search_by_key(&number, |(number, _)| *number);
        let place = host.waiting.remove(at.ok()?)?;
        if host.is_empty() && !host.is_shared {
            self.hosts.remove(key);
        }
        Some(place.1)
    }

    /// Takes the idle connection with this number, if it is still there.
    fn remove(&mut self, number: u64) -> Option<Idle<C>> {
        let idle = self.idle.remove(&number)?;
        if let Some(host) = self.hosts.get_mut(&idle.key) {
            host.idle.retain(|other| *other != number);
        }
        Some(idle)
    }

    /// Keeps a connection again under the number that it had.
    fn put_back(&mut self, number: u64, idle: Idle<C>) {
        let host = self.hosts.entry(idle.key.clone()).or_default();
        let at = host.idle.partition_point(|other| *other < number);
        host.idle.insert(at, number);
        self.idle.insert(number, idle);
    }
}

/// What becomes of a connection that is returned.
enum Put<C> {
    /// It is idle. Those that had to make room for it are to be dropped, without the lock.
    Kept {
        dropped: [Option<C>; 2],
        is_swept: bool,
    },
    /// A request waits for it.
    Serve(oneshot::Sender<C>, C, Key),
}

/// A request's place in the queue: resolves to the connection it gets, or to `None` when the one
/// that was to be made for several was not.
struct Waiting<C: Pooled> {
    // `None` once it is served.
    pool: Option<Arc<Inner<C>>>,
    key: Key,
    number: u64,
    receiver: oneshot::Receiver<C>,
}

impl<C: Pooled> Future for Waiting<C> {
    type Output = Option<C>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C>> {
        let served = ready!(Pin::new(&mut self.receiver).poll(cx));
        self.pool = None;
        Poll::Ready(served.ok())
    }
}

impl<C: Pooled> Unpin for Waiting<C> {}

impl<C: Pooled> Drop for Waiting<C> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let place = pool.state().leave(&self.key, self.number);
        drop(place);
        self.receiver.close();
        // It was served and has not seen it.
        if let Ok(Some(connection)) = self.receiver.try_recv() {
            pool.put(self.key.clone(), connection);
        }
    }
}

/// The request that makes a connection for all who wait.
struct Leads<C: Pooled> {
    pool: Arc<Inner<C>>,
    key: Key,
}

impl<C: Pooled> Drop for Leads<C> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.pool.state();
            let Some(host) = state.hosts.get_mut(&self.key) else {
                return;
            };
            host.is_connecting = false;
            mem::take(&mut host.waiting)
        };
        // Those that are left look again, and the first of them connects.
        drop(waiting);
    }
}

async fn sweep<C: Pooled>(pool: Weak<Inner<C>>) {
    let pause = |pool: &Inner<C>| pool.runtime.sleep(pool.timeout.min(SWEEP));
    while let Some(pause) = pool.upgrade().map(|pool| pause(&pool)) {
        pause.await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.close_idle() {
            // Its own handle: what is returned from now on starts another task.
            let own = pool.state().sweeper.take();
            drop(own);
            return;
        }
    }
}
