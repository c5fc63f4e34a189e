//! Tests with tokio's cooperative budget. When a task has used up its budget, every socket and channel of
//! tokio returns `Pending` and wakes the task immediately. hyper waits for a response on a channel of tokio.
//! So a request that drives its connection polls the socket and the channel with the same budget.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use inflight_core::{Body, Error, Runtime, Session};
use inflight_hyper::Hyper;
use inflight_origin::script::{Script, ScriptedServer};
use inflight_tokio::Tokio;
use tokio::task::coop::consume_budget;

/// The number of units in a task's budget.
const BUDGET: usize = 128;

/// Polls `future`, and uses up `spent` units of the task's budget before every second poll.
async fn poll_with_spent_budget<T>(spent: usize, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut is_spent = false;
    poll_fn(|cx| {
        is_spent = !is_spent;
        for _ in 0..if is_spent { spent } else { 0 } {
            let _ = pin!(consume_budget()).poll(cx);
        }
        future.as_mut().poll(cx)
    })
    .await
}

async fn post(session: &Session, url: String) -> Result<String, Error> {
    // The body has no length, so hyper sends it in chunks.
    let frames = ["up", "lo", "ad"].map(Ok::<_, Error>);
    let body = Body::from_stream(futures_lite::stream::iter(frames));
    session.post(url).body(body).text().await
}

#[test]
fn an_exchange_completes_with_any_remaining_budget() {
    let frames = "2\r\nab\r\n3\r\ncde\r\n1\r\nf\r\n0\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let respond = |script: Script| {
        let script = script.read_request().send(head);
        script.send_slowly(frames, 7, Duration::from_micros(100))
    };
    let server = ScriptedServer::with_script(respond(respond(Script::new())).hang()).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for spent in 0..=BUDGET {
        // Each poll of a task or of `block_on` has its own budget.
        tokio.block_on(async {
            let runtime: Arc<dyn Runtime> = Arc::new(Tokio::current().unwrap());
            let session =
                Session::builder(|options| Ok((Hyper::new(runtime.clone(), options)?, runtime)));
            let session = session.timeout(Duration::from_secs(20)).build().unwrap();
            for _ in 0..2 {
                let text = poll_with_spent_budget(spent, post(&session, server.url("/"))).await;
                assert_eq!(
                    text.unwrap(),
                    "abcdef",
                    "after {spent} units of the budget were spent"
                );
            }
        });
    }
}
