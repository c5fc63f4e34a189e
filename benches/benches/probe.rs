//! Measures the cost of the probe: polls of a pending future without a label, with a label, and with a
//! label under a watchdog. Some of the futures also wake their task.

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, criterion_group, criterion_main};
use inflight::probe::{FutureExt, Probe};

/// Never ready, so that one future can be polled any number of times.
fn idle() -> impl Future<Output = ()> {
    poll_fn(|cx| {
        black_box(cx.waker());
        Poll::Pending
    })
}

fn woken() -> impl Future<Output = ()> {
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

fn measure(criterion: &mut Criterion, name: &str, future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    criterion.bench_function(&format!("probe/{name}"), |bencher| {
        bencher.iter(|| black_box(future.as_mut().poll(&mut cx)));
    });
}

fn polls(criterion: &mut Criterion) {
    measure(criterion, "bare", idle());
    measure(criterion, "label", idle().probed("bench"));
    measure(criterion, "bare, woken", woken());
    measure(criterion, "label, woken", woken().probed("bench woken"));
    let Ok(_probe) = Probe::builder().start(|_| {}) else {
        return;
    };
    measure(criterion, "watched", idle().probed("bench"));
}

criterion_group!(benches, polls);
criterion_main!(benches);
