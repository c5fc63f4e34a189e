//! A thread for each page against a task for each page.

use super::{async_cells, named, with_again};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Process, Variable, Work};
use crate::worker::measure::peak_memory_kb;
use crate::worker::pages::{self, Shape};
use crate::worker::{Failure, Setup, Turn};

const DELAY_MS: u64 = 2000;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "threads",
    title: "Threads against tasks",
    question: "How many pages can wait at once, and how much memory does each take?",
    variable: Some(Variable {
        name: "pages in flight",
        unit: "",
        logarithmic: true,
    }),
    metrics: &[
        Metric {
            name: "memory",
            what: "peak memory for each page in flight",
            unit: "KB",
            better: Better::Lower,
            limit: None,
        },
        Metric {
            name: "wall",
            what: "time until the last page",
            unit: "ms",
            better: Better::Lower,
            limit: Some(Limit {
                at: |_| DELAY_MS as f64,
                what: "the page's delay",
            }),
        },
        Metric {
            name: "peak",
            what: "pages that the origin had in flight at once",
            unit: "1",
            better: Better::Higher,
            limit: Some(Limit {
                at: |pages| pages,
                what: "all of them",
            }),
        },
        Metric::LATE,
    ],
    verified: "every page, byte for byte",
    contenders: || {
        let mut contenders = async_cells();
        contenders.extend(named(&["threads/ureq"]));
        with_again(contenders)
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
    work: Work {
        process: Process::Fresh,
        // 5,000 threads take more than a gigabyte, which a first look should not; and with fewer
        // pages the tasks of three runtimes stand for all.
        takes: |effort, program, pages| match effort {
            Effort::Full => true,
            Effort::Quick if pages > 1000.0 => program != "threads/ureq",
            Effort::Quick => program.ends_with("/hyper") || program == "threads/ureq",
        },
        of_origin: &[
            ("peak", |stats, _| stats.peak_in_flight as f64),
            (Metric::LATE.name, Metric::late),
        ],
        about: |_, pages| DELAY_MS as f64 + 80.0 + pages * 0.12,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let mut turns = pages::turns(setup, |pages| Shape {
        pages: pages as u64,
        limit: pages as u64,
        // The turn before that counts is of one page, for the code and the threads alone.
        delay_ms: if pages > 1.0 { DELAY_MS } else { 0 },
    })?;
    Ok(Box::new(move |ask| {
        let before = peak_memory_kb()?;
        let mut answer = turns(ask)?;
        let grown = peak_memory_kb()? - before;
        answer.metrics.remove("cpu");
        answer.metrics.insert("memory".to_owned(), grown / ask.x);
        Ok(answer)
    }))
}
