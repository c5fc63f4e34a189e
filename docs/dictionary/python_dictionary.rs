// Written by docs/dictionary.py from examples/tests/python_dictionary/bodies.rs, examples/tests/python_dictionary/concurrency.rs, examples/tests/python_dictionary/connections.rs, examples/tests/python_dictionary/credentials.rs, examples/tests/python_dictionary/failures.rs, examples/tests/python_dictionary/main.rs, examples/tests/python_dictionary/observing.rs, examples/tests/python_dictionary/requests.rs, examples/tests/python_dictionary/sessions.rs, examples/tests/python_dictionary/testing.rs, examples/tests/python_dictionary/timeouts.rs.

// ANCHOR: stream_down
let mut response = session.get(url).send().await?;
while let Some(chunk) = response.chunk().await? {
    received.extend_from_slice(&chunk);
}
// ANCHOR_END: stream_down

// ANCHOR: test_stream_down
#[test]
fn stream_down() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/bytes/100000");
        let mut received = Vec::new();
        let mut response = session.get(url).send().await?;
        while let Some(chunk) = response.chunk().await? {
            received.extend_from_slice(&chunk);
        }
        assert_eq!(received, payload::bytes(100_000, 0));
        Ok(())
    })
}
// ANCHOR_END: test_stream_down

// ANCHOR: lines
/// Calls `use_line` for each line, as soon as it has arrived.
async fn read_lines(
    mut response: inflight::Response,
    mut use_line: impl FnMut(&str),
) -> Result<(), Error> {
    let mut buffer = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            use_line(String::from_utf8_lossy(&line).trim_end());
        }
    }
    if !buffer.is_empty() {
        use_line(&String::from_utf8_lossy(&buffer));
    }
    Ok(())
}
// ANCHOR_END: lines

// ANCHOR: test_lines
#[test]
fn lines() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/encoding/utf8");
        let text = session.get(&url).text().await?;
        let response = session.get(&url).send().await?;
        let mut lines = Vec::new();
        read_lines(response, |line| lines.push(line.to_owned())).await?;
        let expected: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines, expected);
        assert!(lines.len() > 1);
        Ok(())
    })
}
// ANCHOR_END: test_lines

// ANCHOR: save_to_file
let response = session.get(url).send().await?.error_for_status()?;
let length = response.save_to(&path).await?;
// ANCHOR_END: save_to_file

// ANCHOR: test_save_to_file
#[test]
fn save_to_file() -> TestResult {
    run(async |origin: &Origin| {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("book.pdf");
        let session = inflight::session()?;
        let url = origin.url("/bytes/100000");
        let response = session.get(url).send().await?.error_for_status()?;
        let length = response.save_to(&path).await?;
        assert_eq!(length, 100_000);
        assert_eq!(std::fs::read(&path)?, payload::bytes(100_000, 0));
        Ok(())
    })
}
// ANCHOR_END: test_save_to_file

// ANCHOR: body_limit
let error = session.get(url).max_body(1000).bytes().await.unwrap_err();
assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
// ANCHOR_END: body_limit

// ANCHOR: test_body_limit
#[test]
fn body_limit() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/bytes/2000");
        let error = session.get(url).max_body(1000).bytes().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
        Ok(())
    })
}
// ANCHOR_END: test_body_limit

// ANCHOR: compressed_body
let response = session.get(url).decompress(false).send().await?;
assert_eq!(response.headers()["content-encoding"], "gzip");
let compressed = response.bytes().await?;
// ANCHOR_END: compressed_body

// ANCHOR: test_compressed_body
#[test]
fn compressed_body() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/gzip");
        let response = session.get(url).decompress(false).send().await?;
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let compressed = response.bytes().await?;
        assert!(compressed.starts_with(&[0x1f, 0x8b]));
        Ok(())
    })
}
// ANCHOR_END: test_compressed_body

// ANCHOR: gather_all
let jobs = urls.iter().map(|url| session.get(url).text());
let pages = gather(jobs).all().await?;
// ANCHOR_END: gather_all

// ANCHOR: test_gather_all
#[test]
fn gather_all() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let urls: Vec<String> = (1..=5).map(|n| origin.url(&format!("/page/{n}"))).collect();
        let jobs = urls.iter().map(|url| session.get(url).text());
        let pages = gather(jobs).all().await?;
        for (n, page) in (1..).zip(pages) {
            assert!(page.contains(&format!("Page {n}")));
        }
        Ok(())
    })
}
// ANCHOR_END: test_gather_all

// ANCHOR: failure_cancels_siblings
let error = gather([hanging, failing]).all().await.unwrap_err();
assert_eq!(error.index(), 1);
// The hanging request has been cancelled. Most clients close its connection at once.
// ANCHOR_END: failure_cancels_siblings

// ANCHOR: test_failure_cancels_siblings
#[test]
fn failure_cancels_siblings() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::builder().error_for_status(true).build()?;
        let silent = Arc::new(Origin::start()?);
        let hanging: BoxFuture<'_, _> = Box::pin(session.get(silent.url("/hang")).text());
        let server = silent.clone();
        let failing: BoxFuture<'_, _> = Box::pin(async {
            let is_sent = move || server.wait_for(WAIT, |stats| stats.requests == 1).is_ok();
            assert!(unblock(session.runtime(), is_sent).await.unwrap());
            session.get(origin.url("/status/404")).text().await
        });
        let error = gather([hanging, failing]).all().await.unwrap_err();
        assert_eq!(error.index(), 1);
        // The hanging request has been cancelled. Most clients close its connection at once.
        assert_eq!(Error::from(error).kind(), ErrorKind::Status);
        wait_for_cancelled_request(&session, &silent);
        Ok(())
    })
}
// ANCHOR_END: test_failure_cancels_siblings

// ANCHOR: return_exceptions
let results = gather_with(&urls, |url| session.get(url).text())
    .settled()
    .await
    .results;
for (url, result) in results {
    match result {
        Ok(_) => pages += 1,
        Err(error) => failures.push(format!("{url}: {}", Error::from(error))),
    }
}
// ANCHOR_END: return_exceptions

// ANCHOR: test_return_exceptions
#[test]
fn return_exceptions() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::builder().error_for_status(true).build()?;
        let urls = [origin.url("/page/1"), origin.url("/status/404")];
        let (mut pages, mut failures) = (0, Vec::new());
        let results = gather_with(&urls, |url| session.get(url).text())
            .settled()
            .await
            .results;
        for (url, result) in results {
            match result {
                Ok(_) => pages += 1,
                Err(error) => failures.push(format!("{url}: {}", Error::from(error))),
            }
        }
        assert_eq!((pages, failures.len()), (1, 1));
        Ok(())
    })
}
// ANCHOR_END: test_return_exceptions

// ANCHOR: as_completed
let mut pages = gather_with(["slow", "fast"], |path| session.get(path).text()).completed();
while let Some((path, page)) = pages.next().await {
    page?;
    order.push(path);
}
// ANCHOR_END: as_completed

