//! Compares a report with what the contract promises.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use http::Method;
use inflight_core::{ErrorKind, Phase};

use crate::plan::{Answer, Fault, Plan, Request};
use crate::report::{Arrival, Exchange, Outcome, Report, Result as JobResult, Timer};
use crate::server::body;

/// A promise of the contract that the simulation checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// The run ends: no task waits forever, and nothing panics.
    Ends,
    /// The gather returns each request exactly once.
    Once,
    /// The result of a request is one that the faults of its servers and the plan imply.
    Result,
    /// A body that is returned as complete is exactly what the server sent.
    Body,
    /// A request that must not be repeated reaches a server at most once.
    Unrepeatable,
    /// The server receives the body that the caller sent.
    Upload,
    /// No other host receives the credentials of a host.
    Credentials,
    /// At most `max_in_flight` requests are in flight, and at most `max_per_host` to one host.
    InFlight,
    /// Requests start no faster than `max_rate` and `max_rate_per_host` permit.
    Rate,
    /// No request outlives its deadline.
    Deadline,
    /// The clock passes no timer: each timer of the servers and callers that fires does so when it is due, or at the end
    /// of the jump that passed this moment.
    Clock,
    /// After `close`, nothing is open: no request, no connection, and no task.
    Closed,
}

/// A promise that a run broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub property: Property,
    /// What happened instead.
    pub description: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.description)
    }
}

/// Returns what is wrong with a run.
pub fn check(plan: &Plan, report: &Report) -> Vec<Violation> {
    let mut checker = Checker {
        plan,
        report,
        violations: Vec::new(),
    };
    if let Some(panic) = &report.panic {
        checker.add(Property::Ends, panic.clone());
        // The rest of the report is incomplete.
        return checker.violations;
    }
    checker.check_once();
    checker.check_results();
    checker.check_arrivals();
    checker.check_in_flight();
    checker.check_rates();
    checker.check_closed();
    checker.check_clock();
    checker.violations
}

struct Checker<'a> {
    plan: &'a Plan,
    report: &'a Report,
    violations: Vec<Violation>,
}

impl<'a> Checker<'a> {
    fn add(&mut self, property: Property, description: String) {
        self.violations.push(Violation {
            property,
            description,
        });
    }

    fn require(&mut self, property: Property, is_true: bool, describe: impl FnOnce() -> String) {
        if !is_true {
            self.add(property, describe());
        }
    }

    fn request(&self, id: usize) -> (usize, &'a Request) {
        let mut requests = self.plan.requests.iter().enumerate();
        let found = requests.find(|(_, request)| request.id == id);
        found.expect("only requests of the plan are sent")
    }

