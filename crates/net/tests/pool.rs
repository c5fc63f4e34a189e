//! Tests of the connection pool: reuse, waiting and closing.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::future::{pending, poll_once};
use inflight_core::{BlockOn, ClientOptions, Error, ErrorKind, Proxies, Runtime, Task};
use inflight_net::{Checkout, Key, Pool, Pooled, Requirements, descriptors};
use inflight_virtual::Virtual;

const MS: Duration = Duration::from_millis(1);
const CAN_RESEND: Requirements = Requirements {
    can_resend: true,
    must_be_new: false,
    will_share: false,
};
const CANNOT_RESEND: Requirements = Requirements {
    can_resend: false,
    must_be_new: false,
    will_share: false,
};
const SHARED: Requirements = Requirements {
    can_resend: true,
    must_be_new: false,
    will_share: true,
};

/// A connection that records how the pool uses it.
#[derive(Clone, Default)]
struct Connection(Arc<Inner>);

#[derive(Default)]
struct Inner {
    id: usize,
    is_closed: AtomicBool,
    checks: AtomicUsize,
    is_shared: bool,
    /// The maximum number of requests that share the connection. `None` means no limit.
    capacity: Option<usize>,
}

impl Connection {
    fn new(id: usize) -> Self {
        Self(Arc::new(Inner {
            id,
            ..Inner::default()
        }))
    }

    fn shared(id: usize) -> Self {
        Self(Arc::new(Inner {
            id,
            is_shared: true,
            ..Inner::default()
        }))
    }

    fn with_capacity(id: usize, capacity: usize) -> Self {
        Self(Arc::new(Inner {
            id,
            is_shared: true,
            capacity: Some(capacity),
            ..Inner::default()
        }))
    }

    fn close(&self) {
        self.0.is_closed.store(true, Ordering::SeqCst);
    }

    fn checks(&self) -> usize {
        self.0.checks.load(Ordering::SeqCst)
    }

