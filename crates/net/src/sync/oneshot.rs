//! A channel for one message that loom controls, with the interface of the channel of futures.
//!
//! The channel has the documented behaviour of that channel, in the simplest form. It does not model how
//! futures implements it.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use loom::sync::{Mutex, MutexGuard};

struct Channel<T>(Mutex<ChannelState<T>>);

struct ChannelState<T> {
    value: Option<T>,
    /// Whether the sender was dropped or used, or the receiver was closed or dropped.
    is_closed: bool,
    waker: Option<Waker>,
}

impl<T> Channel<T> {
    fn message(&self) -> MutexGuard<'_, ChannelState<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The channel is closed and has no message.
#[derive(Debug)]
pub(crate) struct Canceled;

/// The sender of a message.
pub(crate) struct Sender<T>(Arc<Channel<T>>);

/// The receiver of a message.
pub(crate) struct Receiver<T>(Arc<Channel<T>>);

/// Returns a channel for one message.
pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel(Mutex::new(ChannelState {
        value: None,
        is_closed: false,
        waker: None,
    })));
    (Sender(channel.clone()), Receiver(channel))
}

impl<T> Sender<T> {
    /// Sends the message. Returns it if the receiver is closed.
    pub(crate) fn send(self, value: T) -> Result<(), T> {
        let mut message = self.0.message();
        if message.is_closed {
            return Err(value);
        }
        message.value = Some(value);
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut message = self.0.message();
            message.is_closed = true;
            message.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// Makes the sender fail from now on.
    pub(crate) fn close(&mut self) {
        self.0.message().is_closed = true;
    }

    /// Returns the message if it has arrived.
    pub(crate) fn try_recv(&mut self) -> Result<Option<T>, Canceled> {
        let mut message = self.0.message();
        match message.value.take() {
            None if message.is_closed => Err(Canceled),
            value => Ok(value),
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Canceled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut message = self.0.message();
        if message.is_closed {
            return Poll::Ready(message.value.take().ok_or(Canceled));
        }
        let previous = message.waker.replace(cx.waker().clone());
        drop(message);
        drop(previous);
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}
