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

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use async_channel::Sender;
use event_listener::{Event, EventListener};
use http::Extensions;
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
}

/// The request that is polled now waits for a connection to be made.
pub(crate) fn asked() {
    HAS_ASKED.set(true);
}

/// A connection, as its requests know it.
#[derive(Clone)]
struct Known(Arc<Life>);

struct Life {
    made: Instant,
    has_served: AtomicBool,
    has_ended: AtomicBool,
    ended: Event,
}

impl Known {
    /// The last that hyper-util gave to a request.
    fn of(captured: &CaptureConnection) -> Option<Self> {
        let mut extras = Extensions::new();
        let connected = captured.connection_metadata();
        connected.as_ref()?.get_extras(&mut extras);
        extras.remove()
    }

    /// Whether it has served nobody before.
    fn is_unused(&self) -> bool {
        !self.0.has_served.swap(true, Ordering::Relaxed)
    }

    /// `None` when it has ended.
    fn listen(&self) -> Option<EventListener> {
        let ended = self.0.ended.listen();
        (!self.0.has_ended.load(Ordering::Acquire)).then_some(ended)
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
    connection: Option<Known>,
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
            let outer = HAS_ASKED.replace(false);
            let polled = request.as_mut().poll(cx);
            if HAS_ASKED.replace(outer) {
                self.has_asked = true;
                self.stage = Stage::Waiting;
            }
            let Poll::Ready(output) = polled else {
                return self.poll_lost(cx, &connected).map(|()| None);
            };
            // Looking costs too much to do it again for every answer.
            if output.is_err() || !matches!(self.stage, Stage::On(_)) {
                self.look(&connected);
            }
            Poll::Ready(Some(output))
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

    /// The request's connection, if it is not the one that it had at the last look.
    fn look(&mut self, connected: impl Fn()) -> Option<&Known> {
        let known = Known::of(&self.captured)?;
        let before = self.connection.as_ref();
        if before.is_some_and(|before| Arc::ptr_eq(&before.0, &known.0)) {
            return None;
        }
        // One that was made for another and is unused was kept, as one that was used is.
        self.is_new = known.is_unused() && self.has_asked;
        if self.is_new {
            connected();
        }
        Some(self.connection.insert(known))
    }

    /// Ready when the connection has ended and hyper has not said so.
    fn poll_lost(&mut self, cx: &mut Context<'_>, connected: impl Fn()) -> Poll<()> {
        loop {
            if let Stage::On(ended) = &mut self.stage {
                ready!(Pin::new(ended).poll(cx));
            } else if let Some(known) = self.look(&connected) {
                if let Some(ended) = known.listen() {
                    self.stage = Stage::On(ended);
                    continue;
                }
            } else {
                return match &mut self.stage {
                    Stage::Grace(rest) => rest.as_mut().poll(cx),
                    _ => Poll::Pending,
                };
            }
            self.stage = match self.grace {
                Some(grace) => Stage::Grace(self.runtime.sleep(grace)),
                None => Stage::Waiting,
            };
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
    known: Known,
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
            known: Known(Arc::new(Life {
                made: Instant::now(),
                has_served: AtomicBool::new(false),
                has_ended: AtomicBool::new(false),
                ended: Event::new(),
            })),
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
        connected.extra(self.known.clone())
    }
}

impl<S> Drop for Kept<S> {
    fn drop(&mut self) {
        self.known.0.has_ended.store(true, Ordering::Release);
        self.known.0.ended.notify(usize::MAX);
    }
}

impl<S: Read + Unpin> Read for Kept<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_used && self.known.0.made.elapsed() < YOUNG {
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
