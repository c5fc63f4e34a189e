//! The promises of look-ups under way: shared, few at once, and not in each other's way.

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
use support::{Counter, PATIENCE, TestRuntime, lock, poll_until_stalled, run};

/// As the options have it by default.
const LIMIT: Duration = Duration::from_secs(15);
const AT_ONCE: usize = 32;
const GIVEN_UP: usize = 64;

/// A name server that answers when the test says so, each name by itself.
#[derive(Clone, Default)]
struct Server {
    started: Counter,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
    answered: Arc<(Mutex<Answered>, Condvar)>,
}

#[derive(Default)]
struct Answered {
    all: bool,
    names: HashSet<String>,
}

impl Server {
    fn resolver(&self) -> Resolver {
        let mut options = ClientOptions::default();
        options.resolver = Arc::new(self.clone());
        Resolver::new(&options)
    }

    fn answer(&self, host: &str) {
        lock(&self.answered.0).names.insert(host.to_owned());
        self.answered.1.notify_all();
    }

    fn answer_all(&self) {
        lock(&self.answered.0).all = true;
        self.answered.1.notify_all();
    }
}

impl Resolve for Server {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        lock(&self.asked).push((host.to_owned(), port));
        self.started.add(1);
        let (answered, changed) = &*self.answered;
        let waits = |answered: &mut Answered| !(answered.all || answered.names.contains(host));
        let waited = changed.wait_timeout_while(lock(answered), PATIENCE, waits);
        assert!(!waited.unwrap().1.timed_out(), "nobody answers {host}");
        match host {
            "broken" => Err(io::Error::other("the name server is gone")),
            "faulty" => panic!("the resolver fell over"),
            _ => Ok(vec![address(port)]),
        }
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

type LookUp<'a> = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, Error>> + 'a>>;

/// Asks, and goes as far as it goes without an answer.
fn lookup<'a>(resolver: &'a Resolver, runtime: &'a TestRuntime, host: &str) -> LookUp<'a> {
    let host = host.to_owned();
    let mut look_up: LookUp<'a> =
        Box::pin(async move { resolver.lookup(runtime, &host, 80).await });
    assert!(poll_until_stalled(&mut look_up).is_pending());
    look_up
}

fn ask_many<'a>(
    resolver: &'a Resolver,
    runtime: &'a TestRuntime,
    names: std::ops::Range<usize>,
) -> Vec<LookUp<'a>> {
    names
        .map(|n| lookup(resolver, runtime, &format!("host{n}")))
        .collect()
}

#[test]
fn those_who_ask_for_a_name_at_once_share_its_look_up() {
    let (runtime, server) = (TestRuntime::new(0), Server::default());
    let resolver = server.resolver();
    let one: Vec<_> = (0..100)
        .map(|_| lookup(&resolver, &runtime, "one"))
        .collect();
    let two = lookup(&resolver, &runtime, "two");
    server.started.wait_for(2);
    server.answer_all();
    for look_up in one {
        assert_eq!(run(look_up).unwrap(), [address(80)]);
    }
    assert_eq!(run(two).unwrap(), [address(80)]);
    // The port is part of the question.
    assert_eq!(
        run(resolver.lookup(&runtime, "one", 81)).unwrap(),
        [address(81)]
    );
    // What is asked later is looked up anew.
    run(resolver.lookup(&runtime, "one", 80)).unwrap();
    let mut asked = lock(&server.asked).clone();
    asked.sort();
    let question = |host: &str, port| (host.to_owned(), port);
    let wanted = [
        question("one", 80),
        question("one", 80),
        question("one", 81),
        question("two", 80),
    ];
    assert_eq!(asked, wanted);
}

#[test]
fn a_failure_is_told_to_all_who_wait_and_a_panic_goes_on_in_one() {
    let (runtime, server) = (TestRuntime::new(0), Server::default());
    let resolver = server.resolver();
    let broken: Vec<_> = (0..3)
        .map(|_| lookup(&resolver, &runtime, "broken"))
        .collect();
    let faulty: Vec<_> = (0..3)
        .map(|_| lookup(&resolver, &runtime, "faulty"))
        .collect();
    server.answer_all();
    for look_up in broken {
        let error = run(look_up).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Resolve);
        let cause = std::error::Error::source(&error).unwrap();
        assert!(cause.is::<io::Error>());
        assert_eq!(cause.to_string(), "the name server is gone");
    }
    let outcomes: Vec<_> = faulty
        .into_iter()
        .map(|look_up| catch_unwind(AssertUnwindSafe(|| run(look_up))))
        .collect();
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_err()).count(),
        1
    );
    for error in outcomes.into_iter().flatten().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Resolve);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "the resolver panicked: the resolver fell over");
    }
}

