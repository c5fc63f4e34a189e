//! A trace for a picture: the staircase, and the pages all at once.

use std::time::Instant;

use inflight::gather;

use super::named;
use crate::experiment::{Better, Experiment, Limit, Metric, Plan, Variable, Work};
use crate::worker::fetch::{failed, on_worker, page, page_path, session};
use crate::worker::measure::ms;
use crate::worker::{self, Answer, Failure, Point, Setup, Turn, start};

const PAGES: u64 = 20;
const DELAY_MS: u64 = 100;

const ONE_AFTER_ANOTHER: &str = "one after another";
const GATHERED: &str = "gathered";

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "timeline",
    title: "Twenty pages, one after another and gathered",
    question: "When did each page begin, and when did it end?",
    variable: Some(Variable {
        name: "page",
        unit: "",
        logarithmic: false,
    }),
    metrics: &[
        Metric {
            name: "begun",
            what: "when the request began",
            unit: "ms",
            better: Better::Lower,
            limit: None,
        },
        Metric {
            name: "ended",
            what: "when the page was there",
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
    work: Work {
        about: |_, _| (DELAY_MS * PAGES) as f64 / 2.0,
        trace: true,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let limit = match &*setup.contender {
        ONE_AFTER_ANOTHER => 1,
        GATHERED => PAGES as usize,
        other => return Err(format!("timeline has no {other:?}").into()),
    };
    let backend = start("tokio/hyper".parse()?, 1)?;
    let (session, origin) = (session(&backend)?, setup.origin.clone());
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
                    Ok(Point {
                        x: number as f64,
                        metrics: worker::named([("begun", begun), ("ended", ended)]),
                    })
                }
            });
            gather(pages).limit(limit).all().await.map_err(failed)
        })?;
        Ok(Answer {
            answered: PAGES,
            trace,
            ..Answer::default()
        })
    }))
}