    /// Returns `true` if only the test has a handle to the connection.
    fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Pooled for Connection {
    fn share(&self) -> Option<Self> {
        self.0.is_shared.then(|| self.clone())
    }

    fn has_room(&self) -> bool {
        // The pool itself holds one handle.
        let uses = Arc::strong_count(&self.0) - 1;
        self.0.capacity.is_none_or(|capacity| uses < capacity)
    }

    fn is_open(&mut self, thoroughly: bool) -> bool {
        self.0
            .checks
            .fetch_add(usize::from(thoroughly), Ordering::SeqCst);
        // The pool must query the system to detect that the peer has closed a connection. A shared
        // connection needs no query, because its own task detects this.
        !thoroughly && !self.0.is_shared || !self.0.is_closed.load(Ordering::SeqCst)
    }

    fn is_in_use(&self) -> bool {
        false
    }
}

fn key(host: &str) -> Key {
    let uri = format!("http://{host}.test/").parse().unwrap();
    Key::new(&uri, &Proxies::default()).unwrap()
}

fn pool(configure: impl FnOnce(&mut ClientOptions)) -> (Virtual, Pool<Connection>) {
    let runtime = Virtual::new();
    let mut options = ClientOptions::default();
    configure(&mut options);
    let pool = Pool::new(Arc::new(runtime.clone()), &options);
    (runtime, pool)
}

async fn no_connection() -> Result<Connection, Error> {
    Err(Error::new(ErrorKind::Connect))
}

/// Takes an idle connection to this host out of the pool and returns its id.
fn take_idle(runtime: &Virtual, pool: &Pool<Connection>, host: &str) -> Option<usize> {
    let checkout = runtime.block_on(pool.checkout(&key(host), CAN_RESEND, no_connection));
    checkout.ok().map(|checkout| checkout.connection.0.id)
}

#[test]
fn the_most_recently_used_connection_is_reused_first() {
    let (runtime, pool) = pool(|_| {});
    for id in 1..=3 {
        pool.put(key("a"), Connection::new(id));
    }
    pool.put(key("b"), Connection::new(4));
    let order = [(); 4].map(|()| take_idle(&runtime, &pool, "a"));
    assert_eq!(order, [Some(3), Some(2), Some(1), None]);
    assert_eq!(pool.idle(), 1);
}

#[test]
fn idle_connections_are_limited_per_key_and_in_total() {
    let (runtime, pool) = pool(|options| {
        options.max_idle_per_host = 2;
        options.max_idle = Some(3);
    });
    let connections: Vec<_> = (0..5).map(Connection::new).collect();
    for (n, host) in [(0, "a"), (1, "a"), (2, "a")] {
        pool.put(key(host), connections[n].clone());
    }
    assert!(connections[0].is_dropped());
    assert_eq!(pool.idle(), 2);
    for (n, host) in [(3, "b"), (4, "c")] {
        pool.put(key(host), connections[n].clone());
    }
    // The pool closed the least recently used connection, although it belongs to another key.
    assert!(connections[1].is_dropped());
    assert_eq!(pool.idle(), 3);
    assert_eq!(take_idle(&runtime, &pool, "a"), Some(2));
}

#[test]
fn a_limit_of_zero_keeps_no_idle_connection() {
    for (per_host, total) in [(0, None), (9, Some(0))] {
        let (_runtime, pool) = pool(|options| {
            options.max_idle_per_host = per_host;
            options.max_idle = total;
        });
        pool.put(key("a"), Connection::new(1));
        assert_eq!(pool.idle(), 0);
    }
}

#[test]
fn an_idle_connection_is_checked_before_reuse_unless_it_was_used_just_before() {
    let (runtime, pool) = pool(|_| {});
    let connection = Connection::new(1);
    let reuse = |requirements| {
        pool.put(key("a"), connection.clone());
        move |pool: &Pool<Connection>, runtime: &Virtual| {
            runtime
                .block_on(pool.checkout(&key("a"), requirements, no_connection))
                .is_ok()
        }
    };
    assert!(reuse(CAN_RESEND)(&pool, &runtime));
    assert_eq!(connection.checks(), 0);
    // For a request that must not be resent, the pool always queries the system.
    assert!(reuse(CANNOT_RESEND)(&pool, &runtime));
    assert_eq!(connection.checks(), 1);
    let later = reuse(CAN_RESEND);
    runtime.advance(2 * MS);
    assert!(later(&pool, &runtime));
    assert_eq!(connection.checks(), 2);
    connection.close();
    assert!(!reuse(CANNOT_RESEND)(&pool, &runtime));
    assert!(connection.is_dropped());
}

#[test]
fn waiting_requests_get_returned_connections_in_order() {
    let (runtime, pool) = pool(|_| {});
    runtime.block_on(async {
        let connect = || async {
            pending::<()>().await;
            no_connection().await
        };
        let (a, b) = (key("a"), key("a"));
        let mut first = pin!(pool.checkout(&a, CAN_RESEND, connect));
        let mut second = pin!(pool.checkout(&b, CAN_RESEND, connect));
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        pool.put(key("a"), Connection::new(1));
        assert!(poll_once(&mut second).await.is_none());
        let checkout = first.await.unwrap();
        assert!(checkout.is_reused && checkout.connection.0.id == 1);
        pool.put(key("a"), Connection::new(2));
        assert_eq!(second.await.unwrap().connection.0.id, 2);
    });
}

#[test]
fn a_connect_completes_even_if_its_request_gets_another_connection() {
    let (runtime, pool) = pool(|_| {});
    let time = runtime.clone();
    let connect = move || {
        let time = time.clone();
        async move {
            time.sleep(10 * MS).await;
            Ok(Connection::new(2))
        }
    };
    runtime.block_on(async {
        let key_a = key("a");
        let mut request = pin!(pool.checkout(&key_a, CAN_RESEND, connect));
        assert!(poll_once(&mut request).await.is_none());
        pool.put(key("a"), Connection::new(1));
        assert_eq!(request.await.unwrap().connection.0.id, 1);
        assert_eq!(pool.idle(), 0);
        runtime.sleep(20 * MS).await;
    });
    assert_eq!(take_idle(&runtime, &pool, "a"), Some(2));
}

#[test]
fn dropping_the_pool_cancels_its_connects() {
    let (runtime, pool) = pool(|_| {});
    let opened = Connection::new(2);
    let connect = || {
        let opened = opened.clone();
        async move {
            pending::<()>().await;
            Ok(opened)
        }
    };
    runtime.block_on(async {
        let key_a = key("a");
        let mut request = Box::pin(pool.checkout(&key_a, CAN_RESEND, connect));
        assert!(poll_once(&mut request).await.is_none());
        pool.put(key("a"), Connection::new(1));
        assert!(request.await.is_ok());
        drop(pool);
        runtime.sleep(MS).await;
    });
    assert!(opened.is_dropped());
}

#[test]
fn a_connection_for_a_dropped_request_is_kept_for_the_next_request() {
    let (runtime, pool) = pool(|_| {});
    runtime.block_on(async {
        let connect = || async {
            pending::<()>().await;
            no_connection().await
        };
        let key_a = key("a");
        let mut first = Box::pin(pool.checkout(&key_a, CAN_RESEND, connect));
        assert!(poll_once(&mut first).await.is_none());
        pool.put(key("a"), Connection::new(1));
        drop(first);
        assert_eq!(pool.idle(), 1);
        // The pool skips a request that was dropped before it got a connection.
        let mut second = Box::pin(pool.checkout(&key_a, CANNOT_RESEND, connect));
        let second_checkout = poll_once(&mut second).await;
        assert!(second_checkout.is_some_and(|checkout| checkout.is_ok()));
        let mut third = Box::pin(pool.checkout(&key_a, CANNOT_RESEND, connect));
        assert!(poll_once(&mut third).await.is_none());
        drop(third);
        pool.put(key("a"), Connection::new(2));
        assert_eq!(pool.idle(), 1);
    });
}

#[test]
fn one_shared_connection_is_opened_for_all_waiting_requests() {
    let (runtime, pool) = pool(|_| {});
    let opened = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (pool, opened, time) = (pool.clone(), opened.clone(), runtime.clone());
            Task::spawn(&runtime, async move {
                let connect = || {
                    opened.fetch_add(1, Ordering::SeqCst);
                    let time = time.clone();
                    async move {
                        time.sleep(MS).await;
                        Ok(Connection::shared(7))
                    }
                };
                let checkout = pool.checkout(&key("a"), SHARED, connect).await;
                checkout.unwrap().is_reused
            })
        })
        .collect();
    let reused = runtime.block_on(async {
        let mut reused = 0;
        for task in tasks {
            reused += usize::from(task.await.unwrap());
        }
        reused
    });
    assert_eq!((opened.load(Ordering::SeqCst), reused), (1, 9));
}

