//! Tests of `Resolver`.

mod support;

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use inflight_core::{AddressGuard, Cancel, ClientOptions, ErrorKind, Resolve, Resolver, Support};
use support::{TestRuntime, builder, client, respond, run};

type ResolveFn = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// A resolver that calls a function.
struct FunctionResolver(Box<ResolveFn>);

impl Resolve for FunctionResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (self.0)(host, port)
    }
}

fn resolver(
    resolve: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> Resolver {
    let mut options = ClientOptions::default();
    options.resolver = Arc::new(FunctionResolver(Box::new(resolve)));
    Resolver::new(&options)
}

fn address(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], port))
}

#[test]
fn an_ip_address_is_not_looked_up() {
    let runtime = TestRuntime::new(0);
    let resolver = resolver(|host, _| panic!("the resolver was called for {host}"));
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
fn an_empty_result_and_a_failed_lookup_are_resolve_errors() {
    let runtime = TestRuntime::new(0);
    let resolver = resolver(|host, _| match host {
        "empty" => Ok(vec![]),
        _ => Err(io::Error::other("the name server failed")),
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
fn a_panic_of_the_resolver_is_propagated_to_the_caller() {
    let runtime = TestRuntime::new(0);
    let resolver = resolver(|_, _| resume_unwind(Box::new("the resolver panics")));
    let caught = catch_unwind(AssertUnwindSafe(|| {
        run(resolver.lookup(&runtime, "host", 80))
    }));
    let payload = caught.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the resolver panics"));
}

/// A resolver that blocks until the sender of its channel is dropped.
struct HungResolver(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Resolve for HungResolver {
    fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let _ = self.0.lock().unwrap().recv();
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

#[test]
fn a_blocking_lookup_ends_at_its_timeout_or_when_it_is_cancelled() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let mut options = inflight_core::ClientOptions::default();
    options.resolver = Arc::new(HungResolver(std::sync::Mutex::new(receiver)));
    let resolver = Resolver::new(&options);
    let timeout = std::time::Duration::from_millis(1);
    let timed_out = resolver.lookup_blocking("slow.test", 80, Some(timeout), &Cancel::new());
    let timed_out = timed_out.unwrap_err();
    assert_eq!(timed_out.kind(), ErrorKind::Timeout);
    assert_eq!(timed_out.phase(), Some(inflight_core::Phase::Connect));

    let cancel = Cancel::new();
    let cancelled = std::thread::scope(|scope| {
        let lookup = scope.spawn(|| resolver.lookup_blocking("slow.test", 80, None, &cancel));
        cancel.cancel();
        lookup.join().unwrap().unwrap_err()
    });
    assert_eq!(cancelled.kind(), ErrorKind::Cancelled);
    drop(sender);
}

#[test]
fn addresses_that_the_guard_refuses_are_not_returned() {
    let runtime = TestRuntime::new(0);
    let mut options = ClientOptions::default();
    options.address_guard = Some(AddressGuard::custom(|address| address.port() == 443));
    options.resolver = Arc::new(FunctionResolver(Box::new(|_, port| {
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
fn a_client_without_support_for_address_guards_is_rejected() {
    let runtime = TestRuntime::new(0);
    let mut without_guard = client(|_| async { respond("reached") });
    without_guard.capabilities.address_guard = Support::No("it connects to any address");
    let guarded = builder(without_guard, &runtime).address_guard(AddressGuard::public());
    let error = guarded.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("to any address"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_unix_socket_that_the_session_cannot_use_is_rejected() {
    let runtime = TestRuntime::new(0);
    let with_path = |path: &str| {
        let client = client(|_| async { respond("reached") });
        builder(client, &runtime).unix_socket(path)
    };
    assert!(with_path("http.sock").build().is_ok());
    let mut without_sockets = client(|_| async { respond("reached") });
    without_sockets.capabilities.unix_sockets = Support::No("it has no sockets");
    for (refused, reason) in [
        (with_path(""), "empty"),
        (with_path("a\0b"), "null"),
        (with_path(&"x".repeat(200)), "SUN_LEN"),
        (
            with_path("http.sock").proxy("http://me:secret@proxy.test"),
            "no proxies",
        ),
        (
            builder(without_sockets, &runtime).unix_socket("http.sock"),
            "no sockets",
        ),
    ] {
        let error = refused.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{reason}");
        let message = format!("{error} {error:?}");
        assert!(message.contains(reason), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}
