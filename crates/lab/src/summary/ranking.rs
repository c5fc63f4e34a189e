//! Ranks contenders by a metric.

use crate::data::{ExperimentResults, Sample};
use crate::experiment::Better;
use crate::stats::{Estimate, may_claim};

/// Contenders of one experiment at one point, the best one first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranking<'a> {
    pub(crate) entries: Vec<RankedContender<'a>>,
}

/// A contender, with its cost relative to the best one.
#[derive(Clone, Debug)]
pub(crate) struct RankedContender<'a> {
    pub(crate) sample: &'a Sample,
    pub(crate) estimate: Estimate,
    /// How many times worse the contender is than the best one. `None` for the best one, and if the two have no
    /// common round.
    pub(crate) cost: Option<Estimate>,
    /// Whether the run cannot tell the contender from the best one.
    pub(crate) is_tied: bool,
}

impl<'a> Ranking<'a> {
    /// Ranks the contenders that have results by their medians.
    pub(crate) fn new(
        results: &'a ExperimentResults,
        metric: &str,
        better: Better,
        x: f64,
        contenders: &[String],
    ) -> Self {
        let samples = contenders
            .iter()
            .filter_map(|name| results.get(metric, name, x));
        let mut entries: Vec<RankedContender<'a>> = samples
            .filter_map(|sample| {
                Some(RankedContender {
                    sample,
                    estimate: sample.estimate()?,
                    cost: None,
                    is_tied: false,
                })
            })
            .collect();
        entries.sort_by(|one, other| {
            let order = one.estimate.value.total_cmp(&other.estimate.value);
            match better {
                Better::Lower => order,
                Better::Higher => order.reverse(),
            }
        });
        if let Some((best, others)) = entries.split_first_mut() {
            for other in others {
                other.cost = cost(
                    results,
                    metric,
                    better,
                    &other.sample.contender,
                    best.name(),
                    x,
                );
                other.is_tied = !other
                    .cost
                    .is_some_and(|cost| is_worse(&cost, results, metric));
            }
        }
        Self { entries }
    }

    /// Returns the best contender.
    pub(crate) fn best(&self) -> Option<&RankedContender<'a>> {
        self.entries.first()
    }

    /// Returns the contenders that the run cannot tell from the best one, without the best one.
    pub(crate) fn tied(&self) -> Vec<&RankedContender<'a>> {
        self.entries.iter().filter(|entry| entry.is_tied).collect()
    }

    /// Returns the best of the contenders that are worse than the best one for certain.
    pub(crate) fn runner_up(&self) -> Option<&RankedContender<'a>> {
        self.entries.iter().skip(1).find(|entry| !entry.is_tied)
    }

    pub(crate) fn find(&self, contender: &str) -> Option<&RankedContender<'a>> {
        self.entries.iter().find(|entry| entry.name() == contender)
    }
}

impl<'a> RankedContender<'a> {
    pub(crate) fn name(&self) -> &'a str {
        &self.sample.contender
    }
}

/// Returns how many times worse the contender `of` is than the contender `than`.
pub(crate) fn cost(
    results: &ExperimentResults,
    metric: &str,
    better: Better,
    of: &str,
    than: &str,
    x: f64,
) -> Option<Estimate> {
    match better {
        Better::Lower => results.ratio(metric, of, than, x),
        Better::Higher => results.ratio(metric, than, of, x),
    }
}

/// Returns whether a cost may be claimed to be larger than 1.
pub(crate) fn is_worse(cost: &Estimate, results: &ExperimentResults, metric: &str) -> bool {
    cost.value > 1.0 && may_claim(cost, results.smallest_difference(metric))
}
