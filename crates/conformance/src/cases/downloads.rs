//! Downloads that continue where an earlier one ended.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use inflight_core::{Error, ErrorKind, Retry};
use inflight_origin::payload;
use inflight_origin::script::{RecordedRequest, Script, ScriptedServer};
use macro_rules_attribute::apply;
use tempfile::TempDir;

use crate::case::case;
use crate::check::{Result, check, check_equal, check_error};
use crate::context::Context;

/// The first five of ten bytes.
const CUT_OFF: &str =
    "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n01234";

/// If a transfer is cut off, the next download requests only the rest, and the file has all bytes.
#[apply(case!)]
async fn cut_off_download_continues(context: Context) -> Result {
    let rest = "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nETag: \"a\"\r\n\
                Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789";
    let download = Download::start(&context, [CUT_OFF, rest])?;
    download.check_cut_off().await?;
    check_equal("the second call", download.run().await?, 10)?;
    download.check_file("0123456789")?;
    let requests = download.server.requests();
    check_range(&requests[0], None)?;
    check_range(&requests[1], Some("bytes=5-"))?;
    let if_range = requests[1].header("if-range");
    check_equal("the If-Range", if_range, Some(&b"\"a\""[..]))
}

/// If a transfer is cut off and the policy allows retries, one call requests the rest until the file is
/// complete.
#[apply(case!)]
#[marks(in_memory)]
async fn cut_off_download_is_retried(context: Context) -> Result {
    let origin = context.httpbin()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("file");
    let retry = Retry::new(10).delays(Duration::ZERO, Duration::ZERO);
    let url = origin.url("/range/250000?seed=17&cut=100000");
    let request = context.session()?.get(url).retry(retry);
    check_equal("the length", request.resume_to(&path).await?, 250_000)?;
    let is_equal = fs::read(&path)? == payload::bytes(250_000, 17);
    check(is_equal, "the bytes differ")
}

/// If the resource has changed since the transfer was cut off, the file has only the new bytes.
#[apply(case!)]
async fn changed_resource_is_downloaded_from_the_beginning(context: Context) -> Result {
    let changed = "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"b\"\r\n\
                   Content-Length: 8\r\n\r\nabcdefgh";
    let download = Download::start(&context, [CUT_OFF, changed])?;
    download.check_cut_off().await?;
    check_equal("the second call", download.run().await?, 8)?;
    check_range(&download.server.requests()[1], Some("bytes=5-"))?;
    download.check_file("abcdefgh")
}

/// If the server sends other bytes than the next ones, the download asks once for the whole body.
#[apply(case!)]
async fn wrong_range_is_never_appended(context: Context) -> Result {
    let wrong = "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nETag: \"a\"\r\n\
                 Content-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n456789";
    let whole = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789";
    let download = Download::start(&context, [CUT_OFF, wrong, whole])?;
    download.check_cut_off().await?;
    check_equal("the second call", download.run().await?, 10)?;
    check_range(&download.server.requests()[2], None)?;
    download.check_file("0123456789")
}

/// If the server supports no ranges, the download starts over.
#[apply(case!)]
async fn server_without_ranges_sends_the_whole_again(context: Context) -> Result {
    let whole = "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"a\"\r\nAccept-Ranges: none\r\n\
                 Content-Length: 10\r\n\r\n0123456789";
    let download = Download::start(&context, [CUT_OFF, whole])?;
    download.check_cut_off().await?;
    check_equal("the second call", download.run().await?, 10)?;
    download.check_file("0123456789")
}

/// If the partial file has all bytes, the server confirms this with the status 416, and no byte is sent again.
#[apply(case!)]
async fn complete_download_is_confirmed(context: Context) -> Result {
    // The last chunk is missing, so the first call cannot know that the bytes are complete.
    let open = "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"a\"\r\n\
                Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n";
    let complete = "HTTP/1.1 416 Range Not Satisfiable\r\nConnection: close\r\n\
                    Content-Range: bytes */10\r\nContent-Length: 0\r\n\r\n";
    let download = Download::start(&context, [open, complete])?;
    download.check_cut_off().await?;
    check_equal("the second call", download.run().await?, 10)?;
    check_range(&download.server.requests()[1], Some("bytes=10-"))?;
    download.check_file("0123456789")
}

/// A file in an empty directory, and a server that sends one response on each connection.
struct Download {
    session: inflight_core::Session,
    server: ScriptedServer,
    directory: TempDir,
}

impl Download {
    fn start<const N: usize>(context: &Context, responses: [&'static str; N]) -> Result<Self> {
        let responses = Arc::new(responses);
        let server = ScriptedServer::start(move |connection| {
            let response = responses.get(connection).copied().unwrap_or_default();
            Script::new().read_request().send(response).close()
        })?;
        Ok(Self {
            session: context.session()?,
            server,
            directory: tempfile::tempdir()?,
        })
    }

    async fn run(&self) -> Result<u64, Error> {
        let request = self.session.get(self.server.url("/file"));
        request.resume_to(self.directory.path().join("file")).await
    }

    /// Checks that the first call fails because the server cuts off the body.
    async fn check_cut_off(&self) -> Result {
        let result = self.run().await;
        check_error("the first call", result, &[ErrorKind::Incomplete]).map(drop)
    }

    /// Checks the content of the file, and that no other file is left.
    fn check_file(&self, content: &str) -> Result {
        let path = self.directory.path().join("file");
        check_equal("the file", &*fs::read_to_string(path)?, content)?;
        let files = fs::read_dir(self.directory.path())?.count();
        check_equal("the number of files", files, 1)
    }
}

fn check_range(request: &RecordedRequest, range: Option<&str>) -> Result {
    let sent = request.header("range");
    check_equal("the Range", sent, range.map(str::as_bytes))?;
    let coding = request.header("accept-encoding");
    check_equal("the Accept-Encoding", coding, Some(&b"identity"[..]))
}
