//! Models of [`InFlight`]: closing, and the coarse timer.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use loom::future::block_on;
use loom::thread;

use super::{ModelRuntime, explore, join, spawn};
use crate::backend::runtime::Runtime;
use crate::session::in_flight::{InFlight, InFlightGuard};
use crate::sync::AtomicBool;

/// Sends a request that runs until the session is closed. Does nothing if the session accepts none.
async fn request(in_flight: Arc<InFlight>) {
    if let Some(mut guard) = InFlightGuard::new(&in_flight) {
        poll_fn(|cx| guard.poll_closed(cx)).await;
    }
}

#[test]
fn close_sees_every_request() {
    explore("closing ends every request in flight", || {
        let in_flight = InFlight::new(ModelRuntime::new());
        let requests = [(); 2].map(|()| spawn(request(in_flight.clone())));
        in_flight.start_closing();
        in_flight.close();
        block_on(poll_fn(|cx| in_flight.poll_empty(cx)));
        requests.into_iter().for_each(join);
        assert!(InFlightGuard::new(&in_flight).is_none());
        assert_eq!(in_flight.stats().in_flight, 0);
    });
}

#[test]
fn close_waits_for_the_last_request() {
    explore("closing waits until the last request has ended", || {
        let in_flight = InFlight::new(ModelRuntime::new());
        let has_closed = Arc::new(AtomicBool::new(false));
        let requests = [(); 2].map(|()| {
            let (in_flight, has_closed) = (in_flight.clone(), has_closed.clone());
            thread::spawn(move || {
                if let Some(guard) = InFlightGuard::new(&in_flight) {
                    assert!(!has_closed.load(Ordering::SeqCst));
                    drop(guard);
                }
            })
        });
        in_flight.start_closing();
        block_on(poll_fn(|cx| in_flight.poll_empty(cx)));
        has_closed.store(true, Ordering::SeqCst);
        requests.into_iter().for_each(join);
    });
}

#[test]
fn every_call_of_close_is_woken() {
    explore("two calls of close both end with the last request", || {
        let in_flight = InFlight::new(ModelRuntime::new());
        let guard = InFlightGuard::new(&in_flight);
        let closers = [(); 2].map(|()| {
            let in_flight = in_flight.clone();
            spawn(async move {
                in_flight.start_closing();
                poll_fn(|cx| in_flight.poll_empty(cx)).await;
            })
        });
        drop(guard);
        closers.into_iter().for_each(join);
    });
}

/// A waker that counts its wakes.
#[derive(Default)]
struct CountedWaker(AtomicUsize);

impl Wake for CountedWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A request that relies on the coarse timer.
struct WaitingRequest {
    guard: InFlightGuard,
    wakes: Arc<CountedWaker>,
}

impl WaitingRequest {
    fn new(in_flight: &Arc<InFlight>) -> Self {
        Self {
            guard: InFlightGuard::new(in_flight).expect("the session is open"),
            wakes: Arc::default(),
        }
    }

    fn poll(&mut self) {
        let waker = Waker::from(self.wakes.clone());
        let closed = self.guard.poll_closed(&mut Context::from_waker(&waker));
        assert!(closed.is_pending());
        let until = self.guard.runtime().now() + Duration::from_secs(60);
        assert!(self.guard.ensure_woken_before(until));
    }

    /// Returns the number of wakes since the last call.
    fn take_wakes(&self) -> usize {
        self.wakes.0.swap(0, Ordering::SeqCst)
    }
}

#[test]
fn the_coarse_timer_wakes_every_request() {
    explore(
        "a request that relies on the coarse timer while it fires is woken by it or by the next",
        || {
            let runtime = ModelRuntime::new();
            let in_flight = InFlight::new(runtime.clone());
            let mut first = WaitingRequest::new(&in_flight);
            first.poll();
            let timer = {
                let runtime = runtime.clone();
                thread::spawn(move || runtime.fire_timers())
            };
            let mut second = WaitingRequest::new(&in_flight);
            second.poll();
            join(timer);
            assert_eq!(first.take_wakes(), 1);
            runtime.fire_timers();
            assert_ne!(second.take_wakes(), 0);
            first.poll();
            second.poll();
            runtime.fire_timers();
            assert_ne!(first.take_wakes(), 0);
            assert_ne!(second.take_wakes(), 0);
        },
    );
}
