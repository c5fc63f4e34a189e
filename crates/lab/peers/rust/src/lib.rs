//! Workers of the lab that use Rust clients from outside inflight's workspace. `../python/protocol.py` describes the
//! protocol. The flags define the work and its size. In the flags, `x` stands for the value of the experiment's variable.
//!
//! Tasks run on one worker thread of tokio, while the main thread waits, as in the workers of the workspace. The
//! concurrency is that of the worker with reqwest: one task for each page, or all requests in one task.

use std::error::Error;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The contents that the origin serves.
#[allow(dead_code, reason = "only the origin serves bodies in chunks")]
#[path = "../../../../origin/src/payload.rs"]
pub mod payload;

/// The error with which a worker exits.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The timeout of a request. No request of an experiment takes this long.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum number of idle connections that a client should keep, which is more than any experiment needs.
pub const IDLE_CONNECTIONS: usize = 10_000;

const HELP: &str = "needs --origin URL --work pages|requests --metrics NAME,NAME and optionally --pages N|x --limit N|x --delay-ms N";

/// An HTTP client.
pub trait Client: Clone + Send + Sync + 'static {
    /// The body of a response.
    type Body: AsRef<[u8]> + Send;

    /// Sends a GET request and reads the response. Returns its status and its body.
    fn get(&self, url: String) -> impl Future<Output = Result<(u16, Self::Body), Failure>> + Send;
}

