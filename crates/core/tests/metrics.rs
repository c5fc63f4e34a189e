//! Tests of the metrics of a session.

mod support;

use std::future::ready;
use std::time::Duration;

use futures_lite::future::pending;
use http::StatusCode;
use inflight_core::prometheus::{MetricText, labels};
use inflight_core::{Body, Error, ErrorKind, Retry, SessionMetrics, Trace};
use support::{TestRuntime, builder, client, poll, respond, responding, run};

/// Checks that each line is a line of the metrics.
#[track_caller]
fn check_lines(metrics: &SessionMetrics, expected: &[&str]) {
    let text = metrics.prometheus();
    for line in expected {
        assert!(text.lines().any(|found| found == *line), "{line}\n{text}");
    }
}

/// Returns the lines of a metric that have samples.
fn samples(metrics: &SessionMetrics, name: &str) -> Vec<String> {
    let text = metrics.prometheus();
    let is_sample = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    text.lines().filter(is_sample).map(str::to_owned).collect()
}

fn response_with_status(status: u16, body: &'static str) -> http::Response<Body> {
    let mut response = http::Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[test]
fn requests_are_counted_by_route_method_and_end() {
    let failing = client(|request| async move {
        match request.uri().path() {
            "/refused" => Err(Error::new(ErrorKind::Connect)),
            path => Ok(response_with_status(path[1..].parse().unwrap(), "page")),
        }
    });
    let metrics = SessionMetrics::new();
    let session = builder(failing, &TestRuntime::new(0)).observe(metrics.clone());
    let session = session.build().unwrap();
    for status in [200, 204, 404, 503, 999] {
        let request = session.get(format!("http://host/{status}"));
        run(request.name("status").bytes()).unwrap();
    }
    run(session.post("http://host/200").name("status").text()).unwrap();
    run(session.get("http://host/200").text()).unwrap();
    run(session.get("http://host/refused").name("status").send()).unwrap_err();
    run(session.get("ftp://host/").name("status").send()).unwrap_err();
    let purge = http::Method::from_bytes(b"PURGE").unwrap();
    run(session.request(purge, "http://host/200").bytes()).unwrap();
    let start = "inflight_requests_total{route=";
    let expected = [
        r#""",method="GET",status="2xx",error=""} 1"#,
        r#""",method="other",status="2xx",error=""} 1"#,
        r#""status",method="GET",status="",error="connect"} 1"#,
        r#""status",method="GET",status="",error="invalid_url"} 1"#,
        r#""status",method="GET",status="2xx",error=""} 2"#,
        r#""status",method="GET",status="4xx",error=""} 1"#,
        r#""status",method="GET",status="5xx",error=""} 1"#,
        r#""status",method="GET",status="other",error=""} 1"#,
        r#""status",method="POST",status="2xx",error=""} 1"#,
    ]
    .map(|end| format!("{start}{end}"));
    assert_eq!(samples(&metrics, "inflight_requests_total"), expected);
}

#[test]
fn a_status_that_the_program_treats_as_an_error_counts_as_a_status() {
    let metrics = SessionMetrics::new();
    let missing = responding(|request| match request.uri().path() {
        "/long" => response_with_status(404, "not found"),
        _ => response_with_status(404, ""),
    });
    let session = missing.observe(metrics.clone()).build().unwrap();
    for path in ["long", "empty"] {
        let response = run(session.get(format!("http://host/{path}")).send()).unwrap();
        response.error_for_status().unwrap_err();
    }
    assert_eq!(
        samples(&metrics, "inflight_requests_total"),
        [r#"inflight_requests_total{route="",method="GET",status="4xx",error=""} 2"#]
    );
}

#[test]
fn durations_are_in_buckets_with_their_sum_and_count() {
    let runtime = TestRuntime::new(0);
    let clock = runtime.clone();
    let slow = client(move |request| {
        let ms = request.uri().path()[1..].parse().unwrap();
        clock.advance(Duration::from_millis(ms));
        ready(respond(Body::empty()))
    });
    let metrics = SessionMetrics::new();
    let session = builder(slow, &runtime).observe(metrics.clone());
    let session = session.build().unwrap();
    // 5 ms is the upper bound of the first bucket, which includes it.
    for ms in [5, 5, 6, 2000, 60_000] {
        let request = session.get(format!("http://host/{ms}"));
        run(request.name("slow").send()).unwrap();
    }
    let prefix = "inflight_request_duration_seconds";
    let of_slow = r#"route="slow",method="GET""#;
    let bucket =
        |bound: &str, count| format!("{prefix}_bucket{{{of_slow},le=\"{bound}\"}} {count}");
    let expected = [
        ("0.005", 2),
        ("0.01", 3),
        ("0.025", 3),
        ("0.05", 3),
        ("0.075", 3),
        ("0.1", 3),
        ("0.25", 3),
        ("0.5", 3),
        ("0.75", 3),
        ("1", 3),
        ("2.5", 4),
        ("5", 4),
        ("7.5", 4),
        ("10", 4),
        ("+Inf", 5),
    ]
    .map(|(bound, count)| bucket(bound, count));
    let buckets = samples(&metrics, &format!("{prefix}_bucket"));
    assert_eq!(buckets, expected);
    check_lines(
        &metrics,
        &[
            "# TYPE inflight_request_duration_seconds histogram",
            &format!("{prefix}_sum{{{of_slow}}} 62.016"),
            &format!("{prefix}_count{{{of_slow}}} 5"),
        ],
    );
}

#[test]
fn in_flight_counts_the_requests_that_have_not_ended() {
    let metrics = SessionMetrics::new();
    let silent = client(|_| pending());
    let session = builder(silent, &TestRuntime::new(0)).observe(metrics.clone());
    let session = session.build().unwrap();
    check_lines(&metrics, &["inflight_requests_in_flight 0"]);
    let mut first = session.get("http://host/").send();
    let mut second = session.get("http://host/").send();
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    check_lines(&metrics, &["inflight_requests_in_flight 2"]);
    drop(first);
    check_lines(
        &metrics,
        &[
            "# TYPE inflight_requests_in_flight gauge",
            "inflight_requests_in_flight 1",
            r#"inflight_requests_total{route="",method="GET",status="",error="cancelled"} 1"#,
        ],
    );
}

#[test]
fn retries_resends_and_kinds_of_connections_are_counted() {
    let mut attempts = 0;
    let attempts = std::sync::Mutex::new(move || {
        attempts += 1;
        attempts
    });
    let failing = client(move |request| {
        let attempt = support::lock(&attempts)();
        async move {
            match attempt {
                1 => Err(Error::new(ErrorKind::Io).not_processed()),
                2 => Ok(response_with_status(503, "")),
                _ => {
                    Trace::of(&request).report_new_connection();
                    Ok(response_with_status(200, ""))
                }
            }
        }
    });
    let metrics = SessionMetrics::new();
    let once = Retry::new(1).delays(Duration::ZERO, Duration::ZERO);
    let session = builder(failing, &TestRuntime::new(0)).retry(once);
    let session = session.observe(metrics.clone()).build().unwrap();
    run(session.get("http://host/").name("page").send()).unwrap();
    check_lines(
        &metrics,
        &[
            "# TYPE inflight_retries_total counter",
            r#"inflight_retries_total{route="page"} 1"#,
            r#"inflight_resends_total{route="page"} 1"#,
            r#"inflight_attempts_total{connection="new"} 1"#,
            r#"inflight_attempts_total{connection="reused"} 0"#,
            r#"inflight_attempts_total{connection="unknown"} 1"#,
            r#"inflight_requests_total{route="page",method="GET",status="2xx",error=""} 1"#,
        ],
    );
}

#[test]
fn the_number_of_routes_is_limited() {
    let metrics = SessionMetrics::new();
    let session = responding(|_| http::Response::new(Body::empty()));
    let session = session.observe(metrics.clone()).build().unwrap();
    for n in 0..300 {
        let request = session.get("http://host/").name(format!("page {n}"));
        run(request.send()).unwrap();
    }
    // A name that has metrics keeps them.
    run(session.get("http://host/").name("page 0").send()).unwrap();
    assert_eq!(samples(&metrics, "inflight_requests_total").len(), 257);
    check_lines(
        &metrics,
        &[
            r#"inflight_requests_total{route="page 0",method="GET",status="2xx",error=""} 2"#,
            r#"inflight_requests_total{route="other",method="GET",status="2xx",error=""} 44"#,
        ],
    );
}

#[test]
fn threads_lose_no_counts() {
    const EACH: usize = 500;
    let metrics = SessionMetrics::new();
    let session = responding(|_| http::Response::new(Body::empty()));
    let session = session.observe(metrics.clone()).build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..EACH {
                    let route = if n % 2 == 0 { "even" } else { "odd" };
                    run(session.get("http://host/").name(route).send()).unwrap();
                }
            });
        }
    });
    check_lines(
        &metrics,
        &[
            r#"inflight_requests_total{route="even",method="GET",status="2xx",error=""} 1000"#,
            r#"inflight_requests_total{route="odd",method="GET",status="2xx",error=""} 1000"#,
            "inflight_requests_in_flight 0",
        ],
    );
}

#[test]
fn a_route_cannot_break_its_line() {
    let metrics = SessionMetrics::new();
    let session = responding(|_| http::Response::new(Body::empty()));
    let session = session.observe(metrics.clone()).build().unwrap();
    let request = session.get("http://host/").name("a \"b\"\nc\\d");
    run(request.send()).unwrap();
    let route = r#"route="a \"b\"\nc\\d""#;
    check_lines(
        &metrics,
        &[&format!(
            r#"inflight_requests_total{{{route},method="GET",status="2xx",error=""}} 1"#
        )],
    );
}

#[test]
fn a_histogram_without_labels_has_only_its_bounds() {
    let mut text = MetricText::histogram("late_seconds", "How late.");
    text.add_histogram(&labels(&[]), [(0.5, 1)], 2, 3.5);
    assert_eq!(
        text.finish(),
        "# HELP late_seconds How late.\n\
         # TYPE late_seconds histogram\n\
         late_seconds_bucket{le=\"0.5\"} 1\n\
         late_seconds_bucket{le=\"+Inf\"} 2\n\
         late_seconds_sum 3.5\n\
         late_seconds_count 2\n"
    );
}
