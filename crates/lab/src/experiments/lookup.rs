//! A name that is looked up slowly, and what the event loop does meanwhile.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use inflight::{Backend, BlockOn, Resolve, Session, Task};

use super::blocking::GAP;
use super::{cells, with_again};
use crate::experiment::{Effort, Experiment, Plan, Variable, Work};
use crate::worker::fetch::{page, page_path};
use crate::worker::heart::Heart;
use crate::worker::measure::ms;
use crate::worker::{Answer, Failure, Setup, Turn, start};

/// The control: what a look-up costs that runs in a future.
const IN_A_FUTURE: &str = ", blocking look-up in a future";

/// A name that is no address, so that it has to be looked up.
const HOST: &str = "pages.test";

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "lookup",
    title: "A slow look-up of a name",
    question: "How long does an event loop with one thread stand still while a name is looked up?",
    variable: Some(Variable {
        name: "look-up",
        unit: "ms",
        logarithmic: true,
    }),
    metrics: &[GAP],
    verified: "the page, byte for byte; its name is known to the slow look-up alone",
    contenders: || {
        let control = |runtime: &str| format!("{runtime}/hyper{IN_A_FUTURE}");
        let controls = ["tokio", "smol", "async-std"].map(control);
        with_again(cells(&controls.each_ref().map(String::as_str)))
    },
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![100.0],
            rounds: 3,
        },
        Effort::Full => Plan {
            points: vec![10.0, 30.0, 100.0, 300.0],
            rounds: 20,
        },
    },
    work: Work {
        about: |_, delay| delay + 10.0,
        ..Work::of(worker)
    },
};

/// Answers each name with the address that it was made with, slowly.
struct Slow {
    delay: Duration,
    address: SocketAddr,
}

impl Resolve for Slow {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        thread::sleep(self.delay);
        Ok(vec![self.address])
    }
}

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let (cell, in_a_future) = match setup.contender.strip_suffix(IN_A_FUTURE) {
        Some(cell) => (cell, true),
        None => (&*setup.contender, false),
    };
    let backend = start(cell.parse()?, 1)?;
    let origin = setup.origin.clone();
    // The address in the URL, with what comes after it.
    let at = origin.strip_prefix("http://").ok_or("an origin is http")?;
    let (address, below) = at.split_at(at.find('/').unwrap_or(at.len()));
    let address: SocketAddr = address.parse()?;
    let by_name = format!("http://{HOST}:{}{below}", address.port());
    Ok(Box::new(move |ask| {
        let mut gaps = 0.0;
        for _ in 0..ask.iterations {
            let slow = Arc::new(Slow {
                delay: Duration::from_secs_f64(ask.x / 1e3),
                address,
            });
            // A new one for each, as an open connection needs no look-up.
            let resolver = slow.clone();
            let builder = backend.builder();
            let session = builder
                .client_options(|options| options.resolver = resolver)
                .build()?;
            gaps += match in_a_future {
                true => gap(&backend, blocked(session, slow, origin.clone()))?,
                false => {
                    let url = format!("{by_name}{}", page_path(0, 0));
                    gap(&backend, page(session, url, 0))?
                }
            };
        }
        let gap = gaps / ask.iterations.max(1) as f64;
        Ok(Answer::of(ask.iterations, [("gap", gap)]))
    }))
}

/// The largest gap in a heart's beats while a page is fetched.
fn gap(
    backend: &Backend,
    fetch: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> Result<f64, Failure> {
    let runtime = backend.runtime().clone();
    backend.block_on(async move {
        let heart = Heart::start(&runtime);
        Task::spawn(&runtime, fetch).await??;
        let beats = heart.stop().await?;
        let largest = beats.iter().map(|beat| beat.gap).max();
        Ok(ms(largest.ok_or("the heart never beat")?))
    })
}

/// Looks the name up where it waits for nothing else, and then fetches by address.
async fn blocked(session: Session, slow: Arc<Slow>, origin: String) -> Result<(), Failure> {
    slow.resolve(HOST, slow.address.port())?;
    page(session, format!("{origin}{}", page_path(0, 0)), 0).await
}
