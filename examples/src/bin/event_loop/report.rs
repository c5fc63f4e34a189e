//! Describes and draws what the loop did.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};

use crate::record::{Action, Recorded};

const ASLEEP: Series = Series::new("the loop sleeps", Colour::Sky);
const PENDING: Series = Series::new("the task waits", Colour::Muted).hollow();
const POLL: Series = Series::new("the loop polls the task", Colour::Blue);
const BLOCKED: Series = Series::new("the task blocks the thread", Colour::Vermillion);
/// How many of the pages the picture shows.
const SHOWN: usize = 10;

/// What the loop did in a run.
pub(crate) struct Run {
    pub(crate) heading: String,
    pub(crate) pages: usize,
    pub(crate) has_blocking_task: bool,
    pub(crate) start: Instant,
    pub(crate) took: Duration,
    pub(crate) recorded: Vec<Recorded>,
}

impl Run {
    /// Returns the polls of each task, in the order of their first polls. The first task is the future that the loop
    /// received. If there is a blocking task, it is the second one. The next tasks fetch the pages.
    fn polls_by_task(&self) -> Vec<Vec<Recorded>> {
        let mut places = BTreeMap::new();
        let mut polls: Vec<Vec<Recorded>> = Vec::new();
        for &recorded in &self.recorded {
            if let Action::Poll(task) = recorded.action {
                let place = *places.entry(task).or_insert(polls.len());
                if place == polls.len() {
                    polls.push(Vec::new());
                }
                polls[place].push(recorded);
            }
        }
        polls
    }

    /// Returns the polls of each page.
    fn polls_by_page(&self) -> Vec<Vec<Recorded>> {
        let mut polls = self.polls_by_task();
        polls.drain(..1 + usize::from(self.has_blocking_task));
        polls.truncate(self.pages);
        polls
    }

    fn sleeps(&self) -> impl Iterator<Item = &Recorded> {
        let is_sleep = |recorded: &&Recorded| recorded.action == Action::Sleep;
        self.recorded.iter().filter(is_sleep)
    }

    /// Returns the time that the loop slept.
    fn asleep(&self) -> Duration {
        self.sleeps().map(Recorded::duration).sum()
    }

    fn longest_poll(&self) -> Option<Recorded> {
        let polls = self.polls_by_task().into_iter().flatten();
        polls.max_by_key(Recorded::duration)
    }

    /// Describes the group of the picture.
    fn describe(&self) -> String {
        let mut text = format!(
            "Group \"{}\": the run took {} ms, and the loop slept for {} ms of it. It polled the pages {}.",
            self.heading,
            self.took.as_millis(),
            self.asleep().as_millis(),
            self.pages_by_polls()
        );
        if let Some(poll) = self.longest_poll() {
            let [from, to] = [poll.from, poll.to].map(|time| (time - self.start).as_millis());
            text += &format!(
                " Its longest poll lasted from {from} ms to {to} ms, and no other task has a point in this time."
            );
        }
        text
    }

    /// Returns how many pages the loop polled how often, for example `3 times (40 pages), 4 times (60 pages)`.
    fn pages_by_polls(&self) -> String {
        let mut pages = BTreeMap::<usize, usize>::new();
        for polls in self.polls_by_page() {
            *pages.entry(polls.len()).or_default() += 1;
        }
        let groups = pages.iter().map(|(polls, pages)| match pages {
            1 => format!("{polls} times (1 page)"),
            _ => format!("{polls} times ({pages} pages)"),
        });
        groups.collect::<Vec<_>>().join(", ")
    }

    fn group(&self) -> Group {
        let at = |time: Instant| time - self.start;
        let mut loop_row = Row::new("the loop");
        for sleep in self.sleeps() {
            loop_row = loop_row.bar(at(sleep.from), at(sleep.to), ASLEEP);
        }
        let mut group =
            Group::new(format!("{}: {} ms", self.heading, self.took.as_millis())).row(loop_row);
        if self.has_blocking_task {
            let mut row = Row::new("the blocking task");
            for poll in &self.polls_by_task()[1] {
                row = row.bar(at(poll.from), at(poll.to), BLOCKED);
            }
            group = group.row(row);
        }
        for (page, polls) in (1..).zip(self.polls_by_page().iter().take(SHOWN)) {
            let mut row = Row::new(format!("page {page}"));
            for polls in polls.windows(2) {
                row = row.bar(at(polls[0].to), at(polls[1].from), PENDING);
            }
            for poll in polls {
                row = row.point(at(poll.from), POLL);
            }
            group = group.row(row);
        }
        group
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} ms", self.heading, self.took.as_millis())?;
        writeln!(f, "  polls of a page:  {}", self.pages_by_polls())?;
        let longest_poll = self.longest_poll().map(|poll| poll.duration());
        writeln!(
            f,
            "  longest poll:     {} ms",
            longest_poll.unwrap_or_default().as_millis()
        )?;
        let sleeps = self.sleeps().count();
        write!(
            f,
            "  the loop slept:   {} ms in total, in {sleeps} sleeps",
            self.asleep().as_millis()
        )
    }
}

/// Draws what the loop did, with a row for each of the first pages.
pub(crate) fn draw(runs: &[Run]) -> Figure {
    let mut chart = Waterfall::new("ms since the start of the run");
    let mut descriptions = vec![format!(
        "Each row is a task. Its points are the moments at which the loop polled it. The first row of each group shows \
         when the loop slept, and the rows below it show the first {SHOWN} of {} pages.",
        runs[0].pages
    )];
    for run in runs {
        chart = chart.group(run.group());
        descriptions.push(run.describe());
    }
    let title = format!(
        "When an event loop polls its tasks: the first {SHOWN} of {} pages",
        runs[0].pages
    );
    Figure::new("event_loop", title, descriptions.join(" "), chart)
}