    /// Returns what the servers received of a request, in order.
    fn arrivals(&self, id: usize) -> Vec<&'a Arrival> {
        let arrivals = self.report.arrivals.iter();
        arrivals.filter(|arrival| arrival.id == id).collect()
    }

    fn check_once(&mut self) {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for outcome in &self.report.outcomes {
            *counts.entry(outcome.id).or_default() += 1;
        }
        for (id, count) in &counts {
            self.require(Property::Once, *count == 1, || {
                format!("request {id} has {count} results")
            });
        }
        let results = counts.len() + self.report.never_started.unwrap_or(0);
        let requests = self.plan.requests.len();
        self.require(Property::Once, results == requests, || {
            format!("{requests} requests have {results} results")
        });
    }

    fn check_results(&mut self) {
        for outcome in &self.report.outcomes {
            let (index, request) = self.request(outcome.id);
            let Some(start) = self.report.starts[index] else {
                let is_cut_off = matches!(
                    outcome.result,
                    JobResult::NeverStarted | JobResult::CutOff { sent: false }
                );
                self.require(Property::Result, is_cut_off, || {
                    format!("request {} never started: {:?}", outcome.id, outcome.result)
                });
                continue;
            };
            if let Err((property, description)) = self.check_result(request, outcome, start) {
                self.add(property, format!("request {}: {description}", request.id));
            }
            self.check_deadline(request, outcome, start);
        }
    }

    fn check_deadline(&mut self, request: &Request, outcome: &Outcome, start: Duration) {
        let Some(deadline) = request.deadline else {
            return;
        };
        // The session returns a few chunks that have arrived before the deadline even after it, and the caller pauses
        // after each of them.
        let pause = request.pause_between_chunks.unwrap_or_default() * 8;
        let latest = start + deadline + pause + self.plan.jumps();
        self.require(Property::Deadline, outcome.at <= latest, || {
            format!(
                "request {} ended at {:?}, and its deadline was {:?}",
                request.id,
                outcome.at,
                start + deadline
            )
        });
    }

    fn check_result(
        &self,
        request: &Request,
        outcome: &Outcome,
        start: Duration,
    ) -> Result<(), (Property, String)> {
        let took = outcome.at - start;
        let is_allowed = match &outcome.result {
            JobResult::Page {
                status,
                answer,
                body,
            } => return self.check_page(request, *status, *answer, body),
            JobResult::Failed {
                phase: Some(Phase::Queue),
                ..
            } if self.asks_for_long_pause() => true,
            JobResult::Failed { kind, .. } => self.is_implied(request, *kind, outcome.at, took),
            JobResult::Cancelled => request.cancel_after.is_some_and(|after| took >= after),
            JobResult::CutOff { .. } | JobResult::NeverStarted => {
                self.plan.until.is_some_and(|until| outcome.at >= until)
            }
            JobResult::Unexpected(_) => false,
        };
        match is_allowed {
            true => Ok(()),
            false => {
                let seen: Vec<_> = self
                    .arrivals(request.id)
                    .into_iter()
                    .map(|arrival| (arrival.at, answer_to(request, arrival)))
                    .collect();
                let description = format!(
                    "{:?} after {took:?}, and its servers did {seen:?}",
                    outcome.result
                );
                Err((Property::Result, description))
            }
        }
    }

    fn check_page(
        &self,
        request: &Request,
        status: u16,
        answer: Option<usize>,
        received: &[u8],
    ) -> Result<(), (Property, String)> {
        let arrivals = self.arrivals(request.id);
        let arrival = arrivals
            .iter()
            .find(|arrival| Some(arrival.earlier) == answer);
        let Some(arrival) = arrival else {
            let description = format!("its response is answer {answer:?}, which no server sent");
            return Err((Property::Body, description));
        };
        let sent = answer_to(request, arrival);
        if status != sent.status {
            let description = format!(
                "its status is {status}, and the server sent {}",
                sent.status
            );
            return Err((Property::Body, description));
        }
        // If a body ends early, the session may return the body of the response to a retry, with the same status.
        let mut candidates = arrivals.iter().filter(|other| {
            let answer = answer_to(request, other);
            other.earlier >= arrival.earlier && answer.status == status && may_be_whole(answer)
        });
        let is_whole = candidates.any(|other| {
            received == body(request.id, other.earlier, answer_to(request, other).len)
        });
        match is_whole {
            true => Ok(()),
            false => {
                let description = format!(
                    "its body has {} of {} bytes, and the server did {:?}",
                    received.len(),
                    sent.len,
                    sent.fault
                );
                Err((Property::Body, description))
            }
        }
    }

    /// Returns whether the faults of the servers or the plan imply an error of this kind.
    fn is_implied(&self, request: &Request, kind: ErrorKind, at: Duration, took: Duration) -> bool {
        let arrivals = self.arrivals(request.id);
        let answers: Vec<&Answer> = arrivals
            .iter()
            .map(|arrival| answer_to(request, arrival))
            .collect();
        let has_fault = |faults: &[Fault]| {
            let mut seen = answers.iter().filter_map(|answer| answer.fault);
            seen.any(|fault| faults.contains(&fault))
        };
        match kind {
            ErrorKind::Timeout => self.shortest_timeout() <= took,
            ErrorKind::Deadline => request.deadline.is_some_and(|deadline| took >= deadline),
            ErrorKind::Closed => self.plan.close.is_some_and(|(close, _)| at >= close),
            ErrorKind::TooManyRedirects => {
                let redirects = answers.iter().filter(|answer| answer.redirect.is_some());
                redirects.count() > self.plan.session.max_redirects
            }
            ErrorKind::Protocol => has_fault(&[Fault::Garbage]),
            ErrorKind::Incomplete => {
                let ends_early = [
                    Fault::ResetBeforeHead,
                    Fault::CloseBeforeHead,
                    Fault::ResetInBody,
                    Fault::CloseInBody,
                ];
                has_fault(&ends_early) || !self.plan.is_calm() || self.may_meet_closed(request)
            }
            ErrorKind::Connect => !self.plan.is_calm(),
            _ => false,
        }
    }

    /// Returns whether the request may be written to a connection that a server is closing, and must not be resent.
    fn may_meet_closed(&self, request: &Request) -> bool {
        let mut answers = self.plan.requests.iter().flat_map(|one| &one.answers);
        !is_idempotent(&request.method) && answers.any(closes_silently)
    }

    /// Returns whether a server may ask for a pause that is longer than requests may wait. Then they fail at once.
    fn asks_for_long_pause(&self) -> bool {
        let session = &self.plan.session;
        let longest = session.queue_timeout.unwrap_or(session.timeout);
        let answers = self.plan.requests.iter().flat_map(|one| &one.answers);
        let mut pauses = answers.filter_map(|answer| answer.retry_after);
        pauses.any(|seconds| Duration::from_secs(seconds) > longest)
    }

    fn shortest_timeout(&self) -> Duration {
        let session = &self.plan.session;
        let optional = [
            session.queue_timeout,
            session.head_timeout,
            session.read_timeout,
        ];
        let timeouts = optional.into_iter().flatten();
        let shortest = timeouts.min().unwrap_or(Duration::MAX);
        shortest.min(session.timeout).min(session.connect_timeout)
    }

    fn check_arrivals(&mut self) {
        let ids: BTreeSet<usize> = self.report.arrivals.iter().map(|one| one.id).collect();
        for id in ids {
            let (_, request) = self.request(id);
            let arrivals = self.arrivals(id);
            self.check_repeats(request, &arrivals);
            for arrival in &arrivals {
                let is_sent = arrival.is_complete || arrival.answered.is_none();
                self.require(Property::Upload, is_sent, || {
                    format!("request {id}: the server received another body")
                });
                let is_own = arrival.host == request.host;
                self.require(
                    Property::Credentials,
                    is_own || !arrival.has_credentials,
                    || {
                        format!(
                            "request {id}: host {} received the credentials of host {}",
                            arrival.host, request.host
                        )
                    },
                );
            }
            let has_credentials = arrivals[0].has_credentials == request.has_credentials;
            self.require(Property::Credentials, has_credentials, || {
                format!("request {id}: the first host did not receive the right credentials")
            });
        }
    }

    fn check_repeats(&mut self, request: &Request, arrivals: &[&Arrival]) {
        for pair in arrivals.windows(2) {
            let keeps_method = matches!(answer_to(request, pair[0]).status, 307 | 308);
            let may_repeat =
                request.is_repeatable || is_idempotent(&pair[1].method) || keeps_method;
            self.require(Property::Unrepeatable, may_repeat, || {
                format!(
                    "request {}: host {} received this {} again at {:?}",
                    request.id, pair[1].host, pair[1].method, pair[1].at
                )
            });
        }
    }

    fn check_in_flight(&mut self) {
        let session = &self.plan.session;
        let exchanges: Vec<&Exchange> = self.report.exchanges.iter().collect();
        self.check_limit("all hosts", &exchanges, session.max_in_flight);
        for (host, exchanges) in by_host(&exchanges) {
            self.check_limit(host, &exchanges, session.max_per_host);
        }
    }

    fn check_limit(&mut self, name: &str, exchanges: &[&Exchange], limit: Option<usize>) {
        let most = most_at_once(exchanges);
        self.require(
            Property::InFlight,
            limit.is_none_or(|limit| most <= limit),
            || format!("{name}: {most} requests in flight at once, and the limit is {limit:?}"),
        );
    }

    fn check_rates(&mut self) {
        let session = &self.plan.session;
        let exchanges: Vec<&Exchange> = self.report.exchanges.iter().collect();
        if let Some(rate) = session.max_rate {
            let starts: Vec<Duration> = exchanges.iter().map(|exchange| exchange.start).collect();
            for (first, from) in starts.iter().enumerate() {
                for (last, to) in starts.iter().enumerate().skip(first) {
                    let most = f64::from(rate.burst)
                        + f64::from(rate.per_second) * (*to - *from).as_secs_f64();
                    let count = last - first + 1;
                    // The limiter rounds to nanoseconds.
                    if count as f64 > most + 0.001 {
                        self.add(
                            Property::Rate,
                            format!("{count} requests started from {from:?} to {to:?}: {rate:?}"),
                        );
                        return;
                    }
                }
            }
        }
        if let Some(interval) = session.host_interval {
            for (host, exchanges) in by_host(&exchanges) {
                let pairs = exchanges.windows(2);
                let closest = pairs.map(|pair| pair[1].start - pair[0].start).min();
                let closest = closest.unwrap_or(Duration::MAX);
                self.require(Property::Rate, closest >= interval, || {
                    format!("{host}: two requests started {closest:?} apart, not {interval:?}")
                });
            }
        }
    }

    fn check_closed(&mut self) {
        let report = self.report;
        let unended = report.exchanges.iter().filter(|one| one.end.is_none());
        let pending = report.pending.as_ref();
        // If the clock jumps while `close` waits for the requests that it cancels, the wait ends too early.
        let in_flight = match self.plan.jumps().is_zero() {
            true => report.in_flight_after_close,
            false => 0,
        };
        let counts = [
            ("exchanges", unended.count()),
            ("requests of the session", report.in_flight_at_end),
            ("requests of the session when `close` returned", in_flight),
            ("connections at the servers", report.open_after_close),
            (
                "connections of the network",
                pending.map_or(0, |pending| pending.connections),
            ),
            ("tasks", pending.map_or(0, |pending| pending.tasks)),
        ];
        for (what, count) in counts {
            self.require(Property::Closed, count == 0, || {
                format!("after the end, there are {count} {what}")
            });
        }
        let (start, end) = report.close;
        let grace = self
            .plan
            .close
            .map_or(Duration::from_secs(10), |(_, grace)| grace);
        // An unread response may delay the end by a second.
        let latest = start + grace + Duration::from_secs(1) + self.plan.jumps();
        self.require(Property::Closed, end <= latest, || {
            format!(
                "`close` took {:?}, and the grace period is {grace:?}",
                end - start
            )
        });
    }

    fn check_clock(&mut self) {
        let jumps = &self.report.jumps;
        // Another jump can follow before the task that waits for the timer runs.
        let ends_its_jump = |due, fired| {
            let mut end = None;
            jumps.iter().any(|(from, to)| {
                if (*from..=*to).contains(&due) || end == Some(*from) {
                    end = Some(*to);
                }
                end == Some(fired)
            })
        };
        for timer in &self.report.timers {
            let Timer { due, fired } = *timer;
            let is_expected = fired == due || ends_its_jump(due, fired);
            self.require(Property::Clock, is_expected, || {
                format!("a timer that was due at {due:?} fired at {fired:?}")
            });
        }
    }
}

