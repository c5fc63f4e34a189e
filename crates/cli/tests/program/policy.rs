//! Tests of the options for redirects, retries, timeouts and limits.

use inflight_origin::Origin;
use serde_json::json;

use crate::program::{backends, kinds, run};

#[test]
fn redirects_are_followed_and_counted() {
    let origin = Origin::start().unwrap();
    let (near, far) = (origin.url("/redirect/2"), origin.url("/redirect/12"));
    for backend in backends() {
        let ran = run(["gather", "--limit", "1", "--backend", backend, &near, &far]);
        let records = ran.records();
        assert_eq!(kinds(&records), ["ok", "too_many_redirects"], "{backend}");
        assert_eq!(records[0]["url"], json!(near));
        assert_eq!(records[0]["final_url"], json!(origin.url("/get")));
        let counts = |n: usize| {
            (
                records[n]["redirects"].clone(),
                records[n]["attempts"].clone(),
            )
        };
        assert_eq!(counts(0), (json!(2), json!(3)));
        assert_eq!(counts(1), (json!(10), json!(11)));
    }
    let ran = run(["gather", "--max-redirects", "0", &near]);
    let record = ran.records().remove(0);
    assert_eq!(
        (&record["status"], &record["redirects"]),
        (&json!(302), &json!(0))
    );
    let ran = run(["get", "--max-redirects", "1", &near]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("redirected too often"), "{ran:?}");
}

#[test]
fn failures_are_retried_only_with_the_retries_option() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/flaky?fail=2&id=a");
    let record = run(["gather", "--retries", "2", &url]).records().remove(0);
    assert_eq!(
        (&record["status"], &record["attempts"]),
        (&json!(200), &json!(3))
    );
    let url = origin.url("/flaky?fail=2&id=b");
    let record = run(["gather", &url]).records().remove(0);
    assert_eq!(
        (&record["status"], &record["attempts"]),
        (&json!(503), &json!(1))
    );
}

#[test]
fn the_attempts_of_cancelled_requests_are_counted() {
    let origin = Origin::start().unwrap();
    // The program sends one of the two requests at once. The rate limit delays the other request by a
    // second, so the deadline comes first.
    let urls = [origin.url("/hang?n=1"), origin.url("/hang?n=2")];
    let ran = run(["gather", "--rate", "1/s", "--deadline", "600ms"]
        .into_iter()
        .chain(urls.iter().map(String::as_str)));
    let records = ran.records();
    assert_eq!(kinds(&records), ["deadline", "deadline"]);
    let mut attempts = [0, 1].map(|n| records[n]["attempts"].as_u64());
    attempts.sort_unstable();
    assert_eq!(attempts, [Some(0), Some(1)]);

    let before = origin.stats().requests;
    let url = origin.url("/status/503");
    let ran = run(["gather", "--retries", "50", "--deadline", "1s", &url]);
    let attempts = ran.records()[0]["attempts"].as_u64().unwrap();
    let served = origin.stats().requests - before;
    // The last attempt may be cancelled before it reaches the server.
    assert!(attempts > 1, "{attempts} attempts");
    assert!(
        attempts == served || attempts == served + 1,
        "{attempts}, {served}"
    );
}

#[test]
fn after_the_deadline_no_more_requests_are_sent() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/hang");
    let urls = vec![url.as_str(); 50];
    let options = ["gather", "--per-host", "1", "--deadline", "600ms"];
    let ran = run(options.into_iter().chain(urls));
    assert_eq!(kinds(&ran.records()), ["deadline"; 50]);
    // The deadline also cancels the first request. No other request may then use its permit.
    assert_eq!(origin.stats().requests, 1);
}

#[test]
fn the_record_of_a_timeout_contains_its_phase() {
    let origin = Origin::start().unwrap();
    let (head, body) = (origin.url("/hang"), origin.url("/hang-body"));
    let ran = run([
        "gather",
        "--limit",
        "1",
        "--read-timeout",
        "200ms",
        &head,
        &body,
    ]);
    let records = ran.records();
    assert_eq!(kinds(&records), ["timeout", "timeout"]);
    let phases: Vec<_> = records
        .iter()
        .map(|record| &record["error"]["phase"])
        .collect();
    assert_eq!(phases, ["head", "body"]);
}

#[test]
fn the_limit_per_host_is_not_exceeded() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/delay-ms/20");
    let urls = vec![url.as_str(); 12];
    let ran = run(["gather", "--per-host", "2"].into_iter().chain(urls));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let stats = origin.stats();
    assert_eq!(stats.requests, 12);
    assert!(stats.peak_in_flight <= 2, "{stats:?}");
}

#[test]
fn the_rate_is_not_exceeded() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/page/1");
    let urls = vec![url.as_str(); 6];
    let started = std::time::Instant::now();
    let ran = run(["gather", "--rate", "10/s"].into_iter().chain(urls));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // The first request may start at once. The other five start at intervals of a tenth of a second.
    assert!(started.elapsed().as_millis() >= 500, "{ran:?}");
}
