//! Properties of the experiments that hold on any machine under any load: lower bounds, orders and
//! counts.

mod turn;

use inflight_lab::experiments;
use turn::measure;

#[test]
fn no_page_arrives_before_its_delay() {
    for contender in ["tokio/hyper", "smol/isahc", "threads/ureq", "reqwest"] {
        let measured = measure("rate", contender, 500.0, 100);
        let [p50, p99, p999] = ["p50", "p99", "p999"].map(|name| measured[name]);
        assert!(10.0 <= p50, "{contender}: {measured:?}");
        assert!(p50 <= p99 && p99 <= p999, "{contender}: {measured:?}");
        assert!(measured["done"] > 0.0, "{contender}: {measured:?}");
    }
}

/// All 2,500 requests are due at once, but at most 1,000 may be in flight. The latency of the other requests
/// must include the time that they wait.
#[test]
fn the_latency_includes_the_wait_for_earlier_requests() {
    let measured = measure("rate", "tokio/hyper", 1e9, 2500);
    // The last 500 requests start after two batches of 10 ms.
    assert!(measured["p99"] >= 30.0, "{measured:?}");
}

#[test]
fn a_session_opens_one_connection_for_all_its_requests() {
    for (cell, schemes) in [
        ("tokio/hyper", &["http", "https"][..]),
        ("smol/isahc", &["http", "https"]),
        ("threads/ureq", &["http", "https"]),
    ] {
        for scheme in schemes {
            let each = measure(
                "session",
                &format!("{cell}: a session each, {scheme}"),
                0.0,
                4,
            );
            assert!((each["connections"] - 1.0).abs() < 1e-9, "{cell}: {each:?}");
            let one = measure("session", &format!("{cell}: one session, {scheme}"), 0.0, 4);
            assert!((one["connections"] - 0.25).abs() < 1e-9, "{cell}: {one:?}");
        }
    }
}

#[test]
fn a_blocking_look_up_in_a_future_stops_the_heartbeat() {
    for runtime in ["tokio", "smol", "async-std"] {
        let contender = format!("{runtime}/hyper, blocking look-up in a future");
        let measured = measure("lookup", &contender, 30.0, 1);
        assert!(measured["gap"] >= 30.0, "{contender}: {measured:?}");
    }
}

#[test]
fn every_cell_uses_the_given_resolver() {
    for program in (experiments::find("lookup").unwrap().programs)() {
        let measured = measure("lookup", &program, 1.0, 1);
        assert!(measured["gap"] > 0.0, "{}: {measured:?}", program);
    }
}
