//! A trace of pages that are fetched sequentially and concurrently.

use std::time::Instant;

use inflight::gather;

use super::contenders::named;
use crate::experiment::{Better, Execution, Experiment, Limit, Metric, Plan, Variable};
use crate::worker::fetch::{failed, on_worker, page, page_path, session};
use crate::worker::measure::ms;
use crate::worker::{
    self, Benchmark, Failure, Measurement, TracePoint, WorkerConfig, start_backend,
};

const PAGES: u64 = 20;
const DELAY_MS: u64 = 100;

const ONE_AFTER_ANOTHER: &str = "one after another";
const GATHERED: &str = "gathered";

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "timeline",
    title: "Twenty pages, sequential and gathered",
    question: "When does the request for each page start, and when does the page arrive?",
    variable: Some(Variable {
        name: "page",
        unit: "",
        logarithmic: false,
    }),
    metrics: &[
        Metric {
            name: "begun",
            what: "start of the request",
            unit: "ms",
            better: Better::Lower,
            limit: None,
        },
        Metric {
            name: "ended",
            what: "arrival of the page",
            unit: "ms",
            better: Better::Lower,
            limit: Some(Limit {
                at: |_| DELAY_MS as f64,
                what: "the page's delay",
            }),
        },
    ],
    verified: "every page, byte for byte",
    contenders: || named(&[ONE_AFTER_ANOTHER, GATHERED]),
    plan: |_| Plan {
        points: vec![0.0],
        rounds: 1,
    },
    execution: Execution {
        estimated_ms: |_, _| (DELAY_MS * PAGES) as f64 / 2.0,
        trace: true,
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let limit = match &*config.contender {
        ONE_AFTER_ANOTHER => 1,
        GATHERED => PAGES as usize,
        other => return Err(format!("timeline has no {other:?}").into()),
    };
    let backend = start_backend("tokio/hyper".parse()?, 1)?;
    let (session, origin) = (session(&backend)?, config.origin.clone());
    Ok(Box::new(move |_| {
        let (session, origin) = (session.clone(), origin.clone());
        let trace = on_worker(&backend, async move {
            let started = Instant::now();
            let pages = (0..PAGES).map(|number| {
                let session = session.clone();
                let url = format!("{origin}{}", page_path(number, DELAY_MS));
                async move {
                    let begun = ms(started.elapsed());
                    page(session, url, number).await?;
                    let ended = ms(started.elapsed());
                    Ok(TracePoint {
                        x: number as f64,
                        metrics: worker::metric_values([("begun", begun), ("ended", ended)]),
                    })
                }
            });
            gather(pages).limit(limit).all().await.map_err(failed)
        })?;
        Ok(Measurement {
            answered: PAGES,
            trace,
            ..Measurement::default()
        })
    }))
}
