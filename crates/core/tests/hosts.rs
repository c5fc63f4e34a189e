//! Tests of the limits for single hosts, and of the waits that do not count towards a timeout. The time is
//! virtual.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use http::header::{HeaderName, LOCATION, RETRY_AFTER};
use inflight_core::url::Url;
use inflight_core::{
    BlockOn, Body, Error, ErrorKind, Phase, Retry, Runtime, Session, SessionBuilder, gather, http,
};
use inflight_mock::{Mock, Reply, When};
use inflight_virtual::Virtual;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A response of a server.
struct Answer {
    delay: Duration,
    status: u16,
    header: Option<(HeaderName, String)>,
}

/// Returns a page after this time.
fn page(delay: Duration) -> Answer {
    let (status, header) = (200, None);
    Answer {
        delay,
        status,
        header,
    }
}

/// The requests that a server has received, with their hosts and virtual times.
#[derive(Clone)]
struct Log {
    runtime: Virtual,
    received: Arc<Mutex<Vec<(String, Duration)>>>,
}

impl Log {
    /// Returns a log, and a session builder whose requests are logged and get the response that `respond`
    /// returns for their URL.
    fn new(respond: impl Fn(&Url) -> Answer + Send + Sync + 'static) -> (Self, SessionBuilder) {
        let log = Self {
            runtime: Virtual::new(),
            received: Arc::default(),
        };
        let mock = Mock::new(log.runtime.clone());
        let record = log.clone();
        let reply = Reply::from_fn(move |request| {
            let url = Url::parse(&request.uri.to_string()).unwrap();
            let host = url.host_str().unwrap().to_owned();
            let at = record.runtime.elapsed();
            record.received.lock().unwrap().push((host, at));
            let (answer, runtime) = (respond(&url), record.runtime.clone());
            async move {
                runtime.sleep(answer.delay).await;
                let mut response = http::Response::builder().status(answer.status);
                if let Some((name, value)) = answer.header {
                    response = response.header(name, value);
                }
                Ok(response.body(Body::from("a page")).unwrap())
            }
        });
        mock.on(When::any().repeated(), reply);
        (log, mock.session())
    }

    /// Returns when requests to the host arrived.
    fn times(&self, host: &str) -> Vec<Duration> {
        let received = self.received.lock().unwrap();
        let same = received.iter().filter(|(other, _)| other == host);
        same.map(|(_, at)| *at).collect()
    }
}

#[test]
fn max_rate_per_host_separates_the_starts_of_requests_to_one_host() {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = session.max_rate_per_host(2, 5 * SECOND).build().unwrap();
    let urls = ["http://a/1", "http://a/2", "http://b/1", "http://a/3"];
    log.runtime
        .block_on(gather(urls.map(|url| session.get(url).text())).all())
        .unwrap();
    assert_eq!(log.times("a"), [Duration::ZERO, 2500 * MS, 5000 * MS]);
    assert_eq!(log.times("b"), [Duration::ZERO]);
}

#[test]
fn the_wait_for_the_rate_of_a_host_may_be_longer_than_the_timeout() {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = session.max_rate_per_host(1, 10 * SECOND).timeout(SECOND);
    let session = session.build().unwrap();
    let pages = (0..3).map(|n| session.get(format!("http://a/{n}")).text());
    log.runtime.block_on(gather(pages).all()).unwrap();
    assert_eq!(log.runtime.elapsed(), 20 * SECOND);
}

#[test]
fn a_request_whose_deadline_has_passed_is_not_sent() {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = session.build().unwrap();
    let request = session.post("http://a/").deadline(log.runtime.now());
    let error = log.runtime.block_on(request.send()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(log.times("a"), []);
}

/// Responds with 503 and `Retry-After: 60` to the first request to `/busy`.
fn busy_once() -> impl Fn(&Url) -> Answer + Send + Sync + 'static {
    let is_first = Mutex::new(true);
    move |url| match url.path() == "/busy" && std::mem::take(&mut *is_first.lock().unwrap()) {
        true => Answer {
            status: 503,
            header: Some((RETRY_AFTER, "60".to_owned())),
            ..page(Duration::ZERO)
        },
        false => page(Duration::ZERO),
    }
}

