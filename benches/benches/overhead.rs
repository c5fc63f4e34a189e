//! What a request costs when the server answers at once: time and CPU.
//!
//! First the contenders take turns, round by round, so that what the machine does meanwhile
//! meets them all; the ratios are of the same round. Then criterion measures the time for each
//! request of every cell.
#![allow(clippy::print_stderr, reason = "a program")]

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use inflight::Cell;
use inflight_benches::figures::{self, Figure, Limit};
use inflight_benches::process::{Measured, OriginProcess, Worker};

/// Requests in one turn.
const TURN: u64 = 4000;
const ROUNDS: usize = 12;

const CONTENDERS: [(&str, &str); 5] = [
    ("raw", "hyper-util alone"),
    ("session", "tokio/hyper, Session + gather"),
    ("session-on", "tokio/hyper, Session + gather.on"),
    ("reqwest", "reqwest"),
    ("session-probed", "tokio/hyper, Session + gather, probed"),
];

/// A quantity of a measurement.
type Of = fn(&Measured) -> Duration;
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = OriginProcess::start(env!("CARGO_BIN_EXE_inflight-bench-origin"))?;
    let url = origin.url("/bytes/12");
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .without_plots()
        .configure_from_args();
    let mut rows = in_turns(&url)?;
    rows.extend(each_cell(&mut criterion, &url)?);
    figures::save("overhead", &rows)?;
    criterion.final_summary();
    Ok(())
}

fn start(who: &str, cell: &str, url: &str) -> Result<Worker, Failure> {
    let binary = env!("CARGO_BIN_EXE_inflight-bench-worker");
    let arguments = ["overhead", "--who", who, "--cell", cell, "--url", url];
    let mut worker = Worker::start(binary, &arguments)?;
    // Opens the connections; a wrong answer ends the worker and so this benchmark.
    worker.run(TURN)?;
    Ok(worker)
}

fn in_turns(url: &str) -> Result<Vec<Figure>, Failure> {
    let mut workers = Vec::new();
    for (who, _) in CONTENDERS {
        workers.push(start(who, "tokio/hyper", url)?);
    }
    let mut rounds: Vec<Vec<Measured>> = Vec::new();
    for round in 0..ROUNDS {
        eprint!("\roverhead: round {} of {ROUNDS}", round + 1);
        let mut order: Vec<usize> = (0..workers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        let mut turns = vec![Measured::default(); workers.len()];
        for index in order {
            turns[index] = workers[index].run(TURN)?;
        }
        rounds.push(turns);
    }
    eprintln!();

    let each = |index: usize, of: Of| -> Vec<f64> {
        let per_request = |turns: &Vec<Measured>| of(&turns[index]).as_secs_f64() * 1e6;
        rounds
            .iter()
            .map(|turns| per_request(turns) / TURN as f64)
            .collect()
    };
    let mut rows = Vec::new();
    let kinds: [(&str, Of); 2] = [
        (
            "CPU for each request, 64 in flight, no delay",
            Measured::cpu,
        ),
        (
            "time for each request, 64 in flight, no delay",
            Measured::wall,
        ),
    ];
    for (what, of) in kinds {
        for (index, (_, who)) in CONTENDERS.into_iter().enumerate() {
            let numbers = each(index, of);
            rows.push(Figure {
                what: what.to_owned(),
                who: who.to_owned(),
                measured: figures::median(&numbers),
                from_to: figures::extremes(&numbers),
                unit: "us".to_owned(),
                limit: None,
            });
        }
    }
    let cpu: Vec<Vec<f64>> = (0..CONTENDERS.len())
        .map(|index| each(index, Measured::cpu))
        .collect();
    for (one, other) in [(1, 0), (2, 0), (1, 3), (3, 0), (4, 1)] {
        let ratios: Vec<f64> = cpu[one]
            .iter()
            .zip(&cpu[other])
            .map(|(a, b)| a / b)
            .collect();
        rows.push(Figure {
            what: format!(
                "CPU, as a ratio to {}, of the same round",
                CONTENDERS[other].1
            ),
            who: CONTENDERS[one].1.to_owned(),
            measured: figures::median(&ratios),
            from_to: figures::extremes(&ratios),
            unit: "x".to_owned(),
            limit: Some(Limit {
                value: 1.0,
                what: CONTENDERS[other].1.to_owned(),
            }),
        });
    }
    Ok(rows)
}

fn each_cell(criterion: &mut Criterion, url: &str) -> Result<Vec<Figure>, Failure> {
    const GROUP: &str = "request without delay";
    let mut rows = Vec::new();
    for cell in Cell::compiled() {
        let name = cell.to_string();
        let mut worker = start("session", &name, url)?;
        let mut cpu = Vec::new();
        let mut group = criterion.benchmark_group(GROUP);
        group.sampling_mode(SamplingMode::Flat);
        group.throughput(Throughput::Elements(1));
        group.bench_function(&name, |bencher| {
            bencher.iter_custom(|iterations| match worker.run(iterations) {
                Ok(measured) => {
                    let us = measured.cpu().as_secs_f64() * 1e6;
                    cpu.push((iterations, us / iterations as f64));
                    measured.wall()
                }
                Err(error) => panic!("{cell}: {error}"),
            });
        });
        group.finish();
        // Left out by a filter on the command line.
        let Some(most) = cpu.iter().map(|(iterations, _)| *iterations).max() else {
            continue;
        };
        // The warm-up begins with single requests; the samples are as long as each other.
        cpu.retain(|(iterations, _)| *iterations == most);
        let cpu: Vec<f64> = cpu.into_iter().map(|(_, us)| us).collect();
        let (median, (from, to)) = figures::criterion_median(GROUP, &name)?;
        rows.push(Figure {
            what: "time for each request, by cell".to_owned(),
            who: name.clone(),
            measured: median / 1e3,
            from_to: (from / 1e3, to / 1e3),
            unit: "us".to_owned(),
            limit: None,
        });
        rows.push(Figure {
            what: "CPU for each request, by cell".to_owned(),
            who: name,
            measured: figures::median(&cpu),
            from_to: figures::extremes(&cpu),
            unit: "us".to_owned(),
            limit: None,
        });
    }
    Ok(rows)
}
