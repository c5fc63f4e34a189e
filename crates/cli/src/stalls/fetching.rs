//! The loop that is looked at: one page after another, fetched in one of several ways, beside a
//! heart that beats.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_util::future::{Either, select};
use hdrhistogram::Histogram;
use inflight::clients::Ureq;
use inflight::probe::{Event, FutureExt, Heartbeat, Lateness, Probe, Stall};
use inflight::{
    Backend, BlockOn, Error, Fetch, Inline, Offload, Runtime, Session, SessionBuilder, Task,
};

use crate::output::describe;

/// How often the heart beats. A finer one measures the timer rather than the loop.
const BEAT: Duration = Duration::from_millis(10);

/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How pages are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Inline,
    Offloaded,
    Async,
    Nothing,
}

impl How {
    pub(super) const ALL: [Self; 4] = [Self::Inline, Self::Offloaded, Self::Async, Self::Nothing];

    /// Its label, too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Offloaded => "offloaded",
            Self::Async => "async",
            Self::Nothing => "nothing",
        }
    }

    /// Who fetches, and where.
    pub(super) fn by(self) -> &'static str {
        match self {
            Self::Inline => "ureq in the task",
            Self::Offloaded => "ureq on the pool",
            Self::Async => "hyper",
            Self::Nothing => "",
        }
    }
}

/// What is looked for.
pub(super) struct Plan {
    pub(super) url: String,
    /// A page begins this often, or soon after the one before is done.
    pub(super) every: Duration,
    /// A poll that takes longer is told.
    pub(super) threshold: Duration,
    pub(super) how: How,
}

/// The running loop. It ends when it is dropped.
pub(super) struct Fetching {
    ledger: Arc<Mutex<Ledger>>,
    wishes: Sender<How>,
    _task: Task<()>,
    _probe: Probe,
}

impl Fetching {
    pub(super) fn start(backend: &Backend, plan: Plan) -> Result<Self, Error> {
        let runtime = backend.runtime();
        let pool = runtime.clone();
        let inline = blocking(runtime, Inline::new);
        let offloaded = blocking(runtime, |ureq| Offload::new(ureq, pool));
        let builders = [inline, offloaded, backend.builder()];
        let [inline, offloaded, hyper] = builders.map(|builder| builder.timeout(TIMEOUT).build());

        let ledger = Arc::new(Mutex::new(Ledger::new(
            backend.block_on(backend.heartbeat(BEAT))?,
            plan.how,
        )));
        let told = ledger.clone();
        // One place stalls again and again, and each time counts.
        let probe = Probe::builder()
            .threshold(plan.threshold)
            .fold(Duration::ZERO)
            .start(move |event| lock(&told).tell(event))?;
        let (wishes, wished) = async_channel::unbounded();
        let fetcher = Fetcher {
            sessions: [inline?, offloaded?, hyper?],
            runtime: runtime.clone(),
            ledger: ledger.clone(),
            wished,
            plan,
        };
        let task = Task::spawn(runtime, fetcher.run());
        Ok(Self {
            ledger,
            wishes,
            _task: task,
            _probe: probe,
        })
    }

    /// Asks for another way. It comes when the loop is free to hear of it.
    pub(super) fn turn_to(&self, how: How) {
        // Nobody hears it when the task is over, which `is_over` tells.
        let _ = self.wishes.try_send(how);
    }

    /// Forgets the counts.
    pub(super) fn reset(&self) {
        lock(&self.ledger).reset();
    }

    /// What has happened since the last look.
    pub(super) fn look(&self) -> Look {
        lock(&self.ledger).look()
    }

    /// Whether the task has ended: by a panic, as nothing else ends it.
    pub(super) fn is_over(&self) -> bool {
        self.wishes.is_closed()
    }
}

fn blocking<F: Fetch>(
    runtime: &Arc<dyn Runtime>,
    make: impl FnOnce(Ureq) -> F + Send + 'static,
) -> SessionBuilder {
    let runtime = runtime.clone();
    Session::builder(move |options| Ok((make(Ureq::new(options)?), runtime)))
}

