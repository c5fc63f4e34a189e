//! Adapters that turn a blocking client into a [`Fetch`].

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use http_body::{Frame, SizeHint};
use sync_wrapper::SyncWrapper;

use crate::backend::cancel::{Cancel, CancelOnDrop};
use crate::backend::capabilities::{Capabilities, Ceiling, Support};
use crate::backend::fetch::{BoxFuture, Fetch, FetchBlocking};
use crate::backend::runtime::{Runtime, work_dropped};
use crate::backend::task::{TaskError, unblock};
use crate::error::{Error, ErrorKind};
use crate::message::body::{BlockingBody, Body, BodySource, PolledFrame};

/// The size of the largest blocking read, in bytes.
const MAX_READ: usize = 64 * 1024;

/// An adapter that runs a blocking client on a runtime's blocking pool.
///
/// The adapter makes one blocking call for the head and one for each chunk of the body, so that an
/// unread body occupies no thread. Dropping the future or the body cancels the blocking call.
///
/// For an example, see [`FetchBlocking`].
pub struct Offload<C> {
    client: Arc<C>,
    runtime: Arc<dyn Runtime>,
}

impl<C: FetchBlocking> Offload<C> {
    /// Creates a client that runs on this runtime's blocking pool.
    pub fn new(client: C, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            client: Arc::new(client),
            runtime,
        }
    }
}

impl<C: FetchBlocking> Fetch for Offload<C> {
    async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let cancel = Cancel::new();
        let mut guard = CancelOnDrop(Some(cancel.clone()));
        let (request, upload) = detach_body(request);
        let (client, call_cancel) = (self.client.clone(), cancel.clone());
        let call = unblock(&*self.runtime, move || {
            client.fetch_blocking(request, &call_cancel)
        });
        let result = match upload {
            None => call.await,
            Some(upload) => {
                // This task drives the upload until the head of the response has arrived. After
                // that, HTTP/1.1 servers do not use the rest of the upload.
                match select(std::pin::pin!(call), std::pin::pin!(upload)).await {
                    Either::Left((result, _)) => result,
                    Either::Right(((), call)) => call.await,
                }
            }
        };
        guard.disarm();
        let response = match result {
            Ok(response) => response?,
            Err(error) => return Err(missing_result_error(error)),
        };
        let runtime = self.runtime.clone();
        Ok(response.map(|body| match body.as_bytes() {
            Some(bytes) => Body::from(bytes.clone()),
            None => Body::from_source(OffloadedBody::new(body, runtime, cancel)),
        }))
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.client.capabilities();
        if let Some(at_most) = self.runtime.blocking_ceiling() {
            capabilities.ceilings.push(Ceiling {
                at_most,
                description: "blocking calls at once in the runtime's pool; further calls wait",
            });
        }
        capabilities
    }
}

/// Returns the error of a blocking call that did not return because the runtime ended. If the call
/// panicked, resumes the panic instead.
pub(crate) fn missing_result_error(error: TaskError) -> Error {
    error.resume();
    work_dropped("a blocking call")
}

/// Splits a request into a request with a blocking body and the future that sends the body's
/// chunks.
fn detach_body(
    request: http::Request<Body>,
) -> (
    http::Request<BlockingBody>,
    Option<impl Future<Output = ()> + Send>,
) {
    let (parts, mut body) = request.into_parts();
    if let Some(bytes) = body.as_bytes() {
        let body = BlockingBody::from(bytes.clone());
        return (http::Request::from_parts(parts, body), None);
    }
    let len = body.len();
    // The thread that sends the request also reads the body. If another thread of the same pool
    // read the body, requests that occupy all threads of the pool would deadlock.
    if let Some(reader) = body.reader() {
        let body = BlockingBody::from_reader(reader, len);
        return (http::Request::from_parts(parts, body), None);
    }
    // A capacity of one chunk, so that a slow server slows the producer down.
    let (sender, chunks) = async_channel::bounded::<Result<Bytes, Error>>(1);
    let send_chunks = async move {
        while let Some(chunk) = body.chunk().await.transpose() {
            let is_error = chunk.is_err();
            if sender.send(chunk).await.is_err() || is_error {
                return;
            }
        }
        // The empty chunk marks the end of the body. If the channel closes without an empty chunk,
        // the body was dropped early.
        let _ = sender.send(Ok(Bytes::new())).await;
    };
    let reader = ChunkReader {
        chunks,
        chunk: Bytes::new(),
        has_ended: false,
    };
    let body = BlockingBody::from_reader(reader, len);
    (http::Request::from_parts(parts, body), Some(send_chunks))
}

