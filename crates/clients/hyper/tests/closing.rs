//! Tests with a server that closes each connection after one response, but does not send
//! `Connection: close`.

use std::sync::Arc;
use std::time::Duration;

use inflight_core::{BlockOn, Runtime, Session, gather};
use inflight_hyper::Hyper;
use inflight_origin::script::{Script, ScriptedServer};
use inflight_tokio::Tokio;

#[test]
fn no_get_fails_if_connections_close_shortly_after_their_response() {
    let server = ScriptedServer::start(|connection| {
        let script = Script::new().read_request();
        let script = script.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage");
        // Some connections end while they are idle, others while the next request is sent.
        script.pause(Duration::from_millis(connection as u64 % 6))
    })
    .unwrap();
    let tokio = Tokio::new(None).unwrap();
    let runtime: Arc<dyn Runtime> = Arc::new(tokio.clone());
    let session = Session::builder(|options| Ok((Hyper::new(runtime.clone(), options)?, runtime)));
    let session = session.timeout(Duration::from_secs(20)).build().unwrap();
    let pages = (0..1000).map(|_| session.get(server.url("/")).text());
    let settled = tokio.block_on(gather(pages).limit(20).settled());
    let failed: Vec<_> = settled
        .results
        .iter()
        .filter(|page| page.is_err())
        .collect();
    assert!(
        failed.is_empty(),
        "{} failed: {:?}",
        failed.len(),
        failed[0]
    );
    assert_eq!(settled.results.len(), 1000);
}