struct Fetcher {
    sessions: [Session; 3],
    runtime: Arc<dyn Runtime>,
    ledger: Arc<Mutex<Ledger>>,
    wished: Receiver<How>,
    plan: Plan,
}

impl Fetcher {
    async fn run(self) {
        let mut how = self.plan.how;
        loop {
            let turn = pin!(self.turn(how));
            if let Either::Right((wish, _)) = select(turn, pin!(self.wished.recv())).await {
                let Ok(wish) = wish else { return };
                // The beats that the last page held up come first, and are counted as its.
                self.runtime.sleep(BEAT * 2).await;
                lock(&self.ledger).turn_to(wish);
                how = wish;
            }
        }
    }

    /// A page, and what is left of the time until the next.
    async fn turn(&self, how: How) {
        let begun = Instant::now();
        let [inline, offloaded, hyper] = &self.sessions;
        let session = match how {
            How::Inline => Some(inline),
            How::Offloaded => Some(offloaded),
            How::Async => Some(hyper),
            How::Nothing => None,
        };
        if let Some(session) = session {
            let ended = page(session, &self.plan.url).probed(how.name()).await;
            lock(&self.ledger).page(ended);
        }
        // At least so long that the loop comes to its other business: a task that only ever
        // blocks never lets go of it.
        let rest = self.plan.every.saturating_sub(begun.elapsed());
        self.runtime.sleep(rest.max(BEAT * 2)).await;
    }
}

