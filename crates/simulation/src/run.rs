//! Runs a plan.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::race;
use futures_lite::{Stream, StreamExt};
use inflight_core::{
    BlockOn, Error, JobError, JobErrorKind, Retry, Runtime, Session, Task, gather,
};
use inflight_virtual::Virtual;

use crate::client::RecordingClient;
use crate::plan::{Disturbance, Plan, Request};
use crate::report::{Log, Outcome, Report, Result as JobResult};
use crate::server::{self, Names};

/// The grace period of a session that the plan does not close earlier.
const GRACE: Duration = Duration::from_secs(10);
/// Long enough for the packets that are on the way when the session closes. The pool closes idle connections later.
const LAST_PACKETS: Duration = Duration::from_secs(10);
/// Long enough for every timeout of a plan and for the last packet.
const END: Duration = Duration::from_secs(300);

/// Runs a plan. The same plan always gives the same report.
///
/// Panics of the code under test do not leave this function. The report contains their messages.
pub fn run(plan: &Plan) -> Report {
    // The core takes the pauses of retries from the random numbers of the thread.
    fastrand::seed(plan.seed);
    // There are no other threads, so if no task can run, the run is in a deadlock.
    let runtime = Virtual::seeded(plan.seed).patience(Duration::ZERO);
    let log = Log::new(&runtime, plan.requests.len());
    let simulation = simulate(plan.clone(), runtime.clone(), log.clone());
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(simulation)));
    let panic = ended.err().map(|payload| message(&*payload));
    let mut report = log.take();
    report.pending = Some(runtime.pending());
    report.panic = panic;
    report
}

fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
    });
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

async fn simulate(plan: Plan, runtime: Virtual, log: Log) {
    let servers = server::start(&plan, &runtime, &log).expect("the addresses are free");
    let session = session(&plan, &runtime, &log);
    let disturbances: Vec<Task<()>> = plan
        .disturbances
        .iter()
        .map(|(at, what)| Task::spawn(&runtime, disturb(runtime.clone(), log.clone(), *at, *what)))
        .collect();
    let closing = plan.close.map(|(at, grace)| {
        let (session, log) = (session.clone(), log.clone());
        Task::spawn(&runtime, async move {
            log.sleep(at).await;
            close(&session, grace, &log).await;
        })
    });

    run_gather(&plan, &runtime, &session, &log).await;
    for task in disturbances {
        let _ended = task.await;
    }
    runtime.network().heal_all();
    match closing {
        Some(task) => drop(task.await),
        None => close(&session, GRACE, &log).await,
    }
    log.sleep(LAST_PACKETS).await;
    log.change(|report| {
        report.open_after_close = report.open_connections;
        report.in_flight_at_end = session.stats().in_flight;
    });
    drop(session);
    runtime.sleep(END).await;
    drop(servers);
    // The runtime drops the cancelled tasks.
    runtime.sleep(END).await;
}

async fn close(session: &Session, grace: Duration, log: &Log) {
    let start = log.now();
    session.close(grace).await;
    let end = log.now();
    log.change(|report| {
        report.close = (start, end);
        report.in_flight_after_close = session.stats().in_flight;
    });
}

fn session(plan: &Plan, runtime: &Virtual, log: &Log) -> Session {
    let options = &plan.session;
    let log = log.clone();
    let mut builder = plan
        .client
        .builder(runtime)
        .resolver(Names)
        .wrap(move |client| RecordingClient { client, log })
        .timeout(options.timeout)
        .connect_timeout(options.connect_timeout)
        .queue_timeout(options.queue_timeout)
        .head_timeout(options.head_timeout)
        .read_timeout(options.read_timeout)
        .max_in_flight(options.max_in_flight)
        .max_per_host(options.max_per_host)
        .max_redirects(options.max_redirects)
        .retry(Retry::new(options.retries));
    if let Some(rate) = options.max_rate {
        builder = builder.max_rate(rate.per_second, rate.burst);
    }
    if let Some(interval) = options.host_interval {
        builder = builder.max_rate_per_host(1, interval);
    }
    builder.build().expect("the settings of a plan are valid")
}

