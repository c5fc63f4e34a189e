//! Tests of `Offload` and `Inline`, with a blocking client that calls a function.

mod support;

use std::io::{self, Read};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;

use bytes::Bytes;
use futures_lite::{StreamExt, stream};
use http::{Request, Response};
use inflight_core::{
    BlockingBody, Body, Cancel, CancelGuard, Capabilities, Error, ErrorKind, Fetch, FetchBlocking,
    Inline, JobErrorKind, Offload, Support, gather,
};
use support::{
    EVENT_TIMEOUT, EventListener, EventSender, Signal, TestRuntime, lock, poll, poll_until_stalled,
    run,
};

type Call =
    dyn Fn(Request<BlockingBody>, &Cancel) -> Result<Response<BlockingBody>, Error> + Send + Sync;

/// A blocking client that calls a function for each request.
struct BlockingFunctionClient(Box<Call>);

impl BlockingFunctionClient {
    fn new(
        call: impl Fn(Request<BlockingBody>, &Cancel) -> Result<Response<BlockingBody>, Error>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Box::new(call))
    }
}

impl FetchBlocking for BlockingFunctionClient {
    fn fetch_blocking(
        &self,
        request: Request<BlockingBody>,
        cancel: &Cancel,
    ) -> Result<Response<BlockingBody>, Error> {
        (self.0)(request, cancel)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all("function 1.0")
    }
}

fn request(body: impl Into<Body>) -> Request<Body> {
    Request::post("http://host/").body(body.into()).unwrap()
}

fn respond(body: BlockingBody) -> Result<Response<BlockingBody>, Error> {
    Ok(Response::new(body))
}

/// A call that blocks until it is cancelled. The cancellation sends an id to the listener.
struct BlockedCall {
    cancelled: mpsc::Receiver<()>,
    _hook: CancelGuard,
}

impl BlockedCall {
    fn new(cancel: &Cancel, events: &EventSender, id: usize) -> Self {
        let (sender, cancelled) = mpsc::channel();
        let events = events.clone();
        let hook = cancel.on_cancel(move || {
            events.send(id);
            // The call may already have returned.
            let _ = sender.send(());
        });
        Self {
            cancelled,
            _hook: hook,
        }
    }

    fn wait(&self) -> io::Error {
        self.cancelled
            .recv_timeout(EVENT_TIMEOUT)
            .expect("the call should be cancelled in time");
        io::ErrorKind::ConnectionAborted.into()
    }
}

