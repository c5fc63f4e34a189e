//! Tests of the limits for single hosts, and of the waits that do not count towards a timeout. The time is
//! virtual.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{HeaderName, LOCATION, RETRY_AFTER};
use inflight_core::url::Url;
use inflight_core::{
    BlockOn, Body, Error, ErrorKind, Phase, Retry, Runtime, SessionBuilder, gather, http,
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_limit_of_a_host_is_exceeded_and_every_request_ends(
        requests in prop::collection::vec(behaviour(), 1..25),
        max_in_flight in prop::option::of(1..4_usize),
        max_per_host in prop::option::of(1..3_usize),
        interval in prop::option::of(1..1500_u32),
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
        let texts = log.runtime.block_on(gather(jobs).all()).map_err(Error::from).unwrap();
        prop_assert_eq!(texts.len(), requests.len());
        for host in ["0.test", "1.test", "2.test"] {
            let times = log.times(host);
            for pair in times.windows(2) {
                prop_assert!(pair[1] - pair[0] >= MS * interval.unwrap_or(0), "{times:?}");
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
