//! The three sentences in which a run ends: what a blocking call cost, which cell cost least, and what the run cannot
//! tell.

use super::tables::{
    ASYNC_CLIENT, BLOCKING_CALL, CPU, GAP, Measured, RUNTIMES, blocking_cost, contender,
    cpu_ranking, format_ratio, is_stalled,
};
use crate::data::ExperimentResults;
use crate::experiments;
use crate::stats::{Estimate, may_claim, median};
use crate::text::{format_figure, format_number};

/// The three sentences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What a blocking call cost on this machine.
    pub blocking_call: String,
    /// Which cell cost least, and by how much.
    pub cheapest: String,
    /// What this run cannot tell.
    pub unknown: String,
}

/// What a run does not show, for the last sentence.
type Unknowns = Vec<String>;

impl Answer {
    pub(super) fn new(measured: Measured<'_>, unmeasured: Unknowns) -> Self {
        let mut unknowns = Unknowns::new();
        let blocking_call = blocking_call(measured, &mut unknowns);
        let cheapest = cheapest(measured, &mut unknowns);
        unknowns.extend(unmeasured);
        unknowns.push(
            "how the cells compare over a network, because the server ran on this machine"
                .to_owned(),
        );
        Self {
            blocking_call,
            cheapest,
            unknown: format!("This run cannot tell {}.", unknowns.join("; ")),
        }
    }

    /// Returns the sentences in order.
    pub fn sentences(&self) -> [&str; 3] {
        [&self.blocking_call, &self.cheapest, &self.unknown]
    }
}

/// The gaps of a runtime.
struct Gaps {
    runtime: &'static str,
    blocking_call: String,
    async_client: String,
    cost: Estimate,
}

impl Gaps {
    fn new(results: &ExperimentResults, runtime: &'static str) -> Option<Self> {
        let gap = |mode| {
            let sample = results.get(GAP, &contender(runtime, mode), 0.0)?;
            Some(format_figure(median(&sample.values())?, &sample.unit))
        };
        Some(Self {
            runtime,
            blocking_call: gap(BLOCKING_CALL)?,
            async_client: gap(ASYNC_CLIENT)?,
            cost: blocking_cost(results, runtime)?,
        })
    }

    fn is_shorter(&self, results: &ExperimentResults) -> bool {
        self.cost.value < 1.0 && may_claim(&self.cost, results.smallest_difference(GAP))
    }
}

fn blocking_call(measured: Measured<'_>, unknowns: &mut Unknowns) -> String {
    let results = measured.find(experiments::BLOCKING);
    let gaps = |results| {
        RUNTIMES
            .into_iter()
            .filter_map(|runtime| Gaps::new(results, runtime))
            .collect()
    };
    let gaps: Vec<Gaps> = results.map(gaps).unwrap_or_default();
    let (Some(results), false) = (results, gaps.is_empty()) else {
        unknowns.push("what a blocking call costs".to_owned());
        return "This run did not measure a blocking call.".to_owned();
    };
    let (stalled, other): (Vec<&Gaps>, Vec<&Gaps>) = gaps
        .iter()
        .partition(|gaps| is_stalled(&gaps.cost, results));
    if !other.is_empty() {
        let runtimes = list(other.iter().map(|gaps| gaps.runtime.to_owned()));
        unknowns.push(format!(
            "whether a blocking call stalls the event loop of {runtimes}"
        ));
    }
    let delay = experiments::BLOCKING_DELAY_MS;
    if stalled.is_empty() {
        let gaps = other.iter().map(|gaps| {
            let Gaps {
                runtime,
                blocking_call,
                async_client,
                ..
            } = gaps;
            format!("{blocking_call} instead of {async_client} on {runtime}")
        });
        let gaps = list(gaps);
        // A gap that is shorter with the blocking call is not a matter of noise.
        let is_shorter = other.iter().any(|gaps| gaps.is_shorter(results));
        return match other.iter().any(|gaps| gaps.cost.rounds < 2) {
            _ if is_shorter => format!(
                "A blocking call of {delay} ms inside a task did not clearly lengthen the largest gap of the \
                 heartbeat: {gaps}."
            ),
            true => format!(
                "One round cannot tell whether a blocking call of {delay} ms inside a task lengthens the largest gap \
                 of the heartbeat: {gaps}."
            ),
            false => format!(
                "The noise hides whether a blocking call of {delay} ms inside a task lengthens the largest gap of the \
                 heartbeat: {gaps}."
            ),
        };
    }
    let stalls = stalled.iter().enumerate().map(|(n, gaps)| {
        let than = if n == 0 {
            " the gap with an async client"
        } else {
            ""
        };
        format!(
            "for {} on {}, {} times{than}",
            gaps.blocking_call,
            gaps.runtime,
            format_ratio(&gaps.cost)
        )
    });
    format!(
        "A blocking call of {delay} ms inside a task stopped the event loop: {}.",
        list_of_clauses(stalls)
    )
}

fn cheapest(measured: Measured<'_>, unknowns: &mut Unknowns) -> String {
    let results = measured.find(experiments::OVERHEAD);
    let ranking = results.map(cpu_ranking).unwrap_or_default();
    let (Some(results), Some(best)) = (results, ranking.best()) else {
        unknowns.push("which cell costs least".to_owned());
        return "This run did not measure the CPU time of a request.".to_owned();
    };
    let named = |entry: &super::ranking::RankedContender<'_>| {
        let figure = format_figure(entry.estimate.value, &entry.sample.unit);
        format!("{} ({figure})", entry.name())
    };
    let tied = ranking.tied();
    let mut sentence = match tied.is_empty() {
        true => format!(
            "Of the cells, {} cost least: {} of CPU time for each request",
            best.name(),
            format_figure(best.estimate.value, &best.sample.unit)
        ),
        false => format!(
            "Of the cells, {} cost least CPU time for each request, but this run cannot tell it from {}",
            named(best),
            list(tied.iter().map(|entry| named(entry)))
        ),
    };
    if let Some(next) = ranking.runner_up() {
        let cost = next.cost.as_ref().map(format_ratio).unwrap_or_default();
        sentence += &format!(
            "; {}, the next, cost {cost} times as much as {}",
            named(next),
            best.name()
        );
    }
    if !tied.is_empty() {
        let cells = list(
            ranking
                .entries
                .iter()
                .filter(|entry| entry.is_tied || entry.name() == best.name())
                .map(|entry| entry.name().to_owned()),
        );
        unknowns.push(format!("which of {cells} costs least"));
    }
    unknowns.push(match results.smallest_difference(CPU) {
        Some(smallest) => format!(
            "CPU times apart whose ratio is below {}, because two copies of one program differed by up to that much",
            format_number(smallest)
        ),
        None => "any CPU times apart, because it has fewer than two rounds".to_owned(),
    });
    sentence + "."
}

/// Joins names: `a, b and c`.
pub(super) fn list(names: impl IntoIterator<Item = String>) -> String {
    join(names, ", ", " and ")
}

/// Joins clauses that contain commas: `a; b; and c`.
fn list_of_clauses(clauses: impl IntoIterator<Item = String>) -> String {
    join(clauses, "; ", "; and ")
}

fn join(parts: impl IntoIterator<Item = String>, separator: &str, last: &str) -> String {
    let parts: Vec<String> = parts.into_iter().collect();
    match parts.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, rest)) => rest.join(separator) + last + end,
        None => String::new(),
    }
}
