//! What is certain of an experiment on any machine, however busy it is: bounds from below, orders
//! and counts.

mod turn;

use inflight_lab::experiments;
use turn::metrics;

#[test]
fn no_page_at_a_rate_is_there_before_its_delay_is_over() {
    for contender in ["tokio/hyper", "smol/isahc", "threads/ureq", "reqwest"] {
        let seen = metrics("rate", contender, 500.0, 100);
        let [p50, p99, p999] = ["p50", "p99", "p999"].map(|name| seen[name]);
        assert!(10.0 <= p50, "{contender}: {seen:?}");
        assert!(p50 <= p99 && p99 <= p999, "{contender}: {seen:?}");
        assert!(seen["done"] > 0.0, "{contender}: {seen:?}");
    }
}

/// More than can be under way at once are due at once: all but the first wait, and that counts.
#[test]
fn a_wait_for_a_place_is_part_of_the_time() {
    let seen = metrics("rate", "tokio/hyper", 1e9, 2500);
    // The last 500 begin when two rounds of 10 ms are over.
    assert!(seen["p99"] >= 30.0, "{seen:?}");
}

#[test]
fn only_a_second_request_is_sooner_there_than_a_slow_page() {
    let all = metrics("straggler", "tokio: all", 0.0, 1);
    assert!(all["first"] >= 500.0 && all["last"] >= 500.0, "{all:?}");
    assert!((all["requests"] - 101.0).abs() < 0.5, "{all:?}");

    let completed = metrics("straggler", "tokio: completed", 0.0, 1);
    assert!(completed["last"] >= 500.0, "{completed:?}");
    assert!(
        completed["first"] <= completed["most"] && completed["most"] <= completed["last"],
        "{completed:?}"
    );

    let hedged = metrics("straggler", "tokio: hedged", 0.0, 1);
    // 50 ms until the second request, and its delay.
    assert!(hedged["last"] >= 70.0, "{hedged:?}");
    assert!(
        hedged["requests"] >= 102.0 || hedged["last"] >= 500.0,
        "{hedged:?}"
    );
}

#[test]
fn a_session_keeps_its_connection_and_a_new_one_makes_its_own() {
    for (cell, schemes) in [
        ("tokio/hyper", &["http", "https"][..]),
        ("smol/isahc", &["http", "https"]),
        ("threads/ureq", &["http", "https"]),
    ] {
        for scheme in schemes {
            let each = metrics(
                "session",
                &format!("{cell}: a session each, {scheme}"),
                0.0,
                4,
            );
            assert!((each["connections"] - 1.0).abs() < 1e-9, "{cell}: {each:?}");
            let one = metrics("session", &format!("{cell}: one session, {scheme}"), 0.0, 4);
            assert!((one["connections"] - 0.25).abs() < 1e-9, "{cell}: {one:?}");
        }
    }
}

#[test]
fn a_look_up_in_a_future_stops_the_heart_for_as_long_as_it_takes() {
    for runtime in ["tokio", "smol", "async-std"] {
        let contender = format!("{runtime}/hyper, blocking look-up in a future");
        let seen = metrics("lookup", &contender, 30.0, 1);
        assert!(seen["gap"] >= 30.0, "{contender}: {seen:?}");
    }
}

#[test]
fn every_cell_fetches_by_a_name_that_only_the_given_resolver_knows() {
    for contender in (experiments::find("lookup").unwrap().contenders)() {
        let seen = metrics("lookup", &contender.program, 1.0, 1);
        assert!(seen["gap"] > 0.0, "{}: {seen:?}", contender.program);
    }
}