// ANCHOR: test_as_completed
#[test]
fn as_completed() -> TestResult {
    run_in_virtual_time(async |_: &Virtual, mock: &Mock| {
        add_page(mock, "/slow", 2);
        add_page(mock, "/fast", 1);
        let session = mock.session().base_url("http://pages.test/").build()?;
        let mut order = Vec::new();
        let mut pages = gather_with(["slow", "fast"], |path| session.get(path).text()).completed();
        while let Some((path, page)) = pages.next().await {
            page?;
            order.push(path);
        }
        assert_eq!(order, ["fast", "slow"]);
        Ok(())
    })
}
// ANCHOR_END: test_as_completed

// ANCHOR: wait_with_timeout
let timeout = session.runtime().sleep(Duration::from_secs(10));
let jobs = ["fast", "hanging"].map(|path| session.get(path).text());
let settled = gather(jobs).until(timeout).settled().await;
assert!(settled.results[0].is_ok());
let error = settled.results[1].as_ref().unwrap_err();
assert!(matches!(
    error.kind(),
    JobErrorKind::DeadlineExceeded { .. }
));
// ANCHOR_END: wait_with_timeout

// ANCHOR: test_wait_with_timeout
#[test]
fn wait_with_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        add_page(mock, "/fast", 1);
        mock.on(When::any(), Reply::pending());
        let session = mock.session().base_url("http://pages.test/").build()?;
        let timeout = session.runtime().sleep(Duration::from_secs(10));
        let jobs = ["fast", "hanging"].map(|path| session.get(path).text());
        let settled = gather(jobs).until(timeout).settled().await;
        assert!(settled.results[0].is_ok());
        let error = settled.results[1].as_ref().unwrap_err();
        assert!(matches!(
            error.kind(),
            JobErrorKind::DeadlineExceeded { .. }
        ));
        assert_eq!(runtime.elapsed().as_secs(), 10);
        Ok(())
    })
}
// ANCHOR_END: test_wait_with_timeout

// ANCHOR: first_completed
let mirrors = ["broken", "mirror"].map(|path| session.get(path).text());
let page = gather(mirrors).first().await?;
// ANCHOR_END: first_completed

// ANCHOR: test_first_completed
#[test]
fn first_completed() -> TestResult {
    run_in_virtual_time(async |_: &Virtual, mock: &Mock| {
        mock.on(When::get("/broken"), Reply::error(ErrorKind::Connect));
        add_page(mock, "/mirror", 1);
        let session = mock.session().base_url("http://pages.test/").build()?;
        let mirrors = ["broken", "mirror"].map(|path| session.get(path).text());
        let page = gather(mirrors).first().await?;
        assert_eq!(page, "/mirror");
        Ok(())
    })
}
// ANCHOR_END: test_first_completed

// ANCHOR: task_group
let (page, bytes) = futures_lite::future::try_zip(page, bytes).await?;
// ANCHOR_END: task_group

// ANCHOR: test_task_group
#[test]
fn task_group() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let page = session.get(origin.url("/page/1")).text();
        let bytes = session.get(origin.url("/bytes/10")).bytes();
        let (page, bytes) = futures_lite::future::try_zip(page, bytes).await?;
        assert!(page.contains("Page 1"));
        assert_eq!(bytes.len(), 10);
        Ok(())
    })
}
// ANCHOR_END: test_task_group

// ANCHOR: semaphore
let jobs = urls.map(|url| session.get(url).text());
let pages = gather(jobs).limit(2).all().await?;
// ANCHOR_END: semaphore

// ANCHOR: test_semaphore
#[test]
fn semaphore() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let urls = (1..=6).map(|n| origin.url(&format!("/page/{n}?delay_ms=20")));
        let jobs = urls.map(|url| session.get(url).text());
        let pages = gather(jobs).limit(2).all().await?;
        assert_eq!(pages.len(), 6);
        assert!(origin.stats().peak_in_flight <= 2);
        Ok(())
    })
}
// ANCHOR_END: test_semaphore

// ANCHOR: queue_of_jobs
let jobs = gather_queue(["1".to_owned()], |path, queue| async move {
    let links = session.get(&path).text().await?;
    for link in links.split_whitespace() {
        queue.push(link.to_owned()).ok();
    }
    Ok::<_, Error>(())
});
let pages = jobs.limit(10).all().await?;
// ANCHOR_END: queue_of_jobs

// ANCHOR: test_queue_of_jobs
#[test]
fn queue_of_jobs() -> TestResult {
    run_in_virtual_time(async |_: &Virtual, mock: &Mock| {
        mock.on(When::get("/1"), Reply::text("2 3"));
        mock.on(When::get("/2"), Reply::text(""));
        mock.on(When::get("/3"), Reply::text(""));
        let session = &mock.session().base_url("http://pages.test/").build()?;
        let jobs = gather_queue(["1".to_owned()], |path, queue| async move {
            let links = session.get(&path).text().await?;
            for link in links.split_whitespace() {
                queue.push(link.to_owned()).ok();
            }
            Ok::<_, Error>(())
        });
        let pages = jobs.limit(10).all().await?;
        assert_eq!(pages.len(), 3);
        Ok(())
    })
}
// ANCHOR_END: test_queue_of_jobs

// ANCHOR: rate_limit
// At most one request at once after a pause, and five in each second.
let session = mock.session().max_rate(5, 1).build()?;
// ANCHOR_END: rate_limit

// ANCHOR: test_rate_limit
#[test]
fn rate_limit() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any().repeated(), Reply::text("a page"));
        // At most one request at once after a pause, and five in each second.
        let session = mock.session().max_rate(5, 1).build()?;
        let jobs = (0..6).map(|n| session.get(format!("http://pages.test/{n}")).text());
        gather(jobs).all().await?;
        assert_eq!(runtime.elapsed(), Duration::from_secs(1));
        Ok(())
    })
}
// ANCHOR_END: test_rate_limit

// ANCHOR: create_task
let task = Task::spawn(session.runtime(), request);
// The task runs while this function does other work.
let page = task.await??;
// ANCHOR_END: create_task

// ANCHOR: test_create_task
#[test]
fn create_task() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let request = session.get(origin.url("/page/1")).text();
        let task = Task::spawn(session.runtime(), request);
        // The task runs while this function does other work.
        let page = task.await??;
        assert!(page.contains("Page 1"));
        Ok(())
    })
}
// ANCHOR_END: test_create_task

// ANCHOR: cancel
let task = Task::spawn(session.runtime(), request);
drop(task);
// ANCHOR_END: cancel

// ANCHOR: test_cancel
#[test]
fn cancel() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let request = session.get(origin.url("/hang")).text();
        let task = Task::spawn(session.runtime(), request);
        let started = origin.wait_for(WAIT, |stats| stats.in_flight == 1);
        assert!(started.is_ok());
        drop(task);
        wait_for_cancelled_request(&session, origin);
        Ok(())
    })
}
// ANCHOR_END: test_cancel

// ANCHOR: shield
Task::spawn(session.runtime(), request).detach();
// ANCHOR_END: shield

