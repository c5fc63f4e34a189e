//! The cost of a request when the server responds immediately.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use inflight::backend::{BoxFuture, Runtime};
use inflight::bytes::Bytes;
use inflight::http::header::{ACCEPT_ENCODING, HOST};
use inflight::http::{Request, StatusCode, Uri};
use inflight::probe::{FutureExt, Probe, Recorder};
use inflight::{BlockOn, Session, gather};

use super::contenders::cells_and;
use crate::experiment::{Effort, Execution, Experiment, Metric, PeerWork, Plan};
use crate::peers;
use crate::worker::fetch::{into_failure, on_worker, session};
use crate::worker::measure::Meter;
use crate::worker::pages::REQWEST;
use crate::worker::raw_http1::RawConnections;
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig, start_backend};

const IN_FLIGHT: usize = 64;

/// The length of the body of `/bytes/12`.
const LENGTH: usize = 12;

/// hyper-util's client without inflight, which is the baseline.
const HYPER_UTIL: &str = "hyper-util alone";
/// The same client with `gather` instead of `buffer_unordered`.
const HYPER_UTIL_GATHER: &str = "hyper-util, gather";
/// hyper over 64 connections without a pool, which is the lower bound.
const RAW: &str = "hyper without a pool";
/// A session with `gather(..).on(..)`: one task per request instead of one task for all requests.
const GATHER_ON: &str = "tokio/hyper, gather.on";
/// hyper-util's client with `gather(..).on(..)`.
const HYPER_UTIL_GATHER_ON: &str = "hyper-util, gather.on";
/// A session whose requests have a probe label, while a probe runs.
const PROBED: &str = "tokio/hyper, probed";
/// The same, with a recorder of the polls.
const RECORDED: &str = "tokio/hyper, recorded";

/// How many polls of each thread the recorder keeps.
const RECORDED_POLLS: usize = 4096;

/// The metric of the throughput.
pub(super) const RATE: &str = "rate";

/// The suffix of contenders whose requests run on the thread that calls `block_on`, as in
/// `#[tokio::main]`. All other contenders run their requests in a task on the runtime's worker thread.
const FROM_BLOCK_ON: &str = ", block_on";

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "overhead",
    title: "Overhead of a request",
    question: "How much CPU time does a request cost the client, with 64 in flight and a server that responds immediately?",
    variable: None,
    metrics: &[
        Metric::new("cpu", "CPU time of the client for each request", "us"),
        Metric::new(RATE, "requests per second", "1/s").higher_is_better(),
    ],
    verification: "status and length of every response",
    programs,
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 8,
            Effort::Full => 60,
        },
    },
    execution: Execution {
        peers: Some(PeerWork {
            names: &[
                peers::AIOHTTP,
                peers::GO,
                peers::AIODUCT,
                peers::TRILLIUM,
                peers::WRK,
            ],
            mistake: None,
            arguments: || format!("--work requests --limit {IN_FLIGHT}"),
        }),
        iterations: |_, _| 2000,
        ..Execution::new(worker)
    },
};

/// Returns the names of the programs. The experiments `allocations` and `syscalls` run the same programs.
pub(super) fn programs() -> Vec<String> {
    let mut programs = cells_and(&[
        HYPER_UTIL,
        HYPER_UTIL_GATHER,
        RAW,
        REQWEST,
        GATHER_ON,
        HYPER_UTIL_GATHER_ON,
        PROBED,
        RECORDED,
    ]);
    for name in [
        HYPER_UTIL,
        HYPER_UTIL_GATHER,
        RAW,
        "tokio/hyper",
        "smol/hyper",
    ] {
        programs.push(format!("{name}{FROM_BLOCK_ON}"));
    }
    // The first program is measured twice, to determine the noise. This must be the baseline.
    programs.sort_by_key(|name| name != HYPER_UTIL);
    programs
}

/// A function that sends a number of requests, at most 64 concurrently, and returns the number of correct
/// responses.
type Batch = Box<dyn Fn(usize) -> BoxFuture<'static, Result<usize, Failure>>>;

