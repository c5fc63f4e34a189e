//! Tests the memory metric of `large`. The test is alone in its process, because the metric would include
//! the memory of other tests.

mod turn;

use inflight_lab::experiments;
use turn::measure;

/// The rest of the body stays in the server and in socket buffers.
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