// ANCHOR: test_shield
#[test]
fn shield() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let request = session.get(origin.url("/page/1?delay_ms=20")).text();
        Task::spawn(session.runtime(), request).detach();
        let ended = origin.wait_for(WAIT, |stats| stats.requests == 1 && stats.in_flight == 0);
        assert_eq!(ended.map(|stats| stats.aborted), Ok(0));
        Ok(())
    })
}
// ANCHOR_END: test_shield

// ANCHOR: to_thread
let sum: u64 = unblock(session.runtime(), || (1..=1000).sum()).await?;
// ANCHOR_END: to_thread

// ANCHOR: test_to_thread
#[test]
fn to_thread() -> TestResult {
    run(async |_: &Origin| {
        let session = inflight::session()?;
        let sum: u64 = unblock(session.runtime(), || (1..=1000).sum()).await?;
        assert_eq!(sum, 500_500);
        Ok(())
    })
}
// ANCHOR_END: test_to_thread

// ANCHOR: sleep
session.runtime().sleep(Duration::from_secs(60)).await;
// ANCHOR_END: sleep

// ANCHOR: test_sleep
#[test]
fn sleep() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        let session = mock.session().build()?;
        session.runtime().sleep(Duration::from_secs(60)).await;
        assert_eq!(runtime.elapsed().as_secs(), 60);
        Ok(())
    })
}
// ANCHOR_END: test_sleep

// ANCHOR: lazy_futures
let request = session.get(url).text(); // nothing is sent
assert_eq!(origin.stats().requests, 0);
request.await?; // the request is sent here
assert_eq!(origin.stats().requests, 1);
// ANCHOR_END: lazy_futures

// ANCHOR: test_lazy_futures
#[test]
fn lazy_futures() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/page/1");
        let request = session.get(url).text(); // nothing is sent
        assert_eq!(origin.stats().requests, 0);
        request.await?; // the request is sent here
        assert_eq!(origin.stats().requests, 1);
        Ok(())
    })
}
// ANCHOR_END: test_lazy_futures

// ANCHOR: shared_state
let total = Mutex::new(0);
let jobs = gather_with(urls, async |url| {
    let body = session.get(url).bytes().await?;
    *total.lock().unwrap() += body.len();
    Ok::<_, Error>(())
});
jobs.all().await?;
// ANCHOR_END: shared_state

// ANCHOR: test_shared_state
#[test]
fn shared_state() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let urls = (1..=5).map(|n| origin.url(&format!("/bytes/{n}")));
        let total = Mutex::new(0);
        let jobs = gather_with(urls, async |url| {
            let body = session.get(url).bytes().await?;
            *total.lock().unwrap() += body.len();
            Ok::<_, Error>(())
        });
        jobs.all().await?;
        assert_eq!(total.into_inner()?, 15);
        Ok(())
    })
}
// ANCHOR_END: test_shared_state

// ANCHOR: proxy
let session = inflight::builder().proxy(&proxy).build()?;
let text = session.get(url).text().await?;
// ANCHOR_END: proxy

// ANCHOR: test_proxy
#[test]
fn proxy() -> TestResult {
    run(async |origin: &Origin| {
        let forward = ForwardProxy::start(None)?;
        let proxy = format!("http://{}", forward.addr());
        let url = format!("http://pages.test:{}/page/1", origin.addr().port());
        let session = inflight::builder().proxy(&proxy).build()?;
        let text = session.get(url).text().await?;
        assert!(text.contains("Page 1"));
        assert_eq!(forward.requests().len(), 1);
        Ok(())
    })
}
// ANCHOR_END: test_proxy

// ANCHOR: environment_proxies
// In a program, `variable` is `|name| std::env::var(name).ok()`.
let proxies = Proxies::from_env(variable)?;
let session = inflight::builder().proxies(proxies).build()?;
// ANCHOR_END: environment_proxies

// ANCHOR: test_environment_proxies
#[test]
fn environment_proxies() -> TestResult {
    run(async |origin: &Origin| {
        let forward = ForwardProxy::start(None)?;
        let port = origin.addr().port();
        let variable = |name: &str| match name {
            "http_proxy" => Some(format!("http://{}", forward.addr())),
            "no_proxy" => Some("127.0.0.1".to_owned()),
            _ => None,
        };
        // In a program, `variable` is `|name| std::env::var(name).ok()`.
        let proxies = Proxies::from_env(variable)?;
        let session = inflight::builder().proxies(proxies).build()?;
        for host in ["pages.test", "127.0.0.1"] {
            let url = format!("http://{host}:{port}/page/1");
            assert_eq!(session.get(url).send().await?.status(), 200);
        }
        assert_eq!(forward.requests().len(), 1);
        Ok(())
    })
}
// ANCHOR_END: test_environment_proxies

// ANCHOR: own_authority
let session = inflight::builder().add_root_certificate(pem).build()?;
let response = session.get(&url).send().await?;
// ANCHOR_END: own_authority

// ANCHOR: test_own_authority
#[test]
fn own_authority() -> TestResult {
    run(async |_: &Origin| {
        let authority = Authority::new()?;
        let secure = start_tls(&authority)?;
        let (url, pem) = (secure.url("/page/1"), authority.pem());
        let session = inflight::builder().add_root_certificate(pem).build()?;
        let response = session.get(&url).send().await?;
        assert_eq!(response.status(), 200);
        let error = inflight::session()?.get(&url).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls);
        Ok(())
    })
}
// ANCHOR_END: test_own_authority

// ANCHOR: no_verification
let session = inflight::builder()
    .danger_accept_invalid_certs(true)
    .build()?;
// ANCHOR_END: no_verification