pub(super) fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let url: Arc<str> = config.url("/bytes/12").into();
    let (contender, from_block_on) = match config.contender.strip_suffix(FROM_BLOCK_ON) {
        Some(contender) => (contender, true),
        None => (&*config.contender, false),
    };
    let cell = match contender {
        HYPER_UTIL | HYPER_UTIL_GATHER | RAW | REQWEST | GATHER_ON | HYPER_UTIL_GATHER_ON
        | PROBED | RECORDED => "tokio/hyper",
        cell => cell,
    };
    let backend = start_backend(cell.parse()?, 1)?;
    let batch: Batch = match contender {
        HYPER_UTIL | HYPER_UTIL_GATHER | HYPER_UTIL_GATHER_ON => {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            let client = Client::builder(TokioExecutor::new()).build(connector);
            let runtime = backend.runtime().clone();
            let method = match contender {
                HYPER_UTIL => ConcurrencyMethod::BufferUnordered,
                HYPER_UTIL_GATHER => ConcurrencyMethod::Gather,
                _ => ConcurrencyMethod::GatherOn(runtime),
            };
            Box::new(move |n| {
                Box::pin(by_hyper_util(
                    client.clone(),
                    url.clone(),
                    n,
                    method.clone(),
                ))
            })
        }
        RAW => {
            let connections = RawConnections::default();
            Box::new(move |n| Box::pin(by_hyper(connections.clone(), url.clone(), n)))
        }
        REQWEST => {
            let client = reqwest::Client::builder().no_proxy().build()?;
            Box::new(move |n| Box::pin(by_reqwest(client.clone(), url.clone(), n)))
        }
        GATHER_ON => {
            let session = session(&backend)?;
            Box::new(move |n| Box::pin(by_session_on(session.clone(), url.clone(), n)))
        }
        PROBED | RECORDED => {
            let session = session(&backend)?;
            let mut probe = Probe::builder();
            if contender == RECORDED {
                // The running probe owns a clone of the recorder.
                probe = probe.recorder(&Recorder::start(RECORDED_POLLS));
            }
            let probe = probe.start(|_| {})?;
            Box::new(move |n| {
                // The closure must own the probe, so that the probe runs during each batch.
                let _ = &probe;
                Box::pin(by_session_probed(session.clone(), url.clone(), n))
            })
        }
        _ => {
            let session = session(&backend)?;
            Box::new(move |n| Box::pin(by_session(session.clone(), url.clone(), n)))
        }
    };
    Ok(Box::new(move |params| {
        let meter = Meter::start();
        let batch = batch(params.iterations as usize);
        let answered = match from_block_on {
            true => backend.block_on(batch)?,
            false => on_worker(&backend, batch)?,
        } as u64;
        let requests = params.iterations.max(1) as f64;
        let metrics = [
            ("cpu", meter.cpu_ms() * 1e3 / requests),
            (RATE, requests / meter.wall_ms() * 1e3),
        ];
        if answered != params.iterations {
            return Err(format!("{answered} of {} requests succeeded", params.iterations).into());
        }
        Ok(Measurement::new(answered, metrics))
    }))
}

fn verify(status: StatusCode, length: usize) -> Result<(), Failure> {
    if status == StatusCode::OK && length == LENGTH {
        return Ok(());
    }
    Err(format!("/bytes/12: the response has status {status} and {length} bytes").into())
}

async fn get(session: Session, url: Arc<str>) -> Result<(), Failure> {
    let response = session.get(&*url).send().await?;
    let status = response.status();
    verify(status, response.bytes().await?.len())
}

async fn by_session(session: Session, url: Arc<str>, n: usize) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| get(session.clone(), url.clone()));
    let done = gather(jobs).limit(IN_FLIGHT).all().await;
    Ok(done.map_err(into_failure)?.len())
}

async fn by_session_probed(session: Session, url: Arc<str>, n: usize) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| get(session.clone(), url.clone()).probed("get"));
    let done = gather(jobs).limit(IN_FLIGHT).all().await;
    Ok(done.map_err(into_failure)?.len())
}

async fn by_session_on(session: Session, url: Arc<str>, n: usize) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| get(session.clone(), url.clone()));
    let gathered = gather(jobs).limit(IN_FLIGHT).on(session.runtime());
    Ok(gathered.all().await.map_err(into_failure)?.len())
}

/// How the requests of hyper-util's client run concurrently.
#[derive(Clone)]
enum ConcurrencyMethod {
    BufferUnordered,
    Gather,
    GatherOn(Arc<dyn Runtime>),
}

async fn by_hyper_util(
    client: Client<HttpConnector, Empty<Bytes>>,
    url: Arc<str>,
    n: usize,
    method: ConcurrencyMethod,
) -> Result<usize, Failure> {
    let jobs = (0..n).map(move |_| {
        let response = request(&url).map(|request| client.request(request));
        async move {
            let response = response?.await?;
            let status = response.status();
            verify(status, response.collect().await?.to_bytes().len())
        }
    });
    match method {
        ConcurrencyMethod::BufferUnordered => {
            count_successes(stream::iter(jobs).buffer_unordered(IN_FLIGHT)).await
        }
        ConcurrencyMethod::Gather => {
            let done = gather(jobs).limit(IN_FLIGHT).all().await;
            Ok(done.map_err(into_failure)?.len())
        }
        ConcurrencyMethod::GatherOn(runtime) => {
            let done = gather(jobs).limit(IN_FLIGHT).on(&runtime).all().await;
            Ok(done.map_err(into_failure)?.len())
        }
    }
}

/// Builds the request that a session would send. Parsing the URL is part of the measurement.
fn request(url: &str) -> Result<Request<Empty<Bytes>>, Failure> {
    let request = Request::get(url).header(ACCEPT_ENCODING, "gzip, deflate, br, zstd");
    Ok(request.body(Empty::new())?)
}

async fn by_hyper(connections: RawConnections, url: Arc<str>, n: usize) -> Result<usize, Failure> {
    let uri: Uri = url.parse()?;
    let authority = uri.authority().ok_or("the URL has no authority")?;
    let build_request = || {
        // Without a client, the request needs a path instead of a URL, and a `Host` header.
        let request = Request::get(uri.path())
            .header(HOST, authority.as_str())
            .header(ACCEPT_ENCODING, "gzip, deflate, br, zstd");
        Ok(request.body(Empty::new())?)
    };
    connections
        .run(authority.as_str(), (IN_FLIGHT, n), build_request, verify)
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
    count_successes(stream::iter(jobs).buffer_unordered(IN_FLIGHT)).await
}

/// Returns the number of results. Fails at the first error.
async fn count_successes(
    results: impl futures_util::Stream<Item = Result<(), Failure>>,
) -> Result<usize, Failure> {
    results
        .try_fold(0, |answered, ()| async move { Ok(answered + 1) })
        .await
}
