//! Reduces a failing plan to the part that fails.

use crate::plan::{Answer, Plan, Request};

/// Returns a smaller plan for which `fails` returns `true` too.
///
/// The function removes requests, disturbances and settings as long as the plan still fails. The result is small, but a
/// smaller plan may exist.
///
/// ```
/// use inflight_simulation::{Client, Fault, Plan, shrink};
///
/// let has_garbage = |plan: &Plan| {
///     let mut answers = plan.requests.iter().flat_map(|request| &request.answers);
///     answers.any(|answer| answer.fault == Some(Fault::Garbage))
/// };
/// let plan = Plan::from_seed(1, Client::Hyper);
/// assert!(has_garbage(&plan));
/// assert_eq!(shrink(&plan, has_garbage).requests.len(), 1);
/// ```
pub fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let fails: Fails<'_> = &fails;
    let mut smallest = plan.clone();
    loop {
        let before = smallest.clone();
        shrink_requests(&mut smallest, fails);
        for simplify in SIMPLIFICATIONS {
            let mut candidate = smallest.clone();
            simplify(&mut candidate);
            accept(&mut smallest, candidate, fails);
        }
        for index in (0..smallest.disturbances.len()).rev() {
            let mut candidate = smallest.clone();
            candidate.disturbances.remove(index);
            accept(&mut smallest, candidate, fails);
        }
        for index in 0..smallest.requests.len() {
            for simplify in REQUEST_SIMPLIFICATIONS {
                let mut candidate = smallest.clone();
                simplify(&mut candidate.requests[index]);
                accept(&mut smallest, candidate, fails);
            }
        }
        if smallest == before {
            return smallest;
        }
    }
}

/// Whether a plan fails.
type Fails<'a> = &'a dyn Fn(&Plan) -> bool;

/// Changes of a plan that make it simpler.
const SIMPLIFICATIONS: [fn(&mut Plan); 16] = [
    |plan| plan.until = None,
    |plan| plan.close = None,
    |plan| plan.on_runtime = false,
    |plan| plan.limit = 1,
    |plan| plan.session.queue_timeout = None,
    |plan| plan.session.head_timeout = None,
    |plan| plan.session.read_timeout = None,
    |plan| plan.session.max_in_flight = None,
    |plan| plan.session.max_per_host = None,
    |plan| plan.session.max_rate = None,
    |plan| plan.session.host_interval = None,
    |plan| plan.session.retries = 0,
    |plan| plan.session.max_redirects = 0,
    |plan| plan.hosts.iter_mut().for_each(|host| host.bandwidth = None),
    |plan| {
        plan.hosts
            .iter_mut()
            .for_each(|host| host.resets_per_million = 0);
    },
    |plan| plan.hosts.iter_mut().for_each(|host| host.has_name = false),
];

/// Changes of a request that make it simpler.
const REQUEST_SIMPLIFICATIONS: [fn(&mut Request); 7] = [
    |request| request.answers = vec![Answer::ok()],
    |request| request.answers.truncate(1),
    |request| request.cancel_after = None,
    |request| request.deadline = None,
    |request| request.pause_between_chunks = None,
    |request| request.has_credentials = false,
    |request| request.upload = 0,
];

/// Removes as many requests as possible: first halves, then quarters, and so on.
fn shrink_requests(smallest: &mut Plan, fails: Fails<'_>) {
    let mut size = smallest.requests.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < smallest.requests.len() {
            let mut candidate = smallest.clone();
            let end = (start + size).min(candidate.requests.len());
            candidate.requests.drain(start..end);
            if candidate.requests.is_empty() || !accept(smallest, candidate, fails) {
                start += size;
            }
        }
        size /= 2;
    }
}

/// Replaces the plan if the candidate differs and fails too.
fn accept(smallest: &mut Plan, candidate: Plan, fails: Fails<'_>) -> bool {
    let is_smaller = candidate != *smallest && fails(&candidate);
    if is_smaller {
        *smallest = candidate;
    }
    is_smaller
}
