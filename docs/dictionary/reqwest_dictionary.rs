// Written by docs/dictionary.py from examples/tests/reqwest_dictionary.rs.

// ANCHOR: client
let session = inflight::builder()
    .header("user-agent", "reader/1.0")
    .timeout(Duration::from_secs(30))
    .build()?;
let text = session.get(url).text().await?;
// ANCHOR_END: client

// ANCHOR: test_client
#[test]
fn client() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/page/1");
        let session = inflight::builder()
            .header("user-agent", "reader/1.0")
            .timeout(Duration::from_secs(30))
            .build()?;
        let text = session.get(url).text().await?;
        assert!(text.contains("Page 1"));
        Ok(())
    })
}
// ANCHOR_END: test_client

// ANCHOR: base_url
let session = inflight::builder().base_url(api).build()?;
let response = session.get("users/7").await?;
// ANCHOR_END: base_url

// ANCHOR: test_base_url
#[test]
fn base_url() -> TestResult {
    run(async |origin: &Origin| {
        let api = origin.url("/anything/");
        let session = inflight::builder().base_url(api).build()?;
        let response = session.get("users/7").await?;
        assert_eq!(response.url().unwrap().path(), "/anything/users/7");
        Ok(())
    })
}
// ANCHOR_END: test_base_url

// ANCHOR: json
let request = session.post(url).json_body(&json!({"item": "pen"}));
let echo: Value = request.json().await?;
// ANCHOR_END: json

// ANCHOR: test_json
#[test]
fn json() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/post");
        let request = session.post(url).json_body(&json!({"item": "pen"}));
        let echo: Value = request.json().await?;
        assert_eq!(echo["json"]["item"], "pen");
        Ok(())
    })
}
// ANCHOR_END: test_json

// ANCHOR: multipart
let form = Multipart::new().text("title", "A walk").file("photo", path);
let request = session.post(url).multipart(form);
// ANCHOR_END: multipart

// ANCHOR: test_multipart
#[test]
fn multipart() -> TestResult {
    run(async |origin: &Origin| {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("walk.txt");
        std::fs::write(&path, "a long walk")?;
        let session = inflight::session()?;
        let url = origin.url("/post");
        let form = Multipart::new().text("title", "A walk").file("photo", path);
        let request = session.post(url).multipart(form);
        let echo: Value = request.json().await?;
        assert_eq!(echo["files"], json!({"photo": "a long walk"}));
        Ok(())
    })
}
// ANCHOR_END: test_multipart

// ANCHOR: error_for_status
let session = inflight::builder().error_for_status(true).build()?;
let error = session.get(url).text().await.unwrap_err();
assert_eq!(error.status_code().unwrap(), 404);
// ANCHOR_END: error_for_status

// ANCHOR: test_error_for_status
#[test]
fn error_for_status() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/status/404");
        let session = inflight::builder().error_for_status(true).build()?;
        let error = session.get(url).text().await.unwrap_err();
        assert_eq!(error.status_code().unwrap(), 404);
        Ok(())
    })
}
// ANCHOR_END: test_error_for_status

// ANCHOR: errors
let error = session.get(refused).text().await.unwrap_err();
assert_eq!(error.kind(), ErrorKind::Connect);
assert!(error.is_connect() && !error.is_timeout());
// ANCHOR_END: errors

// ANCHOR: test_errors
#[test]
fn errors() -> TestResult {
    run(async |_: &Origin| {
        let refused = format!("http://{}/", inflight_origin::script::refused_address()?);
        let session = inflight::session()?;
        let error = session.get(refused).text().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.is_connect() && !error.is_timeout());
        Ok(())
    })
}
// ANCHOR_END: test_errors

// ANCHOR: default_timeouts
let error = session.get("http://pages.test/").send().await.unwrap_err();
assert!(error.is_timeout());
assert_eq!(runtime.elapsed(), Duration::from_secs(300));
// ANCHOR_END: default_timeouts

// ANCHOR: test_default_timeouts
#[test]
fn default_timeouts() -> TestResult {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    mock.on(When::any(), Reply::pending());
    let session = mock.session().build()?;
    runtime.block_on(async {
        let error = session.get("http://pages.test/").send().await.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(runtime.elapsed(), Duration::from_secs(300));
    });
    Ok(())
}
// ANCHOR_END: test_default_timeouts

// ANCHOR: pool
let session = inflight::builder()
    .client_options(|options| {
        options.idle_timeout = Duration::from_secs(30);
        options.max_idle_per_host = 10;
    })
    .build()?;
// ANCHOR_END: pool

// ANCHOR: test_pool
#[test]
fn pool() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::builder()
            .client_options(|options| {
                options.idle_timeout = Duration::from_secs(30);
                options.max_idle_per_host = 10;
            })
            .build()?;
        for _ in 0..3 {
            session.get(origin.url("/page/1")).text().await?;
        }
        assert_eq!(origin.stats().connections_accepted, 1);
        Ok(())
    })
}
// ANCHOR_END: test_pool

// ANCHOR: limits
let session = inflight::builder().max_per_host(2).build()?;
let jobs = urls.map(|url| session.get(url).text());
let pages = gather(jobs).limit(100).all().await?;
// ANCHOR_END: limits

