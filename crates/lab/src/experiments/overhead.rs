//! What a request costs when the server answers at once.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use inflight::bytes::Bytes;
use inflight::http::header::{ACCEPT_ENCODING, HOST};
use inflight::http::{Request, StatusCode, Uri};
use inflight::probe::{FutureExt, Probe};
use inflight::{BlockOn, BoxFuture, Runtime, Session, gather};

use super::{cells, with_peers};
use crate::experiment::{Better, Contender, Effort, Experiment, Metric, Plan, Work};
use crate::worker::fetch::{failed, on_worker, session};
use crate::worker::measure::Meter;
use crate::worker::raw::Lanes;
use crate::worker::{Answer, Failure, Setup, Turn, start};

pub(crate) const IN_FLIGHT: usize = 64;

/// What `/bytes/12` must answer.
const LENGTH: usize = 12;

/// hyper-util's client alone: what every other figure is compared with.
const HYPER_UTIL: &str = "hyper-util alone";
/// The same client, with our `gather` in the place of `buffer_unordered`.
const GATHERED: &str = "hyper-util, gather";
/// hyper's connections, 64 of them, without a pool: the limit.
const RAW: &str = "hyper without a pool";
const REQWEST: &str = "reqwest";
/// A task for each job in place of one for all.
const ON: &str = "tokio/hyper, gather.on";
const HYPER_UTIL_ON: &str = "hyper-util, gather.on";
/// Each job under a label and a running probe.
const PROBED: &str = "tokio/hyper, probed";

/// What follows the name of a contender whose requests are made by the thread that calls
/// `Runtime::block_on`, as in `#[tokio::main]`. All others are made by a task on the runtime's one
/// worker.
const FROM_BLOCK_ON: &str = ", block_on";

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "overhead",
    title: "A request without delay",
    question: "What does a request cost the client, 64 of them in flight, when the server answers at once?",
    variable: None,
    metrics: &[
        Metric {
            name: "cpu",
            what: "CPU time of the client for each request",
            unit: "us",
            better: Better::Lower,
            limit: None,
        },
        Metric {
            name: "rate",
            what: "requests a second",
            unit: "1/s",
            better: Better::Higher,
            limit: None,
        },
    ],
    verified: "status and length of every answer",
    contenders: || with_peers("overhead", ours()),
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 8,
            Effort::Full => 60,
        },
    },
    work: Work {
        iterations: |_, _| 2000,
        about: |_, _| 120.0,
        ..Work::of(worker)
    },
};

/// Those who are no peers.
pub(super) fn ours() -> Vec<Contender> {
    let mut contenders = cells(&[
        HYPER_UTIL,
        GATHERED,
        RAW,
        REQWEST,
        ON,
        HYPER_UTIL_ON,
        PROBED,
    ]);
    for name in [HYPER_UTIL, GATHERED, RAW, "tokio/hyper", "smol/hyper"] {
        contenders.push(Contender::of(format!("{name}{FROM_BLOCK_ON}")));
    }
    // What the others are compared with is also the A/A pair.
    contenders.sort_by_key(|contender| contender.name != HYPER_UTIL);
    contenders
}

/// Makes so many requests, 64 at once, and says how many answers were right.
type Batch = Box<dyn Fn(usize) -> BoxFuture<'static, Result<usize, Failure>>>;

pub(super) fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let url: Arc<str> = setup.url("/bytes/12").into();
    let (contender, from_block_on) = match setup.contender.strip_suffix(FROM_BLOCK_ON) {
        Some(contender) => (contender, true),
        None => (&*setup.contender, false),
    };
    let cell = match contender {
        HYPER_UTIL | GATHERED | RAW | REQWEST | ON | HYPER_UTIL_ON | PROBED => "tokio/hyper",
        cell => cell,
    };
    let backend = start(cell.parse()?, 1)?;
    let batch: Batch = match contender {
        HYPER_UTIL | GATHERED | HYPER_UTIL_ON => {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            let client = Client::builder(TokioExecutor::new()).build(connector);
            let runtime = backend.runtime().clone();
            let drive = match contender {
                HYPER_UTIL => Drive::BufferUnordered,
                GATHERED => Drive::Gather,
                _ => Drive::On(runtime),
            };
            Box::new(move |n| {
                Box::pin(by_hyper_util(client.clone(), url.clone(), n, drive.clone()))
            })
        }
        RAW => {
            let lanes = Lanes::default();
            Box::new(move |n| Box::pin(by_hyper(lanes.clone(), url.clone(), n)))
        }
        REQWEST => {
            let client = reqwest::Client::builder().no_proxy().build()?;
            Box::new(move |n| Box::pin(by_reqwest(client.clone(), url.clone(), n)))
        }
        ON => {
            let session = session(&backend)?;
            Box::new(move |n| Box::pin(by_session_on(session.clone(), url.clone(), n)))
        }
        PROBED => {
            let session = session(&backend)?;
            let probe = Probe::builder().start(|_| {})?;
            Box::new(move |n| {
                // Watched for as long as the batch can be run.
                let _ = &probe;
                Box::pin(by_session_probed(session.clone(), url.clone(), n))
            })
        }
        _ => {
            let session = session(&backend)?;
            Box::new(move |n| Box::pin(by_session(session.clone(), url.clone(), n)))
        }
    };
    Ok(Box::new(move |ask| {
        let meter = Meter::start();
        let batch = batch(ask.iterations as usize);
        let answered = match from_block_on {
            true => backend.block_on(batch)?,
            false => on_worker(&backend, batch)?,
        } as u64;
        let requests = ask.iterations.max(1) as f64;
        let metrics = [
            ("cpu", meter.cpu_ms() * 1e3 / requests),
            ("rate", requests / meter.wall_ms() * 1e3),
        ];
        if answered != ask.iterations {
            return Err(format!("{answered} of {} answered", ask.iterations).into());
        }
        Ok(Answer::of(answered, metrics))
    }))
}

