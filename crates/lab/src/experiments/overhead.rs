//! What a request costs when the server answers at once.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use inflight::bytes::Bytes;
use inflight::http::header::ACCEPT_ENCODING;
use inflight::http::{Request, StatusCode};
use inflight::probe::{FutureExt, Probe};
use inflight::{BoxFuture, Session, gather};

use super::{cells, with_peers};
use crate::experiment::{Better, Contender, Effort, Experiment, Metric, Plan, Work};
use crate::worker::fetch::{failed, on_worker, session};
use crate::worker::measure::Meter;
use crate::worker::{Answer, Failure, Setup, Turn, start};

pub(crate) const IN_FLIGHT: usize = 64;

/// What `/bytes/12` must answer.
const LENGTH: usize = 12;

/// hyper-util's client alone: what every other figure is compared with.
const RAW: &str = "hyper-util alone";
const REQWEST: &str = "reqwest";
/// A task for each job in place of one for all.
const ON: &str = "tokio/hyper, gather.on";
/// Each job under a label and a running probe.
const PROBED: &str = "tokio/hyper, probed";

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
    let mut contenders = cells(&[RAW, REQWEST, ON, PROBED]);
    // What the others are compared with is also the A/A pair.
    contenders.sort_by_key(|contender| contender.name != RAW);
    contenders
}

/// Makes so many requests, 64 at once, and says how many answers were right.
type Batch = Box<dyn Fn(usize) -> BoxFuture<'static, Result<usize, Failure>>>;

pub(super) fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let url: Arc<str> = setup.url("/bytes/12").into();
    let contender = &*setup.contender;
    let cell = match contender {
        RAW | REQWEST | ON | PROBED => "tokio/hyper".parse()?,
        _ => setup.cell()?,
    };
    let backend = start(cell, 1)?;
    let batch: Batch = match contender {
        RAW => {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            let client = Client::builder(TokioExecutor::new()).build(connector);
            Box::new(move |n| Box::pin(by_hyper(client.clone(), url.clone(), n)))
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
        let answered = on_worker(&backend, batch(ask.iterations as usize))? as u64;
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

async fn by_hyper(
    client: Client<HttpConnector, Empty<Bytes>>,
    url: Arc<str>,
    n: usize,
) -> Result<usize, Failure> {
    let jobs = (0..n).map(|_| {
        // The same bytes as a session sends, from the text of the URL to the verified body.
        let request = Request::get(&*url)
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
