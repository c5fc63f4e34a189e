//! The program's stress, small enough to run with the tests.

use std::process::Command;

#[test]
fn default_cells_answer_each_request_once_and_leave_nothing_behind() {
    let cells = ["tokio", "smol", "async-std", "ureq"];
    let output = Command::new(env!("CARGO_BIN_EXE_inflight-conformance"))
        .args(cells.iter().flat_map(|cell| ["--cell", cell]))
        .args(["--stress", "300"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert_eq!(
        told.matches("\n   10      0 ").count(),
        cells.len(),
        "{told}"
    );
}
