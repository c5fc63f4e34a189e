//! 5,000 pages of 2 s in flight at once on each async cell with an async client: is one lost, how
//! long does it take, and how much memory does each take.
//!
//! One run a cell after one that warms up: the answer to the first question does not vary, and
//! the third hardly.
#![allow(clippy::print_stderr, reason = "a program")]

use inflight::Cell;
use inflight_benches::figures::{self, Figure, Limit};
use inflight_benches::process::{OriginProcess, Worker};

const COUNT: u64 = 5000;
const DELAY_MS: f64 = 2000.0;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    inflight_origin::raise_file_limit()?;
    let origin = OriginProcess::start(env!("CARGO_BIN_EXE_inflight-bench-origin"))?;
    let url = origin.url(&format!("/delay-ms/{DELAY_MS}"));
    let cells: Vec<Cell> = Cell::compiled()
        .filter(|cell| cell.client() != "ureq")
        .collect();
    let mut rows = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        eprintln!("in flight: {cell} ({} of {})", index + 1, cells.len());
        let name = cell.to_string();
        let arguments = ["in-flight", "--cell", &name, "--url", &url];
        let mut worker = Worker::start(env!("CARGO_BIN_EXE_inflight-bench-worker"), &arguments)?;
        // One request, so that threads and code are there before memory is compared.
        worker.run(1)?;
        let measured = worker.run(COUNT)?;
        if measured.answered != COUNT {
            return Err(format!("{cell}: {} of {COUNT} answered", measured.answered).into());
        }
        let elapsed = measured.wall().as_secs_f64() * 1e3;
        rows.push(Figure {
            what: format!("{COUNT} pages of 2 s at once, none lost"),
            who: name.clone(),
            measured: elapsed,
            from_to: (elapsed, elapsed),
            unit: "ms".to_owned(),
            limit: Some(Limit {
                value: DELAY_MS,
                what: "the slowest page's delay".to_owned(),
            }),
        });
        let memory = measured.memory as f64 / 1024.0 / COUNT as f64;
        rows.push(Figure {
            what: "memory for each request in flight".to_owned(),
            who: name,
            measured: memory,
            from_to: (memory, memory),
            unit: "KB".to_owned(),
            limit: None,
        });
    }
    figures::save("in_flight", &rows)?;
    Ok(())
}
