//! Primitives that loom controls, with the interfaces of the primitives that the crate uses otherwise.
//!
//! loom knows neither async-channel nor async-lock nor the waker of futures. The types here have the documented
//! behaviour of these types, in the simplest form. They do not model how those crates implement it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use loom::sync::atomic;
pub(crate) use loom::sync::{Mutex, MutexGuard};

/// Defines an atomic whose operations have one order that all threads agree on.
///
/// loom treats `SeqCst` like `AcqRel`, so its loads may return an old value. A read-modify-write operation always
/// returns the latest value.
macro_rules! sequential {
    ($name:ident, $value:ty, $load:expr) => {
        #[doc = concat!("An `", stringify!($name), "` without stale loads.")]
        #[derive(Debug)]
        pub(crate) struct $name(atomic::$name);

        #[allow(dead_code, reason = "not every atomic is used with every operation")]
        impl $name {
            /// Returns a new atomic.
            pub(crate) fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            /// Returns the latest value.
            pub(crate) fn load(&self, order: atomic::Ordering) -> $value {
                let _ = order;
                $load(&self.0)
            }

            /// Sets the value.
            pub(crate) fn store(&self, value: $value, order: atomic::Ordering) {
                let _ = order;
                self.0.swap(value, atomic::Ordering::SeqCst);
            }
        }

        impl Deref for $name {
            type Target = atomic::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

sequential!(AtomicBool, bool, |inner: &atomic::AtomicBool| {
    inner.fetch_or(false, atomic::Ordering::SeqCst)
});
sequential!(AtomicU8, u8, |inner: &atomic::AtomicU8| {
    inner.fetch_add(0, atomic::Ordering::SeqCst)
});
sequential!(AtomicU64, u64, |inner: &atomic::AtomicU64| {
    inner.fetch_add(0, atomic::Ordering::SeqCst)
});
sequential!(AtomicUsize, usize, |inner: &atomic::AtomicUsize| {
    inner.fetch_add(0, atomic::Ordering::SeqCst)
});

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The waker that was registered last.
#[derive(Default)]
pub(crate) struct AtomicWaker(Mutex<Option<Waker>>);

impl AtomicWaker {
    /// Returns an empty waker.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Replaces the waker.
    pub(crate) fn register(&self, waker: &Waker) {
        let previous = lock(&self.0).replace(waker.clone());
        drop(previous);
    }

    /// Wakes and removes the waker.
    pub(crate) fn wake(&self) {
        let waker = lock(&self.0).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The wakers of futures that wait, in the order of their arrival.
#[derive(Default)]
struct WaitQueue {
    next_id: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl WaitQueue {
    /// Adds or replaces the waker of a future, whose id is in `id`.
    fn register(&mut self, id: &mut Option<u64>, waker: &Waker) {
        let id = *id.get_or_insert_with(|| {
            self.next_id += 1;
            self.next_id
        });
        self.wakers.insert(id, waker.clone());
    }

    fn take_first(&mut self) -> Option<Waker> {
        self.wakers.pop_first().map(|(_, waker)| waker)
    }
}

/// A semaphore like that of async-lock: a released permit wakes the first waiter, but a newcomer may take it.
pub(crate) struct Semaphore(Mutex<SemaphoreState>);

struct SemaphoreState {
    free: usize,
    queue: WaitQueue,
}

impl Semaphore {
    /// Returns a semaphore.
    pub(crate) fn new(permits: usize) -> Self {
        Self(Mutex::new(SemaphoreState {
            free: permits,
            queue: WaitQueue::default(),
        }))
    }

    /// Waits for a permit.
    pub(crate) fn acquire_arc(self: &Arc<Self>) -> AcquireArc {
        AcquireArc {
            semaphore: self.clone(),
            id: None,
        }
    }

    /// Wakes the first waiter if a permit is free.
    fn notify(&self, released: usize) {
        let first = {
            let mut permits = lock(&self.0);
            permits.free += released;
            match permits.free {
                0 => None,
                _ => permits.queue.take_first(),
            }
        };
        if let Some(waker) = first {
            waker.wake();
        }
    }
}

/// A future of [`Semaphore::acquire_arc`].
pub(crate) struct AcquireArc {
    semaphore: Arc<Semaphore>,
    id: Option<u64>,
}

impl Future for AcquireArc {
    type Output = SemaphoreGuardArc;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SemaphoreGuardArc> {
        let this = self.get_mut();
        let mut permits = lock(&this.semaphore.0);
        if permits.free == 0 {
            permits.queue.register(&mut this.id, cx.waker());
            return Poll::Pending;
        }
        permits.free -= 1;
        let waker = this
            .id
            .take()
            .and_then(|id| permits.queue.wakers.remove(&id));
        drop(permits);
        drop(waker);
        Poll::Ready(SemaphoreGuardArc(this.semaphore.clone()))
    }
}

impl Drop for AcquireArc {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let waker = lock(&self.semaphore.0).queue.wakers.remove(&id);
        // This waiter has been woken and takes no permit, so it wakes the next one.
        if waker.is_none() {
            self.semaphore.notify(0);
        }
    }
}

/// A permit of a [`Semaphore`].
pub(crate) struct SemaphoreGuardArc(Arc<Semaphore>);

impl Drop for SemaphoreGuardArc {
    fn drop(&mut self) {
        self.0.notify(1);
    }
}

/// Returns a channel that carries no message, and closes when its last sender is dropped.
pub(crate) fn bounded(_capacity: usize) -> (Sender<Infallible>, Receiver<Infallible>) {
    let channel = Arc::new(Channel(Mutex::new(Senders {
        count: 1,
        queue: WaitQueue::default(),
    })));
    let sender = Sender(channel.clone(), PhantomData);
    (sender, Receiver(channel, PhantomData))
}

struct Channel(Mutex<Senders>);

struct Senders {
    count: usize,
    queue: WaitQueue,
}

/// A sender of [`bounded`].
pub(crate) struct Sender<T>(Arc<Channel>, PhantomData<fn() -> T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.0.0).count += 1;
        Self(self.0.clone(), PhantomData)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let wakers = {
            let mut senders = lock(&self.0.0);
            senders.count -= 1;
            match senders.count {
                0 => std::mem::take(&mut senders.queue.wakers),
                _ => return,
            }
        };
        wakers.into_values().for_each(Waker::wake);
    }
}

/// A receiver of [`bounded`].
pub(crate) struct Receiver<T>(Arc<Channel>, PhantomData<fn() -> T>);

impl<T> Receiver<T> {
    /// Waits until the channel is closed.
    pub(crate) fn recv(&self) -> Recv<'_> {
        Recv {
            channel: &self.0,
            id: None,
        }
    }
}

/// A future of [`Receiver::recv`].
pub(crate) struct Recv<'a> {
    channel: &'a Channel,
    id: Option<u64>,
}

impl Future for Recv<'_> {
    type Output = Result<Infallible, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut senders = lock(&this.channel.0);
        if senders.count == 0 {
            return Poll::Ready(Err(Closed));
        }
        senders.queue.register(&mut this.id, cx.waker());
        Poll::Pending
    }
}

impl Drop for Recv<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = lock(&self.channel.0).queue.wakers.remove(&id);
            drop(waker);
        }
    }
}

/// The channel is closed.
#[derive(Debug)]
pub(crate) struct Closed;
