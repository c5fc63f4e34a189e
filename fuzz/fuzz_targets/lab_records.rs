//! The records of the lab: what is written is read back, and what is read is written and read back.
#![no_main]

use std::fmt::Write as _;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/lab/src/record.rs"]
mod record;

use record::{Row, Run};

/// The run ID of the generated rows. It is a time in every record.
const RUN: &str = "2026-11-25T02:10:00Z";

#[derive(Arbitrary, Clone)]
struct Measurement {
    texts: [String; 5],
    numbers: [f64; 2],
    counts: (u32, u32, u64),
    other_cores: Option<f64>,
}

fuzz_target!(|data: &[u8]| {
    if let Ok(runs) = record::read(data) {
        check_runs(runs);
    }
    let mut input = Unstructured::new(data);
    if let Ok(measurements) = Vec::<Measurement>::arbitrary(&mut input) {
        let run = |to_text: fn(String) -> String| Run {
            id: RUN.to_owned(),
            rows: measurements
                .iter()
                .map(|one| to_row(one.clone(), to_text))
                .collect(),
            ..Run::default()
        };
        let read = record::read(&write(&[run(|text| text)])[..]);
        let read = read.expect("written records can be read");
        // A line break becomes a space.
        let expected = run(|text| text.replace(['\n', '\r'], " "));
        assert_eq!(shown(&read), shown(&[expected]));
    }
});

fn to_row(measurement: Measurement, to_text: fn(String) -> String) -> Row {
    let [experiment, contender, metric, unit, discard_reason] = measurement.texts.map(to_text);
    let [x, value] = measurement.numbers;
    let (round, turn, answered) = measurement.counts;
    Row {
        run: RUN.to_owned(),
        experiment,
        contender,
        x,
        round,
        turn,
        metric,
        value,
        unit,
        answered,
        discard_reason,
        other_cores: measurement.other_cores,
    }
}

/// Checks that the runs can be written and read back.
fn check_runs(runs: Vec<Run>) {
    // An ID is a time, and a line break within a value becomes a space.
    let is_text = |text: &String| !text.contains('\r');
    let is_written = |run: &Run| {
        is_text(&run.id) && !run.id.starts_with("# ") && run.environment.values().all(is_text)
    };
    if runs.iter().all(is_written) {
        let read = record::read(&write(&runs)[..]).expect("written records can be read");
        assert_eq!(shown(&read), shown(&runs));
    }
}

fn write(runs: &[Run]) -> Vec<u8> {
    let mut file = Vec::new();
    for run in runs {
        let written = record::write_header(&mut file, &run.id, &run.environment);
        written.expect("writing to memory does not fail");
        record::write_rows(&mut file, &run.rows).expect("writing to memory does not fail");
    }
    file
}

/// Returns the runs as text, because `NaN` differs from itself.
fn shown(runs: &[Run]) -> String {
    let mut text = String::new();
    for Run {
        id,
        environment,
        rows,
    } in runs
    {
        write!(text, "{id:?} {environment:?} {rows:?}").expect("writing to a string does not fail");
    }
    text
}
