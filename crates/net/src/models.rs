//! Models of the [`Pool`]'s checkout. loom runs each model once for every order of its threads that can make a
//! difference.

use std::future::{pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use http::Uri;
use inflight_core::models::{ModelRuntime, explore, join, spawn};
use inflight_core::{ClientOptions, Error, ErrorKind, Proxies};
use loom::future::block_on;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use crate::key::Key;
use crate::pool::{Checkout, Pool, Pooled, Requirements};

const EXCLUSIVE: Requirements = Requirements {
    can_resend: true,
    must_be_new: false,
    will_share: false,
};

const SHARED: Requirements = Requirements {
    will_share: true,
    ..EXCLUSIVE
};

/// A connection. Its users count themselves.
struct Connection {
    users: Arc<AtomicUsize>,
    is_shared: bool,
}

impl Connection {
    fn exclusive() -> Self {
        Self {
            users: Arc::new(AtomicUsize::new(0)),
            is_shared: false,
        }
    }

    fn shared() -> Self {
        Self {
            is_shared: true,
            ..Self::exclusive()
        }
    }
}

impl Pooled for Connection {
    fn share(&self) -> Option<Self> {
        self.is_shared.then(|| Self {
            users: self.users.clone(),
            is_shared: true,
        })
    }

    fn is_open(&mut self, _: bool) -> bool {
        true
    }

    fn is_in_use(&self) -> bool {
        false
    }
}

type Connected = Result<Connection, Error>;

fn refused() -> Connected {
    Err(Error::new(ErrorKind::Connect))
}

/// A pool for one server, with the runtime that gets the pool's tasks.
#[derive(Clone)]
struct Server {
    pool: Pool<Connection>,
    key: Key,
    runtime: Arc<ModelRuntime>,
}

impl Server {
    fn new() -> Self {
        let runtime = ModelRuntime::new();
        let mut options = ClientOptions::default();
        options.max_idle = Some(8);
        Self {
            pool: Pool::new(runtime.clone(), &options),
            key: Key::new(&Uri::from_static("http://a.test/"), &Proxies::default())
                .expect("the URL is valid"),
            runtime,
        }
    }

    fn put(&self, connection: Connection) {
        self.pool.put(self.key.clone(), connection);
    }

    /// Takes a connection from the pool, or from `connect`.
    fn checkout<F>(
        &self,
        requirements: Requirements,
        connect: impl Fn() -> F + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<Checkout<Connection>, Error>>>>
    where
        F: Future<Output = Connected> + Send + 'static,
    {
        let server = self.clone();
        Box::pin(async move {
            server
                .pool
                .checkout(&server.key, requirements, connect)
                .await
        })
    }

    /// Takes a connection that another request returns.
    fn reuse(&self) -> Pin<Box<dyn Future<Output = Result<Checkout<Connection>, Error>>>> {
        self.checkout(EXCLUSIVE, pending)
    }

    /// Uses a connection alone, and returns it.
    fn exchange(&self, checkout: Checkout<Connection>) {
        let connection = checkout.connection;
        assert_eq!(connection.users.fetch_add(1, Ordering::SeqCst), 0);
        connection.users.fetch_sub(1, Ordering::SeqCst);
        self.put(connection);
    }

    /// Sends a request on a connection that another request returns.
    fn request(&self) -> impl Future<Output = ()> + 'static {
        let (server, checkout) = (self.clone(), self.reuse());
        async move {
            let checkout = checkout.await.expect("the connection is open");
            assert!(checkout.is_reused);
            server.exchange(checkout);
        }
    }
}

/// Polls a future once, with a waker that does nothing.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_returned_connection_reaches_a_waiting_request() {
    explore(
        "a connection that is returned while a request begins to wait reaches it",
        || {
            let server = Server::new();
            let request = spawn(server.request());
            server.put(Connection::exclusive());
            join(request);
            assert_eq!(server.pool.idle(), 1);
        },
    );
}

#[test]
fn one_connection_serves_one_request_at_a_time() {
    explore("two requests use one connection in turn", || {
        let server = Server::new();
        let requests = [(); 2].map(|()| spawn(server.request()));
        server.put(Connection::exclusive());
        requests.into_iter().for_each(join);
        assert_eq!(server.pool.idle(), 1);
    });
}

#[test]
fn requests_get_connections_in_order() {
    explore(
        "requests get connections in the order of their arrival",
        || {
            let server = Server::new();
            let mut waiters = [server.reuse(), server.reuse()];
            for waiter in &mut waiters {
                assert!(poll_once(waiter).is_pending());
            }
            let [first, mut second] = waiters;
            let first = {
                let server = server.clone();
                spawn(async move {
                    let first = first.await.expect("the connection is open");
                    // The second request cannot get the connection before the first returns it.
                    assert!(poll_once(&mut second).is_pending());
                    server.exchange(first);
                    second.await.expect("the connection is open")
                })
            };
            server.put(Connection::exclusive());
            let second = join(first);
            server.exchange(second);
            assert_eq!(server.pool.idle(), 1);
        },
    );
}

#[test]
fn a_cancelled_request_passes_its_connection_on() {
    explore(
        "a request that is dropped while it gets a connection passes it on",
        || {
            let server = Server::new();
            let mut cancelled = server.reuse();
            assert!(poll_once(&mut cancelled).is_pending());
            let cancelled = thread::spawn(move || drop(cancelled));
            let request = spawn(server.request());
            server.put(Connection::exclusive());
            join(cancelled);
            join(request);
            assert_eq!(server.pool.idle(), 1);
        },
    );
}

#[test]
fn a_leader_that_fails_stops_no_other_request() {
    explore(
        "a request opens a connection itself if the request that it waits for fails",
        || {
            let server = Server::new();
            let failed = spawn(server.checkout(SHARED, || ready(refused())));
            let request = server.checkout(SHARED, || ready(Ok(Connection::shared())));
            assert!(block_on(request).is_ok());
            // The failed request may have got the connection of the other one.
            let _ = join(failed);
        },
    );
}

#[test]
fn a_leader_that_is_dropped_stops_no_other_request() {
    explore(
        "a request opens a connection itself if the request that it waits for is dropped",
        || {
            let server = Server::new();
            let mut leader = server.checkout(SHARED, pending);
            assert!(poll_once(&mut leader).is_pending());
            let cancelled = thread::spawn(move || drop(leader));
            let request = server.checkout(SHARED, || ready(Ok(Connection::shared())));
            assert!(block_on(request).is_ok());
            join(cancelled);
        },
    );
}

#[test]
fn a_failed_connect_in_the_background_stops_no_request() {
    explore(
        "a request opens a connection itself if the task that it waits for fails",
        || {
            let server = Server::new();
            let mut first = server.checkout(EXCLUSIVE, || {
                let mut polls = 0;
                poll_fn(move |_| {
                    polls += 1;
                    match polls {
                        1 => Poll::Pending,
                        _ => Poll::Ready(refused()),
                    }
                })
            });
            assert!(poll_once(&mut first).is_pending());
            server.put(Connection::exclusive());
            let first = match poll_once(&mut first) {
                Poll::Ready(checkout) => checkout.expect("the connection is open"),
                Poll::Pending => panic!("the request got no connection"),
            };
            let background = spawn(server.runtime.take_task());
            let request = server.checkout(EXCLUSIVE, || ready(Ok(Connection::exclusive())));
            let second = block_on(request).expect("the connect succeeds");
            join(background);
            server.exchange(first);
            server.exchange(second);
        },
    );
}