#[test]
fn another_connection_is_opened_when_the_shared_ones_are_full() {
    let (runtime, pool) = pool(|_| {});
    let opened = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (pool, opened, time) = (pool.clone(), opened.clone(), runtime.clone());
            Task::spawn(&runtime, async move {
                let connect = || {
                    let id = opened.fetch_add(1, Ordering::SeqCst);
                    let time = time.clone();
                    async move {
                        time.sleep(MS).await;
                        Ok(Connection::with_capacity(id, 4))
                    }
                };
                let checkout = pool.checkout(&key("a"), SHARED, connect).await;
                checkout.unwrap().connection
            })
        })
        .collect();
    runtime.block_on(async {
        let mut connections = Vec::new();
        for task in tasks {
            connections.push(task.await.unwrap());
        }
        let users = |id| {
            connections
                .iter()
                .filter(|connection| connection.0.id == id)
                .count()
        };
        assert_eq!([users(0), users(1), users(2)], [4, 4, 2]);
        // Dropping a handle allows one more request.
        connections.retain(|connection| connection.0.id != 0);
        for _ in 0..6 {
            let again = pool
                .checkout(&key("a"), SHARED, no_connection)
                .await
                .unwrap();
            assert!(again.is_reused);
            connections.push(again.connection);
        }
    });
    assert_eq!(opened.load(Ordering::SeqCst), 3);
}

#[test]
fn waiting_requests_open_connections_if_the_shared_connect_fails() {
    let (runtime, pool) = pool(|_| {});
    let opened = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let (pool, opened, time) = (pool.clone(), opened.clone(), runtime.clone());
            Task::spawn(&runtime, async move {
                let connect = || {
                    let id = opened.fetch_add(1, Ordering::SeqCst);
                    let time = time.clone();
                    async move {
                        time.sleep(MS).await;
                        match id {
                            0 => no_connection().await,
                            id => Ok(Connection::shared(id)),
                        }
                    }
                };
                pool.checkout(&key("a"), SHARED, connect).await.is_ok()
            })
        })
        .collect();
    let results = runtime.block_on(async {
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    });
    assert_eq!(results.iter().filter(|ok| **ok).count(), 2);
    // After the failure, the two other requests connect at the same time.
    assert_eq!(opened.load(Ordering::SeqCst), 3);
    assert_eq!(runtime.elapsed(), 2 * MS);
}