/// A reader that blocks until the test sends the next chunk.
struct ChunkReader(Arc<Mutex<mpsc::Receiver<io::Result<&'static str>>>>);

impl ChunkReader {
    fn new() -> (mpsc::Sender<io::Result<&'static str>>, Self) {
        let (sender, receiver) = mpsc::channel();
        (sender, Self(Arc::new(Mutex::new(receiver))))
    }

    fn reader(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match lock(&self.0).recv_timeout(EVENT_TIMEOUT) {
            Ok(chunk) => {
                let chunk = chunk?.as_bytes();
                buffer[..chunk.len()].copy_from_slice(chunk);
                Ok(chunk.len())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Ok(0),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no chunk in time"),
        }
    }
}

fn chunk(body: &mut Body) -> Option<Bytes> {
    run(body.chunk()).unwrap()
}

// ---------------------------------------------------------------------------------------
// Heads and bodies.

#[test]
fn a_body_in_memory_is_returned_with_the_head() {
    let runtime = TestRuntime::new(0);
    let client = BlockingFunctionClient::new(|request, _| {
        assert_eq!(request.body().as_bytes().unwrap(), "question");
        assert_eq!(request.method(), http::Method::POST);
        respond(Bytes::from("response").into())
    });
    let offload = Offload::new(client, runtime.shared());
    let response = run(offload.fetch(request("question"))).unwrap();
    assert_eq!(response.body().as_bytes().unwrap(), "response");
    assert_eq!(runtime.blocking_started().get(), 1);
}

#[test]
fn the_call_starts_at_the_first_poll() {
    let runtime = TestRuntime::new(0);
    let client = BlockingFunctionClient::new(|_, _| respond(Bytes::new().into()));
    let offload = Offload::new(client, runtime.shared());
    drop(offload.fetch(request("")));
    assert_eq!(runtime.blocking_started().get(), 0);
}

#[test]
fn each_chunk_is_a_separate_call_and_an_unread_body_occupies_no_thread() {
    let runtime = TestRuntime::new(0);
    let (sender, chunks) = ChunkReader::new();
    let client = BlockingFunctionClient::new(move |_, _| {
        respond(BlockingBody::from_reader(chunks.reader(), None))
    });
    let offload = Offload::new(client, runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    let (started, running) = (runtime.blocking_started(), runtime.blocking_running());
    running.wait_for(0);
    assert_eq!(started.get(), 1);
    for (calls, chunk) in [(2, "one"), (3, "two"), (4, "three")] {
        let mut next = Box::pin(body.chunk());
        assert!(poll(&mut next).is_pending());
        assert_eq!(running.get(), 1);
        sender.send(Ok(chunk)).unwrap();
        assert_eq!(run(next).unwrap().unwrap(), chunk);
        // A body that is not being read occupies no thread.
        running.wait_for(0);
        assert_eq!(started.get(), calls);
    }
    drop(sender);
    assert!(chunk(&mut body).is_none());
    running.wait_for(0);
    let calls = started.get();
    assert!(chunk(&mut body).is_none());
    assert_eq!(started.get(), calls, "the reader was called after its end");
}

#[test]
fn a_short_chunk_is_returned_at_once() {
    let runtime = TestRuntime::new(0);
    let (sender, chunks) = ChunkReader::new();
    let client = BlockingFunctionClient::new(move |_, _| {
        respond(BlockingBody::from_reader(chunks.reader(), Some(4)))
    });
    let offload = Offload::new(client, runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    assert_eq!(body.len(), Some(4));
    sender.send(Ok("a")).unwrap();
    assert_eq!(chunk(&mut body).unwrap(), "a");
    sender.send(Ok("bcd")).unwrap();
    drop(sender);
    assert_eq!(chunk(&mut body).unwrap(), "bcd");
    // The declared length shows that this chunk was the last.
    assert!(http_body::Body::is_end_stream(&body));
    assert!(chunk(&mut body).is_none());
}

#[test]
fn dropping_the_future_of_chunk_loses_no_data() {
    let runtime = TestRuntime::new(0);
    let (sender, chunks) = ChunkReader::new();
    let client = BlockingFunctionClient::new(move |_, _| {
        respond(BlockingBody::from_reader(chunks.reader(), None))
    });
    let offload = Offload::new(client, runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    for _ in 0..3 {
        assert!(poll(&mut Box::pin(body.chunk())).is_pending());
    }
    sender.send(Ok("kept")).unwrap();
    assert_eq!(chunk(&mut body).unwrap(), "kept");
    drop(sender);
    assert!(chunk(&mut body).is_none());
}

#[test]
fn an_interrupted_read_is_retried() {
    let runtime = TestRuntime::new(0);
    let (sender, chunks) = ChunkReader::new();
    sender.send(Err(io::ErrorKind::Interrupted.into())).unwrap();
    sender.send(Ok("after")).unwrap();
    let client = BlockingFunctionClient::new(move |_, _| {
        respond(BlockingBody::from_reader(chunks.reader(), None))
    });
    let offload = Offload::new(client, runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    assert_eq!(chunk(&mut body).unwrap(), "after");
}

#[test]
fn errors_of_the_call_and_of_its_body_have_the_matching_kind() {
    let runtime = TestRuntime::new(0);
    let client = BlockingFunctionClient::new(|_, _| Err(Error::new(ErrorKind::Connect)));
    let offload = Offload::new(client, runtime.shared());
    let error = run(offload.fetch(request(""))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);

    for (error, kind) in [
        (
            io::Error::from(io::ErrorKind::UnexpectedEof),
            ErrorKind::Incomplete,
        ),
        (
            io::Error::from(io::ErrorKind::InvalidData),
            ErrorKind::Protocol,
        ),
        (
            io::Error::from(Error::new(ErrorKind::Decode)),
            ErrorKind::Decode,
        ),
    ] {
        let (sender, chunks) = ChunkReader::new();
        sender.send(Ok("good")).unwrap();
        sender.send(Err(error)).unwrap();
        let client = BlockingFunctionClient::new(move |_, _| {
            respond(BlockingBody::from_reader(chunks.reader(), None))
        });
        let offload = Offload::new(client, runtime.shared());
        let mut body = run(offload.fetch(request(""))).unwrap().into_body();
        assert_eq!(chunk(&mut body).unwrap(), "good");
        assert_eq!(run(body.chunk()).unwrap_err().kind(), kind);
    }
}

// ---------------------------------------------------------------------------------------
// Cancelling.

const STARTED: usize = 1;
const CANCELLED: usize = 2;

#[test]
fn dropping_the_future_before_the_head_cancels_the_call() {
    let runtime = TestRuntime::new(0);
    let listener = EventListener::new();
    let events = listener.sender();
    let client = BlockingFunctionClient::new(move |_, cancel| {
        let call = BlockedCall::new(cancel, &events, CANCELLED);
        events.send(STARTED);
        Err(Error::from_read(call.wait()))
    });
    let offload = Offload::new(client, runtime.shared());
    let mut head = Box::pin(offload.fetch(request("")));
    assert!(poll(&mut head).is_pending());
    assert_eq!(listener.wait_for(1), [STARTED]);
    drop(head);
    assert_eq!(listener.wait_for(1), [CANCELLED]);
    runtime.blocking_running().wait_for(0);
}

#[test]
fn a_call_that_waits_for_the_pool_is_skipped_if_its_future_is_dropped() {
    let runtime = TestRuntime::new(0);
    let listener = EventListener::new();
    let events = listener.sender();
    let client = BlockingFunctionClient::new(move |_, _| {
        events.send(STARTED);
        respond(Bytes::new().into())
    });
    let offload = Offload::new(client, runtime.shared());
    runtime.hold_blocking();
    let mut head = Box::pin(offload.fetch(request("")));
    assert!(poll(&mut head).is_pending());
    drop(head);
    runtime.release_blocking();
    runtime.blocking_running().wait_for(0);
    assert!(listener.received().is_empty());
}

/// A body whose reads block until they are cancelled.
struct BlockedBody(BlockedCall, EventSender);

impl Read for BlockedBody {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.1.send(STARTED);
        Err(self.0.wait())
    }
}

fn client_with_blocked_body(listener: &EventListener) -> BlockingFunctionClient {
    let events = listener.sender();
    BlockingFunctionClient::new(move |_, cancel| {
        let call = BlockedCall::new(cancel, &events, CANCELLED);
        let body = BlockedBody(call, events.clone());
        respond(BlockingBody::from_reader(body, None))
    })
}

#[test]
fn dropping_a_body_during_a_read_cancels_the_call() {
    let runtime = TestRuntime::new(0);
    let listener = EventListener::new();
    let offload = Offload::new(client_with_blocked_body(&listener), runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    assert!(poll(&mut Box::pin(body.chunk())).is_pending());
    assert_eq!(listener.wait_for(1), [STARTED]);
    drop(body);
    assert_eq!(listener.wait_for(1), [CANCELLED]);
    runtime.blocking_running().wait_for(0);
}

#[test]
fn dropping_a_body_after_its_end_does_not_cancel_the_call() {
    let runtime = TestRuntime::new(0);
    let (sender, chunks) = ChunkReader::new();
    let seen: Arc<Mutex<Option<Cancel>>> = Arc::default();
    let client = {
        let seen = seen.clone();
        BlockingFunctionClient::new(move |_, cancel| {
            *lock(&seen) = Some(cancel.clone());
            respond(BlockingBody::from_reader(chunks.reader(), None))
        })
    };
    let offload = Offload::new(client, runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    let cancelled = || lock(&seen).as_ref().unwrap().is_cancelled();
    assert!(!cancelled());
    sender.send(Ok("a")).unwrap();
    assert!(chunk(&mut body).is_some());
    assert!(!cancelled());
    drop(sender);
    assert!(chunk(&mut body).is_none());
    drop(body);
    // The exchange is complete, so its connection can be reused.
    assert!(!cancelled());
}

#[test]
fn dropping_a_body_between_reads_cancels_the_call() {
    let runtime = TestRuntime::new(0);
    let (sender, chunks) = ChunkReader::new();
    sender.send(Ok("a")).unwrap();
    let seen: Arc<Mutex<Option<Cancel>>> = Arc::default();
    let client = {
        let seen = seen.clone();
        BlockingFunctionClient::new(move |_, cancel| {
            *lock(&seen) = Some(cancel.clone());
            respond(BlockingBody::from_reader(chunks.reader(), None))
        })
    };
    let offload = Offload::new(client, runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    assert!(chunk(&mut body).is_some());
    runtime.blocking_running().wait_for(0);
    drop(body);
    assert!(lock(&seen).as_ref().unwrap().is_cancelled());
}

#[test]
fn shutting_down_the_runtime_fails_a_call_that_has_not_started() {
    let runtime = TestRuntime::new(0);
    let client = BlockingFunctionClient::new(|_, _| respond(Bytes::new().into()));
    let offload = Offload::new(client, runtime.shared());
    runtime.hold_blocking();
    let mut head = Box::pin(offload.fetch(request("")));
    assert!(poll(&mut head).is_pending());
    runtime.shut_down();
    let error = run(head).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
}

// ---------------------------------------------------------------------------------------
// Panics.

#[test]
fn a_panic_of_the_call_is_propagated_to_the_job() {
    let runtime = TestRuntime::new(0);
    let offload = Offload::new(
        BlockingFunctionClient::new(|_, _| resume_unwind(Box::new("the client panics"))),
        runtime.shared(),
    );
    let jobs = (0..2).map(|_| offload.fetch(request("")));
    let settled = run(gather(jobs).settled());
    assert_eq!(settled.results.len(), 2);
    for result in settled.results {
        let JobErrorKind::Panicked(panic) = result.unwrap_err().into_kind() else {
            panic!("not a panic");
        };
        assert_eq!(panic.message(), "the client panics");
    }
}

#[test]
fn a_panic_of_a_read_is_propagated_to_the_job() {
    struct PanickingReader;
    impl Read for PanickingReader {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            resume_unwind(Box::new("the reader panics"))
        }
    }
    let runtime = TestRuntime::new(0);
    let offload = Offload::new(
        BlockingFunctionClient::new(|_, _| {
            respond(BlockingBody::from_reader(PanickingReader, None))
        }),
        runtime.shared(),
    );
    let job = async {
        offload
            .fetch(request(""))
            .await?
            .into_body()
            .collect(9)
            .await
    };
    let error = run(gather([job]).all()).unwrap_err();
    let JobErrorKind::Panicked(panic) = error.into_kind() else {
        panic!("not a panic");
    };
    assert_eq!(panic.message(), "the reader panics");
}

// ---------------------------------------------------------------------------------------
// Uploads.

/// The result of one read of an upload.
type ReadResult = Result<Vec<u8>, io::ErrorKind>;

/// Returns a client, the sender of its steps, and the receiver of its results. For each step, the
/// client reads once from the upload and sends the result of the read.
fn stepping_client() -> (
    BlockingFunctionClient,
    mpsc::Sender<()>,
    mpsc::Receiver<ReadResult>,
) {
    let (step, steps) = mpsc::channel();
    let (result, results) = mpsc::channel();
    let ends = Mutex::new((steps, result));
    let client = BlockingFunctionClient::new(move |mut request, _| {
        let ends = lock(&ends);
        let mut buffer = [0; 64];
        while ends.0.recv_timeout(EVENT_TIMEOUT).is_ok() {
            match request.body_mut().read(&mut buffer) {
                Ok(n) => {
                    ends.1.send(Ok(buffer[..n].to_vec())).unwrap();
                    if n == 0 {
                        return respond(Bytes::from("thanks").into());
                    }
                }
                Err(error) => {
                    // The test may have dropped the receiver.
                    let _ = ends.1.send(Err(error.kind()));
                    return Err(Error::from_read(error));
                }
            }
        }
        Err(Error::new(ErrorKind::Io).with_context("the test sent no step in time"))
    });
    (client, step, results)
}

#[test]
fn an_upload_is_produced_as_it_is_read() {
    let runtime = TestRuntime::new(0);
    let (client, step, results) = stepping_client();
    let produced = Arc::new(AtomicUsize::new(0));
    let counter = produced.clone();
    let chunks = stream::iter(0..50u8).map(move |n| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(vec![n])
    });
    let offload = Offload::new(client, runtime.shared());
    let mut head = Box::pin(offload.fetch(request(Body::from_stream(chunks))));
    // The stream may be three chunks ahead of the reader: one chunk in the channel, one that waits for
    // the channel, and one that the reader has taken from the channel.
    const AHEAD: usize = 3;
    for n in 0..50u8 {
        assert!(poll_until_stalled(&mut head).is_pending());
        let ahead = produced.load(Ordering::SeqCst) - usize::from(n);
        assert!(ahead <= AHEAD, "{ahead} chunks ahead of the reader");
        step.send(()).unwrap();
        assert_eq!(results.recv_timeout(EVENT_TIMEOUT).unwrap(), Ok(vec![n]));
    }
    step.send(()).unwrap();
    let response = run(head).unwrap();
    assert_eq!(results.recv_timeout(EVENT_TIMEOUT).unwrap(), Ok(vec![]));
    assert_eq!(response.body().as_bytes().unwrap(), "thanks");
    runtime.blocking_running().wait_for(0);
    assert_eq!(runtime.blocking_started().get(), 1);
}

#[test]
fn empty_chunks_do_not_end_an_upload() {
    let runtime = TestRuntime::new(0);
    let client = BlockingFunctionClient::new(|mut request, _| {
        let mut all = Vec::new();
        request.body_mut().read_to_end(&mut all).unwrap();
        respond(Bytes::from(all).into())
    });
    let offload = Offload::new(client, runtime.shared());
    let chunks = stream::iter(["", "a", "", "", "b", ""]).map(Ok::<_, Error>);
    let response = run(offload.fetch(request(Body::from_stream(chunks)))).unwrap();
    assert_eq!(response.body().as_bytes().unwrap(), "ab");
}

#[test]
fn an_error_of_the_upload_stream_fails_the_read_and_the_call() {
    let runtime = TestRuntime::new(0);
    let (client, step, results) = stepping_client();
    let chunks = stream::iter([Ok("a"), Err("the disk failed"), Ok("b")]);
    let offload = Offload::new(client, runtime.shared());
    for _ in 0..3 {
        step.send(()).unwrap();
    }
    let error = run(offload.fetch(request(Body::from_stream(chunks)))).unwrap_err();
    assert_eq!(
        results.recv_timeout(EVENT_TIMEOUT).unwrap(),
        Ok(b"a".to_vec())
    );
    assert!(results.recv_timeout(EVENT_TIMEOUT).unwrap().is_err());
    assert_eq!(error.kind(), ErrorKind::Io);
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "the disk failed");
}

#[test]
fn a_dropped_upload_does_not_look_complete() {
    let runtime = TestRuntime::new(0);
    let (client, step, results) = stepping_client();
    let signal = Signal::new();
    let rest = stream::once_future(signal.wait()).map(|()| Ok::<_, Error>("never"));
    let chunks = stream::iter([Ok("a")]).chain(rest);
    let offload = Offload::new(client, runtime.shared());
    let mut head = Box::pin(offload.fetch(request(Body::from_stream(chunks))));
    assert!(poll_until_stalled(&mut head).is_pending());
    step.send(()).unwrap();
    assert_eq!(
        results.recv_timeout(EVENT_TIMEOUT).unwrap(),
        Ok(b"a".to_vec())
    );
    // The client now waits in a read, or will soon start it.
    step.send(()).unwrap();
    assert!(poll_until_stalled(&mut head).is_pending());
    drop(head);
    let last = results.recv_timeout(EVENT_TIMEOUT).unwrap();
    assert!(last.is_err(), "a partial upload looked complete");
    runtime.blocking_running().wait_for(0);
}

#[test]
fn a_head_that_arrives_during_the_upload_is_returned() {
    let runtime = TestRuntime::new(0);
    let client = BlockingFunctionClient::new(|_, _| respond(Bytes::from("enough").into()));
    let offload = Offload::new(client, runtime.shared());
    let chunks = stream::pending::<Result<&str, Error>>();
    let response = run(offload.fetch(request(Body::from_stream(chunks)))).unwrap();
    assert_eq!(response.body().as_bytes().unwrap(), "enough");
}

// ---------------------------------------------------------------------------------------
// Capabilities.

#[test]
fn the_capabilities_report_the_size_of_the_blocking_pool_as_a_ceiling() {
    let client = || BlockingFunctionClient::new(|_, _| respond(Bytes::new().into()));
    let unlimited = Offload::new(client(), TestRuntime::new(0).shared());
    assert!(unlimited.capabilities().ceilings.is_empty());
    let limited = TestRuntime::with_ceiling(0, Some(7));
    let capabilities = Offload::new(client(), limited.shared()).capabilities();
    assert_eq!(capabilities.library, "function 1.0");
    assert_eq!(capabilities.ceilings.len(), 1);
    assert_eq!(capabilities.ceilings[0].at_most, 7);
}

// ---------------------------------------------------------------------------------------
// Inline.

#[test]
fn inline_accepts_bodies_in_memory() {
    let caller = std::thread::current().id();
    let client = BlockingFunctionClient::new(move |mut request, _| {
        let thread = std::thread::current().id();
        assert_eq!(
            thread, caller,
            "the call should run on the thread that polls"
        );
        let mut all = Vec::new();
        request.body_mut().read_to_end(&mut all).unwrap();
        respond(BlockingBody::from_reader(io::Cursor::new(all), None))
    });
    let inline = Inline::new(client);
    let mut head = Box::pin(inline.fetch(request("echo")));
    let Poll::Ready(response) = poll(&mut head) else {
        panic!("the call did not return within poll");
    };
    let body = response.unwrap().into_body();
    assert_eq!(run(body.collect(10)).unwrap(), "echo");
}

#[test]
fn inline_accepts_bodies_with_a_progress_callback() {
    let client = BlockingFunctionClient::new(|mut request, _| {
        let mut all = Vec::new();
        request.body_mut().read_to_end(&mut all).unwrap();
        respond(BlockingBody::from_reader(io::Cursor::new(all), None))
    });
    let body = Body::from("echo").on_progress(|_| {});
    let response = run(Inline::new(client).fetch(request(body))).unwrap();
    assert_eq!(run(response.into_body().collect(10)).unwrap(), "echo");
}

#[test]
fn inline_rejects_streams_and_declares_this_in_its_capabilities() {
    let inline = Inline::new(BlockingFunctionClient::new(|_, _| {
        panic!("the client was called")
    }));
    let chunks = stream::iter([Ok::<_, Error>("a")]);
    let error = run(inline.fetch(request(Body::from_stream(chunks)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let capabilities = inline.capabilities();
    assert!(matches!(capabilities.streaming_upload, Support::No(_)));
    assert!(matches!(capabilities.prompt_cancel, Support::No(_)));
}

#[test]
fn offload_and_inline_are_clients_with_send_futures() {
    fn client<T: Fetch>() {}
    fn future<T: Send>(_: T) {}
    client::<Offload<BlockingFunctionClient>>();
    client::<Inline<BlockingFunctionClient>>();
    let runtime = TestRuntime::new(0);
    let offload = Offload::new(
        BlockingFunctionClient::new(|_, _| respond(Bytes::new().into())),
        runtime.shared(),
    );
    future(offload.fetch(request("")));
}
