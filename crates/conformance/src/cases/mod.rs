//! The cases of the suite: one file per group.

mod bodies;
mod body_retries;
mod cancel;
mod codings;
mod connections;
mod downloads;
mod errors;
mod framing;
mod gather;
mod guard;
mod headers;
mod http2;
mod methods;
mod names;
mod observers;
mod policy;
mod proxies;
mod requests;
mod runtime;
mod session;
mod socks_proxies;
mod statuses;
mod timeouts;
mod tls;
#[cfg(unix)]
mod unix_sockets;
mod uploads;
mod verdicts;
mod versions;

use std::sync::LazyLock;

use crate::case::Case;

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let functions = inventory::iter::<Case>.into_iter().map(|case| Case {
        group: case.group.rsplit("::").next().unwrap_or(case.group),
        // A case with `anywhere` needs only a server like httpbin, and a backend without sockets
        // has one in memory.
        in_memory: case.in_memory || case.anywhere,
        ..*case
    });
    let mut cases: Vec<Case> = functions.collect();
    cases.extend(verdicts::RULES.iter().map(Case::from));
    // The sort is stable, so the rules keep their order.
    cases.sort_by_key(|case| (case.group, case.line));
    cases
});

/// Returns every case, ordered by group.
#[must_use]
pub fn cases() -> &'static [Case] {
    &CASES
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_case_has_a_unique_name_and_a_promise() {
        let names: HashSet<&str> = cases().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases().len());
        assert!(cases().iter().all(|case| case.promise.ends_with('.')));
    }

    #[test]
    fn every_rule_has_replies_and_a_source() {
        for rule in cases().iter().filter_map(|case| case.rule) {
            let is_complete = !(rule.replies)().is_empty() && rule.source.starts_with("RFC ");
            assert!(is_complete && !rule.topic.is_empty(), "{}", rule.name);
        }
    }
}