#[test]
fn who_leaves_takes_the_look_up_from_nobody() {
    let (runtime, server) = (TestRuntime::new(0), Server::default());
    let resolver = server.resolver();
    let first = lookup(&resolver, &runtime, "host");
    let second = lookup(&resolver, &runtime, "host");
    server.started.wait_for(1);
    drop(first);
    server.answer_all();
    assert_eq!(run(second).unwrap(), [address(80)]);
    assert_eq!(server.started.get(), 1);

    // Neither when it has not begun, and waits behind others.
    let server = Server::default();
    let resolver = server.resolver();
    let others = ask_many(&resolver, &runtime, 0..AT_ONCE);
    server.started.wait_for(AT_ONCE);
    let first = lookup(&resolver, &runtime, "host");
    let second = lookup(&resolver, &runtime, "host");
    drop(first);
    server.answer_all();
    assert_eq!(run(second).unwrap(), [address(80)]);
    drop(others);
}

#[test]
fn few_run_at_once_and_those_behind_them_begin_in_order() {
    let (runtime, server) = (TestRuntime::new(0), Server::default());
    let resolver = server.resolver();
    let look_ups = ask_many(&resolver, &runtime, 0..AT_ONCE + 2);
    server.started.wait_for(AT_ONCE);
    assert_eq!(runtime.blocking_started().get(), AT_ONCE);
    let mut look_ups: Vec<_> = look_ups.into_iter().map(Some).collect();
    for n in [0, 1] {
        server.answer(&format!("host{n}"));
        run(look_ups[n].take().unwrap()).unwrap();
        let next = look_ups[AT_ONCE + n].as_mut().unwrap();
        assert!(poll_until_stalled(next).is_pending());
        server.started.wait_for(AT_ONCE + n + 1);
        let last = lock(&server.asked).last().unwrap().0.clone();
        assert_eq!(last, format!("host{}", AT_ONCE + n));
    }
    server.answer_all();
    for look_up in look_ups.into_iter().flatten() {
        assert_eq!(run(look_up).unwrap(), [address(80)]);
    }
}

#[test]
fn what_nobody_waits_for_stalls_nobody() {
    let (runtime, server) = (TestRuntime::new(0), Server::default());
    let resolver = server.resolver();
    let hung = ask_many(&resolver, &runtime, 0..AT_ONCE);
    server.started.wait_for(AT_ONCE);
    drop(hung);
    server.answer("host");
    let found = run(resolver.lookup(&runtime, "host", 80)).unwrap();
    assert_eq!(found, [address(80)]);
    server.answer_all();
}

#[test]
fn a_look_up_has_a_time_of_its_own() {
    let (runtime, server) = (TestRuntime::new(0), Server::default());
    let resolver = server.resolver();
    let mut first = lookup(&resolver, &runtime, "host");
    server.started.wait_for(1);
    let (half, moment) = (LIMIT / 2, Duration::from_millis(1));
    runtime.advance(half);
    // Joins it, and waits for what is left of its time.
    let second = lookup(&resolver, &runtime, "host");
    runtime.advance(LIMIT - half - moment);
    assert!(poll_until_stalled(&mut first).is_pending());
    runtime.advance(moment);
    // Its time has passed, so it is not joined any more.
    let third = lookup(&resolver, &runtime, "host");
    for late in [first, second] {
        let error = run(late).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.phase(), Some(Phase::Connect));
        assert!(error.to_string().contains("host"), "{error}");
    }
    server.started.wait_for(2);
    server.answer_all();
    assert_eq!(run(third).unwrap(), [address(80)]);
    assert_eq!(runtime.sleeping(), 0);
}

