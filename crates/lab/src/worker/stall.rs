//! A page that is fetched in ways that stall an event loop and ways that do not, beside a heart.

use std::time::Duration;

use inflight::{Backend, BlockOn, Session, Task};

use super::fetch::{inline, offloaded, page, page_path, session};
use super::heart::{Beat, Heart};
use super::{Answer, Failure, Setup, Turn, measure, start};

/// How the page is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It is not: the heart alone, for as long as the page would take.
    Idle,
    /// By ureq inside `poll`.
    Inline,
    /// By ureq on the runtime's blocking pool.
    Offloaded,
    /// By hyper.
    Async,
}

impl How {
    fn named(name: &str) -> Result<Self, Failure> {
        match name {
            "idle" => Ok(Self::Idle),
            "inline" => Ok(Self::Inline),
            "offloaded" => Ok(Self::Offloaded),
            "async" => Ok(Self::Async),
            _ => Err(format!("no way to fetch is named {name:?}").into()),
        }
    }
}

/// A runtime, a way to fetch on it, and an origin.
#[derive(Clone)]
pub(crate) struct Patient {
    backend: Backend,
    how: How,
    session: Session,
    origin: String,
}

impl Patient {
    /// As a contender names them: `smol: offloaded`; without a colon it is inline.
    pub(crate) fn of(setup: &Setup, workers: usize) -> Result<Self, Failure> {
        let (runtime, how) = match setup.contender.split_once(": ") {
            Some((runtime, how)) => (runtime, How::named(how)?),
            None => (&*setup.contender, How::Inline),
        };
        Self::start(runtime, how, workers, setup)
    }

    /// By name of the way to fetch alone, on tokio.
    pub(crate) fn on_tokio(setup: &Setup) -> Result<Self, Failure> {
        Self::start("tokio", How::named(&setup.contender)?, 1, setup)
    }

    fn start(runtime: &str, how: How, workers: usize, setup: &Setup) -> Result<Self, Failure> {
        let backend = start(format!("{runtime}/hyper").parse()?, workers)?;
        let session = match how {
            // The async client is the same on each runtime, so that the runtime is what differs.
            How::Idle | How::Async => session(&backend)?,
            How::Inline => inline(backend.runtime())?,
            How::Offloaded => offloaded(backend.runtime())?,
        };
        Ok(Self {
            backend,
            how,
            session,
            origin: setup.origin.clone(),
        })
    }

    /// Fetches `pages` of them at once, a task each, while a heart beats; `rest` passes before and
    /// after. Answers the beats and how many pages were verified.
    pub(crate) fn beats(
        &self,
        pages: u64,
        delay_ms: u64,
        rest: Duration,
    ) -> Result<(Vec<Beat>, u64), Failure> {
        let (runtime, this) = (self.backend.runtime().clone(), self.clone());
        // The heart and the fetches are tasks of the runtime; its threads are all that drive
        // them, as this one only waits.
        self.backend.block_on(async move {
            let heart = Heart::start(&runtime);
            if !rest.is_zero() {
                runtime.sleep(rest).await;
            }
            let fetches: Vec<_> = (0..pages)
                .map(|number| Task::spawn(&runtime, this.clone().fetch(number, delay_ms)))
                .collect();
            let mut answered = 0;
            for fetch in fetches {
                answered += fetch.await??;
            }
            if !rest.is_zero() {
                runtime.sleep(rest).await;
            }
            Ok((heart.stop().await?, answered))
        })
    }

    async fn fetch(self, number: u64, delay_ms: u64) -> Result<u64, Failure> {
        if self.how == How::Idle {
            let runtime = self.backend.runtime();
            runtime.sleep(Duration::from_millis(delay_ms)).await;
            return Ok(0);
        }
        let url = format!("{}{}", self.origin, page_path(number, delay_ms));
        page(self.session, url, number).await?;
        Ok(1)
    }

    /// Turns that tell the largest `gap` in ms while these pages are fetched.
    pub(crate) fn turns(self, shape: fn(x: f64) -> (u64, u64)) -> Turn {
        Box::new(move |ask| {
            let (pages, delay_ms) = shape(ask.x);
            let (mut sum, mut answered) = (0.0, 0);
            for _ in 0..ask.iterations {
                let (beats, verified) = self.beats(pages, delay_ms, Duration::ZERO)?;
                let largest = beats.iter().map(|beat| beat.gap).max();
                sum += measure::ms(largest.ok_or("the heart never beat")?);
                answered += verified;
            }
            let gap = sum / ask.iterations.max(1) as f64;
            Ok(Answer::of(answered, [("gap", gap)]))
        })
    }
}
