//! Uploads files, forms and streams: `just run upload`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_lite::{StreamExt, stream};
use inflight::multipart::{Multipart, Part};
use inflight::{Body, Error, Retry, Session};
use inflight_origin::{Origin, payload};
use serde::Deserialize;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("walk.jpg");
    std::fs::write(&path, payload::bytes(1_000_000, 0))?;
    inflight::block_on(run(&origin, &path))
}

async fn run(origin: &Origin, path: &Path) -> Result<(), Failure> {
    let session = inflight::session()?;
    let upload = origin.url("/upload");
    let receipt = send_file(&session, &upload, path).await?;
    println!(
        "file: {} bytes, announced: {}",
        receipt.bytes,
        receipt.content_length.is_some()
    );
    let receipt = send_form(&session, &upload, path).await?;
    println!(
        "form: announced: {}",
        receipt.content_length == Some(receipt.bytes)
    );
    if session.capabilities().streaming_upload.is_yes() {
        let receipt = send_stream(&session, &upload).await?;
        println!(
            "stream: {} bytes, in chunks: {}",
            receipt.bytes, receipt.chunked
        );
    }
    let flaky = origin.url("/flaky?fail=2&id=upload");
    println!("attempts: {}", send_again(&session, &flaky, path).await?);
    let missing = session.put(&upload).file("missing.jpg").send().await;
    println!("a missing file: {}", missing.unwrap_err().kind());
    Ok(())
}

/// What the server has received.
#[derive(Deserialize)]
struct Receipt {
    bytes: u64,
    chunked: bool,
    content_length: Option<u64>,
}

// ANCHOR: file
async fn send_file(session: &Session, url: &str, path: &Path) -> Result<Receipt, Error> {
    let sent = Arc::new(AtomicU64::new(0));
    let bytes = sent.clone();
    let request = session
        .put(url)
        .file(path)
        .timeout(Duration::from_secs(3600))
        .on_upload_progress(move |progress| bytes.store(progress.bytes, Ordering::Relaxed));
    let receipt = request.json().await?;
    println!("progress: {} bytes", sent.load(Ordering::Relaxed));
    Ok(receipt)
}
// ANCHOR_END: file

// ANCHOR: form
async fn send_form(session: &Session, url: &str, path: &Path) -> Result<Receipt, Error> {
    let notes = Part::new("# Notes")
        .file_name("notes.md")
        .content_type("text/markdown");
    let form = Multipart::new()
        .text("title", "A walk")
        .part("photo", Part::file(path).content_type("image/jpeg"))
        .part("notes", notes);
    session.post(url).multipart(form).json().await
}
// ANCHOR_END: form

// ANCHOR: stream
async fn send_stream(session: &Session, url: &str) -> Result<Receipt, Error> {
    let rows = stream::iter(1..=1000).map(|n| Ok::<_, io::Error>(format!("row {n}\n")));
    session.post(url).body(Body::from_stream(rows)).json().await
}
// ANCHOR_END: stream

// ANCHOR: again
/// Sends the file until the server accepts it, at most four times. Returns the number of attempts.
async fn send_again(session: &Session, url: &str, path: &Path) -> Result<u32, Error> {
    let retry = Retry::new(3).delays(Duration::from_millis(20), Duration::from_secs(1));
    let request = session.put(url).file(path).retry(retry);
    Ok(request.send().await?.error_for_status()?.attempts())
}
// ANCHOR_END: again
