//! Pages of one delay, so many of them at once: what several experiments vary differently.

use inflight::{Backend, Session, gather};
use tokio::task::JoinSet;

use super::fetch::{failed, on_worker, page, page_path, session, verify_page};
use super::measure::Meter;
use super::{Answer, Failure, Setup, Turn, start};

/// What a turn fetches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How many pages.
    pub(crate) pages: u64,
    /// How many at once.
    pub(crate) limit: u64,
    /// What each takes.
    pub(crate) delay_ms: u64,
}

/// By a cell or by reqwest, on one worker thread: tells `wall` and `cpu` in ms.
pub(crate) fn turns(setup: &Setup, shape: fn(x: f64) -> Shape) -> Result<Turn, Failure> {
    let client = Client::of(setup)?;
    let backend = client.backend.clone();
    let origin = setup.origin.clone();
    Ok(Box::new(move |ask| {
        let shape = shape(ask.x);
        let meter = Meter::start();
        let mut answered = 0;
        for _ in 0..ask.iterations {
            let (who, origin) = (client.who.clone(), origin.clone());
            answered += on_worker(&backend, async move {
                match who {
                    Who::Session(session) => by_session(session, origin, shape).await,
                    Who::Reqwest(_) => by_reqwest(who, origin, shape).await,
                }
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

/// The same, and tells `wall` alone.
pub(crate) fn wall_turns(setup: &Setup, shape: fn(x: f64) -> Shape) -> Result<Turn, Failure> {
    let mut turns = turns(setup, shape)?;
    Ok(Box::new(move |ask| {
        let mut answer = turns(ask)?;
        answer.metrics.retain(|name, _| name == "wall");
        Ok(answer)
    }))
}

/// A cell or reqwest, on one worker thread.
pub(crate) struct Client {
    pub(crate) backend: Backend,
    pub(crate) who: Who,
}

#[derive(Clone)]
pub(crate) enum Who {
    Session(Session),
    Reqwest(reqwest::Client),
}

impl Who {
    /// Fetches a page, byte for byte the one with this number.
    pub(crate) async fn page(self, url: String, number: u64) -> Result<(), Failure> {
        match self {
            Self::Session(session) => page(session, url, number).await,
            Self::Reqwest(client) => {
                let response = client.get(url).send().await?;
                let status = response.status();
                verify_page(status, &response.bytes().await?, number)
            }
        }
    }
}

impl Client {
    pub(crate) fn of(setup: &Setup) -> Result<Self, Failure> {
        if setup.contender == "reqwest" {
            return Ok(Self {
                backend: start("tokio/hyper".parse()?, 1)?,
                who: Who::Reqwest(reqwest::Client::builder().no_proxy().build()?),
            });
        }
        let backend = start(setup.cell()?, 1)?;
        Ok(Self {
            who: Who::Session(session(&backend)?),
            backend,
        })
    }
}

async fn by_session(session: Session, origin: String, shape: Shape) -> Result<u64, Failure> {
    let pages = (0..shape.pages).map(|number| {
        let url = format!("{origin}{}", page_path(number, shape.delay_ms));
        page(session.clone(), url, number)
    });
    let pages = gather(pages).limit(shape.limit as usize).all().await;
    Ok(pages.map_err(failed)?.len() as u64)
}

/// As people do it: a task for each page, and no more of them than the limit.
async fn by_reqwest(client: Who, origin: String, shape: Shape) -> Result<u64, Failure> {
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    let mut answered = 0;
    for number in 0..shape.pages {
        if tasks.len() as u64 >= shape.limit
            && let Some(done) = tasks.join_next().await
        {
            done??;
            answered += 1;
        }
        let url = format!("{origin}{}", page_path(number, shape.delay_ms));
        tasks.spawn(client.clone().page(url, number));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
        answered += 1;
    }
    Ok(answered)
}
