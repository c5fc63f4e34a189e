//! A slow name look-up, and how long the event loop stalls during the look-up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use inflight::connect::Resolve;
use inflight::{Backend, BlockOn, Session, Task};

use super::blocking::GAP;
use super::contenders::cells_and;
use crate::experiment::{Effort, Execution, Experiment, Plan, Variable};
use crate::worker::fetch::{fetch_page, page_path};
use crate::worker::heartbeat::Heartbeat;
use crate::worker::measure::ms;
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig, start_backend};

/// The suffix of a control: a contender that makes a blocking look-up inside a future.
const IN_A_FUTURE: &str = ", blocking look-up in a future";

/// A host name that only the resolver of the experiment knows.
const HOST: &str = "pages.test";

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "lookup",
    title: "A slow name look-up",
    question: "How long does an event loop with one thread stall during a slow name look-up?",
    variable: Some(Variable {
        name: "look-up",
        unit: "ms",
    }),
    metrics: &[GAP],
    verification: "the page, byte for byte; only the slow resolver knows its host name",
    programs: || {
        let control = |runtime: &str| format!("{runtime}/hyper{IN_A_FUTURE}");
        let controls = ["tokio", "smol", "async-std"].map(control);
        cells_and(&controls.each_ref().map(String::as_str))
    },
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![100.0],
            rounds: 3,
        },
        Effort::Full => Plan {
            points: vec![10.0, 30.0, 100.0, 300.0],
            rounds: 20,
        },
    },
    execution: Execution::new(worker),
};

/// A resolver that returns a fixed address after a delay.
struct SlowResolver {
    delay: Duration,
    address: SocketAddr,
}

impl Resolve for SlowResolver {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        thread::sleep(self.delay);
        Ok(vec![self.address])
    }
}

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let (cell, blocks_in_future) = match config.contender.strip_suffix(IN_A_FUTURE) {
        Some(cell) => (cell, true),
        None => (&*config.contender, false),
    };
    let backend = start_backend(cell.parse()?, 1)?;
    let origin = config.origin.clone();
    let after_scheme = origin
        .strip_prefix("http://")
        .ok_or("the origin's URL is not http")?;
    let path_start = after_scheme.find('/').unwrap_or(after_scheme.len());
    let (address, path) = after_scheme.split_at(path_start);
    let address: SocketAddr = address.parse()?;
    let url_by_name = format!("http://{HOST}:{}{path}", address.port());
    Ok(Box::new(move |params| {
        let mut gaps = 0.0;
        for _ in 0..params.iterations {
            let slow_resolver = Arc::new(SlowResolver {
                delay: Duration::from_secs_f64(params.x / 1e3),
                address,
            });
            // A new session for each iteration, because an open connection needs no look-up.
            let resolver = slow_resolver.clone();
            let builder = backend.builder();
            let session = builder
                .client_options(|options| options.resolver = resolver)
                .build()?;
            gaps += match blocks_in_future {
                true => largest_gap_ms(
                    &backend,
                    fetch_after_blocking_lookup(session, slow_resolver, origin.clone()),
                )?,
                false => {
                    let url = format!("{url_by_name}{}", page_path(0, 0));
                    largest_gap_ms(&backend, fetch_page(session, url, 0))?
                }
            };
        }
        let gap = gaps / params.iterations.max(1) as f64;
        Ok(Measurement::new(params.iterations, [("gap", gap)]))
    }))
}

/// Returns the largest gap of a heartbeat during a fetch, in milliseconds.
fn largest_gap_ms(
    backend: &Backend,
    fetch: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> Result<f64, Failure> {
    let runtime = backend.runtime().clone();
    backend.block_on(async move {
        let heartbeat = Heartbeat::start(&runtime);
        Task::spawn(&runtime, fetch).await??;
        Ok(ms(heartbeat.stop().await?))
    })
}

/// Looks up the name with a blocking call inside the future. Then fetches a page by address.
async fn fetch_after_blocking_lookup(
    session: Session,
    resolver: Arc<SlowResolver>,
    origin: String,
) -> Result<(), Failure> {
    resolver.resolve(HOST, resolver.address.port())?;
    fetch_page(session, format!("{origin}{}", page_path(0, 0)), 0).await
}
