//! What hyper does not tell of its connections: which of them a request has, and when the last is
//! gone.
//!
//! hyper says of two things that the message was incomplete: of a server that hangs up on a
//! request, and of one that had hung up before it came. Only after the second is a request worth
//! sending again, and only a kept connection can have that.
//!
//! hyper's connection and the request meet in a channel of tokio's. Where the one goes away while
//! the other is being put in, the channel keeps it and nobody is told: the request would wait for
//! its timeout. So a request watches its connection too; and one that is made just now does not
//! end before it has a request.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use async_channel::Sender;
use event_listener::{Event, EventListener};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, Connection};
use inflight_core::{BoxFuture, Runtime};

/// How long a connection is young: its end waits for its first request. One that ends later ends
/// in the pool, where hyper-util has to see it.
const YOUNG: Duration = Duration::from_millis(250);

/// How long after its connection's end a request may hear of it: hyper tells it in the same poll,
/// in which a busy machine may make a pause.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

/// Something that is never sent: what counts is who could.
pub(crate) enum Nothing {}

thread_local! {
    /// Whether the request that is polled has asked for a new connection in this poll.
    static HAS_ASKED: Cell<bool> = const { Cell::new(false) };

    /// The connection that the request that is polled was given last in this poll.
    static GIVEN: RefCell<Option<Arc<Life>>> = const { RefCell::new(None) };
}

/// The request that is polled now waits for a connection to be made, and has given up the one that
/// it had.
pub(crate) fn asked() {
    HAS_ASKED.set(true);
    GIVEN.take();
}

/// A connection, as its requests know it. hyper-util copies it when it gives the connection to a
/// request whose connection is captured, and into the response, both in a poll of the request's:
/// to note that costs less than to look it up among the extras of what was captured.
struct Known(Arc<Life>);

impl Clone for Known {
    fn clone(&self) -> Self {
        GIVEN.set(Some(self.0.clone()));
        Self(self.0.clone())
    }
}

struct Life {
    made: Instant,
    has_served: AtomicBool,
    has_ended: AtomicBool,
    ended: Event,
}

impl Life {
    /// Whether it has served nobody before.
    fn is_unused(&self) -> bool {
        !self.has_served.swap(true, Ordering::Relaxed)
    }

    /// `None` when it has ended.
    fn listen(&self) -> Option<EventListener> {
        let ended = self.ended.listen();
        (!self.has_ended.load(Ordering::Acquire)).then_some(ended)
    }
}

/// Where a request is.
enum Stage {
    /// Without a connection, or with one that it has given up.
    Waiting,
    /// On a connection until that ends.
    On(EventListener),
    /// Its connection has ended, and for this long hyper may say so.
    Grace(BoxFuture<'static, ()>),
}

/// The connections of one request: hyper-util gives it another when the first was closed before
/// the request was sent.
pub(crate) struct Watch<'a> {
    captured: CaptureConnection,
    runtime: &'a dyn Runtime,
    grace: Option<Duration>,
    stage: Stage,
    has_asked: bool,
    connection: Option<Arc<Life>>,
    is_new: bool,
}

impl<'a> Watch<'a> {
    /// Watches the connections of the request that they are captured from. So long after the end
    /// of one a request that has no answer and asks for no other connection is lost; never, when
    /// there is no `grace`.
    pub(crate) fn new(
        captured: CaptureConnection,
        runtime: &'a dyn Runtime,
        grace: Option<Duration>,
    ) -> Self {
        Self {
            captured,
            runtime,
            grace,
            stage: Stage::Waiting,
            has_asked: false,
            connection: None,
            is_new: false,
        }
    }

