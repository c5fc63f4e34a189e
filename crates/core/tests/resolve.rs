//! The promises of `Resolver`.

mod support;

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::future::{pending, ready};
use inflight_core::{
    AddressGuard, Cancel, ClientOptions, ErrorKind, Phase, Resolve, Resolver, Support,
};
use support::{TestRuntime, answer, builder, client, lock, poll_until_stalled, run};

type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Names become what a function says.
struct Names(Box<LookUp>);

impl Resolve for Names {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (self.0)(host, port)
    }
}

fn resolver(
    names: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> Resolver {
    let mut options = ClientOptions::default();
    options.resolver = Arc::new(Names(Box::new(names)));
    Resolver::new(&options)
}

fn address(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], port))
}

#[test]
fn an_address_in_the_place_of_a_name_is_not_looked_up() {
    let runtime = TestRuntime::new(0);
    let resolver = resolver(|host, _| panic!("{host} is no name"));
    for (host, expected) in [
        ("127.0.0.1", "127.0.0.1:80"),
        ("::1", "[::1]:80"),
        ("[::1]", "[::1]:80"),
    ] {
        let expected: SocketAddr = expected.parse().unwrap();
        assert_eq!(
            run(resolver.lookup(&runtime, host, 80)).unwrap(),
            [expected]
        );
        assert_eq!(
            resolver
                .lookup_blocking(host, 80, None, &Cancel::new())
                .unwrap(),
            [expected]
        );
    }
    assert_eq!(runtime.blocking_started().get(), 0);
}

#[test]
fn a_name_is_looked_up_on_the_blocking_pool() {
    let runtime = TestRuntime::new(0);
    let caller = std::thread::current().id();
    let resolver = resolver(move |host, port| {
        assert_ne!(std::thread::current().id(), caller);
        assert_eq!(host, "host");
        Ok(vec![address(2, port), address(1, port)])
    });
    let found = run(resolver.lookup(&runtime, "host", 81)).unwrap();
    assert_eq!(found, [address(2, 81), address(1, 81)]);
}

#[test]
fn a_name_without_an_address_and_a_failed_look_up_are_resolve_errors() {
    let runtime = TestRuntime::new(0);
    let resolver = resolver(|host, _| match host {
        "empty" => Ok(vec![]),
        _ => Err(io::Error::other("the name server is gone")),
    });
    for host in ["empty", "broken"] {
        for error in [
            run(resolver.lookup(&runtime, host, 80)).unwrap_err(),
            resolver
                .lookup_blocking(host, 80, None, &Cancel::new())
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Resolve);
            assert!(error.is_connect());
            assert!(error.to_string().contains(host));
        }
    }
}

#[test]
fn a_panic_of_the_resolver_arrives_at_the_caller() {
    let runtime = TestRuntime::new(0);
    let resolver = resolver(|_, _| resume_unwind(Box::new("the resolver fell over")));
    let caught = catch_unwind(AssertUnwindSafe(|| {
        run(resolver.lookup(&runtime, "host", 80))
    }));
    let payload = caught.unwrap_err();
    assert_eq!(
        payload.downcast_ref::<&str>(),
        Some(&"the resolver fell over")
    );
}

#[test]
fn connect_takes_the_first_address_that_answers() {
    let runtime = TestRuntime::new(0);
    let resolver = resolver(|_, port| Ok((1..=4).map(|n| address(n, port)).collect()));
    let tried = Mutex::new(Vec::new());
    let connect = |good: Option<u8>| {
        lock(&tried).clear();
        run(resolver.connect(&runtime, ("host", 80), None, |to| {
            lock(&tried).push(to);
            let answers = good.is_some_and(|good| to == address(good, 80));
            ready(if answers {
                Ok(to)
            } else {
                Err(io::ErrorKind::ConnectionRefused.into())
            })
        }))
    };
    assert_eq!(connect(Some(3)).unwrap(), address(3, 80));
    assert_eq!(lock(&tried).len(), 3);

    let error = connect(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains("192.0.2.4:80"));
    assert_eq!(lock(&tried).len(), 4);
}

