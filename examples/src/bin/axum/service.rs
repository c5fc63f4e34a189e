//! A service with two routes. The handler of `/reports/{id}` blocks its thread, two calls down.

use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::task::spawn_blocking;

// ANCHOR: service
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/pages/{id}", get(page))
        .route("/reports/{id}", get(report))
}

async fn page(Path(id): Path<u32>) -> String {
    format!("page {id}")
}

async fn report(Path(id): Path<u32>) -> String {
    render(id)
}

fn render(id: u32) -> String {
    format!("report {id}: {} rows", count_rows(id))
}
// ANCHOR_END: service

// ANCHOR: blocking
/// Waits for a database without an async driver.
fn count_rows(id: u32) -> u32 {
    thread::sleep(Duration::from_millis(300));
    id * 1000
}
// ANCHOR_END: blocking

/// The same routes without the mistake.
pub(crate) fn cured_routes() -> Router {
    Router::new()
        .route("/pages/{id}", get(page))
        .route("/reports/{id}", get(cured_report))
}

// ANCHOR: cured
async fn cured_report(Path(id): Path<u32>) -> Result<String, StatusCode> {
    let rendered = spawn_blocking(move || render(id)).await;
    rendered.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
// ANCHOR_END: cured
