//! Tests that a session works inside and outside of the runtimes of tokio and smol.
#![cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]

use inflight_origin::Origin;

async fn fetch_page(origin: &Origin) {
    let session = inflight::session().unwrap();
    let text = session.get(origin.url("/page/7")).text().await.unwrap();
    assert!(text.contains('7'), "{text}");
}

#[test]
fn a_session_works_in_block_on() {
    let origin = Origin::start().unwrap();
    inflight::block_on(fetch_page(&origin));
}

#[tokio::test]
async fn a_session_works_in_a_current_thread_tokio_runtime() {
    let origin = Origin::start().unwrap();
    fetch_page(&origin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_works_in_a_multi_thread_tokio_runtime() {
    let origin = Origin::start().unwrap();
    tokio::spawn(async move { fetch_page(&origin).await })
        .await
        .unwrap();
}

// A task runs a gather that spawns tasks. The compiler must infer `Send` for the gather's future.
#[tokio::test]
async fn a_gather_on_the_runtime_works_inside_a_task() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/page/7");
    let gathered = tokio::spawn(async move {
        let session = inflight::session().unwrap();
        let get = |_| {
            let (session, url) = (session.clone(), url.clone());
            async move {
                let response = session.get(url).send().await?.error_for_status()?;
                response.text().await
            }
        };
        let gathered = inflight::gather((0..3).map(get)).on(session.runtime());
        gathered.all().await.unwrap()
    });
    assert_eq!(gathered.await.unwrap().len(), 3);
}

// The compiler must also infer `Send` for boxed futures, request futures and borrowing iterators.
#[tokio::test]
async fn gathers_of_different_jobs_work_inside_a_task() {
    let origin = Origin::start().unwrap();
    let urls: Vec<String> = (0..3).map(|n| origin.url(&format!("/page/{n}"))).collect();
    let gathered = tokio::spawn(async move {
        let session = inflight::session().unwrap();
        let boxed = |url: &String| -> inflight::backend::BoxFuture<'static, _> {
            Box::pin(session.get(url).text())
        };
        let jobs: Vec<_> = urls.iter().map(boxed).collect();
        let spawned = inflight::gather(jobs).on(session.runtime()).all().await;

        let jobs: Vec<_> = urls.iter().map(boxed).collect();
        let local = inflight::gather(jobs).limit(2).all().await;

        let jobs: Vec<_> = urls.iter().map(|url| session.get(url).text()).collect();
        let deadline = session.runtime().sleep(std::time::Duration::from_secs(60));
        let with_deadline = inflight::gather(jobs).until(deadline).all().await;

        let jobs = urls.into_iter().map(|url| session.get(url).text());
        let lazy = inflight::gather(jobs).on(session.runtime()).settled().await;
        let lazy = lazy.results.into_iter().map(Result::unwrap).collect();
        [
            spawned.unwrap(),
            local.unwrap(),
            with_deadline.unwrap(),
            lazy,
        ]
    });
    for texts in gathered.await.unwrap() {
        for (n, text) in texts.iter().enumerate() {
            assert!(text.contains(&n.to_string()), "{text}");
        }
        assert_eq!(texts.len(), 3);
    }
}

#[test]
fn a_session_works_in_the_block_on_of_smol() {
    let origin = Origin::start().unwrap();
    smol::block_on(fetch_page(&origin));
}

#[test]
fn a_blocking_session_works_outside_of_a_runtime() {
    let origin = Origin::start().unwrap();
    let session = inflight::blocking::Session::new().unwrap();
    let response = session.get(origin.url("/page/7")).send().unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.text().unwrap().contains('7'));
}

#[test]
fn blocking_requests_have_the_builder_methods_of_asynchronous_requests() {
    use inflight::http::Method;
    use serde_json::Value;

    let origin = Origin::start().unwrap();
    let session = inflight::blocking::Session::new().unwrap();
    let url = origin.url("/anything");
    let verbs = [
        (Method::POST, session.post(&url)),
        (Method::PUT, session.put(&url)),
        (Method::PATCH, session.patch(&url)),
        (Method::DELETE, session.delete(&url)),
        (Method::OPTIONS, session.options(&url)),
    ];
    for (method, request) in verbs {
        let request = request.query(&[("q", "a b")]).bearer_auth("token");
        let echo: Value = request.form(&[("f", "g")]).send().unwrap().json().unwrap();
        assert_eq!(echo["method"], method.as_str());
        assert_eq!(echo["args"]["q"], "a b");
        assert_eq!(echo["form"]["f"], "g");
        assert_eq!(echo["headers"]["Authorization"], "Bearer token");
    }
    let head = session.head(origin.url("/gzip")).send().unwrap();
    assert_eq!(head.bytes().unwrap(), "");

    let form = inflight::multipart::Multipart::new().file("manifest", "Cargo.toml");
    let request = session.post(&url).basic_auth("me", "pw").multipart(form);
    let echo: Value = request.send().unwrap().json().unwrap();
    assert_eq!(echo["files"]["manifest"], include_str!("../Cargo.toml"));
    let request = session.put(origin.url("/upload")).file("Cargo.toml");
    let echo: Value = request.send().unwrap().json().unwrap();
    assert_eq!(echo["bytes"], include_str!("../Cargo.toml").len());
    let encoded = session.get(origin.url("/gzip")).decompress(false).send();
    assert_eq!(encoded.unwrap().headers()["content-encoding"], "gzip");
}

// A blocking call stalls the event loop, but must complete without the thread that it blocks.
#[tokio::test]
async fn a_blocking_request_completes_in_a_current_thread_tokio_runtime() {
    let origin = Origin::start().unwrap();
    let text = inflight::blocking::get(origin.url("/page/7"))
        .unwrap()
        .text();
    assert!(text.unwrap().contains('7'));
}

#[cfg(feature = "tokio")]
#[test]
fn the_error_of_tokio_current_outside_of_a_runtime_suggests_tokio_main() {
    let error = inflight::tokio::Tokio::current().unwrap_err();
    assert_eq!(error.kind(), inflight::ErrorKind::NoRuntime);
    assert!(error.to_string().contains("#[tokio::main]"), "{error}");
}
