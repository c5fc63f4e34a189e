//! Shows which requests a session retries, and what a retry budget saves: `just run retries`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use inflight::http::Method;
use inflight::{Error, Retry, RetryBudget, Session, gather};
use inflight_charts::{Figure, Group, Waterfall};
use inflight_examples::attempts::{AttemptLog, RequestLog};
use inflight_origin::Origin;
use inflight_origin::script::{Script, ScriptedServer};

type Failure = Box<dyn std::error::Error>;

/// How long a server works on a request before it responds or fails.
const WORK: Duration = Duration::from_millis(50);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const UNAVAILABLE: &str =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const RETRY_IN_A_SECOND: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";
/// The server does its work and closes the connection without a response.
const LOST: &str = "";

/// A request, and how its server responds to the first attempt, the second attempt, and so on.
struct Case {
    name: &'static str,
    method: Method,
    is_repeatable: bool,
    responses: &'static [&'static str],
}

// ANCHOR: cases
fn cases() -> [Case; 6] {
    let get = |name, responses| Case::new(name, Method::GET, responses);
    let post = |name, responses| Case::new(name, Method::POST, responses);
    [
        get("GET: 503 twice", &[UNAVAILABLE, UNAVAILABLE, OK]),
        get("GET: response lost", &[LOST, OK]),
        get("GET: 503, Retry-After: 1", &[RETRY_IN_A_SECOND, OK]),
        get("GET: 404", &[NOT_FOUND, OK]),
        post("POST: response lost", &[LOST, OK]),
        post("POST, repeatable: response lost", &[LOST, OK]).repeatable(),
    ]
}
// ANCHOR_END: cases

impl Case {
    fn new(name: &'static str, method: Method, responses: &'static [&'static str]) -> Self {
        Self {
            name,
            method,
            is_repeatable: false,
            responses,
        }
    }

    fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }
}

/// What happened to the request of a case.
struct Outcome {
    /// How many requests the server received.
    received: usize,
    /// The status of the response or the kind of the error.
    result: String,
}

/// What happened to many requests to a server that fails.
struct Overload {
    name: &'static str,
    /// How many requests the server received.
    received: u64,
    log: AttemptLog,
}

fn main() -> Result<(), Failure> {
    let cases = cases();
    let (outcomes, log) = inflight::block_on(run_cases(&cases))?;
    let overloads = inflight::block_on(async {
        Ok::<_, Failure>([
            overload("with the default budget", RetryBudget::default()).await?,
            overload("without a budget", None).await?,
        ])
    })?;
    match inflight_examples::picture_format() {
        Some(_) => inflight_examples::print_picture(&draw(&log, &overloads)),
        None => print(&cases, &outcomes, &overloads),
    }
    Ok(())
}

async fn run_cases(cases: &[Case]) -> Result<(Vec<Outcome>, AttemptLog), Failure> {
    let log = AttemptLog::new(Instant::now());
    // ANCHOR: session
    let session = inflight::builder()
        .retry(Retry::new(3))
        .observe(log.clone())
        .build()?;
    // ANCHOR_END: session
    let servers = cases.iter().map(start_server);
    let servers: Vec<ScriptedServer> = servers.collect::<Result<_, _>>()?;
    let requests = cases.iter().zip(&servers);
    let jobs = requests.map(|(case, server)| send(&session, case, server.url("/")));
    let results = gather(jobs).settled().await.results;
    let outcomes = servers.iter().zip(results).map(|(server, result)| Outcome {
        received: server.requests().len(),
        result: match result {
            Ok(status) => status,
            Err(error) => format!("an error of the kind {}", Error::from(error).kind()),
        },
    });
    Ok((outcomes.collect(), log))
}

/// Starts the server of a case. Each attempt has a connection of its own.
fn start_server(case: &Case) -> std::io::Result<ScriptedServer> {
    let responses = case.responses;
    ScriptedServer::start(move |connection| {
        let response = responses.get(connection).copied().unwrap_or(OK);
        let script = Script::new().read_request().pause(WORK);
        script.send(response).close()
    })
}

// ANCHOR: send
async fn send(session: &Session, case: &Case, url: String) -> Result<String, Error> {
    let mut request = session.request(case.method.clone(), url).name(case.name);
    if case.is_repeatable {
        request = request
            .header("idempotency-key", "order-17")
            .retry(Retry::new(3).any_method());
    }
    let response = request.send().await?;
    let status = response.status();
    response.bytes().await?;
    Ok(status.to_string())
}
// ANCHOR_END: send

const REQUESTS: u32 = 60;
const INTERVAL: Duration = Duration::from_millis(10);

// ANCHOR: overload
async fn overload(
    name: &'static str,
    budget: impl Into<Option<RetryBudget>>,
) -> Result<Overload, Failure> {
    let origin = Origin::start()?;
    // After 20 ms, this server responds with the status 503.
    let url = &origin.url("/drip?code=503&delay=0.02&duration=0&numbytes=1");
    let log = AttemptLog::new(Instant::now());
    let retry = Retry::new(3).budget(budget);
    let session = inflight::builder().retry(retry).observe(log.clone());
    let session = &session.build()?;

    let requests = (0..REQUESTS).map(|number| async move {
        session.runtime().sleep(INTERVAL * number).await;
        session.get(url).bytes().await
    });
    gather(requests).all().await?;
    let received = origin.stats().requests;
    Ok(Overload {
        name,
        received,
        log,
    })
}
// ANCHOR_END: overload

fn print(cases: &[Case], outcomes: &[Outcome], overloads: &[Overload]) {
    println!("{:32}{:>10}  result", "", "received");
    for (case, Outcome { received, result }) in cases.iter().zip(outcomes) {
        println!("{:32}{received:>10}  {result}", case.name);
    }
    println!("\n{REQUESTS} requests to a server that fails, up to 3 retries for each");
    for Overload { name, received, .. } in overloads {
        println!("{name:32}{received:>10}");
    }
}

fn draw(log: &AttemptLog, overloads: &[Overload]) -> Figure {
    let requests = log.requests();
    let attempts: Vec<String> = requests
        .iter()
        .map(|request| format!("{} ({})", request.name, request.attempts.len()))
        .collect();
    let received: Vec<String> = overloads
        .iter()
        .map(|overload| format!("{} {}", overload.received, overload.name))
        .collect();
    let cases = Group::new("a server for each request, up to 3 retries")
        .rows(requests.iter().map(RequestLog::row));
    let chart = overloads.iter().map(draw_overload).fold(
        Waterfall::new("ms since the start").group(cases),
        Waterfall::group,
    );
    let description = format!(
        "Each row is a request, and each bar an attempt. At the top are {} requests with their numbers of attempts: \
         {}. Below are {REQUESTS} requests to a server that fails, one every {} ms. The server received {}.",
        requests.len(),
        attempts.join(", "),
        INTERVAL.as_millis(),
        received.join(" and ")
    );
    Figure::new(
        "retries",
        "Attempts of each request, and the pauses between them",
        description,
        chart,
    )
}

fn draw_overload(overload: &Overload) -> Group {
    let Overload {
        name,
        received,
        log,
    } = overload;
    let group = Group::new(format!(
        "a server that fails, {name}: {received} attempts for {REQUESTS} requests"
    ));
    group.rows(log.requests().iter().map(RequestLog::row))
}
