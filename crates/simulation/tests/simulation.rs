//! Tests of the simulation itself: its runs are reproducible, varied and correct, and its checks notice errors.

use std::collections::BTreeSet;
use std::time::Duration;

use inflight_core::ErrorKind;
use inflight_simulation::{
    Client, Disturbance, Fault, JobResult, Plan, Property, Report, check, run, shrink,
};

const SEEDS: u64 = 12;

fn plans() -> impl Iterator<Item = Plan> {
    let seeds = (0..SEEDS).flat_map(|seed| Client::ALL.map(|client| (seed, client)));
    seeds.map(|(seed, client)| Plan::from_seed(seed, client))
}

/// Returns a plan without disturbances, and its report.
fn calm_run() -> (Plan, Report) {
    let mut plan = (0..).map(|seed| Plan::from_seed(seed, Client::Hyper));
    let plan = plan.find(|plan| plan.is_calm() && plan.until.is_none() && plan.close.is_none());
    let plan = plan.expect("a calm plan");
    let report = run(&plan);
    (plan, report)
}

fn violated(plan: &Plan, report: &Report) -> BTreeSet<Property> {
    let violations = check(plan, report);
    violations
        .into_iter()
        .map(|violation| violation.property)
        .collect()
}

#[test]
fn the_contract_holds() {
    for plan in plans() {
        let violations = check(&plan, &run(&plan));
        assert_eq!(violations, [], "{}, seed {}", plan.client, plan.seed);
    }
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for plan in plans().take(6) {
        assert_eq!(run(&plan), run(&plan), "seed {}", plan.seed);
    }
}

#[test]
fn the_plans_contain_every_fault_and_disturbance() {
    let plans: Vec<Plan> = (0..50)
        .map(|seed| Plan::from_seed(seed, Client::Surf))
        .collect();
    let requests = plans.iter().flat_map(|plan| &plan.requests);
    let answers = requests.flat_map(|request| &request.answers);
    let faults: Vec<Fault> = answers.filter_map(|answer| answer.fault).collect();
    for fault in Fault::ALL {
        assert!(faults.contains(&fault), "{fault:?}");
    }
    let disturbances: Vec<Disturbance> = plans
        .iter()
        .flat_map(|plan| plan.disturbances.iter().map(|(_, what)| *what))
        .collect();
    let is_jump = |what: &Disturbance| matches!(what, Disturbance::Jump(_));
    let is_partition = |what: &Disturbance| matches!(what, Disturbance::Partition(..));
    let is_reset = |what: &Disturbance| matches!(what, Disturbance::Reset(_));
    assert!(disturbances.iter().any(is_jump));
    assert!(disturbances.iter().any(is_partition));
    assert!(disturbances.iter().any(is_reset));
}

#[test]
fn the_runs_have_results_of_many_kinds() {
    let results: Vec<JobResult> = plans()
        .flat_map(|plan| run(&plan).outcomes)
        .map(|outcome| outcome.result)
        .collect();
    for kind in [
        ErrorKind::Incomplete,
        ErrorKind::Timeout,
        ErrorKind::Protocol,
        ErrorKind::TooManyRedirects,
        ErrorKind::Deadline,
    ] {
        let has_kind = |result: &JobResult| matches!(result, JobResult::Failed { kind: found, .. } if *found == kind);
        assert!(results.iter().any(has_kind), "{kind}");
    }
    assert!(results.contains(&JobResult::Cancelled));
    let pages = results
        .iter()
        .filter(|result| matches!(result, JobResult::Page { .. }));
    assert!(pages.count() * 2 > results.len(), "most requests succeed");
}

#[test]
fn the_checks_notice_a_result_that_is_missing_or_delivered_twice() {
    let (plan, mut report) = calm_run();
    let outcome = report.outcomes.pop().expect("a result");
    assert_eq!(violated(&plan, &report), [Property::Once].into());
    report.outcomes.extend([outcome.clone(), outcome]);
    assert_eq!(violated(&plan, &report), [Property::Once].into());
}

#[test]
fn the_checks_notice_a_wrong_body() {
    let (plan, mut report) = calm_run();
    let bodies = report
        .outcomes
        .iter_mut()
        .filter_map(|outcome| match &mut outcome.result {
            JobResult::Page { body, .. } if !body.is_empty() => Some(body),
            _ => None,
        });
    bodies.into_iter().next().expect("a page").pop();
    assert_eq!(violated(&plan, &report), [Property::Body].into());
}

#[test]
fn the_checks_notice_a_kind_of_error_that_nothing_caused() {
    let (plan, mut report) = calm_run();
    report.outcomes[0].result = JobResult::Failed {
        kind: ErrorKind::Connect,
        phase: None,
    };
    assert_eq!(violated(&plan, &report), [Property::Result].into());
}

#[test]
fn the_checks_notice_an_open_connection_and_a_late_end() {
    let (plan, mut report) = calm_run();
    report.open_after_close = 1;
    assert_eq!(violated(&plan, &report), [Property::Closed].into());
    report.open_after_close = 0;
    report.close.1 += Duration::from_secs(60);
    assert_eq!(violated(&plan, &report), [Property::Closed].into());
}

#[test]
fn the_checks_notice_a_clock_that_passes_a_timer() {
    let (plan, mut report) = calm_run();
    let timer = report.timers.last_mut().expect("a timer");
    timer.fired += Duration::from_nanos(1);
    let jump = (timer.due, timer.fired);
    assert_eq!(violated(&plan, &report), [Property::Clock].into());
    // A jump that passes only the due time, and another jump that ends when the timer fired, do not explain it.
    report.jumps.push((jump.0, jump.0));
    report.jumps.push((jump.1, jump.1));
    assert_eq!(violated(&plan, &report), [Property::Clock].into());
    // A jump from one to the other does.
    report.jumps.push(jump);
    assert_eq!(violated(&plan, &report), [].into());
}

#[test]
fn the_checks_notice_more_requests_in_flight_than_the_limit() {
    let (mut plan, report) = calm_run();
    plan.session.max_in_flight = Some(1);
    assert_eq!(violated(&plan, &report), [Property::InFlight].into());
}

#[test]
fn the_checks_notice_a_wrong_upload() {
    let (plan, mut report) = calm_run();
    let mut answered = report
        .arrivals
        .iter_mut()
        .filter(|arrival| arrival.answered.is_some());
    answered.next().expect("an answered request").is_complete = false;
    assert_eq!(violated(&plan, &report), [Property::Upload].into());
}

#[test]
fn a_plan_that_fails_can_be_reduced() {
    let has_incomplete = |plan: &Plan| {
        let outcomes = run(plan).outcomes;
        outcomes.iter().any(|outcome| {
            matches!(
                outcome.result,
                JobResult::Failed {
                    kind: ErrorKind::Incomplete,
                    ..
                }
            )
        })
    };
    let plan = plans()
        .find(has_incomplete)
        .expect("a plan with an early end");
    let smallest = shrink(&plan, has_incomplete);
    assert!(has_incomplete(&smallest));
    assert_eq!(smallest.requests.len(), 1, "{smallest:#?}");
}
