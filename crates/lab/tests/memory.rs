//! Tests the metric `memory` of the experiment `large`. No other test runs in this process, because the metric
//! measures the memory of the whole process.

mod turn;

use inflight_lab::experiments;
use turn::measure;

/// While a reader pauses, the rest of the body of 4 MiB must stay in the server and in socket buffers.
#[test]
fn no_client_buffers_a_whole_large_body() {
    for program in (experiments::find("large").unwrap().programs)() {
        let measured = measure("large", &program, 4.0, 1);
        assert!(
            measured["memory"] < 2.0 * 1024.0,
            "{}: {measured:?}",
            program
        );
    }
}
