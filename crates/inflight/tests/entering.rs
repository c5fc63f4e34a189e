//! A session works wherever the program happens to run.
#![cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]

use inflight_origin::Origin;

async fn fetches(origin: &Origin) {
    let session = inflight::session().unwrap();
    let text = session.get(origin.url("/page/7")).text().await.unwrap();
    assert!(text.contains('7'), "{text}");
}

#[test]
fn in_plain_main_through_block_on() {
    let origin = Origin::start().unwrap();
    inflight::block_on(fetches(&origin));
}

#[tokio::test]
async fn in_a_task_of_a_current_thread_tokio() {
    let origin = Origin::start().unwrap();
    fetches(&origin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn in_a_task_of_a_multi_thread_tokio() {
    let origin = Origin::start().unwrap();
    tokio::spawn(async move { fetches(&origin).await })
        .await
        .unwrap();
}

// A gather with tasks of its own, inside a task: everything in it has to be seen as `Send`.
#[tokio::test]
async fn a_gather_on_the_runtime_inside_a_task() {
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

#[test]
fn under_smols_block_on() {
    let origin = Origin::start().unwrap();
    smol::block_on(fetches(&origin));
}

#[test]
fn blocking_in_plain_main() {
    let origin = Origin::start().unwrap();
    let session = inflight::blocking::Session::new().unwrap();
    let response = session.get(origin.url("/page/7")).send().unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.text().unwrap().contains('7'));
}

// It stalls the loop, as it says; it must not wait for the very thread that it blocks.
#[tokio::test]
async fn blocking_in_a_current_thread_tokio_ends() {
    let origin = Origin::start().unwrap();
    let text = inflight::blocking::get(origin.url("/page/7"))
        .unwrap()
        .text();
    assert!(text.unwrap().contains('7'));
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_current_outside_a_runtime_is_an_error_with_the_remedy() {
    let error = inflight::tokio::Tokio::current().unwrap_err();
    assert_eq!(error.kind(), inflight::ErrorKind::NoRuntime);
    assert!(error.to_string().contains("#[tokio::main]"), "{error}");
}
