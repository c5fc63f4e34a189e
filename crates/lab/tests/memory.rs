//! What an experiment says of the memory of its process: alone in one, as others would be counted
//! too.

mod turn;

use inflight_lab::experiments;
use turn::metrics;

/// The rest stays at the server and in the sockets between.
#[test]
fn no_client_takes_the_whole_of_a_large_body_that_nobody_reads() {
    for contender in (experiments::find("large").unwrap().contenders)() {
        let seen = metrics("large", &contender.program, 4.0, 1);
        assert!(
            seen["memory"] < 2.0 * 1024.0,
            "{}: {seen:?}",
            contender.program
        );
    }
}