fn verify(status: StatusCode, length: usize) -> Result<(), Failure> {
    if status == StatusCode::OK && length == LENGTH {
        return Ok(());
    }
    Err(format!("12 bytes were answered {status} with {length} bytes").into())
}

async fn get(session: Session, url: Arc<str>) -> Result<(), Failure> {
    let response = session.get(&*url).send().await?;
    let status = response.status();
    verify(status, response.bytes().await?.len())
}

async fn by_session(session: Session, url: Arc<str>, n: usize) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| get(session.clone(), url.clone()));
    let done = gather(jobs).limit(IN_FLIGHT).all().await;
    Ok(done.map_err(failed)?.len())
}

async fn by_session_probed(session: Session, url: Arc<str>, n: usize) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| get(session.clone(), url.clone()).probed("get"));
    let done = gather(jobs).limit(IN_FLIGHT).all().await;
    Ok(done.map_err(failed)?.len())
}

async fn by_session_on(session: Session, url: Arc<str>, n: usize) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| get(session.clone(), url.clone()));
    let gathered = gather(jobs).limit(IN_FLIGHT).on(session.runtime());
    Ok(gathered.all().await.map_err(failed)?.len())
}

/// What keeps hyper-util's requests in flight.
#[derive(Clone)]
enum Drive {
    BufferUnordered,
    Gather,
    On(Arc<dyn Runtime>),
}

async fn by_hyper_util(
    client: Client<HttpConnector, Empty<Bytes>>,
    url: Arc<str>,
    n: usize,
    drive: Drive,
) -> Result<usize, Failure> {
    let jobs = (0..n).map(move |_| {
        let response = request(&url).map(|request| client.request(request));
        async move {
            let response = response?.await?;
            let status = response.status();
            verify(status, response.collect().await?.to_bytes().len())
        }
    });
    match drive {
        Drive::BufferUnordered => count(stream::iter(jobs).buffer_unordered(IN_FLIGHT)).await,
        Drive::Gather => {
            let done = gather(jobs).limit(IN_FLIGHT).all().await;
            Ok(done.map_err(failed)?.len())
        }
        Drive::On(runtime) => {
            let done = gather(jobs).limit(IN_FLIGHT).on(&runtime).all().await;
            Ok(done.map_err(failed)?.len())
        }
    }
}

/// The same bytes as a session sends. Building it from the text of the URL is part of what is
/// measured.
fn request(url: &str) -> Result<Request<Empty<Bytes>>, Failure> {
    let request = Request::get(url).header(ACCEPT_ENCODING, "gzip, deflate, br, zstd");
    Ok(request.body(Empty::new())?)
}

async fn by_hyper(lanes: Lanes, url: Arc<str>, n: usize) -> Result<usize, Failure> {
    let uri: Uri = url.parse()?;
    let authority = uri.authority().ok_or("a URL without an authority")?;
    let path = || {
        // A connection has no URL: its requests have a path and name the host.
        let request = Request::get(uri.path())
            .header(HOST, authority.as_str())
            .header(ACCEPT_ENCODING, "gzip, deflate, br, zstd");
        Ok(request.body(Empty::new())?)
    };
    lanes
        .run(authority.as_str(), (IN_FLIGHT, n), path, verify)
        .await
}

async fn by_reqwest(client: reqwest::Client, url: Arc<str>, n: usize) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| {
        let response = client.get(&*url).send();
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
    results
        .try_fold(0, |answered, ()| async move { Ok(answered + 1) })
        .await
}
