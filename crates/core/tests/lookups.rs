//! Tests of concurrent lookups. Callers that look up the same name share one lookup, and the number of
//! lookups that run at once is limited.

mod support;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use inflight_core::{
    Cancel, ClientOptions, Error, ErrorKind, Phase, Resolve, Resolver, SystemResolver,
};
use support::{Counter, EVENT_TIMEOUT, TestRuntime, lock, poll_until_stalled, run};

/// The default timeout of a lookup.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How many lookups that callers wait for may run at once.
const MAX_RUNNING: usize = 32;
/// How many abandoned lookups may run in addition. A lookup is abandoned if all its callers were dropped or
/// timed out.
const MAX_ABANDONED: usize = 64;

/// A resolver that stands for a name server. It answers a query for a name once the test allows the name.
#[derive(Clone, Default)]
struct NameServer {
    started: Counter,
    queries: Arc<Mutex<Vec<(String, u16)>>>,
    allowed: Arc<(Mutex<Allowed>, Condvar)>,
}

#[derive(Default)]
struct Allowed {
    all: bool,
    names: HashSet<String>,
}

impl NameServer {
    fn resolver(&self) -> Resolver {
        let mut options = ClientOptions::default();
        options.resolver = Arc::new(self.clone());
        Resolver::new(&options)
    }

    fn allow(&self, host: &str) {
        lock(&self.allowed.0).names.insert(host.to_owned());
        self.allowed.1.notify_all();
    }

    fn allow_all(&self) {
        lock(&self.allowed.0).all = true;
        self.allowed.1.notify_all();
    }
}

impl Resolve for NameServer {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        lock(&self.queries).push((host.to_owned(), port));
        self.started.add(1);
        let (allowed, changed) = &*self.allowed;
        let waits = |allowed: &mut Allowed| !(allowed.all || allowed.names.contains(host));
        let waited = changed.wait_timeout_while(lock(allowed), EVENT_TIMEOUT, waits);
        assert!(
            !waited.unwrap().1.timed_out(),
            "the test did not allow {host} in time"
        );
        match host {
            "broken" => Err(io::Error::other("the name server failed")),
            "faulty" => panic!("the resolver panics"),
            _ => Ok(vec![address(port)]),
        }
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

type Lookup<'a> = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, Error>> + 'a>>;

/// Starts a lookup and polls it until it waits for the name server.
fn start_lookup<'a>(resolver: &'a Resolver, runtime: &'a TestRuntime, host: &str) -> Lookup<'a> {
    let host = host.to_owned();
    let mut lookup: Lookup<'a> = Box::pin(async move { resolver.lookup(runtime, &host, 80).await });
    assert!(poll_until_stalled(&mut lookup).is_pending());
    lookup
}

fn start_lookups<'a>(
    resolver: &'a Resolver,
    runtime: &'a TestRuntime,
    range: std::ops::Range<usize>,
) -> Vec<Lookup<'a>> {
    range
        .map(|n| start_lookup(resolver, runtime, &format!("host{n}")))
        .collect()
}

#[test]
fn concurrent_lookups_of_a_name_are_shared() {
    let (runtime, server) = (TestRuntime::new(0), NameServer::default());
    let resolver = server.resolver();
    let one: Vec<_> = (0..100)
        .map(|_| start_lookup(&resolver, &runtime, "one"))
        .collect();
    let two = start_lookup(&resolver, &runtime, "two");
    server.started.wait_for(2);
    server.allow_all();
    for lookup in one {
        assert_eq!(run(lookup).unwrap(), [address(80)]);
    }
    assert_eq!(run(two).unwrap(), [address(80)]);
    // The port is part of the query.
    assert_eq!(
        run(resolver.lookup(&runtime, "one", 81)).unwrap(),
        [address(81)]
    );
    // A later lookup sends a new query.
    run(resolver.lookup(&runtime, "one", 80)).unwrap();
    let mut queries = lock(&server.queries).clone();
    queries.sort();
    let query = |host: &str, port| (host.to_owned(), port);
    let expected = [
        query("one", 80),
        query("one", 80),
        query("one", 81),
        query("two", 80),
    ];
    assert_eq!(queries, expected);
}

