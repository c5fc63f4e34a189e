//! Measures how long an event loop stalls while it fetches pages. A heartbeat, which is a task that wakes
//! every millisecond, measures the stall. Some clients stall the loop, and others do not.

use std::time::Duration;

use inflight::{Backend, BlockOn, Session, Task};

use super::fetch::{fetch_page, inline_session, offloaded_session, page_path, session};
use super::heartbeat::Heartbeat;
use super::{Benchmark, Failure, Measurement, WorkerConfig, measure, start_backend};

/// How a page is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchMode {
    /// No fetch. Only the heartbeat runs, for the delay of the page.
    Idle,
    /// With ureq inside `poll`.
    Inline,
    /// With ureq on the runtime's blocking pool.
    Offloaded,
    /// With hyper.
    Async,
}

impl FetchMode {
    fn from_name(name: &str) -> Result<Self, Failure> {
        match name {
            "idle" => Ok(Self::Idle),
            "inline" => Ok(Self::Inline),
            "offloaded" => Ok(Self::Offloaded),
            "async" => Ok(Self::Async),
            _ => Err(format!("unknown fetch mode {name:?}").into()),
        }
    }
}

/// Measures how long a runtime stalls while pages are fetched in one mode.
#[derive(Clone)]
pub(crate) struct StallBenchmark {
    backend: Backend,
    mode: FetchMode,
    session: Session,
    origin: String,
}

impl StallBenchmark {
    /// Creates a benchmark for a contender such as `smol: offloaded`. Without a colon, the mode is
    /// inline.
    pub(crate) fn new(config: &WorkerConfig, workers: usize) -> Result<Self, Failure> {
        let (runtime, mode) = match config.contender.split_once(": ") {
            Some((runtime, mode)) => (runtime, FetchMode::from_name(mode)?),
            None => (&*config.contender, FetchMode::Inline),
        };
        let backend = start_backend(format!("{runtime}/hyper").parse()?, workers)?;
        let session = match mode {
            // All runtimes use the same async client, so that only the runtime differs.
            FetchMode::Idle | FetchMode::Async => session(&backend)?,
            FetchMode::Inline => inline_session(backend.runtime())?,
            FetchMode::Offloaded => offloaded_session(backend.runtime())?,
        };
        Ok(Self {
            backend,
            mode,
            session,
            origin: config.origin.clone(),
        })
    }

    /// Fetches pages concurrently, one task each, while a heartbeat runs. Returns the largest gap of the
    /// heartbeat and the number of verified pages.
    fn measure(&self, pages: u64, delay_ms: u64) -> Result<(Duration, u64), Failure> {
        let (runtime, benchmark) = (self.backend.runtime().clone(), self.clone());
        // The heartbeat and the fetches are tasks of the runtime, so its worker threads drive them. This
        // thread only waits.
        self.backend.block_on(async move {
            let heartbeat = Heartbeat::start(&runtime);
            let fetches: Vec<_> = (0..pages)
                .map(|number| Task::spawn(&runtime, benchmark.clone().fetch(number, delay_ms)))
                .collect();
            let mut answered = 0;
            for fetch in fetches {
                answered += fetch.await??;
            }
            Ok((heartbeat.stop().await?, answered))
        })
    }

    async fn fetch(self, number: u64, delay_ms: u64) -> Result<u64, Failure> {
        if self.mode == FetchMode::Idle {
            let runtime = self.backend.runtime();
            runtime.sleep(Duration::from_millis(delay_ms)).await;
            return Ok(0);
        }
        let url = format!("{}{}", self.origin, page_path(number, delay_ms));
        fetch_page(self.session, url, number).await?;
        Ok(1)
    }

    /// Returns a benchmark that reports, under the name `metric`, the largest gap of the heartbeat in ms,
    /// averaged over the iterations. `work` returns the number of pages and their delay in ms.
    pub(crate) fn into_benchmark(
        self,
        metric: &'static str,
        work: fn(x: f64) -> (u64, u64),
    ) -> Benchmark {
        Box::new(move |params| {
            let (pages, delay_ms) = work(params.x);
            let (mut sum, mut answered) = (0.0, 0);
            for _ in 0..params.iterations {
                let (gap, verified) = self.measure(pages, delay_ms)?;
                sum += measure::ms(gap);
                answered += verified;
            }
            let gap = sum / params.iterations.max(1) as f64;
            Ok(Measurement::new(answered, [(metric, gap)]))
        })
    }
}
