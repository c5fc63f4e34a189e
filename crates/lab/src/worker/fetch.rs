//! Creates sessions, fetches pages and verifies the responses.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::block_on;
use inflight::backend::{Fetch, Inline, Offload, Runtime};
use inflight::clients::Ureq;
use inflight::http::StatusCode;
use inflight::{Backend, JobError, JobErrorKind, Session, Task};
use inflight_origin::payload;

use super::Failure;

/// The timeout of the requests. No request of an experiment takes this long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Creates a session with the backend's client.
pub(crate) fn session(backend: &Backend) -> Result<Session, Failure> {
    Ok(backend.builder().timeout(TIMEOUT).build()?)
}

/// Creates a session with ureq, which blocks the thread that polls a request.
pub(crate) fn inline_session(runtime: &Arc<dyn Runtime>) -> Result<Session, Failure> {
    ureq_session(runtime.clone(), |ureq, _| Inline::new(ureq))
}

/// Creates a session with ureq on the runtime's blocking pool.
pub(crate) fn offloaded_session(runtime: &Arc<dyn Runtime>) -> Result<Session, Failure> {
    ureq_session(runtime.clone(), Offload::new)
}

fn ureq_session<F: Fetch>(
    runtime: Arc<dyn Runtime>,
    make: impl FnOnce(Ureq, Arc<dyn Runtime>) -> F + Send + 'static,
) -> Result<Session, Failure> {
    let builder =
        Session::builder(move |options| Ok((make(Ureq::new(options)?, runtime.clone()), runtime)));
    Ok(builder.timeout(TIMEOUT).build()?)
}

/// Returns the path of a page.
pub(crate) fn page_path(number: u64, delay_ms: u64) -> String {
    format!("/page/{number}?delay_ms={delay_ms}")
}

/// Fetches the page with this number and verifies its content.
pub(crate) async fn fetch_page(session: Session, url: String, number: u64) -> Result<(), Failure> {
    let response = session.get(url).send().await?;
    let status = response.status();
    verify_page(status, &response.bytes().await?, number)
}

pub(crate) fn verify_page(status: StatusCode, body: &[u8], number: u64) -> Result<(), Failure> {
    if status == StatusCode::OK && body == payload::page(number).as_bytes() {
        return Ok(());
    }
    Err(format!(
        "page {number}: the response is not the page (status {status}, {} bytes)",
        body.len()
    )
    .into())
}

/// Runs a future as a task on the runtime's worker threads, while the calling thread only waits. The
/// `block_on` of a runtime such as smol would also poll sockets on the calling thread, and each socket event
/// would then wake a worker thread.
pub(crate) fn on_worker<T: Send + 'static>(
    backend: &Backend,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let task = Task::spawn(backend.runtime(), work);
    block_on(task)?
}

/// Converts the error of a job into the error of a worker.
pub(crate) fn into_failure(error: JobError<Failure>) -> Failure {
    match error.into_kind() {
        JobErrorKind::Failed(error) => error,
        other => format!("{other:?}").into(),
    }
}
