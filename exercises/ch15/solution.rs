//! The solution of chapter 15.

use crate::{Killed, Queue};

/// Fetches the page of each job and stores it as the result.
pub fn work(queue: &mut Queue) -> Result<(), Killed> {
    while let Some(job) = queue.take()? {
        // The program may have been killed after it stored the result.
        if !queue.has_result(job)? {
            let page = queue.fetch(job)?;
            queue.store(job, page)?;
        }
        // Last, because nobody does an acknowledged job again.
        queue.acknowledge(job)?;
    }
    Ok(())
}
