//! The promises of `Offload` and `Inline`, over a blocking client that does what the test says.

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
    DropListener, DropNotifiers, PATIENCE, Signal, TestRuntime, lock, poll, poll_until_stalled, run,
};

type Call =
    dyn Fn(Request<BlockingBody>, &Cancel) -> Result<Response<BlockingBody>, Error> + Send + Sync;

/// A blocking client that is a function.
struct Scripted(Box<Call>);

impl Scripted {
    fn new(
        call: impl Fn(Request<BlockingBody>, &Cancel) -> Result<Response<BlockingBody>, Error>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Box::new(call))
    }
}

impl FetchBlocking for Scripted {
    fn fetch_blocking(
        &self,
        request: Request<BlockingBody>,
        cancel: &Cancel,
    ) -> Result<Response<BlockingBody>, Error> {
        (self.0)(request, cancel)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all("scripted 1.0")
    }
}

fn request(body: impl Into<Body>) -> Request<Body> {
    Request::post("http://host/").body(body.into()).unwrap()
}

fn answer(body: BlockingBody) -> Result<Response<BlockingBody>, Error> {
    Ok(Response::new(body))
}

/// Blocks until it is cancelled, as a call on a dead connection does, and rings then.
struct UntilCancelled {
    cancelled: mpsc::Receiver<()>,
    _hook: CancelGuard,
}

impl UntilCancelled {
    fn new(cancel: &Cancel, notifiers: &DropNotifiers, number: usize) -> Self {
        let (sender, cancelled) = mpsc::channel();
        let notifiers = notifiers.clone();
        let hook = cancel.on_cancel(move || {
            notifiers.ring(number);
            // The call may have ended already.
            let _ = sender.send(());
        });
        Self {
            cancelled,
            _hook: hook,
        }
    }

    fn wait(&self) -> io::Error {
        self.cancelled
            .recv_timeout(PATIENCE)
            .expect("nobody cancels");
        io::ErrorKind::ConnectionAborted.into()
    }
}