/// Returns what a server did with a request that it received.
fn answer_to<'a>(request: &'a Request, arrival: &Arrival) -> &'a Answer {
    &request.answers[arrival.earlier.min(request.answers.len() - 1)]
}

fn is_idempotent(method: &Method) -> bool {
    *method != Method::POST
}

/// Returns whether the server closes a connection that the client may use for the next request.
fn closes_silently(answer: &Answer) -> bool {
    matches!(
        answer.fault,
        Some(
            Fault::CloseAfter
                | Fault::HalfCloseAfter
                | Fault::ExtraResponse
                | Fault::LateExtraResponse
        )
    )
}

/// Returns whether the client can receive the whole body of an answer.
fn may_be_whole(answer: &Answer) -> bool {
    match answer.fault {
        None
        | Some(
            Fault::ExtraResponse
            | Fault::LateExtraResponse
            | Fault::CloseAfter
            | Fault::HalfCloseAfter,
        ) => true,
        // Nothing is missing from an empty body with a length.
        Some(Fault::ResetInBody | Fault::CloseInBody) => answer.len == 0 && !answer.is_chunked,
        Some(_) => false,
    }
}

fn by_host<'a>(exchanges: &[&'a Exchange]) -> BTreeMap<&'a str, Vec<&'a Exchange>> {
    let mut hosts: BTreeMap<&str, Vec<&Exchange>> = BTreeMap::new();
    for exchange in exchanges {
        hosts.entry(&exchange.host).or_default().push(exchange);
    }
    hosts
}

/// Returns how many of the exchanges ran at once. An exchange that starts when another one ends does not count.
fn most_at_once(exchanges: &[&Exchange]) -> usize {
    let ends = exchanges.iter().filter_map(|exchange| exchange.end);
    let starts = exchanges.iter().map(|exchange| exchange.start);
    // At the same time, ends come before starts.
    let mut changes: Vec<(Duration, i64)> = ends.map(|end| (end, -1)).collect();
    changes.extend(starts.map(|start| (start, 1)));
    changes.sort_unstable();
    let counts = changes.into_iter().scan(0, |count, (_, change)| {
        *count += change;
        Some(*count)
    });
    usize::try_from(counts.max().unwrap_or(0)).unwrap_or(0)
}
