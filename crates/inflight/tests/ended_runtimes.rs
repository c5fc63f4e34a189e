//! Tests of sessions on a runtime that has ended, that lacks a driver, or that no thread drives.
#![cfg(all(
    feature = "rt-tokio",
    feature = "client-hyper",
    feature = "client-isahc",
    feature = "client-surf",
    feature = "client-ureq"
))]

use std::error::Error as _;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use inflight::backend::{self, BoxFuture, Offload};
use inflight::clients::{Hyper, Isahc, Surf, Ureq};
use inflight::runtimes::Tokio;
use inflight::{BlockOn, Cell, Error, ErrorKind, Phase, Session, SessionBuilder, Task};
use inflight_origin::Origin;
use inflight_origin::script::{Script, ScriptedServer};
use tokio::runtime::{Builder, Runtime};

const PATIENCE: Duration = Duration::from_secs(30);

/// A function that returns a session builder with one of the clients on a runtime.
type Build = fn(Arc<dyn backend::Runtime>) -> SessionBuilder;

const CLIENTS: [(&str, Build); 4] = [
    ("hyper", |tokio| {
        Session::builder(|options| Ok((Hyper::new(tokio.clone(), options)?, tokio)))
    }),
    ("surf", |tokio| {
        Session::builder(|options| Ok((Surf::new(tokio.clone(), options)?, tokio)))
    }),
    ("isahc", |tokio| {
        Session::builder(|options| Ok((Isahc::new(tokio.clone(), options)?, tokio)))
    }),
    ("ureq", |tokio| {
        Session::builder(|options| Ok((Offload::new(Ureq::new(options)?, tokio.clone()), tokio)))
    }),
];

fn on(runtime: &Runtime) -> Arc<dyn backend::Runtime> {
    Arc::new(Tokio::from(runtime.handle().clone()))
}

/// Returns the runtime that `#[tokio::test]` starts.
fn runtime_of_a_test() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[track_caller]
fn assert_ended(client: &str, result: Result<String, Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime, "{client}: {error:?}");
    let message = error.to_string();
    assert!(message.contains("has ended"), "{client}: {message}");
    assert!(message.contains("build the session"), "{client}: {message}");
}

#[test]
fn a_request_fails_with_kind_no_runtime_if_the_runtime_has_ended() {
    let origin = Origin::start().unwrap();
    for (client, build) in CLIENTS {
        for runtime in [runtime_of_a_test(), Runtime::new().unwrap()] {
            let session = build(on(&runtime)).build().unwrap();
            // Leaves an idle connection in the pool.
            let page = runtime.block_on(session.get(origin.url("/page/7")).text());
            assert!(page.unwrap().contains('7'), "{client}");
            drop(runtime);
            let requests = origin.stats().requests;
            let other = runtime_of_a_test();
            for host in ["127.0.0.1", "localhost"] {
                let url = format!("http://{host}:{}/page/7", origin.addr().port());
                assert_ended(client, other.block_on(session.get(&url).text()));
                assert_ended(
                    client,
                    smol::block_on(session.get(&url).timeout(None).text()),
                );
                let upload = session.post(&url).file("Cargo.toml");
                assert_ended(client, smol::block_on(upload.text()));
            }
            assert_eq!(origin.stats().requests, requests, "{client}");
            other.block_on(session.close(PATIENCE));
        }
    }
}

#[test]
fn a_static_session_fails_in_the_second_test_and_suggests_a_remedy() {
    static SESSION: OnceLock<Session> = OnceLock::new();
    let origin = Origin::start().unwrap();
    let test = |runtime: Runtime| {
        runtime.block_on(async {
            let session = SESSION.get_or_init(|| {
                let tokio = Arc::new(Tokio::current().unwrap());
                CLIENTS[0].1(tokio).build().unwrap()
            });
            session.get(origin.url("/page/7")).text().await
        })
    };
    assert!(test(runtime_of_a_test()).unwrap().contains('7'));
    assert_ended("hyper", test(runtime_of_a_test()));
}

#[test]
fn a_request_fails_if_its_runtime_ends_before_the_head_or_during_the_body() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab";
    for (client, build) in CLIENTS {
        for sends in ["", head] {
            let script = Script::new().read_request().send(sends).hang();
            let server = ScriptedServer::with_script(script).unwrap();
            let runtime = Runtime::new().unwrap();
            let session = build(on(&runtime)).build().unwrap();
            let (received, has_received) = smol::channel::bounded(1);
            let request = session.get(server.url("/"));
            let waiting = thread::spawn(move || {
                smol::block_on(async {
                    let mut response = request.send().await?;
                    let first = response.chunk().await?.unwrap();
                    received.send_blocking(first).unwrap();
                    response.text().await
                })
            });
            match sends {
                "" => assert!(server.wait_for_requests(1, PATIENCE), "{client}"),
                _ => assert_eq!(has_received.recv_blocking().unwrap(), "ab", "{client}"),
            }
            runtime.shutdown_background();
            assert_ended(client, waiting.join().unwrap());
        }
    }
}