#[test]
fn only_one_of_several_shared_connections_is_kept() {
    let (runtime, pool) = pool(|_| {});
    let opened: Vec<_> = (0..3).map(Connection::shared).collect();
    let tasks: Vec<_> = opened
        .iter()
        .map(|connection| {
            let (pool, connection, time) = (pool.clone(), connection.clone(), runtime.clone());
            Task::spawn(&runtime, async move {
                let connect = || {
                    let (connection, time) = (connection.clone(), time.clone());
                    async move {
                        time.sleep(MS).await;
                        Ok(connection)
                    }
                };
                // The pool does not know yet that the connection can be shared.
                let checkout = pool.checkout(&key("a"), CAN_RESEND, connect).await;
                checkout.unwrap().connection.0.id
            })
        })
        .collect();
    let ids = runtime.block_on(async {
        let mut ids = Vec::new();
        for task in tasks {
            ids.push(task.await.unwrap());
        }
        ids
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let kept = opened.iter().filter(|connection| !connection.is_dropped());
    assert_eq!(kept.count(), 1);
}

#[test]
fn max_idle_also_limits_shared_connections() {
    let (runtime, pool) = pool(|options| options.max_idle = Some(2));
    let opened: Vec<_> = (0..3).map(Connection::shared).collect();
    for (n, connection) in opened.iter().enumerate() {
        let connection = connection.clone();
        let connect = move || {
            let connection = connection.clone();
            async move { Ok(connection) }
        };
        let key = key(&format!("h{n}"));
        assert!(
            runtime
                .block_on(pool.checkout(&key, SHARED, connect))
                .is_ok()
        );
        runtime.advance(MS);
    }
    let dropped: Vec<_> = opened.iter().map(Connection::is_dropped).collect();
    assert_eq!(dropped, [true, false, false]);
}

#[test]
fn a_request_that_needs_a_new_connection_does_not_reuse_one() {
    let (runtime, pool) = pool(|_| {});
    pool.put(key("a"), Connection::new(1));
    let connect = || async { Ok(Connection::new(2)) };
    let requirements = Requirements {
        must_be_new: true,
        ..CAN_RESEND
    };
    let checkout = runtime.block_on(pool.checkout(&key("a"), requirements, connect));
    let checkout = checkout.unwrap();
    assert_eq!((checkout.connection.0.id, checkout.is_reused), (2, false));
    assert_eq!(pool.idle(), 1);
}

#[test]
fn a_connection_past_its_idle_timeout_is_not_reused() {
    let (runtime, pool) = pool(|options| options.idle_timeout = 1000 * MS);
    pool.put(key("a"), Connection::new(1));
    // The task that closes expired connections has not run.
    runtime.advance(1000 * MS);
    assert_eq!(take_idle(&runtime, &pool, "a"), None);
}

#[test]
fn a_request_connects_if_the_background_connect_that_it_waits_for_fails() {
    let (runtime, pool) = pool(|_| {});
    let attempts = Arc::new(AtomicUsize::new(0));
    let connect = || {
        let (time, attempts) = (runtime.clone(), attempts.clone());
        async move {
            time.sleep(10 * MS).await;
            match attempts.fetch_add(1, Ordering::SeqCst) {
                0 => no_connection().await,
                id => Ok(Connection::new(id)),
            }
        }
    };
    runtime.block_on(async {
        let key_a = key("a");
        let mut first = Box::pin(pool.checkout(&key_a, CAN_RESEND, connect));
        assert!(poll_once(&mut first).await.is_none());
        pool.put(key("a"), Connection::new(7));
        assert_eq!(first.await.unwrap().connection.0.id, 7);
        // A task continues the connect of the first request. That connect fails, so the second request
        // connects.
        let second = pool.checkout(&key_a, CAN_RESEND, connect).await.unwrap();
        assert_eq!(second.connection.0.id, 1);
        assert_eq!(runtime.elapsed(), 20 * MS);
    });
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
}

#[test]
fn a_returned_connection_is_checked_before_a_non_idempotent_request_uses_it() {
    let (runtime, pool) = pool(|_| {});
    let connect = || {
        let time = runtime.clone();
        async move {
            time.sleep(MS).await;
            Ok(Connection::new(2))
        }
    };
    runtime.block_on(async {
        let key_a = key("a");
        let mut request = Box::pin(pool.checkout(&key_a, CANNOT_RESEND, connect));
        assert!(poll_once(&mut request).await.is_none());
        let closed = Connection::new(1);
        closed.close();
        pool.put(key("a"), closed);
        assert_eq!(request.await.unwrap().connection.0.id, 2);
    });
}

#[test]
fn a_closed_shared_connection_is_replaced() {
    let (runtime, pool) = pool(|_| {});
    let first = Connection::shared(1);
    let checkout = |connection: Connection| {
        let connect = move || {
            let connection = connection.clone();
            async move { Ok(connection) }
        };
        let checkout = runtime.block_on(pool.checkout(&key("a"), SHARED, connect));
        checkout.unwrap().connection.0.id
    };
    assert_eq!(checkout(first.clone()), 1);
    assert_eq!(checkout(Connection::shared(2)), 1);
    first.close();
    assert_eq!(checkout(Connection::shared(2)), 2);
    assert!(first.is_dropped());
}

#[test]
fn an_idle_connection_is_closed_when_descriptors_are_exhausted() {
    let (runtime, pool) = pool(|_| {});
    let (old, young) = (Connection::new(1), Connection::new(2));
    pool.put(key("old"), old.clone());
    pool.put(key("young"), young.clone());
    let attempts = AtomicUsize::new(0);
    let connect = || {
        let is_first = attempts.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                // The error code `EMFILE`: no file descriptor is left.
                let error = io::Error::from_raw_os_error(24);
                return Err(descriptors::exhausted_error("new.test:80", error));
            }
            Ok(Connection::new(3))
        }
    };
    let checkout = runtime.block_on(pool.checkout(&key("new"), CAN_RESEND, connect));
    assert!(matches!(
        checkout,
        Ok(Checkout {
            is_reused: false,
            ..
        })
    ));
    assert!(old.is_dropped() && !young.is_dropped());
}

