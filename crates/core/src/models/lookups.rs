//! Models of [`SharedLookups`]. In a model, one lookup may run at once, and one abandoned lookup besides.

use std::future::Pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Instant;

use futures_util::FutureExt;
use loom::future::block_on;
use loom::thread;

use super::{explore, join, spawn};
use crate::connect::lookups::{BlockingWork, SharedLookups};
use crate::connect::resolve::Resolve;
use crate::error::Error;
use crate::sync::AtomicUsize;

/// A resolver that counts its calls.
struct CountedResolver {
    running: AtomicUsize,
    calls: AtomicUsize,
    /// Whether two calls must not run at once.
    is_exclusive: bool,
}

impl CountedResolver {
    fn new(is_exclusive: bool) -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            is_exclusive,
        })
    }

    /// Returns a resolver that fails if two calls run at once.
    fn exclusive() -> Arc<Self> {
        Self::new(true)
    }

    fn shared() -> Arc<Self> {
        Self::new(false)
    }
}

impl Resolve for CountedResolver {
    fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let running = self.running.fetch_add(1, Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.is_exclusive && running > 0 {
            return Err(io::Error::other("two lookups ran at once"));
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        Ok(vec![SocketAddr::from(([192, 0, 2, 7], port))])
    }
}

/// Looks up a name. `start` runs the lookup.
async fn lookup(
    lookups: Arc<SharedLookups>,
    host: &'static str,
    start: impl FnOnce(BlockingWork) -> io::Result<()>,
) -> Result<Vec<SocketAddr>, Error> {
    let sleep = |_| -> Pending<()> { unreachable!("the lookup has no time limit") };
    lookups.lookup((host, 80), Instant::now, sleep, start).await
}

/// Runs a lookup on a thread of its own.
fn on_thread(work: BlockingWork) -> io::Result<()> {
    thread::spawn(work);
    Ok(())
}

/// Runs a lookup on the thread of the request.
fn inline(work: BlockingWork) -> io::Result<()> {
    work();
    Ok(())
}

/// Fails to start a lookup.
fn without_thread(_: BlockingWork) -> io::Result<()> {
    Err(io::Error::other("no thread"))
}

/// Fails the model, because another request starts the lookup.
fn unneeded(_: BlockingWork) -> io::Result<()> {
    panic!("the request starts a lookup of its own");
}

/// Checks that the next lookup succeeds, so that no permit is lost.
fn check_usable(lookups: &Arc<SharedLookups>) {
    let found = block_on(lookup(lookups.clone(), "next.test", inline));
    assert_eq!(found.unwrap().len(), 1);
}

/// Polls a lookup once and drops it.
fn abandon(lookups: &Arc<SharedLookups>, host: &'static str) {
    let mut waiter = Box::pin(lookup(lookups.clone(), host, on_thread));
    let _ = waiter.poll_unpin(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn requests_share_a_lookup() {
    explore(
        "two requests for one name both get an answer, and no permit is lost",
        || {
            let resolver = CountedResolver::exclusive();
            let lookups = SharedLookups::new(resolver.clone(), None);
            let other = spawn(lookup(lookups.clone(), "a.test", inline));
            let found = block_on(lookup(lookups.clone(), "a.test", on_thread));
            assert_eq!(found.unwrap().len(), 1);
            assert_eq!(join(other).unwrap().len(), 1);
            assert!(resolver.calls.load(Ordering::SeqCst) <= 2);
            check_usable(&lookups);
        },
    );
}

#[test]
fn a_request_joins_a_running_lookup() {
    explore(
        "a request that arrives before a lookup has begun shares it",
        || {
            let resolver = CountedResolver::exclusive();
            let lookups = SharedLookups::new(resolver.clone(), None);
            let mut work = None;
            let start = |started: BlockingWork| {
                work = Some(started);
                Ok(())
            };
            let mut first = Box::pin(lookup(lookups.clone(), "a.test", start));
            let noop = &mut Context::from_waker(Waker::noop());
            assert!(first.poll_unpin(noop).is_pending());
            let mut second = Box::pin(lookup(lookups.clone(), "a.test", unneeded));
            assert!(second.poll_unpin(noop).is_pending());
            let second = spawn(second);
            drop(first);
            thread::spawn(work.expect("the lookup has started"));
            assert_eq!(join(second).unwrap().len(), 1);
            assert_eq!(resolver.calls.load(Ordering::SeqCst), 1);
            check_usable(&lookups);
        },
    );
}

#[test]
fn lookups_take_turns() {
    explore(
        "lookups of two names share one permit, and no wake is lost",
        || {
            let lookups = SharedLookups::new(CountedResolver::exclusive(), None);
            let other = spawn(lookup(lookups.clone(), "a.test", inline));
            let found = block_on(lookup(lookups.clone(), "b.test", on_thread));
            assert_eq!(found.unwrap().len(), 1);
            assert_eq!(join(other).unwrap().len(), 1);
            check_usable(&lookups);
        },
    );
}

#[test]
fn a_cancelled_request_does_not_stop_the_others() {
    explore(
        "a request gets its answer if the request that may start the lookup is dropped",
        || {
            let lookups = SharedLookups::new(CountedResolver::shared(), None);
            let cancelled = {
                let lookups = lookups.clone();
                thread::spawn(move || abandon(&lookups, "a.test"))
            };
            let found = block_on(lookup(lookups.clone(), "a.test", inline));
            assert_eq!(found.unwrap().len(), 1);
            join(cancelled);
            check_usable(&lookups);
        },
    );
}

#[test]
fn abandoned_lookups_release_their_permits() {
    explore(
        "a lookup runs after two lookups were abandoned, beyond the limit",
        || {
            let lookups = SharedLookups::new(CountedResolver::shared(), None);
            abandon(&lookups, "a.test");
            abandon(&lookups, "b.test");
            check_usable(&lookups);
        },
    );
}

#[test]
fn a_lookup_without_a_thread_fails_for_all() {
    explore("a lookup that cannot start ends for every request", || {
        let resolver = CountedResolver::exclusive();
        let lookups = SharedLookups::new(resolver, None);
        let other = spawn(lookup(lookups.clone(), "a.test", without_thread));
        let failed = block_on(lookup(lookups.clone(), "a.test", without_thread));
        assert!(failed.unwrap_err().to_string().contains("a.test"));
        assert!(join(other).is_err());
        check_usable(&lookups);
    });
}
