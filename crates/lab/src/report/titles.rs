//! Titles that state the finding of a chart. They are computed from the data.

use super::experiment_info::MetricInfo;
use super::figures::View;
use super::table::{capitalize, format_point};
use crate::data::ExperimentResults;
use crate::experiment::Better;
use crate::factors::format_factor;
use crate::stats::median;
use crate::text::format_figure;

/// Formats a ratio: `1.31 times`, `19 times`.
fn format_times(ratio: f64) -> String {
    match ratio {
        10.0.. => format!("{ratio:.0} times"),
        2.0.. => format!("{ratio:.1} times"),
        _ => format!("{ratio:.2} times"),
    }
}

/// Returns the title of a comparison at one point: the best and the worst contender, their ratio if it
/// may be claimed, and the ratio of the best to the limit.
pub(crate) fn comparison(view: &View<'_>, metric: &MetricInfo, x: f64) -> String {
    let mut label = capitalize(&metric.label);
    if view.info.variable.is_some() {
        label += &format!(" ({})", view.describe_point(x));
    }
    let higher = metric.better == Some(Better::Higher);
    let mut values: Vec<(f64, &str)> = view
        .contenders(metric)
        .into_iter()
        .filter_map(|name| Some((view.value(&metric.name, name, x)?, name)))
        .collect();
    values.sort_by(|one, other| one.0.total_cmp(&other.0));
    if higher {
        values.reverse();
    }
    let (Some(&(best, best_name)), Some(&(worst, worst_name))) = (values.first(), values.last())
    else {
        return label;
    };
    let [from, to] = [best, worst].map(|value| format_figure(value, &metric.unit));
    let ratio = match higher {
        true => view.claimable_ratio(&metric.name, best_name, worst_name, x),
        false => view.claimable_ratio(&metric.name, worst_name, best_name, x),
    };
    let mut title = match ratio {
        _ if from == to => format!("{label}: {from} for all"),
        Some(ratio) => format!(
            "{label}: from {from} ({best_name}) to {to} ({worst_name}), {}",
            format_times(ratio.value)
        ),
        None => format!("{label}: {from} to {to}, without a difference that can be claimed"),
    };
    if let Some(limit) = metric.limit_at(x).filter(|limit| *limit > 0.0)
        && !higher
    {
        // If a value is below the limit, the limit does not apply. The title must show this.
        title += &match best < 0.99 * limit {
            true => format!(
                "; the best is below the limit of {}",
                format_figure(limit, &metric.unit)
            ),
            false => format!("; the best is {} the limit", format_times(best / limit)),
        };
    }
    title
}

/// Returns the title of a chart with marked knees. It names the knee at the lowest point.
pub(crate) fn knees(view: &View<'_>, metric: &MetricInfo) -> String {
    let label = capitalize(&metric.label);
    let unit = view.info.variable.as_ref().map_or("", |one| &one.unit);
    let knees = view.contenders(metric).into_iter();
    let knees = knees.filter_map(|name| Some((knee(view.results, &metric.name, name)?, name)));
    match knees.min_by(|(one, _), (other, _)| one.total_cmp(other)) {
        Some((x, name)) => format!(
            "{label}: the first knee is at {} ({name})",
            format_point(x, unit)
        ),
        None => {
            let points = view.results.points(&metric.name);
            let last = points.last().copied().unwrap_or_default();
            format!("{label}: no knee up to {}", format_point(last, unit))
        }
    }
}

/// Returns the knee of a contender's line: the last point before the ratio of the metric to its value at the
/// lowest point exceeds both 2 and the noise. Returns `None` if there is no such point.
pub(crate) fn knee(results: &ExperimentResults, metric: &str, contender: &str) -> Option<f64> {
    let value = |x: f64| median(&results.get(metric, contender, x)?.values());
    let points = results.points(metric).into_iter();
    let mut values = points.filter_map(|x| Some((x, value(x)?)));
    let (mut last, base) = values.next()?;
    let smallest = results.smallest_difference(metric).unwrap_or(1.0);
    for (x, value) in values {
        if value > smallest.max(2.0) * base {
            return Some(last);
        }
        last = x;
    }
    None
}

/// Describes the discarded turns.
pub(crate) fn describe_discarded(results: &ExperimentResults) -> String {
    let discarded = &results.discarded;
    if discarded.turns == 0 {
        return format!("none of {} turns discarded", discarded.total);
    }
    let reasons: Vec<String> = discarded
        .reasons
        .iter()
        .map(|(reason, times)| format!("{reason}: {times}"))
        .collect();
    format!(
        "{} of {} turns discarded ({})",
        discarded.turns,
        discarded.total,
        reasons.join(", ")
    )
}

/// Formats the smallest difference that can be claimed.
pub(crate) fn format_smallest(smallest: Option<f64>) -> String {
    smallest.map_or("none can be claimed".to_owned(), format_factor)
}
