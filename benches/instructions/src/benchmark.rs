//! The benchmarks.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use inflight_core::{BlockOn, Retry, Runtime, Session, SessionBuilder, SessionMetrics, gather};
use inflight_hyper::Hyper;
use inflight_mock::{Mock, Reply, When};
use inflight_surf::Surf;
use inflight_virtual::Virtual;

use crate::server::{self, PAGE, URL};

/// The number of requests of a gather.
const GATHERED: usize = 100;
/// The body of a POST request.
const UPLOAD: &[u8] = &[b'u'; 1024];

/// A kind of work, and one of the clients that run on the virtual runtime.
#[derive(Clone, Copy)]
pub(crate) struct Benchmark {
    client: Client,
    work: Work,
}

#[derive(Clone, Copy)]
enum Client {
    Hyper,
    Surf,
    /// A client without a network, so the count is mostly the cost of the core.
    Mock,
}

#[derive(Clone, Copy)]
enum Work {
    /// One GET request after another, on one connection.
    Get,
    /// One POST request with a body after another, on one connection.
    Post,
    /// Gathers of 100 requests.
    Gather,
    /// The same gathers, in a session with limits, timeouts, retries and an observer.
    Limits,
}

impl Benchmark {
    /// Returns all benchmarks.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let clients = [Client::Hyper, Client::Surf, Client::Mock];
        let works = [Work::Get, Work::Post, Work::Gather, Work::Limits];
        clients
            .into_iter()
            .flat_map(move |client| works.map(|work| Self { client, work }))
    }

    /// Sends `requests` requests and checks the responses.
    ///
    /// # Errors
    ///
    /// Returns an error if a request fails.
    ///
    /// # Panics
    ///
    /// Panics if a response has the wrong body.
    pub(crate) fn run(self, requests: usize) -> Result<(), Box<dyn Error>> {
        // No other thread can wake a task, so the runtime reports a deadlock at once.
        let runtime = Virtual::new().patience(Duration::ZERO);
        server::start(&runtime, self.upload())?;
        // When its last clone is dropped, the mock checks its requests, so this clone lives until the end of the run.
        let mock = Mock::new(runtime.clone());
        mock.on(When::any().repeated(), Reply::text(PAGE));
        let builder = self.client.builder(&runtime, &mock);
        let session = self.work.configure(builder).build()?;
        runtime.block_on(self.work.send(&session, requests))
    }

    fn upload(self) -> &'static [u8] {
        match self.work {
            Work::Post => UPLOAD,
            Work::Get | Work::Gather | Work::Limits => &[],
        }
    }
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = match self.client {
            Client::Hyper => "virtual/hyper",
            Client::Surf => "virtual/surf",
            Client::Mock => "virtual/mock",
        };
        let work = match self.work {
            Work::Get => "get",
            Work::Post => "post",
            Work::Gather => "gather",
            Work::Limits => "limits",
        };
        write!(f, "{cell}/{work}")
    }
}

impl Client {
    fn builder(self, runtime: &Virtual, mock: &Mock) -> SessionBuilder {
        let runtime: Arc<dyn Runtime> = Arc::new(runtime.clone());
        match self {
            Self::Hyper => {
                Session::builder(|options| Ok((Hyper::new(runtime.clone(), options)?, runtime)))
            }
            Self::Surf => {
                Session::builder(|options| Ok((Surf::new(runtime.clone(), options)?, runtime)))
            }
            Self::Mock => mock.session(),
        }
    }
}

impl Work {
    fn configure(self, builder: SessionBuilder) -> SessionBuilder {
        const LONG: Duration = Duration::from_secs(60);
        match self {
            Self::Get | Self::Post | Self::Gather => builder,
            // Most requests wait for a permit, and each waits for the rate of its host.
            Self::Limits => builder
                .timeout(LONG)
                .connect_timeout(LONG)
                .queue_timeout(LONG)
                .attempt_timeout(LONG)
                .head_timeout(LONG)
                .read_timeout(LONG)
                .max_in_flight(20)
                .max_per_host(10)
                .max_rate(1_000_000, 100)
                .max_rate_per_host(1_000_000, Duration::from_secs(1))
                .max_body(1 << 20)
                .retry(Retry::new(3))
                .error_for_status(true)
                .observe(SessionMetrics::new()),
        }
    }

    async fn send(self, session: &Session, requests: usize) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Get => {
                for _ in 0..requests {
                    check(&session.get(URL).text().await?);
                }
            }
            Self::Post => {
                for _ in 0..requests {
                    check(&session.post(URL).body(UPLOAD).text().await?);
                }
            }
            Self::Gather | Self::Limits => {
                for first in (0..requests).step_by(GATHERED) {
                    let count = GATHERED.min(requests - first);
                    let pages = (0..count).map(|_| session.get(URL).text());
                    gather(pages)
                        .all()
                        .await?
                        .iter()
                        .for_each(|page| check(page));
                }
            }
        }
        Ok(())
    }
}

fn check(page: &str) {
    assert_eq!(page, PAGE, "the response has the wrong body");
}