#[test]
fn a_request_on_a_runtime_without_drivers_fails_and_suggests_a_remedy() {
    let origin = Origin::start().unwrap();
    // A request that waits needs a timer.
    let silent = ScriptedServer::with_script(Script::new().read_request().hang()).unwrap();
    for (client, build) in CLIENTS {
        let has_own_sockets = matches!(client, "isahc" | "ureq");
        for (io, time) in [(false, false), (true, false), (false, true)] {
            let mut builder = Builder::new_current_thread();
            if io {
                builder.enable_io();
            }
            if time {
                builder.enable_time();
            }
            let runtime = builder.build().unwrap();
            let session = build(on(&runtime)).build().unwrap();
            // The second request must have the same result, although it does not use the missing driver.
            for _ in 0..2 {
                if time && has_own_sockets {
                    let page = session.get(origin.url("/page/7")).text();
                    assert!(runtime.block_on(page).unwrap().contains('7'), "{client}");
                    continue;
                }
                let request = session.get(silent.url("/")).send();
                let error = runtime.block_on(request).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NoRuntime, "{client}: {error:?}");
                let message = error.to_string();
                assert!(message.contains("enable_all"), "{client}: {message}");
            }
        }
    }
}

#[test]
fn a_request_times_out_on_a_runtime_that_no_thread_drives() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/page/7");
    for (client, build) in CLIENTS {
        let runtime = runtime_of_a_test();
        let session = build(on(&runtime)).build().unwrap();
        if matches!(client, "isahc" | "ureq") {
            // These clients need only the runtime's blocking pool, which has its own threads.
            let outside = smol::block_on(session.get(&url).text());
            assert!(outside.unwrap().contains('7'), "{client}");
            continue;
        }
        let request = session.get(&url).timeout(Duration::from_millis(200));
        let error = smol::block_on(request.text()).unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Total), "{client}: {error:?}");
        let reason = error.source().unwrap().to_string();
        assert!(
            reason.contains("outside the single-threaded tokio"),
            "{client}: {reason}"
        );
        // The session works inside its runtime.
        let inside = runtime.block_on(session.get(&url).text());
        assert!(inside.unwrap().contains('7'), "{client}");
        smol::block_on(session.close(PATIENCE));
    }
}

/// Returns a sleep that has been polled once, inside the runtime.
fn sleep_inside(runtime: &Runtime, duration: Duration) -> BoxFuture<'static, ()> {
    let mut sleep = on(runtime).sleep(duration);
    let slept = runtime.block_on(futures_lite::future::poll_once(&mut sleep));
    assert!(slept.is_none());
    sleep
}

#[test]
fn a_sleep_ends_outside_the_runtime_that_it_began_in() {
    let runtime = runtime_of_a_test();
    smol::block_on(sleep_inside(&runtime, Duration::from_millis(500)));
}

#[test]
fn a_sleep_completes_if_its_runtime_ends() {
    let hour = Duration::from_secs(3600);
    for runtime in [runtime_of_a_test(), Runtime::new().unwrap()] {
        let tokio = on(&runtime);
        let begun = sleep_inside(&runtime, hour);
        drop(runtime);
        smol::block_on(begun);
        smol::block_on(tokio.sleep(hour));
        let error = tokio.check_running().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRuntime);
    }
}

#[test]
fn a_runtime_that_a_cell_has_started_lives_as_long_as_the_session() {
    let origin = Origin::start().unwrap();
    for cell in Cell::compiled() {
        // With a number of workers, the cell starts a separate smol executor, not the global one.
        let workers = NonZeroUsize::new(2).filter(|_| cell.runtime() == "smol");
        let backend = cell.start(workers).unwrap();
        let session = backend.session().unwrap();
        let page = || session.get(origin.url("/page/7")).text();
        assert!(backend.block_on(page()).unwrap().contains('7'), "{cell}");
        drop(backend);
        assert!(smol::block_on(page()).unwrap().contains('7'), "{cell}");
        // The task completes only if the runtime is running.
        let task = Task::spawn(session.runtime(), page());
        assert!(
            smol::block_on(task).unwrap().unwrap().contains('7'),
            "{cell}"
        );
    }
}