/// Reads what the test sends, piece by piece, and blocks in between.
struct Pieces(Arc<Mutex<mpsc::Receiver<io::Result<&'static str>>>>);

impl Pieces {
    fn new() -> (mpsc::Sender<io::Result<&'static str>>, Self) {
        let (sender, receiver) = mpsc::channel();
        (sender, Self(Arc::new(Mutex::new(receiver))))
    }

    fn reader(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match lock(&self.0).recv_timeout(PATIENCE) {
            Ok(piece) => {
                let piece = piece?.as_bytes();
                buffer[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Ok(0),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test sends nothing"),
        }
    }
}

fn chunk(body: &mut Body) -> Option<Bytes> {
    run(body.chunk()).unwrap()
}

// ---------------------------------------------------------------------------------------
// Heads and bodies.

#[test]
fn a_body_in_memory_comes_with_its_head() {
    let runtime = TestRuntime::new(0);
    let client = Scripted::new(|request, _| {
        assert_eq!(request.body().as_bytes().unwrap(), "question");
        assert_eq!(request.method(), http::Method::POST);
        answer(Bytes::from("response").into())
    });
    let offload = Offload::new(client, runtime.shared());
    let response = run(offload.fetch(request("question"))).unwrap();
    assert_eq!(response.body().as_bytes().unwrap(), "response");
    assert_eq!(runtime.blocking_started().get(), 1);
}

#[test]
fn the_call_begins_with_the_first_poll() {
    let runtime = TestRuntime::new(0);
    let client = Scripted::new(|_, _| answer(Bytes::new().into()));
    let offload = Offload::new(client, runtime.shared());
    drop(offload.fetch(request("")));
    assert_eq!(runtime.blocking_started().get(), 0);
}

#[test]
fn the_head_and_each_piece_are_calls_of_their_own_and_a_paused_body_holds_no_thread() {
    let runtime = TestRuntime::new(0);
    let (sender, pieces) = Pieces::new();
    let client =
        Scripted::new(move |_, _| answer(BlockingBody::from_reader(pieces.reader(), None)));
    let offload = Offload::new(client, runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    let (started, running) = (runtime.blocking_started(), runtime.blocking_running());
    running.wait_for(0);
    assert_eq!(started.get(), 1);
    for (calls, piece) in [(2, "one"), (3, "two"), (4, "three")] {
        let mut next = Box::pin(body.chunk());
        assert!(poll(&mut next).is_pending());
        assert_eq!(running.get(), 1);
        sender.send(Ok(piece)).unwrap();
        assert_eq!(run(next).unwrap().unwrap(), piece);
        // Nobody reads: no thread is held.
        running.wait_for(0);
        assert_eq!(started.get(), calls);
    }
    drop(sender);
    assert!(chunk(&mut body).is_none());
    running.wait_for(0);
    let calls = started.get();
    assert!(chunk(&mut body).is_none());
    assert_eq!(started.get(), calls, "the end was read again");
}

#[test]
fn a_piece_comes_at_once_however_short() {
    let runtime = TestRuntime::new(0);
    let (sender, pieces) = Pieces::new();
    let client =
        Scripted::new(move |_, _| answer(BlockingBody::from_reader(pieces.reader(), Some(4))));
    let offload = Offload::new(client, runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    assert_eq!(body.len(), Some(4));
    sender.send(Ok("a")).unwrap();
    assert_eq!(chunk(&mut body).unwrap(), "a");
    sender.send(Ok("bcd")).unwrap();
    drop(sender);
    assert_eq!(chunk(&mut body).unwrap(), "bcd");
    // The last byte is known to be the last.
    assert!(http_body::Body::is_end_stream(&body));
    assert!(chunk(&mut body).is_none());
}

#[test]
fn a_given_up_piece_is_not_lost() {
    let runtime = TestRuntime::new(0);
    let (sender, pieces) = Pieces::new();
    let client =
        Scripted::new(move |_, _| answer(BlockingBody::from_reader(pieces.reader(), None)));
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
fn a_read_that_was_interrupted_is_tried_again() {
    let runtime = TestRuntime::new(0);
    let (sender, pieces) = Pieces::new();
    sender.send(Err(io::ErrorKind::Interrupted.into())).unwrap();
    sender.send(Ok("after")).unwrap();
    let client =
        Scripted::new(move |_, _| answer(BlockingBody::from_reader(pieces.reader(), None)));
    let offload = Offload::new(client, runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    assert_eq!(chunk(&mut body).unwrap(), "after");
}

#[test]
fn errors_of_the_head_and_of_the_body_come_out_as_they_are() {
    let runtime = TestRuntime::new(0);
    let client = Scripted::new(|_, _| Err(Error::new(ErrorKind::Connect)));
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
        let (sender, pieces) = Pieces::new();
        sender.send(Ok("good")).unwrap();
        sender.send(Err(error)).unwrap();
        let client =
            Scripted::new(move |_, _| answer(BlockingBody::from_reader(pieces.reader(), None)));
        let offload = Offload::new(client, runtime.shared());
        let mut body = run(offload.fetch(request(""))).unwrap().into_body();
        assert_eq!(chunk(&mut body).unwrap(), "good");
        assert_eq!(run(body.chunk()).unwrap_err().kind(), kind);
    }
}

// ---------------------------------------------------------------------------------------
// Cancelling.

const BEGAN: usize = 1;
const CANCELLED: usize = 2;

#[test]
fn dropping_the_future_before_the_head_cancels_the_call() {
    let runtime = TestRuntime::new(0);
    let listener = DropListener::new();
    let notifiers = listener.notifiers();
    let client = Scripted::new(move |_, cancel| {
        let call = UntilCancelled::new(cancel, &notifiers, CANCELLED);
        notifiers.ring(BEGAN);
        Err(Error::from_read(call.wait()))
    });
    let offload = Offload::new(client, runtime.shared());
    let mut head = Box::pin(offload.fetch(request("")));
    assert!(poll(&mut head).is_pending());
    assert_eq!(listener.hear(1), [BEGAN]);
    drop(head);
    assert_eq!(listener.hear(1), [CANCELLED]);
    runtime.blocking_running().wait_for(0);
}

#[test]
fn a_call_that_waited_for_the_pool_is_not_made_when_nobody_wants_it_any_more() {
    let runtime = TestRuntime::new(0);
    let listener = DropListener::new();
    let notifiers = listener.notifiers();
    let client = Scripted::new(move |_, _| {
        notifiers.ring(BEGAN);
        answer(Bytes::new().into())
    });
    let offload = Offload::new(client, runtime.shared());
    runtime.hold_blocking();
    let mut head = Box::pin(offload.fetch(request("")));
    assert!(poll(&mut head).is_pending());
    drop(head);
    runtime.release_blocking();
    runtime.blocking_running().wait_for(0);
    assert!(listener.heard().is_empty());
}

/// A body whose reads block until they are cancelled.
struct DeadBody(UntilCancelled, DropNotifiers);

impl Read for DeadBody {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.1.ring(BEGAN);
        Err(self.0.wait())
    }
}

fn dead_body(listener: &DropListener) -> Scripted {
    let notifiers = listener.notifiers();
    Scripted::new(move |_, cancel| {
        let call = UntilCancelled::new(cancel, &notifiers, CANCELLED);
        let body = DeadBody(call, notifiers.clone());
        answer(BlockingBody::from_reader(body, None))
    })
}

#[test]
fn dropping_the_body_during_a_read_cancels_it() {
    let runtime = TestRuntime::new(0);
    let listener = DropListener::new();
    let offload = Offload::new(dead_body(&listener), runtime.shared());
    let mut body = run(offload.fetch(request(""))).unwrap().into_body();
    assert!(poll(&mut Box::pin(body.chunk())).is_pending());
    assert_eq!(listener.hear(1), [BEGAN]);
    drop(body);
    assert_eq!(listener.hear(1), [CANCELLED]);
    runtime.blocking_running().wait_for(0);
}

#[test]
fn a_body_in_use_is_not_cancelled() {
    let runtime = TestRuntime::new(0);
    let (sender, pieces) = Pieces::new();
    let seen: Arc<Mutex<Option<Cancel>>> = Arc::default();
    let client = {
        let seen = seen.clone();
        Scripted::new(move |_, cancel| {
            *lock(&seen) = Some(cancel.clone());
            answer(BlockingBody::from_reader(pieces.reader(), None))
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
    // An exchange that came to its end leaves a connection that others may use.
    assert!(!cancelled());
}

#[test]
fn a_body_dropped_before_its_end_is_cancelled_although_nobody_reads() {
    let runtime = TestRuntime::new(0);
    let (sender, pieces) = Pieces::new();
    sender.send(Ok("a")).unwrap();
    let seen: Arc<Mutex<Option<Cancel>>> = Arc::default();
    let client = {
        let seen = seen.clone();
        Scripted::new(move |_, cancel| {
            *lock(&seen) = Some(cancel.clone());
            answer(BlockingBody::from_reader(pieces.reader(), None))
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
fn the_end_of_the_runtime_is_an_error() {
    let runtime = TestRuntime::new(0);
    let client = Scripted::new(|_, _| answer(Bytes::new().into()));
    let offload = Offload::new(client, runtime.shared());
    runtime.hold_blocking();
    let mut head = Box::pin(offload.fetch(request("")));
    assert!(poll(&mut head).is_pending());
    runtime.end();
    let error = run(head).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

// ---------------------------------------------------------------------------------------
// Panics.

#[test]
fn a_panic_of_the_call_arrives_in_the_job() {
    let runtime = TestRuntime::new(0);
    let offload = Offload::new(
        Scripted::new(|_, _| resume_unwind(Box::new("the client fell over"))),
        runtime.shared(),
    );
    let jobs = (0..2).map(|_| offload.fetch(request("")));
    let settled = run(gather(jobs).settled());
    assert_eq!(settled.results.len(), 2);
    for result in settled.results {
        let JobErrorKind::Panicked(panic) = result.unwrap_err().into_kind() else {
            panic!("not the kind of a panic");
        };
        assert_eq!(panic.message(), "the client fell over");
    }
}

#[test]
fn a_panic_of_a_read_arrives_in_the_job() {
    struct Falls;
    impl Read for Falls {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            resume_unwind(Box::new("the reader fell over"))
        }
    }
    let runtime = TestRuntime::new(0);
    let offload = Offload::new(
        Scripted::new(|_, _| answer(BlockingBody::from_reader(Falls, None))),
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
        panic!("not the kind of a panic");
    };
    assert_eq!(panic.message(), "the reader fell over");
}

// ---------------------------------------------------------------------------------------
// Uploads.

/// What one read of an upload gave.
type Got = Result<Vec<u8>, io::ErrorKind>;

/// A client that reads its upload a step at a time, each when the test says so, and tells
/// what it got.
fn stepping() -> (Scripted, mpsc::Sender<()>, mpsc::Receiver<Got>) {
    let (step, steps) = mpsc::channel();
    let (got, gets) = mpsc::channel();
    let ends = Mutex::new((steps, got));
    let client = Scripted::new(move |mut request, _| {
        let ends = lock(&ends);
        let mut buffer = [0; 64];
        while ends.0.recv_timeout(PATIENCE).is_ok() {
            match request.body_mut().read(&mut buffer) {
                Ok(n) => {
                    ends.1.send(Ok(buffer[..n].to_vec())).unwrap();
                    if n == 0 {
                        return answer(Bytes::from("thanks").into());
                    }
                }
                Err(error) => {
                    // The test may have heard enough.
                    let _ = ends.1.send(Err(error.kind()));
                    return Err(Error::from_read(error));
                }
            }
        }
        Err(Error::new(ErrorKind::Io).with_context("the test says nothing"))
    });
    (client, step, gets)
}

#[test]
fn an_upload_arrives_piece_by_piece_under_back_pressure() {
    let runtime = TestRuntime::new(0);
    let (client, step, gets) = stepping();
    let produced = Arc::new(AtomicUsize::new(0));
    let counter = produced.clone();
    let pieces = stream::iter(0..50u8).map(move |n| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(vec![n])
    });
    let offload = Offload::new(client, runtime.shared());
    let mut head = Box::pin(offload.fetch(request(Body::from_stream(pieces))));
    // How far ahead of the reader the producer may be: one piece under way, one in each hand.
    const AHEAD: usize = 3;
    for n in 0..50u8 {
        assert!(poll_until_stalled(&mut head).is_pending());
        let ahead = produced.load(Ordering::SeqCst) - usize::from(n);
        assert!(ahead <= AHEAD, "{ahead} pieces ahead of the reader");
        step.send(()).unwrap();
        assert_eq!(gets.recv_timeout(PATIENCE).unwrap(), Ok(vec![n]));
    }
    step.send(()).unwrap();
    let response = run(head).unwrap();
    assert_eq!(gets.recv_timeout(PATIENCE).unwrap(), Ok(vec![]));
    assert_eq!(response.body().as_bytes().unwrap(), "thanks");
    runtime.blocking_running().wait_for(0);
    assert_eq!(runtime.blocking_started().get(), 1);
}

#[test]
fn empty_pieces_of_an_upload_are_no_end() {
    let runtime = TestRuntime::new(0);
    let client = Scripted::new(|mut request, _| {
        let mut all = Vec::new();
        request.body_mut().read_to_end(&mut all).unwrap();
        answer(Bytes::from(all).into())
    });
    let offload = Offload::new(client, runtime.shared());
    let pieces = stream::iter(["", "a", "", "", "b", ""]).map(Ok::<_, Error>);
    let response = run(offload.fetch(request(Body::from_stream(pieces)))).unwrap();
    assert_eq!(response.body().as_bytes().unwrap(), "ab");
}

#[test]
fn an_upload_whose_stream_fails_is_an_error_for_the_reader_and_for_the_call() {
    let runtime = TestRuntime::new(0);
    let (client, step, gets) = stepping();
    let pieces = stream::iter([Ok("a"), Err("the disk is gone"), Ok("b")]);
    let offload = Offload::new(client, runtime.shared());
    for _ in 0..3 {
        step.send(()).unwrap();
    }
    let error = run(offload.fetch(request(Body::from_stream(pieces)))).unwrap_err();
    assert_eq!(gets.recv_timeout(PATIENCE).unwrap(), Ok(b"a".to_vec()));
    assert!(gets.recv_timeout(PATIENCE).unwrap().is_err());
    assert_eq!(error.kind(), ErrorKind::Io);
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "the disk is gone");
}

#[test]
fn an_upload_that_is_dropped_half_way_has_no_end() {
    let runtime = TestRuntime::new(0);
    let (client, step, gets) = stepping();
    let signal = Signal::new();
    let rest = stream::once_future(signal.passed()).map(|()| Ok::<_, Error>("never"));
    let pieces = stream::iter([Ok("a")]).chain(rest);
    let offload = Offload::new(client, runtime.shared());
    let mut head = Box::pin(offload.fetch(request(Body::from_stream(pieces))));
    assert!(poll_until_stalled(&mut head).is_pending());
    step.send(()).unwrap();
    assert_eq!(gets.recv_timeout(PATIENCE).unwrap(), Ok(b"a".to_vec()));
    // The reader waits in the midst of a read now, or is about to.
    step.send(()).unwrap();
    assert!(poll_until_stalled(&mut head).is_pending());
    drop(head);
    let last = gets.recv_timeout(PATIENCE).unwrap();
    assert!(last.is_err(), "half an upload ended as if it were whole");
    runtime.blocking_running().wait_for(0);
}

#[test]
fn a_head_that_comes_before_the_upload_ended_is_the_answer() {
    let runtime = TestRuntime::new(0);
    let client = Scripted::new(|_, _| answer(Bytes::from("enough").into()));
    let offload = Offload::new(client, runtime.shared());
    let pieces = stream::pending::<Result<&str, Error>>();
    let response = run(offload.fetch(request(Body::from_stream(pieces)))).unwrap();
    assert_eq!(response.body().as_bytes().unwrap(), "enough");
}

// ---------------------------------------------------------------------------------------
// What they say of themselves.

#[test]
fn the_pool_is_a_ceiling_that_is_declared() {
    let client = || Scripted::new(|_, _| answer(Bytes::new().into()));
    let free = Offload::new(client(), TestRuntime::new(0).shared());
    assert!(free.capabilities().ceilings.is_empty());
    let narrow = TestRuntime::with_ceiling(0, Some(7));
    let capabilities = Offload::new(client(), narrow.shared()).capabilities();
    assert_eq!(capabilities.library, "scripted 1.0");
    assert_eq!(capabilities.ceilings.len(), 1);
    assert_eq!(capabilities.ceilings[0].at_most, 7);
}

// ---------------------------------------------------------------------------------------
// Inline.

#[test]
fn inline_works_with_what_is_in_memory() {
    let caller = std::thread::current().id();
    let client = Scripted::new(move |mut request, _| {
        assert_eq!(std::thread::current().id(), caller, "inside poll");
        let mut all = Vec::new();
        request.body_mut().read_to_end(&mut all).unwrap();
        answer(BlockingBody::from_reader(io::Cursor::new(all), None))
    });
    let inline = Inline::new(client);
    let mut head = Box::pin(inline.fetch(request("echo")));
    let Poll::Ready(response) = poll(&mut head) else {
        panic!("a call inside poll is over when poll is");
    };
    let body = response.unwrap().into_body();
    assert_eq!(run(body.collect(10)).unwrap(), "echo");
}

#[test]
fn inline_takes_what_is_watched_on_its_way() {
    let client = Scripted::new(|mut request, _| {
        let mut all = Vec::new();
        request.body_mut().read_to_end(&mut all).unwrap();
        answer(BlockingBody::from_reader(io::Cursor::new(all), None))
    });
    let body = Body::from("echo").on_progress(|_| {});
    let response = run(Inline::new(client).fetch(request(body))).unwrap();
    assert_eq!(run(response.into_body().collect(10)).unwrap(), "echo");
}

#[test]
fn inline_does_not_take_streams_and_says_so() {
    let inline = Inline::new(Scripted::new(|_, _| panic!("the client is not asked")));
    let pieces = stream::iter([Ok::<_, Error>("a")]);
    let error = run(inline.fetch(request(Body::from_stream(pieces)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let capabilities = inline.capabilities();
    assert!(matches!(capabilities.streaming_upload, Support::No(_)));
    assert!(matches!(capabilities.prompt_cancel, Support::No(_)));
}

#[test]
fn both_are_clients_that_may_move_between_threads() {
    fn client<T: Fetch>() {}
    fn future<T: Send>(_: T) {}
    client::<Offload<Scripted>>();
    client::<Inline<Scripted>>();
    let runtime = TestRuntime::new(0);
    let offload = Offload::new(
        Scripted::new(|_, _| answer(Bytes::new().into())),
        runtime.shared(),
    );
    future(offload.fetch(request("")));
}
