//! Tests of responses that are saved to files.

mod support;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use futures_lite::{StreamExt, stream};
use inflight_core::{BlockOn, Body, Error, ErrorKind, PartialFile, Response, Session};
use inflight_threads::Threads;
use support::{client, lock, poll, respond};

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Returns a session whose responses have the body that `body` returns.
fn session(threads: &Threads, body: impl Fn() -> Body + Clone + Send + Sync + 'static) -> Session {
    let runtime = Arc::new(threads.clone());
    let client = client(move |_| {
        let body = body();
        async move { respond(body) }
    });
    Session::builder(|_| Ok((client, runtime))).build().unwrap()
}

#[test]
fn a_saved_body_has_all_bytes_and_reports_its_progress() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("page");
    fs::write(&path, "old").unwrap();
    let threads = Threads::new();
    // More than one write, and a rest.
    let content: Vec<u8> = (0..700_001_u32).map(|n| (n % 251) as u8).collect();
    let chunks: Vec<Bytes> = content.chunks(10_000).map(Bytes::copy_from_slice).collect();
    let session = session(&threads, move || {
        Body::from_stream(stream::iter(chunks.clone()).map(Ok::<_, Error>))
    });
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
    let progress = seen.clone();
    let bytes = threads.block_on(async {
        let response = session.get("http://host/").send().await?;
        let response = response.on_progress(move |progress_so_far| {
            lock(&progress).push(progress_so_far.bytes);
        });
        response.save_to(&path).await
    });
    assert_eq!(bytes.unwrap(), 700_001);
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(names(directory.path()), ["page"]);
    assert_eq!(lock(&seen).last(), Some(&700_001));
}

#[test]
fn an_empty_body_makes_an_empty_file() {
    let directory = tempfile::tempdir().unwrap();
    let threads = Threads::new();
    let session = session(&threads, Body::empty);
    let path = directory.path().join("empty");
    let bytes = threads.block_on(async {
        let response = session.get("http://host/").send().await?;
        response.save_to(&path).await
    });
    assert_eq!(bytes.unwrap(), 0);
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn a_body_that_fails_or_is_dropped_leaves_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("page");
    fs::write(&path, "old").unwrap();
    let threads = Threads::new();
    let large = || Bytes::from(vec![b'x'; 300_000]);
    let failing = session(&threads, move || {
        let chunks = [Ok(large()), Err(Error::new(ErrorKind::Incomplete))];
        Body::from_stream(stream::iter(chunks))
    });
    let error = threads.block_on(async {
        let response = failing.get("http://host/").send().await?;
        response.save_to(&path).await
    });
    assert!(!error.unwrap_err().to_string().contains("writing "));
    assert_eq!(names(directory.path()), ["page"]);

    let hanging = session(&threads, move || {
        let first = stream::once(Ok::<_, Error>(large()));
        Body::from_stream(first.chain(stream::pending()))
    });
    let response = threads
        .block_on(hanging.get("http://host/").send())
        .unwrap();
    let mut saved = Box::pin(response.save_to(&path));
    // Polls until the temporary file exists.
    threads.block_on(async {
        while names(directory.path()).len() == 1 {
            assert!(matches!(poll(&mut saved), Poll::Pending));
            futures_lite::future::yield_now().await;
        }
    });
    let guard = Arc::new(());
    let watched = PartialFile::new(Arc::new(threads.clone()), directory.path().join("other"))
        .with_guard(guard.clone());
    drop(saved);
    drop(watched);
    assert_eq!(Arc::strong_count(&guard), 1);
    // The write of the dropped future may still run.
    while names(directory.path()).len() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_file_that_cannot_be_written_is_an_io_error_and_a_foreign_response_has_no_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let threads = Threads::new();
    let session = session(&threads, || Body::from("page"));
    for path in ["missing/page", "."] {
        let path = directory.path().join(path);
        let error = threads.block_on(async {
            let response = session.get("http://host/").send().await?;
            response.save_to(&path).await
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("writing "), "{error}");
    }
    let response = Response::from(respond("page").unwrap());
    let error = threads.block_on(response.save_to(directory.path().join("page")));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NoRuntime);
    assert_eq!(names(directory.path()), Vec::<String>::new());
}