/// Runs a worker until its input ends. `package` is the name of the client's package.
pub fn main<C: Client>(package: &str, new: impl FnOnce() -> Result<C, Failure>) -> ExitCode {
    match run(package, new) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run<C: Client>(package: &str, new: impl FnOnce() -> Result<C, Failure>) -> Result<(), Failure> {
    let Some(work) = Work::from_args()? else {
        println!(
            "{}",
            version(package).ok_or("the lock file lacks the client")?
        );
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    // A client may spawn tasks when it is created, so it is created inside the runtime.
    let client = runtime.block_on(async { new() })?;
    let work = Arc::new(work);
    for line in std::io::stdin().lines() {
        let turn = turn(client.clone(), work.clone(), serde_json::from_str(&line?)?);
        let measurement = runtime.block_on(runtime.spawn(turn))??;
        println!("{measurement}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Returns the version of a package in the lock file.
fn version(package: &str) -> Option<&'static str> {
    let (_, entry) =
        include_str!("../Cargo.lock").split_once(&format!("name = \"{package}\"\n"))?;
    entry.split('"').nth(1)
}

#[derive(Clone, Copy)]
enum Kind {
    /// Pages, each in a task of its own. An iteration fetches all of them.
    Pages,
    /// Short responses. An iteration is one request.
    Requests,
}

/// A number, or the value of the experiment's variable.
#[derive(Clone, Copy)]
enum Size {
    Fixed(u64),
    Variable,
}

impl Size {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "x" => Ok(Self::Variable),
            number => Ok(Self::Fixed(number.parse()?)),
        }
    }

    fn at(self, x: u64) -> u64 {
        match self {
            Self::Fixed(size) => size,
            Self::Variable => x,
        }
    }
}

/// The work of a turn.
struct Work {
    kind: Kind,
    pages: Size,
    limit: Size,
    delay_ms: u64,
    metrics: Vec<String>,
    origin: String,
}

impl Work {
    /// Parses the program's arguments. Returns `None` if they ask for the version.
    fn from_args() -> Result<Option<Self>, Failure> {
        let (mut kind, mut origin, mut metrics) = (None, None, None);
        let (mut pages, mut limit, mut delay_ms) = (Size::Variable, Size::Variable, 0);
        let mut args = lexopt::Parser::from_env();
        while let Some(flag) = args.next()? {
            let lexopt::Arg::Long(name) = flag else {
                return Err(flag.unexpected().into());
            };
            if name == "version" {
                return Ok(None);
            }
            let name = name.to_owned();
            let value = args
                .value()?
                .into_string()
                .map_err(|_| "an argument is not UTF-8")?;
            match &*name {
                "work" => kind = Some(kind_of(&value)?),
                "origin" => origin = Some(value),
                "metrics" => metrics = Some(value.split(',').map(str::to_owned).collect()),
                "pages" => pages = Size::parse(&value)?,
                "limit" => limit = Size::parse(&value)?,
                "delay-ms" => delay_ms = value.parse()?,
                _ => return Err(format!("unknown flag --{name}: the worker {HELP}").into()),
            }
        }
        let missing = || format!("the worker {HELP}");
        Ok(Some(Self {
            kind: kind.ok_or_else(missing)?,
            pages,
            limit,
            delay_ms,
            metrics: metrics.ok_or_else(missing)?,
            origin: origin.ok_or_else(missing)?,
        }))
    }
}

fn kind_of(work: &str) -> Result<Kind, Failure> {
    match work {
        "pages" => Ok(Kind::Pages),
        "requests" => Ok(Kind::Requests),
        other => Err(format!("unknown work {other:?}").into()),
    }
}

/// Runs all iterations of a turn and returns the measurement.
async fn turn<C: Client>(client: C, work: Arc<Work>, params: Value) -> Result<Value, Failure> {
    let number = |name: &str| {
        params[name]
            .as_f64()
            .ok_or(format!("{name} is not a number"))
    };
    let (x, iterations) = (number("x")? as u64, number("iterations")? as u64);
    let limit = work.limit.at(x);
    let (started, cpu_before) = (Instant::now(), cpu());
    // Times are in milliseconds per iteration for pages, and in microseconds per request.
    let (answered, unit) = match work.kind {
        Kind::Pages => {
            let mut answered = 0;
            for _ in 0..iterations {
                answered += pages(&client, &work, work.pages.at(x), limit).await?;
            }
            (answered, 1e3)
        }
        Kind::Requests => (requests(&client, &work, iterations, limit).await?, 1e6),
    };
    let per_iteration = |time: Duration| time.as_secs_f64() * unit / iterations.max(1) as f64;
    let wall = per_iteration(started.elapsed());
    let measured = [
        ("wall", wall),
        ("cpu", per_iteration(cpu() - cpu_before)),
        ("rate", 1e6 / wall),
    ];
    let selected: serde_json::Map<_, _> = measured
        .into_iter()
        .filter(|(name, _)| work.metrics.iter().any(|metric| metric == name))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    Ok(json!({ "answered": answered, "metrics": selected }))
}

/// Fetches pages with one task per page, at most `limit` at once.
async fn pages(client: &impl Client, work: &Work, pages: u64, limit: u64) -> Result<u64, Failure> {
    let mut tasks = JoinSet::new();
    let mut answered = 0;
    for number in 0..pages {
        if tasks.len() as u64 >= limit
            && let Some(done) = tasks.join_next().await
        {
            done??;
            answered += 1;
        }
        let url = format!("{}/page/{number}?delay_ms={}", work.origin, work.delay_ms);
        let client = client.clone();
        tasks.spawn(async move { verified(&client, url, payload::page(number).as_bytes()).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
        answered += 1;
    }
    Ok(answered)
}

/// Sends `n` requests for 12 bytes from one task, at most `limit` at once.
async fn requests(client: &impl Client, work: &Work, n: u64, limit: u64) -> Result<u64, Failure> {
    let expected = payload::bytes(12, 0);
    let responses =
        (0..n).map(|_| verified(client, format!("{}/bytes/12", work.origin), &expected));
    stream::iter(responses)
        .buffer_unordered(limit as usize)
        .try_fold(0, |answered, ()| async move { Ok(answered + 1) })
        .await
}

async fn verified(client: &impl Client, url: String, expected: &[u8]) -> Result<(), Failure> {
    let (status, body) = client.get(url.clone()).await?;
    let body = body.as_ref();
    if status == 200 && body == expected {
        return Ok(());
    }
    Err(format!(
        "{url}: the response is wrong (status {status}, {} bytes)",
        body.len()
    )
    .into())
}

/// Returns the CPU time of all threads of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
