//! Verified fetches, and sessions around ureq.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::block_on;
use inflight::clients::Ureq;
use inflight::http::StatusCode;
use inflight::{Backend, Fetch, Inline, JobError, JobErrorKind, Offload, Runtime, Session, Task};
use inflight_origin::payload;

use super::Failure;

/// Longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A session of the backend's client.
pub(crate) fn session(backend: &Backend) -> Result<Session, Failure> {
    Ok(backend.builder().timeout(TIMEOUT).build()?)
}

/// A session with ureq that blocks in `poll`.
pub(crate) fn inline(runtime: &Arc<dyn Runtime>) -> Result<Session, Failure> {
    by_ureq(runtime.clone(), |ureq, _| Inline::new(ureq))
}

/// A session with ureq on the runtime's blocking pool.
pub(crate) fn offloaded(runtime: &Arc<dyn Runtime>) -> Result<Session, Failure> {
    by_ureq(runtime.clone(), Offload::new)
}

fn by_ureq<F: Fetch>(
    runtime: Arc<dyn Runtime>,
    make: impl FnOnce(Ureq, Arc<dyn Runtime>) -> F + Send + 'static,
) -> Result<Session, Failure> {
    let builder =
        Session::builder(move |options| Ok((make(Ureq::new(options)?, runtime.clone()), runtime)));
    Ok(builder.timeout(TIMEOUT).build()?)
}

/// A page by number: the path, and what it must answer.
pub(crate) fn page_path(number: u64, delay_ms: u64) -> String {
    format!("/page/{number}?delay_ms={delay_ms}")
}

/// Fetches a page, byte for byte the one with this number.
pub(crate) async fn page(session: Session, url: String, number: u64) -> Result<(), Failure> {
    let response = session.get(url).send().await?;
    let status = response.status();
    verify_page(status, &response.bytes().await?, number)
}

pub(crate) fn verify_page(status: StatusCode, body: &[u8], number: u64) -> Result<(), Failure> {
    if status == StatusCode::OK && body == payload::page(number).as_bytes() {
        return Ok(());
    }
    Err(format!(
        "page {number} was answered {status} with {} bytes that are not its own",
        body.len()
    )
    .into())
}

/// Runs a future as a task, on the runtime's own threads. The thread that calls only parks: a
/// runtime's own `block_on` may look after the sockets too, as smol's does, and each of their events
/// would then wake one thread from the other.
pub(crate) fn on_worker<T: Send + 'static>(
    backend: &Backend,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let task = Task::spawn(backend.runtime(), work);
    block_on(task)?
}

/// What a job failed with.
pub(crate) fn failed(error: JobError<Failure>) -> Failure {
    match error.into_kind() {
        JobErrorKind::Failed(error) => error,
        other => format!("{other:?}").into(),
    }
}