// ANCHOR: test_no_verification
#[test]
fn no_verification() -> TestResult {
    run(async |_: &Origin| {
        let secure = start_tls(&Authority::new()?)?;
        let url = secure.url("/page/1");
        let session = inflight::builder()
            .danger_accept_invalid_certs(true)
            .build()?;
        assert_eq!(session.get(url).send().await?.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_no_verification

// ANCHOR: client_certificate
let identity = Identity::from_pem(certificate, key)?;
let session = inflight::builder()
    .add_root_certificate(pem)
    .client_certificate(identity)
    .build()?;
// ANCHOR_END: client_certificate

// ANCHOR: test_client_certificate
#[test]
fn client_certificate() -> TestResult {
    run(async |_: &Origin| {
        let authority = Authority::new()?;
        let tls = authority.server(CertificateKind::Valid)?;
        let secure = Origin::bind(Options {
            tls: Some(tls.require_client_certificate(&authority)),
            ..Options::default()
        })?;
        if !inflight::session()?
            .capabilities()
            .client_certificates
            .is_yes()
        {
            return Ok(());
        }
        let (certificate, key) = authority.client()?;
        let (url, pem) = (secure.url("/page/1"), authority.pem());
        let identity = Identity::from_pem(certificate, key)?;
        let session = inflight::builder()
            .add_root_certificate(pem)
            .client_certificate(identity)
            .build()?;
        assert_eq!(session.get(url).send().await?.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_client_certificate

// ANCHOR: http2
let session = inflight::builder().add_root_certificate(&pem).build()?;
let version = session.get(&url).send().await?.version();
let has_http2 = session.capabilities().http2.is_yes();
assert_eq!(version == Version::HTTP_2, has_http2);
// ANCHOR_END: http2

// ANCHOR: test_http2
#[test]
fn http2() -> TestResult {
    run(async |_: &Origin| {
        let authority = Authority::new()?;
        let secure = Origin::bind(Options {
            tls: Some(authority.server(CertificateKind::Valid)?),
            http2: true,
            ..Options::default()
        })?;
        let (url, pem) = (secure.url("/page/1"), authority.pem());
        let session = inflight::builder().add_root_certificate(&pem).build()?;
        let version = session.get(&url).send().await?.version();
        let has_http2 = session.capabilities().http2.is_yes();
        assert_eq!(version == Version::HTTP_2, has_http2);
        let session = inflight::builder()
            .add_root_certificate(pem)
            .http_versions(HttpVersions::Http1Only)
            .build()?;
        assert_eq!(session.get(url).send().await?.version(), Version::HTTP_11);
        Ok(())
    })
}
// ANCHOR_END: test_http2

// ANCHOR: unix_socket
let session = inflight::builder().unix_socket(path).build()?;
let text = session.get("http://localhost/page/1").text().await?;
// ANCHOR_END: unix_socket

// ANCHOR: test_unix_socket
#[cfg(unix)]
#[test]
fn unix_socket() -> TestResult {
    run(async |origin: &Origin| {
        if !inflight::session()?.capabilities().unix_sockets.is_yes() {
            return Ok(());
        }
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("pages.sock");
        let relay = inflight_origin::UnixRelay::bind(&path, origin.addr())?;
        let session = inflight::builder().unix_socket(path).build()?;
        let text = session.get("http://localhost/page/1").text().await?;
        assert!(text.contains("Page 1"));
        assert_eq!(relay.connections(), 1);
        Ok(())
    })
}
// ANCHOR_END: test_unix_socket

// ANCHOR: resolver
/// Resolves one name to this machine, like an entry in the hosts file.
struct Pinned;

impl Resolve for Pinned {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match host {
            "pages.test" => Ok(vec![([127, 0, 0, 1], port).into()]),
            _ => SystemResolver.resolve(host, port),
        }
    }
}

let session = inflight::builder().resolver(Pinned).build()?;
// ANCHOR_END: resolver

// ANCHOR: test_resolver
#[test]
fn resolver() -> TestResult {
    run(async |origin: &Origin| {
        let url = format!("http://pages.test:{}/page/1", origin.addr().port());

        let session = inflight::builder().resolver(Pinned).build()?;
        assert_eq!(session.get(url).send().await?.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_resolver

// ANCHOR: limit
let session = inflight::builder().max_in_flight(2).build()?;
let pages = gather(urls.map(|url| session.get(url).text()))
    .all()
    .await?;
// ANCHOR_END: limit

// ANCHOR: test_limit
#[test]
fn limit() -> TestResult {
    run(async |origin: &Origin| {
        let urls = (1..=6).map(|n| origin.url(&format!("/page/{n}?delay_ms=20")));
        let session = inflight::builder().max_in_flight(2).build()?;
        let pages = gather(urls.map(|url| session.get(url).text()))
            .all()
            .await?;
        assert_eq!(pages.len(), 6);
        assert!(origin.stats().peak_in_flight <= 2);
        Ok(())
    })
}
// ANCHOR_END: test_limit

// ANCHOR: limit_per_host
let session = inflight::builder().max_per_host(2).build()?;
// ANCHOR_END: limit_per_host

// ANCHOR: test_limit_per_host
#[test]
fn limit_per_host() -> TestResult {
    run(async |origin: &Origin| {
        let urls = (1..=6).map(|n| origin.url(&format!("/page/{n}?delay_ms=20")));
        let session = inflight::builder().max_per_host(2).build()?;
        gather(urls.map(|url| session.get(url).text()))
            .all()
            .await?;
        assert!(origin.stats().peak_in_flight <= 2);
        Ok(())
    })
}
// ANCHOR_END: test_limit_per_host

// ANCHOR: keepalive
let session = inflight::builder()
    .client_options(|options| {
        options.idle_timeout = Duration::from_secs(15);
        options.max_idle = Some(20);
    })
    .build()?;
// ANCHOR_END: keepalive

// ANCHOR: test_keepalive
#[test]
fn keepalive() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::builder()
            .client_options(|options| {
                options.idle_timeout = Duration::from_secs(15);
                options.max_idle = Some(20);
            })
            .build()?;
        for _ in 0..3 {
            session.get(origin.url("/page/1")).text().await?;
        }
        assert_eq!(origin.stats().connections_accepted, 1);
        Ok(())
    })
}
// ANCHOR_END: test_keepalive

// ANCHOR: basic_auth
let response = session.get(url).basic_auth("ada", "secret").send().await?;
// ANCHOR_END: basic_auth

// ANCHOR: test_basic_auth
#[test]
fn basic_auth() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/basic-auth/ada/secret");
        let response = session.get(url).basic_auth("ada", "secret").send().await?;
        assert_eq!(response.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_basic_auth

// ANCHOR: bearer_auth
let response = session.get(url).bearer_auth("token").send().await?;
// ANCHOR_END: bearer_auth

// ANCHOR: test_bearer_auth
#[test]
fn bearer_auth() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/bearer");
        let response = session.get(url).bearer_auth("token").send().await?;
        assert_eq!(response.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_bearer_auth

// ANCHOR: session_auth
let session = inflight::builder()
    .header("authorization", "Bearer token")
    .build()?;
let response = session.get(url).send().await?;
// ANCHOR_END: session_auth

// ANCHOR: test_session_auth
#[test]
fn session_auth() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/bearer");
        let session = inflight::builder()
            .header("authorization", "Bearer token")
            .build()?;
        let response = session.get(url).send().await?;
        assert_eq!(response.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_session_auth

// ANCHOR: netrc
let netrc = Netrc::from_file(&path)?; // the crate `rust-netrc`
let mut request = session.get(&url);
if let Some(entry) = url.host_str().and_then(|host| netrc.hosts.get(host)) {
    request = request.basic_auth(&entry.login, &entry.password);
}
// ANCHOR_END: netrc

// ANCHOR: test_netrc
#[test]
fn netrc() -> TestResult {
    run(async |origin: &Origin| {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("netrc");
        std::fs::write(&path, "machine 127.0.0.1 login ada password secret")?;
        let session = inflight::session()?;
        let url = Url::parse(&origin.url("/basic-auth/ada/secret"))?;
        let netrc = Netrc::from_file(&path)?; // the crate `rust-netrc`
        let mut request = session.get(&url);
        if let Some(entry) = url.host_str().and_then(|host| netrc.hosts.get(host)) {
            request = request.basic_auth(&entry.login, &entry.password);
        }
        assert_eq!(request.send().await?.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_netrc

// ANCHOR: cookie_jar
let session = inflight::builder().cookies(CookieJar::new()).build()?;
session.get(login).send().await?;
let echo: Value = session.get(account).json().await?;
// ANCHOR_END: cookie_jar

// ANCHOR: test_cookie_jar
#[test]
fn cookie_jar() -> TestResult {
    run(async |origin: &Origin| {
        let (login, account) = (origin.url("/cookies/set?user=ada"), origin.url("/cookies"));
        let session = inflight::builder().cookies(CookieJar::new()).build()?;
        session.get(login).send().await?;
        let echo: Value = session.get(account).json().await?;
        assert_eq!(echo["cookies"], json!({"user": "ada"}));
        Ok(())
    })
}
// ANCHOR_END: test_cookie_jar

// ANCHOR: no_cookies
let session = inflight::session()?;
session.get(login).send().await?;
let echo: Value = session.get(account).json().await?;
assert_eq!(echo["cookies"], json!({}));
// ANCHOR_END: no_cookies

// ANCHOR: test_no_cookies
#[test]
fn no_cookies() -> TestResult {
    run(async |origin: &Origin| {
        let (login, account) = (origin.url("/cookies/set?user=ada"), origin.url("/cookies"));
        let session = inflight::session()?;
        session.get(login).send().await?;
        let echo: Value = session.get(account).json().await?;
        assert_eq!(echo["cookies"], json!({}));
        Ok(())
    })
}
// ANCHOR_END: test_no_cookies

// ANCHOR: request_cookies
let request = session.get(url).header("cookie", "user=ada; theme=dark");
// ANCHOR_END: request_cookies

// ANCHOR: test_request_cookies
#[test]
fn request_cookies() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/cookies");
        let request = session.get(url).header("cookie", "user=ada; theme=dark");
        let echo: Value = request.json().await?;
        assert_eq!(echo["cookies"], json!({"user": "ada", "theme": "dark"}));
        Ok(())
    })
}
// ANCHOR_END: test_request_cookies

// ANCHOR: saved_cookies
jar.save(&mut file)?;
let jar = CookieJar::load(file.as_slice())?;
// ANCHOR_END: saved_cookies

// ANCHOR: test_saved_cookies
#[test]
fn saved_cookies() -> TestResult {
    let url = Url::parse("https://pages.test/")?;
    let jar = CookieJar::new();
    jar.set("theme=dark; Max-Age=3600", &url);
    let mut file = Vec::new();
    jar.save(&mut file)?;
    let jar = CookieJar::load(file.as_slice())?;
    assert_eq!(jar.header(&url).unwrap(), "theme=dark");
    Ok(())
}
// ANCHOR_END: test_saved_cookies

// ANCHOR: raise_for_status
let response = session.get(url).send().await?;
assert_eq!(response.status(), 404);
let error = response.error_for_status().unwrap_err();
assert_eq!(error.status_code().unwrap(), 404);
// ANCHOR_END: raise_for_status

// ANCHOR: test_raise_for_status
#[test]
fn raise_for_status() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/status/404");
        let response = session.get(url).send().await?;
        assert_eq!(response.status(), 404);
        let error = response.error_for_status().unwrap_err();
        assert_eq!(error.status_code().unwrap(), 404);
        Ok(())
    })
}
// ANCHOR_END: test_raise_for_status

// ANCHOR: raise_for_every_status
let session = inflight::builder().error_for_status(true).build()?;
let error = session.get(url).text().await.unwrap_err();
// ANCHOR_END: raise_for_every_status

// ANCHOR: test_raise_for_every_status
#[test]
fn raise_for_every_status() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/status/503");
        let session = inflight::builder().error_for_status(true).build()?;
        let error = session.get(url).text().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Status);
        Ok(())
    })
}
// ANCHOR_END: test_raise_for_every_status

// ANCHOR: exceptions
let advice = match session.get(refused).text().await {
    Ok(_) => "the page has arrived",
    Err(error) if error.is_timeout() => "the server is slow",
    Err(error) => match error.kind() {
        ErrorKind::Connect | ErrorKind::Resolve => "is the server running?",
        ErrorKind::Incomplete => "fetch the page again",
        _ => "read the message",
    },
};
// ANCHOR_END: exceptions

// ANCHOR: test_exceptions
#[test]
fn exceptions() -> TestResult {
    run(async |_: &Origin| {
        let refused = format!("http://{}/", inflight_origin::script::refused_address()?);
        let session = inflight::session()?;
        let advice = match session.get(refused).text().await {
            Ok(_) => "the page has arrived",
            Err(error) if error.is_timeout() => "the server is slow",
            Err(error) => match error.kind() {
                ErrorKind::Connect | ErrorKind::Resolve => "is the server running?",
                ErrorKind::Incomplete => "fetch the page again",
                _ => "read the message",
            },
        };
        assert_eq!(advice, "is the server running?");
        Ok(())
    })
}
// ANCHOR_END: test_exceptions

// ANCHOR: early_end
let error = session.get(url).bytes().await.unwrap_err();
assert_eq!(error.kind(), ErrorKind::Incomplete);
// ANCHOR_END: early_end

// ANCHOR: test_early_end
#[test]
fn early_end() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        // The server declares 100 bytes and closes the connection after 10.
        let url = origin.url("/range/100?cut=10");
        let error = session.get(url).bytes().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete);
        Ok(())
    })
}
// ANCHOR_END: test_early_end

// ANCHOR: retries
let retry = Retry::new(3).delays(Duration::from_millis(10), Duration::from_secs(1));
let session = inflight::builder().retry(retry).build()?;
let response = session.get(url).send().await?;
assert_eq!(response.attempts(), 3);
// ANCHOR_END: retries

// ANCHOR: test_retries
#[test]
fn retries() -> TestResult {
    run(async |origin: &Origin| {
        // The server answers the first two requests with 503.
        let url = origin.url("/flaky?fail=2&id=retries");
        let retry = Retry::new(3).delays(Duration::from_millis(10), Duration::from_secs(1));
        let session = inflight::builder().retry(retry).build()?;
        let response = session.get(url).send().await?;
        assert_eq!(response.attempts(), 3);
        assert_eq!(response.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_retries

// ANCHOR: redirects_off
let response = session.get(url).max_redirects(0).send().await?;
assert_eq!(response.status(), 302);
// ANCHOR_END: redirects_off

// ANCHOR: test_redirects_off
#[test]
fn redirects_off() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/redirect/1");
        let response = session.get(url).max_redirects(0).send().await?;
        assert_eq!(response.status(), 302);
        Ok(())
    })
}
// ANCHOR_END: test_redirects_off

// ANCHOR: redirects_on
let response = session.get(url).send().await?;
assert_eq!(response.status(), 200);
for redirect in response.history() {
    assert_eq!(redirect.status(), 302);
}
// ANCHOR_END: redirects_on

// ANCHOR: test_redirects_on
#[test]
fn redirects_on() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/redirect/2");
        let response = session.get(url).send().await?;
        assert_eq!(response.status(), 200);
        for redirect in response.history() {
            assert_eq!(redirect.status(), 302);
        }
        assert_eq!(response.history().len(), 2);
        Ok(())
    })
}
// ANCHOR_END: test_redirects_on