#[test]
fn an_error_is_returned_to_all_callers_and_a_panic_is_propagated_to_one() {
    let (runtime, server) = (TestRuntime::new(0), NameServer::default());
    let resolver = server.resolver();
    let broken: Vec<_> = (0..3)
        .map(|_| start_lookup(&resolver, &runtime, "broken"))
        .collect();
    let faulty: Vec<_> = (0..3)
        .map(|_| start_lookup(&resolver, &runtime, "faulty"))
        .collect();
    server.allow_all();
    for lookup in broken {
        let error = run(lookup).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Resolve);
        let cause = std::error::Error::source(&error).unwrap();
        assert!(cause.is::<io::Error>());
        assert_eq!(cause.to_string(), "the name server failed");
    }
    let outcomes: Vec<_> = faulty
        .into_iter()
        .map(|lookup| catch_unwind(AssertUnwindSafe(|| run(lookup))))
        .collect();
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_err()).count(),
        1
    );
    for error in outcomes.into_iter().flatten().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Resolve);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "the resolver panicked: the resolver panics");
    }
}

#[test]
fn dropping_one_of_several_callers_does_not_cancel_their_shared_lookup() {
    let (runtime, server) = (TestRuntime::new(0), NameServer::default());
    let resolver = server.resolver();
    let first = start_lookup(&resolver, &runtime, "host");
    let second = start_lookup(&resolver, &runtime, "host");
    server.started.wait_for(1);
    drop(first);
    server.allow_all();
    assert_eq!(run(second).unwrap(), [address(80)]);
    assert_eq!(server.started.get(), 1);

    // The same applies to a lookup that waits because `MAX_RUNNING` other lookups run.
    let server = NameServer::default();
    let resolver = server.resolver();
    let others = start_lookups(&resolver, &runtime, 0..MAX_RUNNING);
    server.started.wait_for(MAX_RUNNING);
    let first = start_lookup(&resolver, &runtime, "host");
    let second = start_lookup(&resolver, &runtime, "host");
    drop(first);
    server.allow_all();
    assert_eq!(run(second).unwrap(), [address(80)]);
    drop(others);
}

#[test]
fn the_number_of_running_lookups_is_limited_and_waiting_ones_start_in_order() {
    let (runtime, server) = (TestRuntime::new(0), NameServer::default());
    let resolver = server.resolver();
    let lookups = start_lookups(&resolver, &runtime, 0..MAX_RUNNING + 2);
    server.started.wait_for(MAX_RUNNING);
    assert_eq!(runtime.blocking_started().get(), MAX_RUNNING);
    let mut lookups: Vec<_> = lookups.into_iter().map(Some).collect();
    for n in [0, 1] {
        server.allow(&format!("host{n}"));
        run(lookups[n].take().unwrap()).unwrap();
        let next = lookups[MAX_RUNNING + n].as_mut().unwrap();
        assert!(poll_until_stalled(next).is_pending());
        server.started.wait_for(MAX_RUNNING + n + 1);
        let last = lock(&server.queries).last().unwrap().0.clone();
        assert_eq!(last, format!("host{}", MAX_RUNNING + n));
    }
    server.allow_all();
    for lookup in lookups.into_iter().flatten() {
        assert_eq!(run(lookup).unwrap(), [address(80)]);
    }
}

#[test]
fn abandoned_lookups_do_not_block_others() {
    let (runtime, server) = (TestRuntime::new(0), NameServer::default());
    let resolver = server.resolver();
    let hung = start_lookups(&resolver, &runtime, 0..MAX_RUNNING);
    server.started.wait_for(MAX_RUNNING);
    drop(hung);
    server.allow("host");
    let found = run(resolver.lookup(&runtime, "host", 80)).unwrap();
    assert_eq!(found, [address(80)]);
    server.allow_all();
}

#[test]
fn a_shared_lookup_times_out_for_all_its_callers() {
    let (runtime, server) = (TestRuntime::new(0), NameServer::default());
    let resolver = server.resolver();
    let mut first = start_lookup(&resolver, &runtime, "host");
    server.started.wait_for(1);
    let (half, moment) = (TIMEOUT / 2, Duration::from_millis(1));
    runtime.advance(half);
    // The second caller joins the first lookup and waits for the rest of its timeout.
    let second = start_lookup(&resolver, &runtime, "host");
    runtime.advance(TIMEOUT - half - moment);
    assert!(poll_until_stalled(&mut first).is_pending());
    runtime.advance(moment);
    // The first lookup has timed out, so the third caller starts a new query.
    let third = start_lookup(&resolver, &runtime, "host");
    for timed_out in [first, second] {
        let error = run(timed_out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.phase(), Some(Phase::Connect));
        assert!(error.to_string().contains("host"), "{error}");
    }
    server.started.wait_for(2);
    server.allow_all();
    assert_eq!(run(third).unwrap(), [address(80)]);
    assert_eq!(runtime.active_sleeps(), 0);
}

