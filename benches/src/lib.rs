//! What the benchmarks share: the server and the workers as processes, and the figures that the
//! summary reads.

pub mod figures;
pub mod process;

use criterion::async_executor::AsyncExecutor;
use inflight::{Backend, BlockOn};

/// criterion enters a backend's runtime through this.
pub struct Enter<'a>(pub &'a Backend);

impl AsyncExecutor for Enter<'_> {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.block_on(future)
    }
}