#[test]
fn retry_after_delays_all_requests_to_the_host() {
    let (log, session) = Log::new(busy_once());
    let session = session.retry(Retry::new(1)).build().unwrap();
    log.runtime.block_on(async {
        let later = async {
            log.runtime.sleep(SECOND).await;
            let urls = ["http://a/1", "http://a/2", "http://b/1"];
            gather(urls.map(|url| session.get(url).text())).all().await
        };
        let busy = session.get("http://a/busy").text();
        let (busy, later) = futures_util::future::join(busy, later).await;
        busy.unwrap();
        later.unwrap();
    });
    assert_eq!(
        log.times("a"),
        [Duration::ZERO, 60 * SECOND, 60 * SECOND, 60 * SECOND]
    );
    assert_eq!(log.times("b"), [SECOND]);
    // The pause is over.
    log.runtime
        .block_on(session.get("http://a/4").text())
        .unwrap();
    assert_eq!(log.times("a").len(), 5);
    assert_eq!(log.runtime.elapsed(), 60 * SECOND);
}

#[test]
fn retry_after_delays_no_other_request_if_retries_are_off() {
    let (log, session) = Log::new(busy_once());
    let session = session.build().unwrap();
    log.runtime
        .block_on(async {
            assert_eq!(session.get("http://a/busy").send().await?.status(), 503);
            session.get("http://a/1").text().await
        })
        .unwrap();
    assert_eq!(log.runtime.elapsed(), Duration::ZERO);
}

#[test]
fn a_request_fails_at_once_if_its_host_is_paused_for_longer_than_the_timeout() {
    let (log, session) = Log::new(busy_once());
    let session = session.retry(Retry::new(1)).timeout(59 * SECOND);
    let session = session.build().unwrap();
    log.runtime.block_on(async {
        assert_eq!(
            session.get("http://a/busy").send().await.unwrap().status(),
            503
        );
        let error = session.get("http://a/1").send().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Timeout, Some(Phase::Queue))
        );
        assert!(error.to_string().contains("60.0 s"), "{error}");
    });
    assert_eq!(log.runtime.elapsed(), Duration::ZERO);
}

#[test]
fn the_queue_timeout_decides_how_long_a_pause_may_be() {
    let (log, session) = Log::new(busy_once());
    let session = session.retry(Retry::new(1)).timeout(SECOND);
    let session = session.queue_timeout(90 * SECOND).build().unwrap();
    log.runtime.block_on(async {
        let busy = session.get("http://a/busy").send().await.unwrap();
        assert_eq!(busy.status(), 503);
        session.get("http://a/1").text().await.unwrap();
    });
    assert_eq!(log.runtime.elapsed(), 60 * SECOND);
}

#[test]
fn the_timeout_does_not_include_the_waits_for_limits() {
    let (log, session) = Log::new(|_| page(500 * MS));
    let session = session.max_per_host(1).timeout(600 * MS).build().unwrap();
    let pages = (0..10).map(|n| session.get(format!("http://a/{n}")).text());
    log.runtime.block_on(gather(pages).all()).unwrap();
    assert_eq!(log.runtime.elapsed(), 5 * SECOND);
    // After the wait, the timeout applies.
    let late = (0..2).map(|n| {
        session
            .get(format!("http://a/{n}"))
            .timeout(400 * MS)
            .text()
    });
    let results = log.runtime.block_on(gather(late).settled()).results;
    assert!(results.iter().all(|result| {
        let error = result.as_ref().unwrap_err().failure().unwrap();
        (error.kind(), error.phase()) == (ErrorKind::Timeout, Some(Phase::Total))
    }));
    assert_eq!(log.runtime.elapsed(), 5 * SECOND + 800 * MS);
}

