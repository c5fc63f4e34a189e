//! The cost of a queue on a server, compared with a gather in one process.

use std::task::{Poll, ready};

use futures_lite::future::block_on;
use futures_util::stream;
use inflight::http::StatusCode;
use inflight::{Session, gather, gather_stream};
use inflight_queue::{Job, Queue, QueueName, Server, Settings, WorkerOptions};

use super::contenders::owned_names;
use crate::experiment::{Effort, Execution, Experiment, Metric, Plan, Requirement};
use crate::worker::fetch::{into_failure, on_worker, session};
use crate::worker::measure::Meter;
use crate::worker::nats::NatsServer;
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig, start_backend};

const IN_FLIGHT: usize = 64;

/// The length of the body of `/bytes/12`.
const LENGTH: usize = 12;

const GATHER: &str = "gather";
const QUEUE: &str = "queue";

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "queue",
    title: "A queue on a server",
    question: "How many requests per second does one worker of a queue send, compared with a gather, with 64 in flight and a server that responds immediately?",
    variable: None,
    metrics: &[
        Metric::new("rate", "requests per second", "1/s").higher_is_better(),
        Metric::new("cpu", "CPU time of the client for each request", "us"),
        Metric::new(
            "total",
            "CPU time of the client and of nats-server for each request",
            "us",
        ),
    ],
    verification: "status and length of every response, and one result of each job",
    programs: || owned_names(&[GATHER, QUEUE]),
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 20,
        },
    },
    execution: Execution {
        iterations: |_, _| 4000,
        requires: Some(Requirement::NatsServer),
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let url = config.url("/bytes/12");
    let backend = start_backend("tokio/hyper".parse()?, 1)?;
    let session = session(&backend)?;
    if config.contender == GATHER {
        return Ok(Box::new(move |params| {
            let meter = Meter::start();
            let batch = by_gather(session.clone(), url.clone(), params.iterations);
            let answered = on_worker(&backend, batch)?;
            Ok(measurement(&meter, answered, 0.0))
        }));
    }
    let nats = NatsServer::start()?;
    let server = block_on(nats.connect())?;
    let mut turn = 0;
    Ok(Box::new(move |params| {
        turn += 1;
        let name = format!("turn{turn}").parse()?;
        let queue = block_on(filled_queue(&server, &name, &url, params.iterations))?;
        let cpu_before = nats.cpu_ms()?;
        let meter = Meter::start();
        let batch = by_queue(session.clone(), queue.clone(), params.iterations);
        let answered = on_worker(&backend, batch)?;
        let measurement = measurement(&meter, answered, nats.cpu_ms()? - cpu_before);
        block_on(queue.delete())?;
        Ok(measurement)
    }))
}

/// `server_ms` is the CPU time of nats-server.
fn measurement(meter: &Meter, answered: u64, server_ms: f64) -> Measurement {
    let requests = answered.max(1) as f64;
    let (wall_ms, cpu_ms) = (meter.wall_ms(), meter.cpu_ms());
    let metrics = [
        ("rate", requests / wall_ms * 1e3),
        ("cpu", cpu_ms * 1e3 / requests),
        ("total", (cpu_ms + server_ms) * 1e3 / requests),
    ];
    Measurement::new(answered, metrics)
}

async fn get(session: Session, url: &str) -> Result<(), Failure> {
    let response = session.get(url).send().await?;
    let (status, length) = (response.status(), response.bytes().await?.len());
    match status == StatusCode::OK && length == LENGTH {
        true => Ok(()),
        false => Err(format!("{url}: the response has status {status} and {length} bytes").into()),
    }
}

async fn by_gather(session: Session, url: String, requests: u64) -> Result<u64, Failure> {
    let jobs = (0..requests).map(|_| get(session.clone(), &url));
    let done = gather(jobs).limit(IN_FLIGHT).all().await;
    Ok(done.map_err(into_failure)?.len() as u64)
}

/// Creates a queue whose jobs request the URL. The time for this does not count.
async fn filled_queue(
    server: &Server,
    name: &QueueName,
    url: &str,
    jobs: u64,
) -> Result<Queue, Failure> {
    let queue = server.create(name, Settings::default()).await?;
    let mut pusher = queue.pusher().await?;
    for _ in 0..jobs {
        pusher.push(url, url.to_owned().into()).await?;
    }
    pusher.finish(true).await?;
    Ok(queue)
}

async fn by_queue(session: Session, queue: Queue, jobs: u64) -> Result<u64, Failure> {
    let mut worker = queue.worker(WorkerOptions::default()).await?;
    let mut left = jobs;
    let requests = stream::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        let job = ready!(worker.poll_next(cx));
        left -= 1;
        let session = session.clone();
        Poll::Ready(job.map(|job| async move { do_job(session, job?).await }))
    });
    let done = gather_stream(requests).limit(IN_FLIGHT).all().await;
    done.map_err(into_failure)?;
    let done = queue.progress().await?.done;
    worker.close().await?;
    Ok(done)
}

/// Fetches the URL of a job, and stores a result as large as a record of `inflight gather`.
async fn do_job(session: Session, job: Job) -> Result<(), Failure> {
    let Some(job) = job.start().await? else {
        return Err("a job was delivered twice".into());
    };
    let url = String::from_utf8(job.payload().to_vec())?;
    get(session, &url).await?;
    let record = format!(
        "{{\"index\":{},\"url\":\"{url}\",\"{:160}\"}}",
        job.index(),
        ""
    );
    job.finish(record.into(), None).await?;
    Ok(())
}