// ANCHOR: max_redirects
let session = inflight::builder().max_redirects(2).build()?;
let error = session.get(url).send().await.unwrap_err();
assert_eq!(error.kind(), ErrorKind::TooManyRedirects);
// ANCHOR_END: max_redirects

// ANCHOR: test_max_redirects
#[test]
fn max_redirects() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/redirect/3");
        let session = inflight::builder().max_redirects(2).build()?;
        let error = session.get(url).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyRedirects);
        Ok(())
    })
}
// ANCHOR_END: test_max_redirects

// ANCHOR: redirected_credentials
let session = inflight::session()?;
let request = session
    .get(url)
    .query(&[("url", elsewhere)])
    .bearer_auth("token");
let echo: Value = request.json().await?;
assert!(echo["headers"]["Authorization"].is_null());
// ANCHOR_END: redirected_credentials

// ANCHOR: test_redirected_credentials
#[test]
fn redirected_credentials() -> TestResult {
    run(async |origin: &Origin| {
        let other = Origin::start()?;
        let elsewhere = other.url("/headers");
        let url = origin.url("/redirect-to");
        let session = inflight::session()?;
        let request = session
            .get(url)
            .query(&[("url", elsewhere)])
            .bearer_auth("token");
        let echo: Value = request.json().await?;
        assert!(echo["headers"]["Authorization"].is_null());
        assert_eq!(other.stats().requests, 1);
        Ok(())
    })
}
// ANCHOR_END: test_redirected_credentials

