//! A server in virtual time that records its requests.

use std::panic::panic_any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use inflight::backend::Runtime;
use inflight::clients::{Mock, RecordedRequest, Reply, When};
use inflight::http::Response;
use inflight::runtimes::Virtual;
use inflight::{BlockOn, Body, Error, ErrorKind, Session, SessionBuilder};

use crate::Reason;

/// More requests than a solution sends. Code that repeats a request forever ends here.
const MAX_REQUESTS: usize = 1000;

/// A server in virtual time. A function decides the responses. The server records when each request started and ended.
pub struct Server {
    runtime: Virtual,
    mock: Mock,
    requests: Arc<Mutex<Vec<ServedRequest>>>,
}

/// A request that the server received.
#[derive(Debug, Clone)]
pub struct ServedRequest {
    /// The request.
    pub request: RecordedRequest,
    /// When the request arrived, in virtual time.
    pub start: Duration,
    /// When the server responded, or `None` if the request was cancelled before that.
    pub end: Option<Duration>,
}

/// What the server responds, and after which time.
pub struct Answer {
    delay: Duration,
    response: Result<Response<Body>, ErrorKind>,
}

impl Answer {
    /// Returns a response with the status 200 and this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::status(200, text)
    }

    /// Returns a response with this status and this text.
    pub fn status(status: u16, text: impl Into<String>) -> Self {
        let body = Body::from(text.into());
        let response = Response::builder().status(status).body(body);
        Self {
            delay: Duration::ZERO,
            response: Ok(response.expect("the status is valid")),
        }
    }

    /// Lets the request fail with an error of this kind.
    pub fn error(kind: ErrorKind) -> Self {
        Self {
            delay: Duration::ZERO,
            response: Err(kind),
        }
    }

    /// Adds a header to the response.
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        if let Ok(response) = &mut self.response {
            let value = value.parse().expect("the value is valid");
            response.headers_mut().insert(name, value);
        }
        self
    }

    /// Lets the server wait before it responds.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl Server {
    /// Starts a server that responds to each request with the result of `answer`.
    pub fn new(answer: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static) -> Self {
        let runtime = Virtual::new();
        let mock = Mock::new(runtime.clone());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (clock, log) = (runtime.clone(), requests.clone());
        let reply = Reply::from_fn(move |request| {
            let Answer { delay, response } = answer(&request);
            let number = record(&log, request, clock.elapsed());
            let (clock, log) = (clock.clone(), log.clone());
            async move {
                clock.sleep(delay).await;
                lock(&log)[number].end = Some(clock.elapsed());
                response.map_err(Error::new)
            }
        });
        mock.on(When::any().repeated(), reply);
        Self {
            runtime,
            mock,
            requests,
        }
    }

    /// Returns a session whose requests arrive at this server.
    pub fn session(&self) -> Session {
        self.builder().build().expect("the options are valid")
    }

    /// Returns a builder for a session whose requests arrive at this server.
    pub fn builder(&self) -> SessionBuilder {
        self.mock.session()
    }

    /// Runs a future in virtual time.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Returns the virtual time since the start of the server.
    pub fn elapsed(&self) -> Duration {
        self.runtime.elapsed()
    }

    /// Returns the requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<ServedRequest> {
        lock(&self.requests).clone()
    }
}

/// Records a request and returns its number.
fn record(log: &Mutex<Vec<ServedRequest>>, request: RecordedRequest, start: Duration) -> usize {
    let mut requests = lock(log);
    if requests.len() == MAX_REQUESTS {
        panic_any(Reason::new(format!(
            "the code sent more than {MAX_REQUESTS} requests, so it probably repeats them without an end"
        )));
    }
    requests.push(ServedRequest {
        request,
        start,
        end: None,
    });
    requests.len() - 1
}

fn lock(log: &Mutex<Vec<ServedRequest>>) -> MutexGuard<'_, Vec<ServedRequest>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns how many of these requests were in flight at once at most.
pub fn most_in_flight(requests: &[ServedRequest]) -> usize {
    let in_flight_at = |time| {
        let is_in_flight = |request: &&ServedRequest| {
            request.start <= time && request.end.is_none_or(|end| end > time)
        };
        requests.iter().filter(is_in_flight).count()
    };
    let starts = requests.iter().map(|request| request.start);
    starts.map(in_flight_at).max().unwrap_or(0)
}
