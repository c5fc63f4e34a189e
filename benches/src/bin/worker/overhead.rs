//! What a request costs when the server answers at once: 64 in flight, on one client thread.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use clap::ValueEnum;
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use inflight::bytes::Bytes;
use inflight::http::header::ACCEPT_ENCODING;
use inflight::http::{Request, StatusCode};
use inflight::probe::{FutureExt, Probe};
use inflight::{BlockOn, BoxFuture, Cell, Session, Task, gather};
use inflight_benches::process::Measured;

use crate::{Failure, Run, cpu};

/// Who makes the requests.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Who {
    /// `Session` and `gather`, all jobs in one task.
    Session,
    /// `Session` and `gather(..).on(runtime)`, a task for each job.
    SessionOn,
    /// `Session` and `gather`, each job under a label and a running probe.
    SessionProbed,
    /// hyper-util's client alone.
    Raw,
    /// reqwest.
    Reqwest,
}

const IN_FLIGHT: usize = 64;

/// What `/bytes/12` must answer.
const LENGTH: usize = 12;

type Batch = Box<dyn Fn(usize) -> BoxFuture<'static, Result<usize, Failure>>>;

pub(crate) fn prepare(who: Who, cell: Cell, url: String) -> Result<Run, Failure> {
    // One worker on every runtime; `threads` have none.
    let workers = (cell.runtime() != "threads").then_some(NonZeroUsize::MIN);
    let backend = cell.start(workers)?;
    let runtime = backend.runtime().clone();
    let batch: Batch = match who {
        Who::Session => {
            let session = backend.session()?;
            Box::new(move |n| Box::pin(by_session(session.clone(), url.clone(), n)))
        }
        Who::SessionOn => {
            let session = backend.session()?;
            Box::new(move |n| Box::pin(by_session_on(session.clone(), url.clone(), n)))
        }
        Who::SessionProbed => {
            let session = backend.session()?;
            let probe = Probe::builder().start(|_| {})?;
            Box::new(move |n| {
                // Watched for as long as the batch can be run.
                let _ = &probe;
                Box::pin(by_session_probed(session.clone(), url.clone(), n))
            })
        }
        Who::Raw => {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            let client = Client::builder(TokioExecutor::new()).build(connector);
            Box::new(move |n| Box::pin(by_hyper(client.clone(), url.clone(), n)))
        }
        Who::Reqwest => {
            let client = reqwest::Client::builder().no_proxy().build()?;
            Box::new(move |n| Box::pin(by_reqwest(client.clone(), url.clone(), n)))
        }
    };
    Ok(Box::new(move |iterations| {
        let (started, cpu_before) = (Instant::now(), cpu());
        // In a task, on the worker: the thread that enters the runtime only waits.
        let work = Task::spawn(&runtime, batch(iterations as usize));
        let answered = backend.block_on(work)??;
        let measured = Measured {
            wall_ns: started.elapsed().as_nanos() as u64,
            cpu_ns: (cpu() - cpu_before).as_nanos() as u64,
            answered: answered as u64,
            ..Measured::default()
        };
        if answered as u64 != iterations {
            return Err(format!("{answered} of {iterations} answered").into());
        }
        Ok(measured)
    }))
}

fn verify(status: StatusCode, length: usize) -> Result<(), Failure> {
    if status == StatusCode::OK && length == LENGTH {
        return Ok(());
    }
    Err(format!("answered {status} with {length} bytes").into())
}

async fn get(session: Session, url: Arc<str>) -> Result<(), Failure> {
    let response = session.get(&*url).send().await?;
    let status = response.status();
    verify(status, response.bytes().await?.len())
}

async fn by_session(session: Session, url: String, n: usize) -> Result<usize, Failure> {
    let url: Arc<str> = url.into();
    let jobs = (0..n).map(|_| get(session.clone(), url.clone()));
    let done = gather(jobs).limit(IN_FLIGHT).all().await;
    Ok(done.map_err(failed)?.len())
}

async fn by_session_probed(session: Session, url: String, n: usize) -> Result<usize, Failure> {
    let url: Arc<str> = url.into();
    let jobs = (0..n).map(|_| get(session.clone(), url.clone()).probed("get"));
    let done = gather(jobs).limit(IN_FLIGHT).all().await;
    Ok(done.map_err(failed)?.len())
}

async fn by_session_on(session: Session, url: String, n: usize) -> Result<usize, Failure> {
    let url: Arc<str> = url.into();
    let jobs = (0..n).map(|_| get(session.clone(), url.clone()));
    let gathered = gather(jobs).limit(IN_FLIGHT).on(session.runtime());
    Ok(gathered.all().await.map_err(failed)?.len())
}

fn failed(error: inflight::JobError<Failure>) -> Failure {
    match error.into_kind() {
        inflight::JobErrorKind::Failed(error) => error,
        other => format!("{other:?}").into(),
    }
}

async fn by_hyper(
    client: Client<HttpConnector, Empty<Bytes>>,
    url: String,
    n: usize,
) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| {
        // The same bytes as a session sends, from the text of the URL to the verified body.
        let request = Request::get(&url)
            .header(ACCEPT_ENCODING, "gzip, deflate, br, zstd")
            .body(Empty::new());
        let response = request.map(|request| client.request(request));
        async move {
            let response = response?.await?;
            let status = response.status();
            verify(status, response.collect().await?.to_bytes().len())
        }
    });
    count(stream::iter(jobs).buffer_unordered(IN_FLIGHT)).await
}

async fn by_reqwest(client: reqwest::Client, url: String, n: usize) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| {
        let response = client.get(&url).send();
        async move {
            let response = response.await?;
            let status = response.status();
            verify(status, response.bytes().await?.len())
        }
    });
    count(stream::iter(jobs).buffer_unordered(IN_FLIGHT)).await
}

async fn count(
    results: impl futures_util::Stream<Item = Result<(), Failure>>,
) -> Result<usize, Failure> {
    let mut results = std::pin::pin!(results);
    let mut answered = 0;
    while let Some(result) = results.next().await {
        result?;
        answered += 1;
    }
    Ok(answered)
}
