//! Runs the suite on every cell.

use inflight::{BlockOn, Cell};
use inflight_conformance::{Report, Subject, cases, in_memory, run};

macro_rules! cells {
    ($($test:ident: $cell:literal,)+) => {
        $(#[test]
        fn $test() {
            keeps_the_contract($cell);
        })+

        const TESTED: &[&str] = &[$($cell),+];
    };
}

cells! {
    tokio_hyper: "tokio/hyper",
    tokio_isahc: "tokio/isahc",
    tokio_surf: "tokio/surf",
    tokio_ureq: "tokio/ureq",
    smol_hyper: "smol/hyper",
    smol_isahc: "smol/isahc",
    smol_surf: "smol/surf",
    smol_ureq: "smol/ureq",
    async_std_hyper: "async-std/hyper",
    async_std_isahc: "async-std/isahc",
    async_std_surf: "async-std/surf",
    async_std_ureq: "async-std/ureq",
    threads_ureq: "threads/ureq",
}

#[test]
fn every_cell_has_its_test() {
    let mut cells: Vec<String> = Cell::ALL.iter().map(Cell::to_string).collect();
    cells.sort();
    let mut tested = TESTED.to_vec();
    tested.sort_unstable();
    assert_eq!(tested, cells);
}

#[test]
fn every_case_has_a_unique_name() {
    let mut names: Vec<&str> = cases().iter().map(|case| case.name).collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}

#[test]
fn virtual_mock() {
    checked(&in_memory().unwrap());
}

// ANCHOR: subject
fn keeps_the_contract(name: &str) {
    let cell: Cell = name.parse().unwrap();
    let backend = cell.start(None).unwrap();
    let entered = backend.clone();
    let subject = Subject::new(
        name,
        move || backend.builder(),
        move |future| entered.block_on(future),
    );
    checked(&subject);
}

fn checked(subject: &Subject) {
    let mut report = Report::new();
    report.add(subject.name(), run(subject, |_| true, |_| ()));
    assert!(!report.has_failures(), "\n{report}");
}
// ANCHOR_END: subject
