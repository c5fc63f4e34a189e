//! Many pages at once.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use inflight::{Session, gather};

use super::{cells, with_peers};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Variable, Work};
use crate::worker::fetch::{failed, on_worker, page, page_path, session, verify_page};
use crate::worker::measure::Meter;
use crate::worker::{Answer, Failure, Setup, Turn, start};

const DELAY_MS: u64 = 100;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "gather",
    title: "Many pages at once",
    question: "How much longer than one page do n pages take, fetched at once?",
    variable: Some(Variable {
        name: "pages at once",
        unit: "",
        logarithmic: true,
    }),
    metrics: &[
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
            name: "cpu",
            what: "CPU time of the client",
            unit: "ms",
            better: Better::Lower,
            limit: None,
        },
    ],
    verified: "every page, byte for byte",
    contenders: || with_peers("gather", cells(&["reqwest"])),
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![100.0, 1000.0],
            rounds: 4,
        },
        Effort::Full => Plan {
            points: vec![1.0, 10.0, 100.0, 1000.0, 5000.0],
            rounds: 20,
        },
    },
    work: Work {
        // A thread for each call: beyond these the pools queue, which `offload` is about.
        takes: |effort, program, x| {
            let most = match effort {
                Effort::Quick => 100.0,
                Effort::Full => 500.0,
            };
            !program.ends_with("/ureq") || x <= most
        },
        about: |_, x| 105.0 + 0.06 * x,
        ..Work::of(worker)
    },
};

/// Fetches the page with this number.
type Get = Arc<dyn Fn(u64) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let (cell, by_reqwest) = match &*setup.contender {
        "reqwest" => ("tokio/hyper".parse()?, true),
        _ => (setup.cell()?, false),
    };
    let backend = start(cell, 1)?;
    let origin = setup.origin.clone();
    let get: Get = if by_reqwest {
        let client = reqwest::Client::builder().no_proxy().build()?;
        Arc::new(move |number| {
            let get = client.get(format!("{origin}{}", page_path(number, DELAY_MS)));
            Box::pin(async move {
                let response = get.send().await?;
                let status = response.status();
                verify_page(status, &response.bytes().await?, number)
            })
        })
    } else {
        let session: Session = session(&backend)?;
        Arc::new(move |number| {
            let url = format!("{origin}{}", page_path(number, DELAY_MS));
            Box::pin(page(session.clone(), url, number))
        })
    };
    Ok(Box::new(move |ask| {
        let n = ask.x as u64;
        let meter = Meter::start();
        let mut answered = 0;
        for _ in 0..ask.iterations {
            let get = get.clone();
            answered += on_worker(&backend, async move {
                let pages = (0..n).map(|number| get(number));
                let pages = gather(pages).limit(n.max(1) as usize).all().await;
                Ok(pages.map_err(failed)?.len() as u64)
            })?;
        }
        let each = ask.iterations.max(1) as f64;
        let metrics = [
            ("wall", meter.wall_ms() / each),
            ("cpu", meter.cpu_ms() / each),
        ];
        Ok(Answer::of(answered, metrics))
    }))
}
