//! The promises of `Resolver`.

mod support;

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use inflight_core::{AddressGuard, Cancel, ClientOptions, ErrorKind, Resolve, Resolver, Support};
use support::{TestRuntime, answer, builder, client, run};

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
