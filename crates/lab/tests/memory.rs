//! The memory metric of `large`. The test has its own process, because other tests would be counted
//! too.

mod turn;

use inflight_lab::experiments;
use turn::metrics;

/// The rest of the body stays in the server and in socket buffers.
#[test]
fn no_client_buffers_a_whole_large_body() {
    for program in (experiments::find("large").unwrap().programs)() {
        let measured = metrics("large", &program, 4.0, 1);
        assert!(
            measured["memory"] < 2.0 * 1024.0,
            "{}: {measured:?}",
            program
        );
    }
}
