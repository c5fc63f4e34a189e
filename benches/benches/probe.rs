//! Measures how much time the probe adds to a poll. The polled future has no label, has a label, or has a
//! label while the probe's watchdog thread looks for stalls. The first two cases are also measured with a
//! future that wakes its task in each poll.

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, criterion_group, criterion_main};
use inflight::probe::{FutureExt, Probe};

/// Returns a future that is never ready, so that it can be polled any number of times.
fn idle() -> impl Future<Output = ()> {
    poll_fn(|cx| {
        black_box(cx.waker());
        Poll::Pending
    })
}

/// Returns a future that is never ready and wakes its task in each poll.
fn self_waking() -> impl Future<Output = ()> {
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
    measure(criterion, "bare, woken", self_waking());
    measure(
        criterion,
        "label, woken",
        self_waking().probed("bench woken"),
    );
    let Ok(_probe) = Probe::builder().start(|_| {}) else {
        return;
    };
    measure(criterion, "watched", idle().probed("bench"));
}

criterion_group!(benches, polls);
criterion_main!(benches);
