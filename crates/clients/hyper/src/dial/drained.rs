//! A socket that remembers that there was nothing more to read.
//!
//! hyper looks for more each time its task is woken, some five times for a request. tokio's sockets
//! know by themselves that there is nothing; those of async-io would ask the system each time. A
//! reader that has said that it is pending has promised to wake: until it does, nobody has to ask.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};

/// The socket, of any runtime.
pub struct Drained<S> {
    stream: S,
    signal: Arc<Signal>,
    /// Wakes by the signal.
    waker: Waker,
    is_drained: bool,
}

/// Whom the runtime wakes when there is something to read.
#[derive(Default)]
struct Signal {
    is_given: AtomicBool,
    reader: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_given.store(true, Ordering::SeqCst);
        self.reader.wake();
    }
}

impl<S: Unpin> Drained<S> {
    pub(super) fn new(stream: S) -> Self {
        let signal = Arc::new(Signal::default());
        Self {
            stream,
            waker: Waker::from(signal.clone()),
            signal,
            is_drained: false,
        }
    }

    fn stream(&mut self) -> Pin<&mut S> {
        Pin::new(&mut self.stream)
    }
}

impl<S: Read + Unpin> Read for Drained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Before the look at the signal: one that is given between the two wakes.
        this.signal.reader.register(cx.waker());
        let is_given = this.signal.is_given.swap(false, Ordering::SeqCst);
        if this.is_drained && !is_given {
            return Poll::Pending;
        }
        let mut context = Context::from_waker(&this.waker);
        let read = Pin::new(&mut this.stream).poll_read(&mut context, buffer);
        this.is_drained = read.is_pending();
        read
    }
}

impl<S: Write + Unpin> Write for Drained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::ReadBuf;

    use super::*;

    /// Has what it is given, once; counts how often it is asked.
    #[derive(Default)]
    struct Socket {
        has: Option<&'static [u8]>,
        asked: usize,
        reader: Option<Waker>,
    }

    impl Read for Socket {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            mut buffer: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            self.asked += 1;
            let Some(bytes) = self.has.take() else {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            buffer.put_slice(bytes);
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// How many bytes there are for the task, if there are any.
    fn read(socket: &mut Drained<Socket>, task: &Arc<Task>) -> Poll<usize> {
        let waker = Waker::from(task.clone());
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let polled =
            Pin::new(socket).poll_read(&mut Context::from_waker(&waker), buffer.unfilled());
        polled.map(|result| {
            result.unwrap();
            buffer.filled().len()
        })
    }

    #[test]
    fn nobody_asks_again_before_there_is_something() {
        let (first, last) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let mut socket = Drained::new(Socket::default());
        for task in [&first, &first, &last] {
            assert!(read(&mut socket, task).is_pending());
        }
        assert_eq!(socket.stream.asked, 1);

        socket.stream.has = Some(b"bytes");
        socket.stream.reader.take().unwrap().wake();
        let was_woken = |task: &Task| task.0.load(Ordering::SeqCst);
        assert_eq!((was_woken(&first), was_woken(&last)), (false, true));
        assert_eq!(read(&mut socket, &last), Poll::Ready(5));
        // There may be more: only an answer that there is not is remembered.
        assert!(read(&mut socket, &last).is_pending());
        assert_eq!(socket.stream.asked, 3);
    }

    #[test]
    fn a_wake_while_one_asks_is_not_lost() {
        let task = Arc::new(Task::default());
        let mut socket = Drained::new(Socket::default());
        assert!(read(&mut socket, &task).is_pending());
        // It came for nothing: who asks hears so, and waits again.
        socket.stream.reader.take().unwrap().wake();
        assert!(read(&mut socket, &task).is_pending());
        assert_eq!(socket.stream.asked, 2);
        socket.stream.has = Some(b"bytes");
        socket.stream.reader.take().unwrap().wake();
        assert_eq!(read(&mut socket, &task), Poll::Ready(5));
    }
}
