//! A benchmark for several experiments: fetches pages concurrently, all with the same delay.

use inflight::{Backend, Session, gather};
use tokio::task::JoinSet;

use super::fetch::{fetch_page, into_failure, on_worker, page_path, session, verify_page};
use super::measure::Meter;
use super::{Benchmark, Failure, Measurement, WorkerConfig, start_backend};

/// The pages that a turn fetches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageBatch {
    /// The number of pages.
    pub(crate) pages: u64,
    /// The maximum number of pages in flight.
    pub(crate) limit: u64,
    /// The time that the server waits before it sends a page, in milliseconds.
    pub(crate) delay_ms: u64,
}

/// The contender that uses reqwest instead of a session.
pub(crate) const REQWEST: &str = "reqwest";

/// The wall time and the CPU time of an iteration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchTime {
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
}

/// Prepares a benchmark of a session or of reqwest, on a runtime with one worker thread. `batch` returns the
/// pages for a value of the experiment's variable.
pub(crate) fn benchmark<const N: usize>(
    config: &WorkerConfig,
    batch: fn(x: f64) -> PageBatch,
    metrics: fn(BatchTime) -> [(&'static str, f64); N],
) -> Result<Benchmark, Failure> {
    let client = ContenderClient::new(config)?;
    let backend = client.backend.clone();
    let origin = config.origin.clone();
    Ok(Box::new(move |params| {
        let batch = batch(params.x);
        let meter = Meter::start();
        let mut answered = 0;
        for _ in 0..params.iterations {
            let (any_client, origin) = (client.client.clone(), origin.clone());
            answered += on_worker(&backend, async move {
                match any_client {
                    AnyClient::Session(session) => by_session(session, origin, batch).await,
                    AnyClient::Reqwest(_) => by_reqwest(any_client, origin, batch).await,
                }
            })?;
        }
        let each = params.iterations.max(1) as f64;
        let time = BatchTime {
            wall_ms: meter.wall_ms() / each,
            cpu_ms: meter.cpu_ms() / each,
        };
        Ok(Measurement::new(answered, metrics(time)))
    }))
}

/// The client of a contender on a backend with one worker thread.
pub(crate) struct ContenderClient {
    pub(crate) backend: Backend,
    pub(crate) client: AnyClient,
}

/// A session, or reqwest.
#[derive(Clone)]
pub(crate) enum AnyClient {
    Session(Session),
    Reqwest(reqwest::Client),
}

impl AnyClient {
    /// Fetches the page with this number and verifies its content.
    pub(crate) async fn fetch_page(self, url: String, number: u64) -> Result<(), Failure> {
        match self {
            Self::Session(session) => fetch_page(session, url, number).await,
            Self::Reqwest(client) => {
                let response = client.get(url).send().await?;
                let status = response.status();
                verify_page(status, &response.bytes().await?, number)
            }
        }
    }
}

impl ContenderClient {
    pub(crate) fn new(config: &WorkerConfig) -> Result<Self, Failure> {
        if config.contender == REQWEST {
            return Ok(Self {
                backend: start_backend("tokio/hyper".parse()?, 1)?,
                client: AnyClient::Reqwest(reqwest::Client::builder().no_proxy().build()?),
            });
        }
        let backend = start_backend(config.cell()?, 1)?;
        Ok(Self {
            client: AnyClient::Session(session(&backend)?),
            backend,
        })
    }
}

async fn by_session(session: Session, origin: String, batch: PageBatch) -> Result<u64, Failure> {
    let pages = (0..batch.pages).map(|number| {
        let url = format!("{origin}{}", page_path(number, batch.delay_ms));
        fetch_page(session.clone(), url, number)
    });
    let pages = gather(pages).limit(batch.limit as usize).all().await;
    Ok(pages.map_err(into_failure)?.len() as u64)
}

/// Fetches pages with a `JoinSet`, as programs with reqwest usually do: one task per page, up to the limit.
async fn by_reqwest(client: AnyClient, origin: String, batch: PageBatch) -> Result<u64, Failure> {
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    let mut answered = 0;
    for number in 0..batch.pages {
        if tasks.len() as u64 >= batch.limit
            && let Some(done) = tasks.join_next().await
        {
            done??;
            answered += 1;
        }
        let url = format!("{origin}{}", page_path(number, batch.delay_ms));
        tasks.spawn(client.clone().fetch_page(url, number));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
        answered += 1;
    }
    Ok(answered)
}
