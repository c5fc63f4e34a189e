//! The stress test of the program, with few requests.

use std::process::{Command, Output};

fn stress(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inflight-conformance"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn default_cells_complete_each_request_once_and_leak_nothing() {
    let cells = ["tokio", "smol", "async-std", "ureq"];
    let mut arguments = vec!["--stress", "300"];
    arguments.extend(cells.iter().flat_map(|cell| ["--cell", cell]));
    let output = stress(&arguments);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    // In the tenth round of each cell, no result is wrong.
    assert_eq!(
        stdout.matches("\n   10      0 ").count(),
        cells.len(),
        "{stdout}"
    );
}

/// Ten sockets leak in each round, as in a round of 100,000 requests with one leak per 10,000.
#[test]
fn a_leak_of_ten_sockets_per_round_is_found() {
    let output = stress(&["--stress", "300", "--leak-every", "30", "--cell", "tokio"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(
        stdout.contains("descriptors grow by 10.00 per round"),
        "{stdout}"
    );
}