async fn disturb(runtime: Virtual, log: Log, at: Duration, what: Disturbance) {
    log.sleep(at).await;
    let network = runtime.network();
    match what {
        Disturbance::Partition(host, time) => {
            network.partition(server::address(host));
            log.sleep(time).await;
            network.heal(server::address(host));
        }
        Disturbance::Reset(host) => network.reset(server::address(host)),
        Disturbance::Jump(by) => log.jump(by),
    }
}

/// Sends a request and reads its response, or drops it when the plan says so.
async fn perform(
    plan: Arc<Plan>,
    index: usize,
    session: Session,
    log: Log,
) -> Result<JobResult, Error> {
    let request = &plan.requests[index];
    let now = log.now();
    log.change(|report| report.starts[index] = Some(now));
    let page = read_page(&plan, request, &session, &log);
    match request.cancel_after {
        None => page.await,
        Some(after) => {
            let sleep = log.sleep(after);
            // In a random order, so that the caller also drops a request that could continue.
            race(page, async {
                sleep.await;
                Ok(JobResult::Cancelled)
            })
            .await
        }
    }
}

async fn read_page(
    plan: &Plan,
    request: &Request,
    session: &Session,
    log: &Log,
) -> Result<JobResult, Error> {
    let url = server::url(plan, request.host, request.id);
    let runtime = session.runtime();
    let mut builder = session.request(request.method.clone(), url);
    if request.upload > 0 {
        builder = builder.body(Bytes::from(server::upload(request)));
    }
    if request.has_credentials {
        builder = builder.bearer_auth("secret");
    }
    if request.is_repeatable {
        builder = builder.retry(Retry::new(plan.session.retries).any_method());
    }
    if let Some(deadline) = request.deadline {
        builder = builder.deadline(runtime.now() + deadline);
    }
    let mut response = builder.send().await?;
    let status = response.status().as_u16();
    let answer = response.headers().get("x-answer");
    let answer = answer.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if let Some(pause) = request.pause_between_chunks {
            log.sleep(pause).await;
        }
    }
    Ok(JobResult::Page {
        status,
        answer,
        body,
    })
}

async fn run_gather(plan: &Plan, runtime: &Virtual, session: &Session, log: &Log) {
    let plan = Arc::new(plan.clone());
    let jobs: Vec<_> = (0..plan.requests.len())
        .map(|index| perform(plan.clone(), index, session.clone(), log.clone()))
        .collect();
    let gather = gather(jobs).limit(plan.limit);
    let until = runtime.sleep(plan.until.unwrap_or(Duration::MAX));
    let never_started = match plan.on_runtime {
        true => {
            let mut completed = gather.on(runtime).until(until).completed();
            collect(&mut completed, &plan, log).await;
            completed.never_started()
        }
        false => {
            let mut completed = gather.until(until).completed();
            collect(&mut completed, &plan, log).await;
            completed.never_started()
        }
    };
    log.change(|report| report.never_started = never_started);
}

/// Records the results of the gather.
async fn collect<S>(completed: &mut S, plan: &Plan, log: &Log)
where
    S: Stream<Item = (usize, Result<JobResult, JobError<Error>>)> + Unpin,
{
    while let Some((index, result)) = completed.next().await {
        let at = log.now();
        let outcome = Outcome {
            id: plan.requests[index].id,
            at,
            result: result.unwrap_or_else(failed),
        };
        log.change(|report| report.outcomes.push(outcome));
    }
}

fn failed(error: JobError<Error>) -> JobResult {
    match error.into_kind() {
        JobErrorKind::Failed(error) => JobResult::Failed {
            kind: error.kind(),
            phase: error.phase(),
        },
        JobErrorKind::DeadlineExceeded { sent } => JobResult::CutOff { sent },
        JobErrorKind::NeverStarted => JobResult::NeverStarted,
        other => JobResult::Unexpected(format!("{other:?}")),
    }
}
