//! Downloads a file in several parts: `just run download`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::path::Path;
use std::time::Duration;

use inflight::{Error, Retry, Session};
use inflight_origin::{Origin, payload};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let origin = Origin::start()?;
    // The server closes the connection after at most 40,000 bytes of each response.
    let url = origin.url("/range/100000?cut=40000");
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("file");
    inflight::block_on(async {
        let session = inflight::session()?;

        // ANCHOR: save
        let response = session.get(&url).send().await?.error_for_status()?;
        if let Err(error) = response.save_to(&path).await {
            println!("save_to: {}, no file: {}", error.kind(), !path.exists());
        }
        // ANCHOR_END: save

        let len = download(&session, &url, &path).await?;
        let is_equal = std::fs::read(&path)? == payload::bytes(100_000, 0);
        println!("resume_to: {len} bytes, as on the server: {is_equal}");
        Ok(())
    })
}

// ANCHOR: resume
async fn download(session: &Session, url: &str, path: &Path) -> Result<u64, Error> {
    let request = session
        .get(url)
        .timeout(Duration::from_secs(3600))
        .retry(Retry::new(10))
        .on_progress(|progress| match progress.total {
            Some(total) => eprintln!("{} of {total} bytes", progress.bytes),
            None => eprintln!("{} bytes", progress.bytes),
        });
    request.resume_to(path).await
}
// ANCHOR_END: resume