#[test]
fn the_timeout_of_a_download_does_not_include_the_waits_for_limits() {
    let (log, session) = Log::new(|_| page(500 * MS));
    let session = session.max_in_flight(1).timeout(600 * MS).build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let files = (0..3).map(|n| {
        let request = session.get(format!("http://a/{n}"));
        request.resume_to(directory.path().join(n.to_string()))
    });
    log.runtime.block_on(gather(files).all()).unwrap();
    assert!(log.runtime.elapsed() >= 1500 * MS);
}

#[test]
fn the_deadline_includes_the_waits_for_limits() {
    let (log, session) = Log::new(|_| page(500 * MS));
    let session = session.max_in_flight(1).build().unwrap();
    let deadline = log.runtime.now() + 1200 * MS;
    let pages = (0..4).map(|n| {
        session
            .get(format!("http://a/{n}"))
            .deadline(deadline)
            .text()
    });
    let results = log.runtime.block_on(gather(pages).settled()).results;
    let kinds = results.iter().map(|result| {
        result
            .as_ref()
            .err()
            .map(|error| error.failure().unwrap().kind())
    });
    let late = Some(ErrorKind::Deadline);
    assert_eq!(kinds.collect::<Vec<_>>(), [None, None, late, late]);
    assert_eq!(
        (log.runtime.elapsed(), log.times("a").len()),
        (1200 * MS, 3)
    );
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// Requests these URLs at the same time.
fn get_all<const N: usize>(session: &Session, urls: [&'static str; N]) -> impl Future<Output = ()> {
    let texts = gather(urls.map(|url| session.get(url).text())).all();
    async move { drop(texts.await.unwrap()) }
}

#[test]
fn the_interval_of_a_host_separates_its_requests_from_the_call_on() {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = session.build().unwrap();
    log.runtime.block_on(async {
        get_all(&session, ["http://a/1", "http://a/2"]).await;
        // The path, the query and the credentials have no effect.
        session.set_host_interval(&url("http://me:secret@A:80/robots.txt?x"), SECOND * 5);
        let urls = [
            "http://a/3",
            "http://a/4",
            "http://b/1",
            "http://b/2",
            "http://a/5",
        ];
        get_all(&session, urls).await;
    });
    let zero = Duration::ZERO;
    let expected = [zero, zero, SECOND * 5, SECOND * 10, SECOND * 15];
    assert_eq!(log.times("a"), expected);
    assert_eq!(log.times("b"), [zero, zero]);
}

#[test]
fn the_interval_of_a_host_is_not_that_of_another_port_or_scheme() {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = session.build().unwrap();
    for other in [
        "http://a:81/",
        "https://a/",
        "https://a:80/",
        "http://www.a/",
    ] {
        session.set_host_interval(&url(other), SECOND);
    }
    // No request to this URL is possible.
    session.set_host_interval(&url("ftp://a:80/"), SECOND);
    log.runtime
        .block_on(get_all(&session, ["http://a/1", "http://a/2"]));
    assert_eq!(log.runtime.elapsed(), Duration::ZERO);
}

#[test]
fn redirects_and_retries_keep_the_interval_of_a_host() {
    let retry_once = Mutex::new(true);
    let (log, session) = Log::new(move |url| match url.path() {
        "/from" => Answer {
            status: 302,
            header: Some((LOCATION, "/to".to_owned())),
            ..page(Duration::ZERO)
        },
        "/to" if std::mem::take(&mut *retry_once.lock().unwrap()) => Answer {
            status: 503,
            ..page(Duration::ZERO)
        },
        _ => page(Duration::ZERO),
    });
    let session = session.retry(Retry::new(1)).build().unwrap();
    session.set_host_interval(&url("http://a/"), SECOND * 100);
    log.runtime.block_on(get_all(&session, ["http://a/from"]));
    let times = [SECOND * 100, SECOND * 200, SECOND * 300];
    assert_eq!(log.times("a"), times);
}

#[test]
fn the_longer_of_two_intervals_applies_to_a_host() {
    for (own, expected) in [(SECOND, [1, 4, 7]), (SECOND * 5, [5, 10, 15])] {
        let (log, session) = Log::new(|_| page(Duration::ZERO));
        let session = session.max_rate_per_host(1, SECOND * 3).build().unwrap();
        session.set_host_interval(&url("http://a/"), own);
        let urls = [
            "http://a/1",
            "http://a/2",
            "http://b/1",
            "http://a/3",
            "http://b/2",
        ];
        log.runtime.block_on(get_all(&session, urls));
        assert_eq!(log.times("a"), expected.map(Duration::from_secs));
        assert_eq!(log.times("b"), [Duration::ZERO, SECOND * 3]);
    }
}

#[test]
fn retry_after_and_the_interval_of_a_host_both_apply() {
    let (log, session) = Log::new(busy_once());
    let session = session.retry(Retry::new(1)).build().unwrap();
    session.set_host_interval(&url("http://a/"), SECOND * 40);
    // The first request gets `Retry-After: 60`.
    log.runtime.block_on(get_all(
        &session,
        ["http://a/busy", "http://a/1", "http://a/2"],
    ));
    assert_eq!(log.times("a"), [40, 100, 140, 180].map(Duration::from_secs));
}

/// Requests five pages of a host with an interval of ten seconds, and changes the interval after 25 seconds.
/// Returns when the requests arrived, in seconds.
fn times_with_change(
    builder: impl FnOnce(SessionBuilder) -> SessionBuilder,
    interval: Duration,
) -> Vec<u64> {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = builder(session).build().unwrap();
    session.set_host_interval(&url("http://a/"), SECOND * 10);
    let urls = [
        "http://a/1",
        "http://a/2",
        "http://a/3",
        "http://a/4",
        "http://a/5",
    ];
    log.runtime.block_on(async {
        let change = async {
            log.runtime.sleep(SECOND * 25).await;
            session.set_host_interval(&url("http://a/"), interval);
        };
        futures_util::future::join(get_all(&session, urls), change).await;
    });
    log.times("a").iter().map(Duration::as_secs).collect()
}

#[test]
fn requests_that_wait_for_a_host_obey_a_new_interval() {
    let same = |session| session;
    assert_eq!(times_with_change(same, SECOND * 20), [10, 20, 45, 65, 85]);
    assert_eq!(times_with_change(same, SECOND), [10, 20, 26, 27, 28]);
    assert_eq!(
        times_with_change(same, Duration::ZERO),
        [10, 20, 25, 25, 25]
    );
    let rate = |session: SessionBuilder| session.max_rate_per_host(1, SECOND * 8);
    assert_eq!(
        times_with_change(rate, Duration::ZERO),
        [10, 20, 28, 36, 44]
    );
    let few = |session: SessionBuilder| session.max_in_flight(1).max_per_host(1);
    assert_eq!(times_with_change(few, SECOND), [10, 20, 26, 27, 28]);
}

#[test]
fn requests_that_wait_for_other_limits_obey_the_first_interval_of_their_host() {
    // The first request occupies the session for three seconds.
    let (log, session) = Log::new(|_| page(SECOND * 3));
    let session = session.max_in_flight(1).build().unwrap();
    log.runtime.block_on(async {
        let change = async {
            log.runtime.sleep(SECOND).await;
            session.set_host_interval(&url("http://a/"), SECOND * 10);
        };
        let urls = ["http://a/1", "http://a/2", "http://a/3", "http://b/1"];
        futures_util::future::join(get_all(&session, urls), change).await;
    });
    assert_eq!(log.times("a"), [0, 11, 21].map(Duration::from_secs));
    assert_eq!(log.times("b"), [SECOND * 3]);
}

#[test]
fn requests_that_wait_for_retry_after_obey_the_first_interval_of_their_host() {
    let (log, session) = Log::new(busy_once());
    let session = session.retry(Retry::new(1)).build().unwrap();
    log.runtime.block_on(async {
        let later = async {
            log.runtime.sleep(SECOND).await;
            get_all(&session, ["http://a/1", "http://a/2"]).await;
        };
        let change = async {
            log.runtime.sleep(SECOND * 2).await;
            session.set_host_interval(&url("http://a/"), SECOND * 5);
        };
        futures_util::future::join3(get_all(&session, ["http://a/busy"]), later, change).await;
    });
    assert_eq!(log.times("a"), [0, 60, 65, 70].map(Duration::from_secs));
}

#[test]
fn requests_to_a_host_with_an_interval_start_in_order() {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = session.build().unwrap();
    session.set_host_interval(&url("http://a/"), SECOND);
    let pages = (0..20).map(|n| session.get(format!("http://a/{n}")).text());
    let done = gather(pages).completed().map(|(index, _)| index);
    let order: Vec<_> = log.runtime.block_on(done.collect());
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(log.times("a").last(), Some(&(SECOND * 20)));
}

#[test]
fn a_dropped_request_does_not_take_the_turn_of_its_host() {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = session.build().unwrap();
    session.set_host_interval(&url("http://a/"), SECOND * 10);
    log.runtime.block_on(async {
        let dropped = session.get("http://a/dropped").text();
        let dropped = gather([dropped]).until(log.runtime.sleep(SECOND)).settled();
        let others = get_all(&session, ["http://a/1", "http://a/2"]);
        futures_util::future::join(dropped, others).await;
    });
    assert_eq!(log.times("a"), [10, 20].map(Duration::from_secs));
}

#[test]
fn a_session_keeps_the_intervals_of_many_hosts() {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = session.build().unwrap();
    let root = |n: usize| url(&format!("http://h{n}.test/"));
    for n in 0..1000 {
        session.set_host_interval(&root(n), SECOND * 10);
    }
    for n in 500..1000 {
        session.set_host_interval(&root(n), Duration::ZERO);
    }
    log.runtime.block_on(async {
        // All intervals have passed, so that only the setting keeps a host.
        log.runtime.sleep(SECOND * 100).await;
        let pages = (0..2000).map(|n| session.get(root(n % 1000)).text());
        gather(pages).limit(2000).all().await.unwrap();
    });
    for n in 0..1000 {
        let second = if n < 500 { 110 } else { 100 };
        assert_eq!(
            log.times(&format!("h{n}.test")),
            [SECOND * 100, SECOND * second]
        );
    }
}

#[test]
fn an_interval_that_the_clock_cannot_represent_permits_no_request() {
    let (log, session) = Log::new(|_| page(Duration::ZERO));
    let session = session.queue_timeout(SECOND * 1_000_000).build().unwrap();
    session.set_host_interval(&url("http://a/"), Duration::MAX);
    let error = log.runtime.block_on(session.get("http://a/").send());
    assert_eq!(error.unwrap_err().phase(), Some(Phase::Queue));
    assert_eq!(log.times("a"), []);
}

/// What a server does with a request.
#[derive(Debug, Clone)]
struct Behaviour {
    host: u8,
    delay: u32,
    /// The host to which the server redirects the request.
    redirect: Option<u8>,
    /// The seconds of `Retry-After` with which the server refuses the request at first.
    retry_after: Option<u32>,
}

prop_compose! {
    fn behaviour()(
        host in 0..3_u8,
        delay in 0..2000_u32,
        redirect in prop::option::weighted(0.3, 0..3_u8),
        retry_after in prop::option::weighted(0.1, 1..4_u32),
    ) -> Behaviour {
        Behaviour { host, delay, redirect, retry_after }
    }
}

/// A change of the interval of a host.
#[derive(Debug, Clone)]
struct IntervalChange {
    host: u8,
    at: u32,
    interval: u32,
}

prop_compose! {
    fn interval_change()(
        host in 0..3_u8,
        at in 0..5000_u32,
        interval in prop_oneof![Just(0), 1..3000_u32],
    ) -> IntervalChange {
        IntervalChange { host, at, interval }
    }
}

impl IntervalChange {
    /// Returns when the change with this index happens. Nothing else happens at the same time.
    fn time(&self, index: usize) -> Duration {
        MS * self.at + Duration::from_micros(index as u64 + 1)
    }

    /// Returns the last change of the host's interval by `time`: when it happened, and the interval.
    fn last(changes: &[Self], host: u8, time: Duration) -> Option<(Duration, Duration)> {
        let changes = changes.iter().enumerate();
        let changes = changes.filter(|(_, change)| change.host == host);
        let changes = changes.map(|(index, change)| (change.time(index), MS * change.interval));
        changes.filter(|(at, _)| *at <= time).max()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_limit_of_a_host_is_exceeded_and_every_request_ends(
        requests in prop::collection::vec(behaviour(), 1..25),
        max_in_flight in prop::option::of(1..4_usize),
        max_per_host in prop::option::of(1..3_usize),
        interval in prop::option::of(1..1500_u32),
        changes in prop::collection::vec(interval_change(), 0..6),
    ) {
        let pauses: Arc<Mutex<Vec<(String, Duration, Duration)>>> = Arc::default();
        let refused: Mutex<Vec<String>> = Mutex::default();
        let (behaviours, paused) = (requests.clone(), pauses.clone());
        let clock: Arc<Mutex<Option<Virtual>>> = Arc::default();
        let now = clock.clone();
        let (log, session) = Log::new(move |url| {
            let index: usize = url.path()[1..].parse().unwrap();
            let behaviour = &behaviours[index];
            let delay = MS * behaviour.delay;
            let first = url.query().is_none();
            if let (Some(seconds), true) = (behaviour.retry_after, first)
                && !refused.lock().unwrap().contains(&url.to_string())
            {
                refused.lock().unwrap().push(url.to_string());
                let from = now.lock().unwrap().as_ref().unwrap().elapsed() + delay;
                let host = url.host_str().unwrap().to_owned();
                paused.lock().unwrap().push((host, from, from + SECOND * seconds));
                return Answer {
                    status: 503,
                    header: Some((RETRY_AFTER, seconds.to_string())),
                    ..page(delay)
                };
            }
            match (behaviour.redirect, first) {
                (Some(host), true) => Answer {
                    status: 302,
                    header: Some((LOCATION, format!("http://{host}.test{}?next", url.path()))),
                    ..page(delay)
                },
                _ => page(delay),
            }
        });
        *clock.lock().unwrap() = Some(log.runtime.clone());
        let mut session = session.retry(Retry::new(20).budget(None)).max_in_flight(max_in_flight).max_per_host(max_per_host);
        if let Some(interval) = interval {
            session = session.max_rate_per_host(1, MS * interval);
        }
        let session = session.build().unwrap();
        let jobs = requests.iter().enumerate().map(|(index, behaviour)| {
            session.get(format!("http://{}.test/{index}", behaviour.host)).text()
        });
        let changing = changes.iter().enumerate().map(|(index, change)| {
            let (runtime, session) = (&log.runtime, &session);
            async move {
                runtime.sleep(change.time(index)).await;
                let url = url(&format!("http://{}.test/", change.host));
                session.set_host_interval(&url, MS * change.interval);
            }
        });
        let changing = futures_util::future::join_all(changing);
        let all = futures_util::future::join(gather(jobs).all(), changing);
        let texts = log.runtime.block_on(all).0.map_err(Error::from).unwrap();
        prop_assert_eq!(texts.len(), requests.len());
        for (number, host) in (0_u8..).zip(["0.test", "1.test", "2.test"]) {
            let times = log.times(host);
            let mut last_start = None;
            for at in &times {
                let change = IntervalChange::last(&changes, number, *at);
                let own = change.map_or(Duration::ZERO, |(_, own)| own);
                let shortest = own.max(MS * interval.unwrap_or(0));
                prop_assert!(last_start.is_none_or(|last| *at >= last + shortest), "{times:?}");
                prop_assert!(change.is_none_or(|(set_at, own)| *at >= set_at + own), "{times:?}");
                last_start = Some(*at);
            }
            for (paused, from, until) in &*pauses.lock().unwrap() {
                if paused == host {
                    let early = times.iter().find(|at| *at > from && *at < until);
                    prop_assert_eq!(early, None, "{:?} to {:?}", from, until);
                }
            }
        }
        prop_assert_eq!((session.stats().in_flight, session.stats().waiting), (0, 0));
    }
}
