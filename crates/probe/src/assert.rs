//! Assertions for tests: a future that must not stall.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use inflight_core::Error;

use crate::probe::{Probe, ProbeBuilder};
use crate::probed::Probed;
use crate::report::{Event, Stall};
use crate::site::Site;
use crate::slot::lock;

/// Runs a future, on any runtime, and panics if one of its polls exceeded the threshold.
///
/// The check covers what the future itself polls, on any thread. If a
/// [`probed`](crate::FutureExt::probed) future inside it stalls, the report contains that future's
/// label. The check does not cover tasks that the future spawns. Use [`NoStall`] to allow known stalls.
///
/// ```
/// # use std::time::Duration;
/// # futures_lite::future::block_on(async {
/// let sum = inflight_probe::assert_no_stall(Duration::from_millis(500), async { 1 + 1 }).await;
/// assert_eq!(sum, 2);
/// # });
/// ```
///
/// # Panics
///
/// Panics once the future has ended, if a poll exceeded the threshold or [events were
/// lost](Event::EventsLost). The message is the report. Panics without running the future if the
/// system refuses a thread for the check.
#[track_caller]
pub fn assert_no_stall<F: Future>(
    threshold: Duration,
    future: F,
) -> impl Future<Output = F::Output> {
    let checked = NoStall::within(threshold).check(future);
    async move {
        match checked.await {
            Ok((output, findings)) if findings.is_clean() => output,
            Ok((_, findings)) => panic!("{findings}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A check that no poll of a future exceeds a threshold, except those with allowed labels.
///
/// ```
/// # use std::time::Duration;
/// use inflight_probe::NoStall;
///
/// # futures_lite::future::block_on(async {
/// let check = NoStall::within(Duration::from_millis(500)).allow("import");
/// let (sum, findings) = check.check(async { 1 + 1 }).await?;
/// assert_eq!(sum, 2);
/// assert!(findings.stalls.is_empty());
/// // No future with this label stalled, so the check no longer needs to allow it.
/// assert_eq!(findings.unused, ["import"]);
/// # Ok::<(), inflight_core::Error>(())
/// # })?;
/// # Ok::<(), inflight_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NoStall {
    probe: ProbeBuilder,
    allowed: Vec<&'static str>,
}

impl NoStall {
    /// Creates a check that no poll exceeds this threshold.
    ///
    /// [`ProbeBuilder::threshold`](crate::ProbeBuilder::threshold) describes how exact the check is.
    pub fn within(threshold: Duration) -> Self {
        Self {
            probe: Probe::builder().threshold(threshold).fold(Duration::ZERO),
            allowed: Vec::new(),
        }
    }

    /// Sets whether a reported stall contains the line in which the thread was stuck: see
    /// [`ProbeBuilder::stacks`](crate::ProbeBuilder::stacks).
    #[cfg(feature = "stacks")]
    #[must_use]
    pub fn stacks(mut self, stacks: bool) -> Self {
        self.probe = self.probe.stacks(stacks);
        self
    }

    /// Allows futures with this label to stall.
    ///
    /// If no future with this label stalls, [`Findings::unused`] contains the label, because it no
    /// longer needs to be allowed.
    #[must_use]
    pub fn allow(mut self, label: &'static str) -> Self {
        self.allowed.push(label);
        self
    }

    /// Runs the future and returns its output together with the findings.
    ///
    /// Dropping the returned future drops `future` and ends the check.
    ///
    /// # Errors
    ///
    /// Fails with [`NoRuntime`](inflight_core::ErrorKind::NoRuntime) when the system refuses a
    /// thread for the check. In this case the future has not run.
    #[track_caller]
    pub fn check<F: Future>(
        self,
        future: F,
    ) -> impl Future<Output = Result<(F::Output, Findings), Error>> {
        let site = Site::of("assert_no_stall", Location::caller());
        async move {
            let stalls = Arc::new(Mutex::new(Vec::new()));
            let lost = Arc::new(AtomicU64::new(0));
            let (seen, missed) = (stalls.clone(), lost.clone());
            let probe = self
                .probe
                .only_inside(site.number)
                .start(move |event| match event {
                    Event::Stalled(stall) => lock(&seen).push(stall.clone()),
                    Event::EventsLost(count) => {
                        missed.fetch_add(*count, Ordering::Relaxed);
                    }
                    _ => {}
                })?;
            let output = Probed::at(future, site).await;
            drop(probe);
            let (known, stalls): (Vec<Stall>, Vec<Stall>) = std::mem::take(&mut *lock(&stalls))
                .into_iter()
                .partition(|stall| self.allowed.contains(&stall.label));
            let unused = |label: &&str| !known.iter().any(|stall| stall.label == *label);
            let unused = self.allowed.into_iter().filter(unused).collect();
            let lost = lost.load(Ordering::Relaxed);
            let findings = Findings {
                stalls,
                unused,
                lost,
            };
            Ok((output, findings))
        }
    }
}

/// The result of a [`NoStall`] check.
///
/// For an example, see [`NoStall`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Findings {
    /// The stalls that were not allowed.
    pub stalls: Vec<Stall>,
    /// Allowed labels under which no future stalled.
    pub unused: Vec<&'static str>,
    /// How many [events were lost](Event::EventsLost). They may have been stalls.
    pub lost: u64,
}

impl Findings {
    /// Returns whether there were no forbidden stalls, no unused labels and no lost events.
    pub fn is_clean(&self) -> bool {
        self.stalls.is_empty() && self.unused.is_empty() && self.lost == 0
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("no stall");
        }
        let stalls = self.stalls.iter().map(|stall| format!("stall: {stall}"));
        let unused = self.unused.iter();
        let unused = unused.map(|label| format!("allowed, but did not stall: {label}"));
        let lost = (self.lost > 0).then(|| Event::EventsLost(self.lost).to_string());
        let lines: Vec<_> = stalls.chain(unused).chain(lost).collect();
        f.write_str(&lines.join("\n"))
    }
}
