//! Causes an error of each kind, and prints its message and its causes: `just run errors`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use inflight::backend::{Cancel, Resolver};
use inflight::connect::{ClientOptions, Proxies};
use inflight::http::Method;
#[cfg(feature = "tokio")]
use inflight::runtimes::Tokio;
use inflight::{Body, Error, ErrorKind, Session, gather};
use inflight_origin::script::{Script, ScriptedServer};
use inflight_origin::tls::{Authority, CertificateKind};
use inflight_origin::{Options, Origin};

type Failure = Box<dyn std::error::Error>;

/// An attempt that fails.
type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

const BRIEFLY: Duration = Duration::from_millis(50);

fn main() -> Result<(), Failure> {
    let servers = Servers::start()?;
    inflight::block_on(async {
        let session = inflight::session()?;
        for (kind, attempt) in attempts(&session, &servers) {
            let Err(error) = attempt.await else {
                return Err(format!("no error of kind {kind}").into());
            };
            if error.kind() != kind {
                return Err(format!("{error:?} instead of an error of kind {kind}").into());
            }
            print_error(&error);
        }
        Ok(())
    })
}

// ANCHOR: print
fn print_error(error: &Error) {
    println!("{}\n    {error}", error.kind());
    let mut cause = error.source();
    while let Some(error) = cause {
        println!("    cause: {error}");
        cause = error.source();
    }
}
// ANCHOR_END: print

/// The servers that cause the errors.
struct Servers {
    origin: Origin,
    secure: Origin,
    invalid: ScriptedServer,
}

impl Servers {
    fn start() -> Result<Self, Failure> {
        let tls = Authority::new()?.server(CertificateKind::SelfSigned)?;
        Ok(Self {
            origin: Origin::start()?,
            secure: Origin::bind(Options {
                tls: Some(tls),
                ..Options::default()
            })?,
            invalid: ScriptedServer::with_script(
                Script::new().read_request().send("SSH-2.0-server\r\n\r\n"),
            )?,
        })
    }
}

/// Returns an attempt for each kind.
fn attempts<'a>(session: &'a Session, servers: &'a Servers) -> Vec<(ErrorKind, Attempt<'a>)> {
    let origin = &servers.origin;
    let get = move |path: &str| session.get(origin.url(path));
    vec![
        (
            ErrorKind::InvalidUrl,
            text(session.get("ftp://files.example/list")),
        ),
        (
            ErrorKind::InvalidRequest,
            text(get("/get").header("X Header", "1")),
        ),
        (
            ErrorKind::Resolve,
            text(session.get("http://no-such-host.invalid/")),
        ),
        // No server listens on this port.
        (ErrorKind::Connect, text(session.get("http://127.0.0.1:1/"))),
        (
            ErrorKind::Tls,
            text(session.get(servers.secure.url("/get"))),
        ),
        (
            ErrorKind::Proxy,
            through_proxy("http://127.0.0.1:1", origin),
        ),
        (ErrorKind::Timeout, text(get("/hang").head_timeout(BRIEFLY))),
        (
            ErrorKind::Protocol,
            text(session.get(servers.invalid.url("/"))),
        ),
        (ErrorKind::Incomplete, text(get("/range/222?cut=10"))),
        (
            ErrorKind::BodyTooLarge,
            text(get("/bytes/1000").max_body(100)),
        ),
        (
            ErrorKind::TooManyRedirects,
            text(get("/redirect/5").max_redirects(2)),
        ),
        (
            ErrorKind::RedirectRefused,
            redirected_stream(session, origin),
        ),
        (
            ErrorKind::Decode,
            Box::pin(async move { get("/page/1").json::<u32>().await.map(drop) }),
        ),
        (
            ErrorKind::Status,
            text(get("/status/404").error_for_status(true)),
        ),
        (ErrorKind::Cancelled, Box::pin(async { cancelled_lookup() })),
        (ErrorKind::Panicked, panicking_job()),
        (
            ErrorKind::Deadline,
            text(get("/hang").deadline(Instant::now() + BRIEFLY)),
        ),
        (ErrorKind::Closed, closed_session(origin)),
        (
            ErrorKind::Unsupported,
            through_proxy("socks4://127.0.0.1:1", origin),
        ),
        #[cfg(feature = "tokio")]
        (ErrorKind::NoRuntime, ended_runtime(origin)),
        (ErrorKind::Io, missing_folder(session, origin)),
    ]
}

fn text<'a>(request: inflight::RequestBuilder) -> Attempt<'a> {
    Box::pin(async { request.text().await.map(drop) })
}

fn through_proxy<'a>(proxy: &'static str, origin: &'a Origin) -> Attempt<'a> {
    Box::pin(async move {
        let proxy = move |name: &str| (name == "ALL_PROXY").then(|| proxy.to_owned());
        let proxies = Proxies::from_env(proxy)?;
        let session = inflight::builder().proxies(proxies).build()?;
        session.get(origin.url("/get")).text().await.map(drop)
    })
}

/// Sends a body that can be sent only once, to a path that redirects.
fn redirected_stream<'a>(session: &'a Session, origin: &'a Origin) -> Attempt<'a> {
    Box::pin(async move {
        let body = Body::from_stream(futures_lite::stream::once(Ok::<_, std::io::Error>("once")));
        let url = origin.url("/redirect-to?url=/post&status_code=307");
        session
            .request(Method::POST, url)
            .body(body)
            .text()
            .await
            .map(drop)
    })
}

fn cancelled_lookup() -> Result<(), Error> {
    let cancel = Cancel::new();
    cancel.cancel();
    let resolver = Resolver::new(&ClientOptions::default());
    resolver
        .lookup_blocking("localhost", 80, None, &cancel)
        .map(drop)
}

fn panicking_job<'a>() -> Attempt<'a> {
    Box::pin(async {
        let jobs = [async { Err::<(), Error>(page_without_title()) }];
        gather(jobs).all().await.map(drop).map_err(Error::from)
    })
}

fn page_without_title() -> Error {
    panic!("the page has no title")
}

fn closed_session(origin: &Origin) -> Attempt<'_> {
    Box::pin(async {
        let session = inflight::session()?;
        session.close(Duration::ZERO).await;
        session.get(origin.url("/get")).text().await.map(drop)
    })
}

#[cfg(feature = "tokio")]
fn ended_runtime(origin: &Origin) -> Attempt<'_> {
    Box::pin(async {
        let runtime = tokio::runtime::Runtime::new()
            .map_err(|error| Error::new(ErrorKind::Io).with_source(error))?;
        let handle = runtime.handle().clone();
        let session = inflight::tokio::builder_on(Tokio::from(handle)).build()?;
        runtime.shutdown_background();
        session.get(origin.url("/get")).text().await.map(drop)
    })
}

fn missing_folder<'a>(session: &'a Session, origin: &'a Origin) -> Attempt<'a> {
    // The path is the same on every machine, because the book shows the message.
    let path = "/tmp/no-such-folder/page";
    let request = session.get(origin.url("/range/222"));
    Box::pin(async move { request.resume_to(path).await.map(drop) })
}