/// A reader of the chunks of an upload.
struct ChunkReader {
    chunks: async_channel::Receiver<Result<Bytes, Error>>,
    chunk: Bytes,
    has_ended: bool,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !self.has_ended {
            match self.chunks.recv_blocking() {
                Ok(Ok(chunk)) if chunk.is_empty() => self.has_ended = true,
                Ok(Ok(chunk)) => self.chunk = chunk,
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let n = buffer.len().min(self.chunk.len());
        buffer[..n].copy_from_slice(&self.chunk.split_to(n));
        Ok(n)
    }
}

/// A body that is read chunk by chunk on the blocking pool.
struct OffloadedBody {
    state: State,
    runtime: Arc<dyn Runtime>,
    guard: CancelOnDrop,
    remaining: Option<u64>,
}

type ReadResult = Result<(BlockingBody, io::Result<Bytes>), TaskError>;

enum State {
    Idle(BlockingBody),
    Reading(SyncWrapper<BoxFuture<'static, ReadResult>>),
    Done,
}

impl OffloadedBody {
    fn new(body: BlockingBody, runtime: Arc<dyn Runtime>, cancel: Cancel) -> Self {
        Self {
            remaining: body.len(),
            state: State::Idle(body),
            runtime,
            guard: CancelOnDrop(Some(cancel)),
        }
    }

    fn finish(&mut self) {
        self.state = State::Done;
        self.guard.disarm();
    }
}

impl BodySource for OffloadedBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Idle(body) => {
                    let remaining = self.remaining;
                    let read = unblock(&*self.runtime, move || read_chunk(body, remaining));
                    self.state = State::Reading(SyncWrapper::new(Box::pin(read)));
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(result) = reading.get_mut().as_mut().poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    return Poll::Ready(match result {
                        Err(error) => Some(Err(missing_result_error(error))),
                        Ok((_, Err(error))) => Some(Err(Error::from_read(error))),
                        Ok((_, Ok(chunk))) if chunk.is_empty() => {
                            self.finish();
                            None
                        }
                        Ok((body, Ok(chunk))) => {
                            self.remaining =
                                self.remaining.map(|n| n.saturating_sub(chunk.len() as u64));
                            if self.remaining == Some(0) {
                                self.finish();
                            } else {
                                self.state = State::Idle(body);
                            }
                            Some(Ok(Frame::data(chunk)))
                        }
                    });
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// Makes one blocking read. After the last bytes of a body of known length, also reads the end of the
/// body. The second read cannot block, and the client can then reuse the connection.
fn read_chunk(mut body: BlockingBody, remaining: Option<u64>) -> (BlockingBody, io::Result<Bytes>) {
    let len = remaining.map_or(MAX_READ, |n| n.clamp(1, MAX_READ as u64) as usize);
    let mut buffer = BytesMut::zeroed(len);
    let result = read_uninterrupted(&mut body, &mut buffer).and_then(|n| {
        if remaining == Some(n as u64) {
            read_uninterrupted(&mut body, &mut [0])?;
        }
        buffer.truncate(n);
        Ok(buffer.freeze())
    });
    (body, result)
}

fn read_uninterrupted(body: &mut BlockingBody, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match body.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// An adapter that runs a blocking client inside `poll`. A call blocks all other tasks of the thread.
///
/// Blocking inside `poll` is a common mistake, and this type exists to measure its cost. Timeouts
/// cannot interrupt the call, because no timer runs during the call.
///
/// For an example, see [`FetchBlocking`]: `Inline::new(Echo)` replaces `Offload::new(Echo, ..)`.
pub struct Inline<C>(Arc<C>);

impl<C: FetchBlocking> Inline<C> {
    /// Creates a client that blocks the thread that polls it.
    pub fn new(client: C) -> Self {
        Self(Arc::new(client))
    }
}

impl<C: FetchBlocking> Fetch for Inline<C> {
    async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let body = match (body.as_bytes(), body.reader()) {
            (Some(bytes), _) => BlockingBody::from(bytes.clone()),
            (None, Some(reader)) => BlockingBody::from_reader(reader, body.len()),
            (None, None) => {
                return Err(Error::new(ErrorKind::Unsupported).with_context(NO_STREAMS));
            }
        };
        let request = http::Request::from_parts(parts, body);
        let response = self.0.fetch_blocking(request, &Cancel::new())?;
        Ok(response.map(|body| Body::from_source(InlineBody(body))))
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.0.capabilities();
        capabilities.streaming_upload = Support::No(NO_STREAMS);
        capabilities.prompt_cancel = Support::No(
            "a call that blocks the event loop also blocks the task that would cancel it",
        );
        capabilities
    }
}

const NO_STREAMS: &str = "a blocking call inside poll cannot wait for a stream";

struct InlineBody(BlockingBody);

impl BodySource for InlineBody {
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> PolledFrame {
        let mut buffer = BytesMut::zeroed(MAX_READ);
        Poll::Ready(match self.0.read(&mut buffer) {
            Ok(0) => None,
            Ok(n) => {
                buffer.truncate(n);
                Some(Ok(Frame::data(buffer.freeze())))
            }
            Err(error) => Some(Err(Error::from_read(error))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .len()
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