#[test]
fn the_number_of_hung_lookups_is_limited_and_reported() {
    let (runtime, server) = (TestRuntime::new(0), NameServer::default());
    let resolver = server.resolver();
    let all = MAX_RUNNING + MAX_ABANDONED;
    for first in (0..all).step_by(MAX_RUNNING) {
        let hung = start_lookups(&resolver, &runtime, first..first + MAX_RUNNING);
        server.started.wait_for(first + MAX_RUNNING);
        runtime.advance(TIMEOUT);
        for lookup in hung {
            assert_eq!(run(lookup).unwrap_err().kind(), ErrorKind::Timeout);
        }
    }
    let refused = start_lookup(&resolver, &runtime, "host");
    runtime.advance(TIMEOUT);
    let error = run(refused).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Resolve);
    assert!(error.to_string().contains("96"), "{error}");
    assert_eq!(server.started.get(), all);

    // When an abandoned lookup ends, one more lookup can start.
    server.allow("host");
    let mut waiting = start_lookup(&resolver, &runtime, "host");
    server.allow("host0");
    assert_eq!(run(&mut waiting).unwrap(), [address(80)]);

    // After all lookups have ended, `MAX_RUNNING` lookups can run again.
    server.allow_all();
    runtime.blocking_running().wait_for(0);
    let again = {
        let lookups =
            (0..MAX_RUNNING).map(|n| start_or_complete(&resolver, &runtime, &format!("again{n}")));
        lookups.collect::<Vec<_>>()
    };
    for lookup in again {
        assert_eq!(run(lookup).unwrap(), [address(80)]);
    }
    assert_eq!(runtime.blocking_started().get(), all + 1 + MAX_RUNNING);
}

/// Starts a lookup that may complete at once.
fn start_or_complete<'a>(
    resolver: &'a Resolver,
    runtime: &'a TestRuntime,
    host: &str,
) -> Lookup<'a> {
    let host = host.to_owned();
    let mut lookup: Lookup<'a> = Box::pin(async move { resolver.lookup(runtime, &host, 80).await });
    match poll_until_stalled(&mut lookup) {
        Poll::Pending => lookup,
        Poll::Ready(found) => Box::pin(std::future::ready(found)),
    }
}

#[test]
fn a_lookup_that_waits_for_a_thread_is_skipped_if_it_is_dropped() {
    let (runtime, server) = (TestRuntime::new(0), NameServer::default());
    let resolver = server.resolver();
    server.allow_all();
    runtime.hold_blocking();
    drop(start_lookup(&resolver, &runtime, "dropped"));
    let lookup = start_lookup(&resolver, &runtime, "awaited");
    runtime.release_blocking();
    assert_eq!(run(lookup).unwrap(), [address(80)]);
    runtime.blocking_running().wait_for(0);
    assert_eq!(*lock(&server.queries), [("awaited".to_owned(), 80)]);
}

#[test]
fn shutting_down_the_runtime_fails_a_lookup_that_has_not_started() {
    let (runtime, server) = (TestRuntime::new(0), NameServer::default());
    let resolver = server.resolver();
    runtime.hold_blocking();
    let lookup = start_lookup(&resolver, &runtime, "host");
    runtime.shut_down();
    assert_eq!(run(lookup).unwrap_err().kind(), ErrorKind::NoRuntime);
}

#[test]
fn threads_share_lookups() {
    let server = NameServer::default();
    let resolver = server.resolver();
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let lookup = || resolver.lookup_blocking("host", 80, None, &cancel);
        let first = scope.spawn(lookup);
        server.started.wait_for(1);
        let others: Vec<_> = (0..8).map(|_| scope.spawn(lookup)).collect();
        server.allow_all();
        for handle in others.into_iter().chain([first]) {
            assert_eq!(handle.join().unwrap().unwrap(), [address(80)]);
        }
    });
    // A thread that calls after the shared lookup has ended starts a new lookup.
    assert!(server.started.get() <= 9);
}

#[test]
fn cancelled_threads_do_not_block_others() {
    let server = NameServer::default();
    let resolver = server.resolver();
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let (resolver, cancel) = (&resolver, &cancel);
        let hung: Vec<_> = (0..MAX_RUNNING)
            .map(|n| {
                let host = format!("host{n}");
                scope.spawn(move || resolver.lookup_blocking(&host, 80, None, cancel))
            })
            .collect();
        server.started.wait_for(MAX_RUNNING);
        cancel.cancel();
        for handle in hung {
            let error = handle.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        }
    });
    server.allow("host");
    let found = resolver.lookup_blocking("host", 80, None, &Cancel::new());
    assert_eq!(found.unwrap(), [address(80)]);
    server.allow_all();
}

#[test]
fn the_system_resolver_finds_localhost() {
    let mut options = ClientOptions::default();
    options.resolver = Arc::new(SystemResolver);
    let resolver = Resolver::new(&options);
    let found = run(resolver.lookup(&TestRuntime::new(0), "localhost", 80)).unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback()));
}
