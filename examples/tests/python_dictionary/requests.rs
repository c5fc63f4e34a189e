//! Requests: their URLs, headers and bodies.

use futures_lite::{StreamExt, stream};
use inflight::Body;
use inflight::http::Method;
use inflight::multipart::{Multipart, Part};
use inflight_origin::Origin;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{TestResult, run};

#[test]
fn params() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/get?lang=da");
        // ANCHOR: params
        let request = session.get(url).query(&[("q", "rød grød"), ("page", "2")]);
        // ANCHOR_END: params
        let echo: Value = request.json().await?;
        let expected = json!({"lang": "da", "q": "rød grød", "page": "2"});
        assert_eq!(echo["args"], expected);
        Ok(())
    })
}

#[test]
fn headers() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::builder().header("accept", "text/html").build()?;
        let url = origin.url("/headers");
        // ANCHOR: headers
        let request = session
            .get(url)
            .header("accept", "application/json")
            .header("x-request-id", "7");
        // ANCHOR_END: headers
        let echo: Value = request.json().await?;
        assert_eq!(echo["headers"]["X-Request-Id"], "7");
        assert_eq!(echo["headers"]["Accept"], "application/json");
        Ok(())
    })
}

#[test]
fn methods() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/anything");
        // ANCHOR: methods
        let put = session.put(&url).body("a text");
        let options = session.request(Method::OPTIONS, &url);
        // ANCHOR_END: methods
        for (request, method) in [(put, "PUT"), (options, "OPTIONS")] {
            let echo: Value = request.json().await?;
            assert_eq!(echo["method"], method);
        }
        Ok(())
    })
}

#[test]
fn json_body() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/post");
        // ANCHOR: json_body
        let request = session
            .post(url)
            .json_body(&json!({"item": "pen", "quantity": 3}));
        // ANCHOR_END: json_body
        let echo: Value = request.json().await?;
        assert_eq!(echo["json"]["quantity"], 3);
        assert_eq!(echo["headers"]["Content-Type"], "application/json");
        Ok(())
    })
}

#[test]
fn json() -> TestResult {
    // ANCHOR: json
    #[derive(Deserialize)]
    struct Echo {
        url: String,
    }

    // ANCHOR_END: json
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/get");
        let expected = url.clone();
        // ANCHOR: json
        let echo: Echo = session.get(url).json().await?;
        // ANCHOR_END: json
        assert_eq!(echo.url, expected);
        Ok(())
    })
}

#[test]
fn form() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/post");
        // ANCHOR: form
        let request = session
            .post(url)
            .form(&[("name", "Ada"), ("city", "London")]);
        // ANCHOR_END: form
        let echo: Value = request.json().await?;
        assert_eq!(echo["form"], json!({"name": "Ada", "city": "London"}));
        Ok(())
    })
}

#[test]
fn files() -> TestResult {
    run(async |origin: &Origin| {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("walk.txt");
        std::fs::write(&path, "a long walk")?;
        let session = inflight::session()?;
        let url = origin.url("/post");
        // ANCHOR: files
        let notes = Part::new("# Notes")
            .file_name("notes.md")
            .content_type("text/markdown");
        let form = Multipart::new()
            .text("title", "A walk")
            .file("photo", path)
            .part("notes", notes);
        let request = session.post(url).multipart(form);
        // ANCHOR_END: files
        let echo: Value = request.json().await?;
        assert_eq!(echo["form"], json!({"title": "A walk"}));
        assert_eq!(
            echo["files"],
            json!({"photo": "a long walk", "notes": "# Notes"})
        );
        Ok(())
    })
}

#[test]
fn bytes_body() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/post");
        // ANCHOR: bytes_body
        let request = session
            .post(url)
            .header("content-type", "text/plain")
            .body("a text");
        // ANCHOR_END: bytes_body
        let echo: Value = request.json().await?;
        assert_eq!(echo["data"], "a text");
        Ok(())
    })
}

#[test]
fn file_body() -> TestResult {
    run(async |origin: &Origin| {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("book.txt");
        std::fs::write(&path, "x".repeat(100_000))?;
        let session = inflight::session()?;
        let url = origin.url("/upload");
        // ANCHOR: file_body
        let request = session.put(url).file(path);
        // ANCHOR_END: file_body
        let received: Value = request.json().await?;
        assert_eq!(received["bytes"], 100_000);
        assert_eq!(received["content_length"], 100_000);
        Ok(())
    })
}

#[test]
fn stream_body() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        if !session.capabilities().streaming_upload.is_yes() {
            return Ok(());
        }
        let url = origin.url("/upload");
        // ANCHOR: stream_body
        let rows = stream::iter(1..=1000).map(|n| Ok::<_, std::io::Error>(format!("row {n}\n")));
        let request = session.post(url).body(Body::from_stream(rows));
        // ANCHOR_END: stream_body
        let received: Value = request.json().await?;
        assert_eq!(received["chunked"], true);
        let expected: usize = (1..=1000).map(|n| format!("row {n}\n").len()).sum();
        assert_eq!(received["bytes"], expected);
        Ok(())
    })
}
