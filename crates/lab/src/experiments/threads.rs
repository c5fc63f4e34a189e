//! A thread per page compared with a task per page.

use super::contenders::{async_cells, owned_names};
use super::gather::{LATENESS, lateness};
use crate::experiment::{Effort, Execution, Experiment, Metric, Plan, ProcessLifetime, Variable};
use crate::worker::measure::peak_memory_kb;
use crate::worker::pages::{self, PageBatch};
use crate::worker::{Benchmark, Failure, WorkerConfig};

const DELAY_MS: u64 = 2000;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "threads",
    title: "Threads and tasks",
    question: "How many pages can be in flight at once, and how much memory does each need?",
    variable: Some(Variable {
        name: "pages in flight",
        unit: "",
    }),
    metrics: &[
        Metric::new("memory", "peak memory for each page in flight", "KB"),
        Metric::new("wall", "time until the last page", "ms")
            .with_limit("the page's delay", |_| DELAY_MS as f64),
        Metric::new("peak", "peak number of pages in flight at the origin", "1")
            .higher_is_better()
            .with_limit("all of them", |pages| pages),
        LATENESS,
    ],
    verification: "every page, byte for byte",
    programs: || {
        let mut programs = async_cells();
        programs.extend(owned_names(&["threads/ureq"]));
        programs
    },
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![1000.0, 5000.0],
            rounds: 1,
        },
        Effort::Full => Plan {
            points: vec![100.0, 1000.0, 5000.0, 10_000.0],
            rounds: 6,
        },
    },
    execution: Execution {
        process: ProcessLifetime::Fresh,
        // 5,000 threads need more than a gigabyte of memory, which is too much for a quick run. With 1,000
        // pages, a quick run measures no async client except hyper, because the others need similar memory.
        includes: |effort, program, pages| match effort {
            Effort::Full => true,
            Effort::Quick if pages > 1000.0 => program != "threads/ureq",
            Effort::Quick => program.ends_with("/hyper") || program == "threads/ureq",
        },
        origin_metrics: &[
            ("peak", |stats, _| stats.peak_in_flight as f64),
            (LATENESS.name, lateness),
        ],
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let batch = |pages| PageBatch {
        pages: pages as u64,
        limit: pages as u64,
        // The warm-up turn has one page, which only loads the code and starts the threads.
        delay_ms: if pages > 1.0 { DELAY_MS } else { 0 },
    };
    let mut benchmark = pages::benchmark(config, batch, |time| [("wall", time.wall_ms)])?;
    Ok(Box::new(move |params| {
        let before = peak_memory_kb()?;
        let mut measurement = benchmark(params)?;
        let grown = peak_memory_kb()? - before;
        let metrics = &mut measurement.metrics;
        metrics.insert("memory".to_owned(), grown / params.x);
        Ok(measurement)
    }))
}