#[test]
fn the_pool_closes_connections_that_expired_or_whose_peer_closed_them() {
    let (runtime, pool) = pool(|options| options.idle_timeout = 40_000 * MS);
    let (idle, closed) = (Connection::new(1), Connection::new(2));
    pool.put(key("a"), idle.clone());
    pool.put(key("b"), closed.clone());
    closed.close();
    runtime.block_on(runtime.sleep(16_000 * MS));
    assert!(closed.is_dropped() && !idle.is_dropped());
    runtime.block_on(runtime.sleep(30_000 * MS));
    assert!(idle.is_dropped());
    assert_eq!(pool.idle(), 0);
    // The task that closes idle connections has ended. `put` starts it again.
    pool.put(key("a"), idle.clone());
    runtime.block_on(runtime.sleep(90_000 * MS));
    assert!(idle.is_dropped());
}

#[test]
fn dropping_the_pool_closes_its_connections() {
    let (runtime, pool) = pool(|_| {});
    let connection = Connection::new(1);
    pool.put(key("a"), connection.clone());
    drop(pool);
    // The task that closes idle connections does not keep the connection open.
    assert!(connection.is_dropped());
    runtime.block_on(async {});
}

#[test]
fn a_request_that_panics_does_not_return_its_connection() {
    let (runtime, pool) = pool(|_| {});
    let connection = Connection::new(1);
    pool.put(key("a"), connection.clone());
    let task = Task::spawn(&runtime, {
        let pool = pool.clone();
        async move {
            let key = key("a");
            let _checkout = pool
                .checkout(&key, CAN_RESEND, no_connection)
                .await
                .unwrap();
            panic!("on purpose");
        }
    });
    assert!(runtime.block_on(task).is_err());
    assert_eq!(pool.idle(), 0);
    assert!(connection.is_dropped());
}

#[test]
fn hosts_without_connections_are_removed() {
    let (runtime, pool) = pool(|_| {});
    for n in 0..100 {
        let failed =
            runtime.block_on(pool.checkout(&key(&format!("h{n}")), CAN_RESEND, no_connection));
        assert!(failed.is_err());
    }
    assert_eq!(format!("{pool:?}"), "Pool { idle: 0, hosts: 0 }");
    let mut cx = Context::from_waker(Waker::noop());
    let key = key("pending");
    let mut waiting = Box::pin(pool.checkout(&key, CAN_RESEND, || async {
        pending::<()>().await;
        no_connection().await
    }));
    assert!(matches!(waiting.as_mut().poll(&mut cx), Poll::Pending));
    assert_eq!(format!("{pool:?}"), "Pool { idle: 0, hosts: 1 }");
    drop(waiting);
    assert_eq!(format!("{pool:?}"), "Pool { idle: 0, hosts: 0 }");
}
