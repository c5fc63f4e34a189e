//! Finds a blocking call in a service that uses axum: `just run axum`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::sync::{Arc, Barrier};

use axum::Router;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::routing::get;
use inflight::probe::{Event, Layer, Probe};
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error>;

// ANCHOR: service
#[tokio::main]
async fn main() -> Result<(), Failure> {
    let reported = Arc::new(Barrier::new(2));
    let barrier = reported.clone();
    let probe = Probe::builder().start(move |event| print(event, &barrier))?;
    let app = Router::new()
        .route("/pages/{id}", get(page))
        .route("/reports/{id}", get(report))
        .with_state(reported)
        .layer(Layer::new_for_http(|request: &Request| {
            request.extensions().get().map_or("-", MatchedPath::as_str)
        }));
    // ANCHOR_END: service
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    let session = inflight::session()?;
    for path in ["pages/1", "reports/7"] {
        let text = session.get(format!("http://{address}/{path}")).text();
        println!("{}", text.await?);
    }
    // Waits until all events are printed.
    drop(probe);
    Ok(())
}

async fn page(Path(id): Path<u32>) -> String {
    format!("page {id}")
}

// ANCHOR: handler
/// Blocks its thread, as a call of a blocking library does. The call returns when the probe has reported
/// it.
async fn report(Path(id): Path<u32>, State(reported): State<Arc<Barrier>>) -> String {
    reported.wait();
    format!("report {id}")
}
// ANCHOR_END: handler

fn print(event: &Event, reported: &Barrier) {
    println!("{event}");
    if let Event::Stalled(stall) = event
        && stall.label == "GET /reports/{id}"
    {
        reported.wait();
    }
}
