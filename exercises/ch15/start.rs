//! Chapter 15: do the jobs of a queue, so that no result is lost if the program is killed.

use crate::{Killed, Queue};

/// Fetches the page of each job and stores it as the result. The program can be killed at any call, and is then started
/// again.
///
/// These are the calls:
///
/// - `queue.take()` returns a job that is not acknowledged, or `None` if there is none.
/// - `queue.has_result(job)` returns whether a result is stored.
/// - `queue.fetch(job)` fetches the page.
/// - `queue.store(job, page)` stores the page as the result.
/// - `queue.acknowledge(job)` removes the job from the queue.
pub fn work(queue: &mut Queue) -> Result<(), Killed> {
    while let Some(job) = queue.take()? {
        queue.acknowledge(job)?;
        let page = queue.fetch(job)?;
        queue.store(job, page)?;
    }
    Ok(())
}
