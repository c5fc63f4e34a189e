//! Bodies of responses.

use inflight::{Error, ErrorKind};
use inflight_origin::{Origin, payload};

use crate::{TestResult, run};

#[test]
fn stream_down() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/bytes/100000");
        let mut received = Vec::new();
        // ANCHOR: stream_down
        let mut response = session.get(url).send().await?;
        while let Some(chunk) = response.chunk().await? {
            received.extend_from_slice(&chunk);
        }
        // ANCHOR_END: stream_down
        assert_eq!(received, payload::bytes(100_000, 0));
        Ok(())
    })
}

// ANCHOR: lines
/// Calls `use_line` for each line, as soon as it has arrived.
async fn read_lines(
    mut response: inflight::Response,
    mut use_line: impl FnMut(&str),
) -> Result<(), Error> {
    let mut buffer = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            use_line(String::from_utf8_lossy(&line).trim_end());
        }
    }
    if !buffer.is_empty() {
        use_line(&String::from_utf8_lossy(&buffer));
    }
    Ok(())
}
// ANCHOR_END: lines

#[test]
fn lines() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/encoding/utf8");
        let text = session.get(&url).text().await?;
        let response = session.get(&url).send().await?;
        let mut lines = Vec::new();
        read_lines(response, |line| lines.push(line.to_owned())).await?;
        let expected: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines, expected);
        assert!(lines.len() > 1);
        Ok(())
    })
}

#[test]
fn save_to_file() -> TestResult {
    run(async |origin: &Origin| {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("book.pdf");
        let session = inflight::session()?;
        let url = origin.url("/bytes/100000");
        // ANCHOR: save_to_file
        let response = session.get(url).send().await?.error_for_status()?;
        let length = response.save_to(&path).await?;
        // ANCHOR_END: save_to_file
        assert_eq!(length, 100_000);
        assert_eq!(std::fs::read(&path)?, payload::bytes(100_000, 0));
        Ok(())
    })
}

#[test]
fn body_limit() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/bytes/2000");
        // ANCHOR: body_limit
        let error = session.get(url).max_body(1000).bytes().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
        // ANCHOR_END: body_limit
        Ok(())
    })
}

#[test]
fn compressed_body() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/gzip");
        // ANCHOR: compressed_body
        let response = session.get(url).decompress(false).send().await?;
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let compressed = response.bytes().await?;
        // ANCHOR_END: compressed_body
        assert!(compressed.starts_with(&[0x1f, 0x8b]));
        Ok(())
    })
}
