//! The cases of the suite: one file per group.

mod bodies;
mod cancel;
mod codings;
mod connections;
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
mod statuses;
mod timeouts;
mod tls;
mod uploads;
mod verdicts;
mod versions;

use std::sync::LazyLock;

use crate::case::Case;

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let groups = [
        methods::CASES,
        statuses::CASES,
        headers::CASES,
        requests::CASES,
        bodies::CASES,
        codings::CASES,
        uploads::CASES,
        framing::CASES,
        connections::CASES,
        names::CASES,
        guard::CASES,
        errors::CASES,
        tls::CASES,
        versions::CASES,
        http2::CASES,
        proxies::CASES,
        timeouts::CASES,
        cancel::CASES,
        session::CASES,
        policy::CASES,
        observers::CASES,
        gather::CASES,
        runtime::CASES,
    ];
    let mut cases = groups.concat();
    cases.extend(verdicts::RULES.iter().map(Case::from));
    cases
});

/// Returns every case, ordered by group.
#[must_use]
pub fn cases() -> &'static [Case] {
    &CASES
}