#[test]
fn hung_look_ups_are_bounded_and_the_error_says_so() {
    let (runtime, server) = (TestRuntime::new(0), Server::default());
    let resolver = server.resolver();
    let all = AT_ONCE + GIVEN_UP;
    for first in (0..all).step_by(AT_ONCE) {
        let hung = ask_many(&resolver, &runtime, first..first + AT_ONCE);
        server.started.wait_for(first + AT_ONCE);
        runtime.advance(LIMIT);
        for look_up in hung {
            assert_eq!(run(look_up).unwrap_err().kind(), ErrorKind::Timeout);
        }
    }
    let refused = lookup(&resolver, &runtime, "host");
    runtime.advance(LIMIT);
    let error = run(refused).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Resolve);
    assert!(error.to_string().contains("96"), "{error}");
    assert_eq!(server.started.get(), all);

    // One that ends makes room for one, whichever it was.
    server.answer("host");
    let mut waiting = lookup(&resolver, &runtime, "host");
    server.answer("host0");
    assert_eq!(run(&mut waiting).unwrap(), [address(80)]);

    // And when all have ended, all is as before.
    server.answer_all();
    runtime.blocking_running().wait_for(0);
    let server = {
        let look_ups = (0..AT_ONCE).map(|n| ask_now(&resolver, &runtime, &format!("again{n}")));
        look_ups.collect::<Vec<_>>()
    };
    for look_up in server {
        assert_eq!(run(look_up).unwrap(), [address(80)]);
    }
    assert_eq!(runtime.blocking_started().get(), all + 1 + AT_ONCE);
}

/// Asks without waiting for more than the look-up's beginning.
fn ask_now<'a>(resolver: &'a Resolver, runtime: &'a TestRuntime, host: &str) -> LookUp<'a> {
    let host = host.to_owned();
    let mut look_up: LookUp<'a> =
        Box::pin(async move { resolver.lookup(runtime, &host, 80).await });
    match poll_until_stalled(&mut look_up) {
        Poll::Pending => look_up,
        Poll::Ready(found) => Box::pin(std::future::ready(found)),
    }
}

#[test]
fn what_waits_for_its_thread_is_not_looked_up_for_nobody() {
    let (runtime, server) = (TestRuntime::new(0), Server::default());
    let resolver = server.resolver();
    server.answer_all();
    runtime.hold_blocking();
    drop(lookup(&resolver, &runtime, "nobody"));
    let look_up = lookup(&resolver, &runtime, "somebody");
    runtime.release_blocking();
    assert_eq!(run(look_up).unwrap(), [address(80)]);
    runtime.blocking_running().wait_for(0);
    assert_eq!(*lock(&server.asked), [("somebody".to_owned(), 80)]);
}

#[test]
fn a_runtime_that_ends_ends_the_look_up() {
    let (runtime, server) = (TestRuntime::new(0), Server::default());
    let resolver = server.resolver();
    runtime.hold_blocking();
    let look_up = lookup(&resolver, &runtime, "host");
    runtime.end();
    assert_eq!(run(look_up).unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn threads_share_look_ups_too() {
    let server = Server::default();
    let resolver = server.resolver();
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let lookup = || resolver.lookup_blocking("host", 80, None, &cancel);
        let first = scope.spawn(lookup);
        server.started.wait_for(1);
        let others: Vec<_> = (0..8).map(|_| scope.spawn(lookup)).collect();
        server.answer_all();
        for asked in others.into_iter().chain([first]) {
            assert_eq!(asked.join().unwrap().unwrap(), [address(80)]);
        }
    });
    // Those who came after the answer asked anew.
    assert!(server.started.get() <= 9);
}

#[test]
fn threads_that_give_up_stall_nobody() {
    let server = Server::default();
    let resolver = server.resolver();
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let (resolver, cancel) = (&resolver, &cancel);
        let hung: Vec<_> = (0..AT_ONCE)
            .map(|n| {
                let host = format!("host{n}");
                scope.spawn(move || resolver.lookup_blocking(&host, 80, None, cancel))
            })
            .collect();
        server.started.wait_for(AT_ONCE);
        cancel.cancel();
        for asked in hung {
            let error = asked.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        }
    });
    server.answer("host");
    let found = resolver.lookup_blocking("host", 80, None, &Cancel::new());
    assert_eq!(found.unwrap(), [address(80)]);
    server.answer_all();
}

#[test]
fn the_systems_resolver_knows_this_machine() {
    let mut options = ClientOptions::default();
    options.resolver = Arc::new(SystemResolver);
    let resolver = Resolver::new(&options);
    let found = run(resolver.lookup(&TestRuntime::new(0), "localhost", 80)).unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback()));
}