#[test]
fn connecting_too_long_is_a_timeout_of_that_phase() {
    let runtime = TestRuntime::new(0);
    let limit = Duration::from_secs(10);
    let resolver = resolver(|_, port| Ok(vec![address(1, port)]));
    // The look-up counts as well as the connecting itself.
    for held in [true, false] {
        if held {
            runtime.hold_blocking();
        } else {
            runtime.release_blocking();
        }
        let connect = |_| pending::<io::Result<()>>();
        let connecting = resolver.connect(&runtime, ("host", 80), Some(limit), connect);
        let mut connecting = Box::pin(connecting);
        assert!(poll_until_stalled(&mut connecting).is_pending());
        runtime.advance(limit - Duration::from_secs(1));
        assert!(poll_until_stalled(&mut connecting).is_pending());
        runtime.advance(Duration::from_secs(1));
        let error = run(connecting).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.phase(), Some(Phase::Connect));
        assert!(error.is_connect());
        assert_eq!(runtime.sleeping(), 0);
    }
}

/// A name server that answers when it is told to.
struct Held(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Resolve for Held {
    fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // Ends too when the test does, its sender gone.
        let _ = self.0.lock().unwrap().recv();
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

#[test]
fn a_blocking_look_up_ends_with_its_time_or_its_cancel() {
    let (answer, held) = std::sync::mpsc::channel::<()>();
    let mut options = inflight_core::ClientOptions::default();
    options.resolver = Arc::new(Held(std::sync::Mutex::new(held)));
    let resolver = Resolver::new(&options);
    let moment = std::time::Duration::from_millis(1);
    let late = resolver.lookup_blocking("slow.test", 80, Some(moment), &Cancel::new());
    let late = late.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    assert_eq!(late.phase(), Some(inflight_core::Phase::Connect));

    let cancel = Cancel::new();
    let cancelled = std::thread::scope(|scope| {
        let look_up = scope.spawn(|| resolver.lookup_blocking("slow.test", 80, None, &cancel));
        cancel.cancel();
        look_up.join().unwrap().unwrap_err()
    });
    assert_eq!(cancelled.kind(), ErrorKind::Cancelled);
    drop(answer);
}

#[test]
fn what_the_guard_refuses_is_not_given_out() {
    let runtime = TestRuntime::new(0);
    let mut options = ClientOptions::default();
    options.address_guard = Some(AddressGuard::custom(|address| address.port() == 443));
    options.resolver = Arc::new(Names(Box::new(|_, port| {
        Ok(vec![address(1, port), address(2, 443)])
    })));
    let resolver = Resolver::new(&options);
    let found = run(resolver.lookup(&runtime, "host", 80)).unwrap();
    assert_eq!(found, [address(2, 443)]);
    let found = resolver.lookup_blocking("host", 80, None, &Cancel::new());
    assert_eq!(found.unwrap(), [address(2, 443)]);

    for refused in [
        run(resolver.lookup(&runtime, "192.0.2.1", 80)),
        resolver.lookup_blocking("192.0.2.1", 80, None, &Cancel::new()),
        run(resolver.connect(&runtime, ("192.0.2.1", 80), None, |_| {
            ready(Err(io::Error::other("tried")))
        })),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert_eq!(error.address_refused().unwrap().address(), address(1, 80));
    }
}

#[test]
fn a_client_that_would_not_ask_the_guard_is_not_given_one() {
    let runtime = TestRuntime::new(0);
    let mut deaf = client(|_| async { answer("reached") });
    deaf.capabilities.address_guard = Support::No("it connects where it likes");
    let guarded = builder(deaf, &runtime).address_guard(AddressGuard::public());
    let error = guarded.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("where it likes"), "{error}");
}