// ANCHOR: trace_config
let session = inflight::builder()
    .observe(move |event: &Event<'_>| {
        let mut events = events.lock().unwrap();
        match event.step {
            Step::Redirected { .. } => events.push("redirected"),
            Step::Done { .. } => events.push("done"),
            _ => {}
        }
    })
    .build()?;
// ANCHOR_END: trace_config

// ANCHOR: test_trace_config
#[test]
fn trace_config() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/redirect/1");
        let log = Arc::new(Mutex::new(Vec::new()));
        let events = log.clone();
        let session = inflight::builder()
            .observe(move |event: &Event<'_>| {
                let mut events = events.lock().unwrap();
                match event.step {
                    Step::Redirected { .. } => events.push("redirected"),
                    Step::Done { .. } => events.push("done"),
                    _ => {}
                }
            })
            .build()?;
        session.get(url).text().await?;
        assert_eq!(*log.lock().unwrap(), ["redirected", "done"]);
        Ok(())
    })
}
// ANCHOR_END: test_trace_config

// ANCHOR: middleware
/// Adds a header to each request, also after a redirect.
struct AddVersion(AnyClient);

impl Fetch for AddVersion {
    async fn fetch(&self, mut request: Request<Body>) -> Result<Response<Body>, Error> {
        let headers = request.headers_mut();
        headers.insert("x-version", HeaderValue::from_static("2"));
        self.0.fetch(request).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

let session = inflight::builder().wrap(AddVersion).build()?;
// ANCHOR_END: middleware

// ANCHOR: test_middleware
#[test]
fn middleware() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/headers");

        let session = inflight::builder().wrap(AddVersion).build()?;
        let echo: Value = session.get(url).json().await?;
        assert_eq!(echo["headers"]["X-Version"], "2");
        Ok(())
    })
}
// ANCHOR_END: test_middleware

// ANCHOR: progress
let request = session.get(url).on_progress(move |progress| {
    *seen.lock().unwrap() = (progress.bytes, progress.total);
});
// ANCHOR_END: progress

// ANCHOR: test_progress
#[test]
fn progress() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/bytes/100000");
        let last = Arc::new(Mutex::new((0, None)));
        let seen = last.clone();
        let request = session.get(url).on_progress(move |progress| {
            *seen.lock().unwrap() = (progress.bytes, progress.total);
        });
        request.bytes().await?;
        assert_eq!(*last.lock().unwrap(), (100_000, Some(100_000)));
        Ok(())
    })
}
// ANCHOR_END: test_progress

// ANCHOR: params
let request = session.get(url).query(&[("q", "rød grød"), ("page", "2")]);
// ANCHOR_END: params

// ANCHOR: test_params
#[test]
fn params() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/get?lang=da");
        let request = session.get(url).query(&[("q", "rød grød"), ("page", "2")]);
        let echo: Value = request.json().await?;
        let expected = json!({"lang": "da", "q": "rød grød", "page": "2"});
        assert_eq!(echo["args"], expected);
        Ok(())
    })
}
// ANCHOR_END: test_params

// ANCHOR: headers
let request = session
    .get(url)
    .header("accept", "application/json")
    .header("x-request-id", "7");
// ANCHOR_END: headers

// ANCHOR: test_headers
#[test]
fn headers() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::builder().header("accept", "text/html").build()?;
        let url = origin.url("/headers");
        let request = session
            .get(url)
            .header("accept", "application/json")
            .header("x-request-id", "7");
        let echo: Value = request.json().await?;
        assert_eq!(echo["headers"]["X-Request-Id"], "7");
        assert_eq!(echo["headers"]["Accept"], "application/json");
        Ok(())
    })
}
// ANCHOR_END: test_headers

// ANCHOR: methods
let put = session.put(&url).body("a text");
let options = session.request(Method::OPTIONS, &url);
// ANCHOR_END: methods

// ANCHOR: test_methods
#[test]
fn methods() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/anything");
        let put = session.put(&url).body("a text");
        let options = session.request(Method::OPTIONS, &url);
        for (request, method) in [(put, "PUT"), (options, "OPTIONS")] {
            let echo: Value = request.json().await?;
            assert_eq!(echo["method"], method);
        }
        Ok(())
    })
}
// ANCHOR_END: test_methods

// ANCHOR: json_body
let request = session
    .post(url)
    .json_body(&json!({"item": "pen", "quantity": 3}));
// ANCHOR_END: json_body

// ANCHOR: test_json_body
#[test]
fn json_body() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/post");
        let request = session
            .post(url)
            .json_body(&json!({"item": "pen", "quantity": 3}));
        let echo: Value = request.json().await?;
        assert_eq!(echo["json"]["quantity"], 3);
        assert_eq!(echo["headers"]["Content-Type"], "application/json");
        Ok(())
    })
}
// ANCHOR_END: test_json_body

// ANCHOR: json
#[derive(Deserialize)]
struct Echo {
    url: String,
}

let echo: Echo = session.get(url).json().await?;
// ANCHOR_END: json

// ANCHOR: test_json
#[test]
fn json() -> TestResult {
    #[derive(Deserialize)]
    struct Echo {
        url: String,
    }
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/get");
        let expected = url.clone();
        let echo: Echo = session.get(url).json().await?;
        assert_eq!(echo.url, expected);
        Ok(())
    })
}
// ANCHOR_END: test_json

// ANCHOR: form
let request = session
    .post(url)
    .form(&[("name", "Ada"), ("city", "London")]);
// ANCHOR_END: form

// ANCHOR: test_form
#[test]
fn form() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/post");
        let request = session
            .post(url)
            .form(&[("name", "Ada"), ("city", "London")]);
        let echo: Value = request.json().await?;
        assert_eq!(echo["form"], json!({"name": "Ada", "city": "London"}));
        Ok(())
    })
}
// ANCHOR_END: test_form