    /// What the request comes to; `None` when it is lost with its connection, unsent. `connected`
    /// is called when a connection was made for it.
    pub(crate) async fn until<T, E>(
        &mut self,
        request: impl Future<Output = Result<T, E>>,
        connected: impl Fn(),
    ) -> Option<Result<T, E>> {
        let mut request = pin!(request);
        poll_fn(|cx| {
            let outer = (HAS_ASKED.replace(false), GIVEN.take());
            let polled = request.as_mut().poll(cx);
            let has_asked = HAS_ASKED.replace(outer.0);
            let given = GIVEN.replace(outer.1);
            if has_asked {
                self.has_asked = true;
                self.stage = Stage::Waiting;
                self.connection = None;
                self.is_new = false;
            }
            if let Some(given) = given {
                self.is_on(given, &connected);
            }
            match polled {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => self.poll_lost(cx).map(|()| None),
            }
        })
        .await
    }

    /// Whether others had the request's connection before it.
    pub(crate) fn is_reused(&self) -> bool {
        self.connection.is_some() && !self.is_new
    }

    /// The pool gives the request's connection to nobody else.
    pub(crate) fn retire(&self) {
        if let Some(connected) = &*self.captured.connection_metadata() {
            connected.poison();
        }
    }

    /// The request has this connection now.
    fn is_on(&mut self, given: Arc<Life>, connected: impl Fn()) {
        if let Some(before) = &self.connection
            && Arc::ptr_eq(before, &given)
        {
            return;
        }
        // One that was made for another and is unused was kept, as one that was used is.
        self.is_new = given.is_unused() && self.has_asked;
        if self.is_new {
            connected();
        }
        self.stage = match given.listen() {
            Some(ended) => Stage::On(ended),
            None => self.grace(),
        };
        self.connection = Some(given);
    }

    fn grace(&self) -> Stage {
        match self.grace {
            Some(grace) => Stage::Grace(self.runtime.sleep(grace)),
            None => Stage::Waiting,
        }
    }

    /// Ready when the connection has ended and hyper has not said so.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Stage::On(ended) = &mut self.stage {
            ready!(Pin::new(ended).poll(cx));
            self.stage = self.grace();
        }
        match &mut self.stage {
            Stage::Grace(rest) => rest.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

/// A connection of the pool's.
pub(crate) struct Kept<S> {
    stream: S,
    // From the first bytes of a request.
    is_used: bool,
    // Who reads, when it has ended and has not been used.
    waits: Option<Waker>,
    // Whether it is a proxy that reads the requests.
    is_forwarded: bool,
    life: Arc<Life>,
    _alive: Sender<Nothing>,
}

impl<S> Kept<S> {
    /// A connection that was made just now, to a proxy that forwards requests or to who answers
    /// them; when it is dropped, so is `alive`.
    pub(crate) fn new(stream: S, is_forwarded: bool, alive: Sender<Nothing>) -> Self {
        Self {
            stream,
            is_used: false,
            waits: None,
            is_forwarded,
            life: Arc::new(Life {
                made: Instant::now(),
                has_served: AtomicBool::new(false),
                has_ended: AtomicBool::new(false),
                ended: Event::new(),
            }),
            _alive: alive,
        }
    }

    fn written(&mut self) -> Pin<&mut S>
    where
        S: Unpin,
    {
        self.is_used = true;
        if let Some(reader) = self.waits.take() {
            reader.wake();
        }
        Pin::new(&mut self.stream)
    }
}

impl<S: Connection> Connection for Kept<S> {
    fn connected(&self) -> Connected {
        // Requests on it name their whole URL.
        let connected = self.stream.connected().proxy(self.is_forwarded);
        connected.extra(Known(self.life.clone()))
    }
}

impl<S> Drop for Kept<S> {
    fn drop(&mut self) {
        self.life.has_ended.store(true, Ordering::Release);
        self.life.ended.notify(usize::MAX);
    }
}

impl<S: Read + Unpin> Read for Kept<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_used && self.life.made.elapsed() < YOUNG {
            let mut byte = [0];
            let mut first = ReadBuf::new(&mut byte);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, first.unfilled()));
            if read.is_err() || first.filled().is_empty() {
                self.waits = Some(cx.waker().clone());
                return Poll::Pending;
            }
            buffer.put_slice(first.filled());
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for Kept<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written().poll_write_vectored(cx, slices)
    }
}