// ANCHOR: test_limits
#[test]
fn limits() -> TestResult {
    run(async |origin: &Origin| {
        let urls = (1..=6).map(|n| origin.url(&format!("/page/{n}?delay_ms=20")));
        let session = inflight::builder().max_per_host(2).build()?;
        let jobs = urls.map(|url| session.get(url).text());
        let pages = gather(jobs).limit(100).all().await?;
        assert_eq!(pages.len(), 6);
        assert!(origin.stats().peak_in_flight <= 2);
        Ok(())
    })
}
// ANCHOR_END: test_limits

// ANCHOR: redirects
let response = session.get(&url).max_redirects(0).send().await?;
assert_eq!(response.status(), 302);
let response = session.get(&url).send().await?;
assert_eq!(response.history().len(), 2);
// ANCHOR_END: redirects

// ANCHOR: test_redirects
#[test]
fn redirects() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/redirect/2");
        let response = session.get(&url).max_redirects(0).send().await?;
        assert_eq!(response.status(), 302);
        let response = session.get(&url).send().await?;
        assert_eq!(response.history().len(), 2);
        Ok(())
    })
}
// ANCHOR_END: test_redirects

// ANCHOR: no_referer
let echo: Value = session.get(url).json().await?;
assert!(echo["headers"]["Referer"].is_null());
// ANCHOR_END: no_referer

// ANCHOR: test_no_referer
#[test]
fn no_referer() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/redirect-to?url=/headers");
        let echo: Value = session.get(url).json().await?;
        assert!(echo["headers"]["Referer"].is_null());
        Ok(())
    })
}
// ANCHOR_END: test_no_referer

// ANCHOR: cookies
let session = inflight::builder().cookies(CookieJar::new()).build()?;
// ANCHOR_END: cookies

// ANCHOR: test_cookies
#[test]
fn cookies() -> TestResult {
    run(async |origin: &Origin| {
        let (login, account) = (origin.url("/cookies/set?user=ada"), origin.url("/cookies"));
        let session = inflight::builder().cookies(CookieJar::new()).build()?;
        session.get(login).await?;
        let echo: Value = session.get(account).json().await?;
        assert_eq!(echo["cookies"], json!({"user": "ada"}));
        Ok(())
    })
}
// ANCHOR_END: test_cookies

// ANCHOR: decompression
let decoded: Value = session.get(&url).json().await?;
let encoded = session.get(&url).decompress(false).bytes().await?;
// ANCHOR_END: decompression

// ANCHOR: test_decompression
#[test]
fn decompression() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        for path in ["/gzip", "/brotli", "/zstd"] {
            let url = origin.url(path);
            let decoded: Value = session.get(&url).json().await?;
            let encoded = session.get(&url).decompress(false).bytes().await?;
            assert!(decoded.is_object());
            assert!(serde_json::from_slice::<Value>(&encoded).is_err());
        }
        Ok(())
    })
}
// ANCHOR_END: test_decompression

// ANCHOR: stream
let mut chunks = session.get(url).send().await?.into_stream();
while let Some(chunk) = chunks.next().await {
    received.extend_from_slice(&chunk?);
}
// ANCHOR_END: stream

// ANCHOR: test_stream
#[test]
fn stream() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/bytes/100000");
        let mut received = Vec::new();
        let mut chunks = session.get(url).send().await?.into_stream();
        while let Some(chunk) = chunks.next().await {
            received.extend_from_slice(&chunk?);
        }
        assert_eq!(received, payload::bytes(100_000, 0));
        Ok(())
    })
}
// ANCHOR_END: test_stream

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

// ANCHOR: retries
let retry = Retry::new(3).delays(Duration::from_millis(10), Duration::from_secs(1));
let session = inflight::builder().retry(retry).build()?;
// ANCHOR_END: retries

// ANCHOR: test_retries
#[test]
fn retries() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/flaky?fail=2&id=reqwest");
        let retry = Retry::new(3).delays(Duration::from_millis(10), Duration::from_secs(1));
        let session = inflight::builder().retry(retry).build()?;
        assert_eq!(session.get(url).await?.attempts(), 3);
        Ok(())
    })
}
// ANCHOR_END: test_retries

// ANCHOR: resolver
/// Resolves one name to this machine.
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
        assert_eq!(session.get(url).await?.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_resolver

// ANCHOR: blocking
let text = inflight::blocking::get(url)?.text()?;
// ANCHOR_END: blocking

// ANCHOR: test_blocking
#[test]
fn blocking() -> TestResult {
    let origin = Origin::start()?;
    let url = origin.url("/page/1");
    let text = inflight::blocking::get(url)?.text()?;
    assert!(text.contains("Page 1"));
    Ok(())
}
// ANCHOR_END: test_blocking

// ANCHOR: middleware
/// Adds a header to each request, also after a redirect and for a retry.
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

// ANCHOR: request
let request = Request::get(url).body(Body::empty())?;
let response = session.execute(request).await?;
// ANCHOR_END: request

// ANCHOR: test_request
#[test]
fn request() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/page/1");
        let request = Request::get(url).body(Body::empty())?;
        let response = session.execute(request).await?;
        assert_eq!(response.status(), 200);
        Ok(())
    })
}
// ANCHOR_END: test_request