// ANCHOR: files
let notes = Part::new("# Notes")
    .file_name("notes.md")
    .content_type("text/markdown");
let form = Multipart::new()
    .text("title", "A walk")
    .file("photo", path)
    .part("notes", notes);
let request = session.post(url).multipart(form);
// ANCHOR_END: files

// ANCHOR: test_files
#[test]
fn files() -> TestResult {
    run(async |origin: &Origin| {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("walk.txt");
        std::fs::write(&path, "a long walk")?;
        let session = inflight::session()?;
        let url = origin.url("/post");
        let notes = Part::new("# Notes")
            .file_name("notes.md")
            .content_type("text/markdown");
        let form = Multipart::new()
            .text("title", "A walk")
            .file("photo", path)
            .part("notes", notes);
        let request = session.post(url).multipart(form);
        let echo: Value = request.json().await?;
        assert_eq!(echo["form"], json!({"title": "A walk"}));
        assert_eq!(
            echo["files"],
            json!({"photo": "a long walk", "notes": "# Notes"})
        );
        Ok(())
    })
}
// ANCHOR_END: test_files

// ANCHOR: bytes_body
let request = session
    .post(url)
    .header("content-type", "text/plain")
    .body("a text");
// ANCHOR_END: bytes_body

// ANCHOR: test_bytes_body
#[test]
fn bytes_body() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/post");
        let request = session
            .post(url)
            .header("content-type", "text/plain")
            .body("a text");
        let echo: Value = request.json().await?;
        assert_eq!(echo["data"], "a text");
        Ok(())
    })
}
// ANCHOR_END: test_bytes_body

// ANCHOR: file_body
let request = session.put(url).file(path);
// ANCHOR_END: file_body

// ANCHOR: test_file_body
#[test]
fn file_body() -> TestResult {
    run(async |origin: &Origin| {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("book.txt");
        std::fs::write(&path, "x".repeat(100_000))?;
        let session = inflight::session()?;
        let url = origin.url("/upload");
        let request = session.put(url).file(path);
        let received: Value = request.json().await?;
        assert_eq!(received["bytes"], 100_000);
        assert_eq!(received["content_length"], 100_000);
        Ok(())
    })
}
// ANCHOR_END: test_file_body

// ANCHOR: stream_body
let rows = stream::iter(1..=1000).map(|n| Ok::<_, std::io::Error>(format!("row {n}\n")));
let request = session.post(url).body(Body::from_stream(rows));
// ANCHOR_END: stream_body

// ANCHOR: test_stream_body
#[test]
fn stream_body() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        if !session.capabilities().streaming_upload.is_yes() {
            return Ok(());
        }
        let url = origin.url("/upload");
        let rows = stream::iter(1..=1000).map(|n| Ok::<_, std::io::Error>(format!("row {n}\n")));
        let request = session.post(url).body(Body::from_stream(rows));
        let received: Value = request.json().await?;
        assert_eq!(received["chunked"], true);
        let expected: usize = (1..=1000).map(|n| format!("row {n}\n").len()).sum();
        assert_eq!(received["bytes"], expected);
        Ok(())
    })
}
// ANCHOR_END: test_stream_body

// ANCHOR: session
let session = inflight::session()?;
let text = session.get(url).text().await?;
// ANCHOR_END: session

// ANCHOR: test_session
#[test]
fn session() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/page/1");
        let session = inflight::session()?;
        let text = session.get(url).text().await?;
        assert!(text.contains("Page 1"));
        Ok(())
    })
}
// ANCHOR_END: test_session

// ANCHOR: blocking_get
let text = inflight::blocking::get(url)?.text()?;
// ANCHOR_END: blocking_get

// ANCHOR: test_blocking_get
#[test]
fn blocking_get() -> TestResult {
    let origin = Origin::start()?;
    let url = origin.url("/page/1");
    let text = inflight::blocking::get(url)?.text()?;
    assert!(text.contains("Page 1"));
    Ok(())
}
// ANCHOR_END: test_blocking_get

// ANCHOR: block_on
let result = inflight::block_on(main);
// ANCHOR_END: block_on

// ANCHOR: test_block_on
#[test]
fn block_on() {
    let main = async { "done" };
    let result = inflight::block_on(main);
    assert_eq!(result, "done");
}
// ANCHOR_END: test_block_on

// ANCHOR: base_url
let session = inflight::builder().base_url(api).build()?;
let response = session.get("users/7").send().await?;
// ANCHOR_END: base_url

// ANCHOR: test_base_url
#[test]
fn base_url() -> TestResult {
    run(async |origin: &Origin| {
        let api = origin.url("/anything/");
        let session = inflight::builder().base_url(api).build()?;
        let response = session.get("users/7").send().await?;
        assert_eq!(response.url().unwrap().path(), "/anything/users/7");
        Ok(())
    })
}
// ANCHOR_END: test_base_url

// ANCHOR: default_headers
let session = inflight::builder()
    .header("user-agent", "reader/1.0")
    .header("accept-language", "da")
    .build()?;
let echo: Value = session.get(url).json().await?;
// ANCHOR_END: default_headers

// ANCHOR: test_default_headers
#[test]
fn default_headers() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/headers");
        let session = inflight::builder()
            .header("user-agent", "reader/1.0")
            .header("accept-language", "da")
            .build()?;
        let echo: Value = session.get(url).json().await?;
        assert_eq!(echo["headers"]["User-Agent"], "reader/1.0");
        assert_eq!(echo["headers"]["Accept-Language"], "da");
        Ok(())
    })
}
// ANCHOR_END: test_default_headers

// ANCHOR: close
session.close(Duration::from_secs(10)).await;
let error = session.get(url).send().await.unwrap_err();
assert_eq!(error.kind(), ErrorKind::Closed);
// ANCHOR_END: close

// ANCHOR: test_close
#[test]
fn close() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/page/1");
        let session = inflight::session()?;
        session.close(Duration::from_secs(10)).await;
        let error = session.get(url).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        Ok(())
    })
}
// ANCHOR_END: test_close

// ANCHOR: shutdown
// At the signal: no new request starts, and requests in flight have 10 s to finish.
let closing = session.close(Duration::from_secs(10));
let (cancelled, ()) = zip(in_flight, closing).await;
assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Closed);
// ANCHOR_END: shutdown

// ANCHOR: test_shutdown
#[test]
fn shutdown() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any(), Reply::pending());
        let session = mock.session().build()?;
        let in_flight = session.get("http://pages.test/").send();
        // At the signal: no new request starts, and requests in flight have 10 s to finish.
        let closing = session.close(Duration::from_secs(10));
        let (cancelled, ()) = zip(in_flight, closing).await;
        assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(runtime.elapsed().as_secs(), 10);
        Ok(())
    })
}
// ANCHOR_END: test_shutdown

// ANCHOR: test_server
let server = Origin::start()?;
let url = server.url("/status/418");
// ANCHOR_END: test_server