async fn page(session: &Session, url: &str) -> Result<(), Error> {
    let response = session.get(url).send().await?.error_for_status()?;
    response.bytes().await.map(drop)
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What has happened, told apart by how pages were fetched.
struct Ledger {
    heart: Heartbeat,
    counted: Lateness,
    how: How,
    peak: u64,
    accounts: [Account; 4],
    control: u64,
    stall: Option<Stall>,
    error: Option<Error>,
}

/// What one way of fetching came to.
#[derive(Clone, Default)]
pub(super) struct Account {
    pub(super) pages: u64,
    pub(super) failed: u64,
    pub(super) stalls: u64,
    /// Late ticks of the timer, in nanoseconds.
    pub(super) late: Late,
    /// The latest through the socket.
    pub(super) socket: u64,
}

/// A histogram, if anything was late at all.
pub(super) type Late = Option<Histogram<u64>>;

/// The state at one moment.
pub(super) struct Look {
    /// How pages are fetched now.
    pub(super) how: How,
    /// The latest tick since the last look, or what the next one is late by already.
    pub(super) late: u64,
    /// In the order of [`How::ALL`].
    pub(super) accounts: [Account; 4],
    /// The latest tick of the plain thread.
    pub(super) control: u64,
    pub(super) stall: Option<String>,
    pub(super) error: Option<String>,
}

impl Ledger {
    fn new(heart: Heartbeat, how: How) -> Self {
        Self {
            counted: heart.lateness(),
            heart,
            how,
            peak: 0,
            accounts: Default::default(),
            control: 0,
            stall: None,
            error: None,
        }
    }

    fn account(&mut self) -> &mut Account {
        &mut self.accounts[self.how as usize]
    }

    /// Enters the ticks since the last time.
    fn count(&mut self) {
        let late = self.heart.lateness();
        let timer = since(&late.runtime, &self.counted.runtime);
        let socket = match (&late.socket, &self.counted.socket) {
            (Some(now), Some(before)) => since(now, before).max(),
            _ => 0,
        };
        self.control = since(&late.control, &self.counted.control)
            .max()
            .max(self.control);
        self.counted = late;
        self.peak = self.peak.max(timer.max());
        let account = self.account();
        account.socket = account.socket.max(socket);
        match &mut account.late {
            // Both grow as they must.
            Some(late) => late.add(timer).unwrap_or_default(),
            none if timer.is_empty() => *none = None,
            none => *none = Some(timer),
        }
    }

    fn turn_to(&mut self, how: How) {
        self.count();
        self.how = how;
    }

    fn page(&mut self, ended: Result<(), Error>) {
        let account = self.account();
        match ended {
            Ok(()) => account.pages += 1,
            Err(error) => {
                account.failed += 1;
                self.error = Some(error);
            }
        }
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::Stalled(stall) => {
                let by_label = How::ALL.iter().position(|how| how.name() == stall.label);
                if let Some(index) = by_label {
                    self.accounts[index].stalls += 1;
                }
                self.stall = Some(stall.clone());
            }
            Event::Recovered(stall) => self.stall = Some(stall.clone()),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.count();
        self.accounts = Default::default();
        self.control = 0;
        (self.stall, self.error) = (None, None);
    }

    fn look(&mut self) -> Look {
        self.count();
        let overdue = u64::try_from(self.heart.overdue().as_nanos()).unwrap_or(u64::MAX);
        Look {
            how: self.how,
            late: std::mem::take(&mut self.peak).max(overdue),
            accounts: self.accounts.clone(),
            control: self.control,
            stall: self.stall.as_ref().map(Stall::to_string),
            error: self.error.as_ref().map(|error| describe(error)),
        }
    }
}

/// What was counted after `before`, which is `now` as it was once.
fn since(now: &Histogram<u64>, before: &Histogram<u64>) -> Histogram<u64> {
    let mut new = now.clone();
    match new.subtract(before) {
        Ok(()) => new,
        Err(_) => unreachable!("counts only grow"),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::thread;

    use inflight::Cell;
    use inflight_origin::Origin;

    use super::*;

    fn until(fetching: &Fetching, holds: impl Fn(&Look) -> bool) -> Look {
        loop {
            let look = fetching.look();
            assert!(!fetching.is_over(), "{:?}", look.error);
            if holds(&look) {
                return look;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The harm of each way, and that a wish is heard.
    #[test]
    fn fetching_in_the_task_stalls_the_loop_and_the_other_ways_do_not() {
        let origin = Origin::start().unwrap();
        let async_cells = Cell::compiled().filter(|cell| cell.client() == "hyper");
        for cell in async_cells {
            let backend = cell.start(Some(NonZeroUsize::MIN)).unwrap();
            let plan = Plan {
                url: origin.url("/delay-ms/400"),
                every: Duration::from_millis(1),
                threshold: Duration::from_millis(200),
                how: How::Inline,
            };
            let fetching = Fetching::start(&backend, plan).unwrap();
            let of = |look: &Look, how: How| look.accounts[how as usize].clone();
            until(&fetching, |look| of(look, How::Inline).pages >= 1);
            for how in [How::Offloaded, How::Async] {
                fetching.turn_to(how);
                until(&fetching, |look| {
                    look.how == how && of(look, how).pages >= 2
                });
            }
            fetching.turn_to(How::Nothing);
            let look = until(&fetching, |look| look.how == How::Nothing);

            let inline = of(&look, How::Inline);
            // A stall is told while it lasts, the page comes at its end.
            assert!(inline.stalls >= inline.pages, "{cell}");
            assert!(inline.late.unwrap().max() >= 350_000_000, "{cell}");
            assert!(inline.socket >= 350_000_000, "{cell}");
            assert!(
                look.stall.as_ref().unwrap().starts_with("inline ("),
                "{cell}"
            );
            for how in [How::Offloaded, How::Async] {
                let account = of(&look, how);
                assert_eq!((account.stalls, account.failed), (0, 0), "{cell}");
                // A busy machine is late, but not by as much as a page takes.
                assert!(
                    account.late.unwrap().value_at_quantile(0.5) < 200_000_000,
                    "{cell}"
                );
            }
            fetching.reset();
            let look = fetching.look();
            assert!(look.accounts.iter().all(|account| account.pages == 0));
        }
    }

    #[test]
    fn a_page_that_fails_is_told() {
        let Some(cell) = Cell::compiled().find(|cell| cell.client() == "hyper") else {
            return;
        };
        let origin = Origin::start().unwrap();
        let backend = cell.start(Some(NonZeroUsize::MIN)).unwrap();
        let plan = Plan {
            url: origin.url("/status/500"),
            every: Duration::from_millis(1),
            threshold: Duration::from_millis(100),
            how: How::Async,
        };
        let fetching = Fetching::start(&backend, plan).unwrap();
        let look = until(&fetching, |look| {
            look.accounts[How::Async as usize].failed >= 1
        });
        assert!(look.error.unwrap().contains("500"));
    }
}