// ANCHOR: test_test_server
#[test]
fn test_server() -> TestResult {
    let server = Origin::start()?;
    let url = server.url("/status/418");
    let status = inflight::block_on(async {
        let session = inflight::session()?;
        Ok::<_, Error>(session.get(url).send().await?.status())
    })?;
    assert_eq!(status, 418);
    assert_eq!(server.stats().requests, 1);
    Ok(())
}
// ANCHOR_END: test_test_server

// ANCHOR: mock
/// The function under test.
async fn price(session: &Session) -> Result<String, Error> {
    session.get("http://shop.test/price").text().await
}

let runtime = Virtual::new();
let mock = Mock::new(runtime.clone());
mock.on(When::get("/price"), Reply::text("12"));
let session = mock.session().build()?;
assert_eq!(runtime.block_on(price(&session))?, "12");
mock.assert_requests(["GET /price"]);
// ANCHOR_END: mock

// ANCHOR: test_mock
#[test]
fn mock() -> TestResult {

    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    mock.on(When::get("/price"), Reply::text("12"));
    let session = mock.session().build()?;
    assert_eq!(runtime.block_on(price(&session))?, "12");
    mock.assert_requests(["GET /price"]);
    Ok(())
}
// ANCHOR_END: test_mock

// ANCHOR: virtual_time
mock.on(
    When::get("/price"),
    Reply::status(503).header("retry-after", "60"),
);
mock.on(When::get("/price"), Reply::text("12"));
let session = mock.session().retry(Retry::new(1)).build()?;
assert_eq!(runtime.block_on(price(&session))?, "12");
assert_eq!(runtime.elapsed(), Duration::from_secs(60));
// ANCHOR_END: virtual_time

// ANCHOR: test_virtual_time
#[test]
fn virtual_time() -> TestResult {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    mock.on(
        When::get("/price"),
        Reply::status(503).header("retry-after", "60"),
    );
    mock.on(When::get("/price"), Reply::text("12"));
    let session = mock.session().retry(Retry::new(1)).build()?;
    assert_eq!(runtime.block_on(price(&session))?, "12");
    assert_eq!(runtime.elapsed(), Duration::from_secs(60));
    Ok(())
}
// ANCHOR_END: test_virtual_time

// ANCHOR: total_timeout
let session = mock.session().timeout(Duration::from_secs(60)).build()?;
let hanging = session
    .get("http://pages.test/")
    .timeout(Duration::from_secs(10));
// ANCHOR_END: total_timeout

// ANCHOR: test_total_timeout
#[test]
fn total_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any().repeated(), Reply::pending());
        let session = mock.session().timeout(Duration::from_secs(60)).build()?;
        let hanging = session
            .get("http://pages.test/")
            .timeout(Duration::from_secs(10));
        let error = hanging.send().await.unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Total));
        assert_eq!(runtime.elapsed().as_secs(), 10);
        Ok(())
    })
}
// ANCHOR_END: test_total_timeout

// ANCHOR: default_timeout
let error = session.get("http://pages.test/").send().await.unwrap_err();
assert!(error.is_timeout());
assert_eq!(runtime.elapsed(), Duration::from_secs(300));
// ANCHOR_END: default_timeout

// ANCHOR: test_default_timeout
#[test]
fn default_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any(), Reply::pending());
        let session = mock.session().build()?;
        let error = session.get("http://pages.test/").send().await.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(runtime.elapsed(), Duration::from_secs(300));
        Ok(())
    })
}
// ANCHOR_END: test_default_timeout

// ANCHOR: no_timeout
let request = session.get("http://pages.test/report").timeout(None);
// ANCHOR_END: no_timeout

// ANCHOR: test_no_timeout
#[test]
fn no_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        let hour = Duration::from_secs(3600);
        mock.on(When::any(), Reply::text("a report").after(hour));
        let session = mock.session().build()?;
        let request = session.get("http://pages.test/report").timeout(None);
        assert_eq!(request.text().await?, "a report");
        assert_eq!(runtime.elapsed(), hour);
        Ok(())
    })
}
// ANCHOR_END: test_no_timeout

// ANCHOR: connect_timeout
let session = inflight::builder().connect_timeout(timeout).build()?;
// ANCHOR_END: connect_timeout

// ANCHOR: test_connect_timeout
#[test]
fn connect_timeout() -> TestResult {
    run(async |_: &Origin| {
        let silent = ScriptedServer::unaccepting_address()?;
        let timeout = Duration::from_millis(100);
        let session = inflight::builder().connect_timeout(timeout).build()?;
        let error = session.get(silent.url("/")).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        Ok(())
    })
}
// ANCHOR_END: test_connect_timeout

// ANCHOR: head_timeout
let session = inflight::builder().head_timeout(timeout).build()?;
// ANCHOR_END: head_timeout

// ANCHOR: test_head_timeout
#[test]
fn head_timeout() -> TestResult {
    run(async |origin: &Origin| {
        let timeout = Duration::from_millis(100);
        let session = inflight::builder().head_timeout(timeout).build()?;
        let error = session.get(origin.url("/hang")).send().await.unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Head));
        Ok(())
    })
}
// ANCHOR_END: test_head_timeout

// ANCHOR: read_timeout
let session = inflight::builder().read_timeout(timeout).build()?;
// ANCHOR_END: read_timeout

// ANCHOR: test_read_timeout
#[test]
fn read_timeout() -> TestResult {
    run(async |origin: &Origin| {
        let timeout = Duration::from_millis(100);
        let session = inflight::builder().read_timeout(timeout).build()?;
        let response = session.get(origin.url("/hang-body")).send().await?;
        let error = response.text().await.unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Body));
        Ok(())
    })
}
// ANCHOR_END: test_read_timeout

// ANCHOR: queue_timeout
let session = mock
    .session()
    .max_in_flight(1)
    .queue_timeout(Duration::from_secs(5))
    .build()?;
// ANCHOR_END: queue_timeout

// ANCHOR: test_queue_timeout
#[test]
fn queue_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any().repeated(), Reply::pending());
        let session = mock
            .session()
            .max_in_flight(1)
            .queue_timeout(Duration::from_secs(5))
            .build()?;
        let (_, second) = futures_lite::future::zip(
            session.get("http://pages.test/1").send(),
            session.get("http://pages.test/2").send(),
        )
        .await;
        assert_eq!(second.unwrap_err().phase(), Some(Phase::Queue));
        // The time in the queue is not part of the 300 s of the first request.
        assert_eq!(runtime.elapsed(), Duration::from_secs(300));
        Ok(())
    })
}
// ANCHOR_END: test_queue_timeout

// ANCHOR: deadline
let deadline = session.runtime().now() + Duration::from_secs(10);
let request = session.get("http://pages.test/").deadline(deadline);
// ANCHOR_END: deadline

// ANCHOR: test_deadline
#[test]
fn deadline() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any(), Reply::pending());
        let session = mock.session().build()?;
        let deadline = session.runtime().now() + Duration::from_secs(10);
        let request = session.get("http://pages.test/").deadline(deadline);
        let error = request.send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert_eq!(runtime.elapsed().as_secs(), 10);
        Ok(())
    })
}
// ANCHOR_END: test_deadline
