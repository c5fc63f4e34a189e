//! Titles that state the finding of a chart. They are computed from the data.

use super::experiment_info::{ExperimentInfo, MetricInfo};
use super::figures::View;
use super::table::{capital, figure_of};
use crate::data::ExperimentResults;
use crate::experiment::Better;
use crate::factors::format_factor;
use crate::stats::median;
use crate::text::figure;

/// Formats a ratio: `1.31 times`, `19 times`.
fn times(ratio: f64) -> String {
    match ratio {
        10.0.. => format!("{ratio:.0} times"),
        2.0.. => format!("{ratio:.1} times"),
        _ => format!("{ratio:.2} times"),
    }
}

/// Returns the title of a dot plot: the best and the worst contender, if the difference can be claimed.
pub(crate) fn dot_plot(view: &View<'_>, metric: &MetricInfo, x: f64) -> String {
    let names = view.measured.contenders(&metric.name);
    let with_mode = |mode: &str| {
        let contenders = names.iter().filter(|name| name.ends_with(mode));
        let values = contenders.filter_map(|name| view.value(&metric.name, name, x));
        values.collect::<Vec<f64>>()
    };
    if metric.unit == "ms" && metric.name == "gap" {
        let most = |values: Vec<f64>| values.into_iter().reduce(f64::max);
        let least = |values: Vec<f64>| values.into_iter().reduce(f64::min);
        let others = [
            with_mode(": idle"),
            with_mode(": offloaded"),
            with_mode(": async"),
        ]
        .concat();
        if let (Some(inline), Some(others)) = (least(with_mode(": inline")), most(others))
            && inline > 2.0 * others
        {
            return format!(
                "A blocking call inside the task stalls the loop for at least {} on every runtime; on \
                 the blocking pool or with an async client, the largest gap is {}",
                figure(inline, &metric.unit),
                figure(others, &metric.unit)
            );
        }
    }
    let higher = metric.better == Some(Better::Higher);
    let blocking = view.blocking_contender(metric);
    let mut values: Vec<(f64, &str)> = names
        .iter()
        .filter(|name| Some(**name) != blocking)
        .filter_map(|name| Some((view.value(&metric.name, name, x)?, *name)))
        .collect();
    values.sort_by(|one, other| one.0.total_cmp(&other.0));
    if higher {
        values.reverse();
    }
    let (Some(&(best, best_name)), Some(&(worst, worst_name))) = (values.first(), values.last())
    else {
        return capital(&metric.what);
    };
    let what = capital(&metric.what);
    let point = match view.at(x) {
        at if at.is_empty() => String::new(),
        at => format!(", {at}"),
    };
    let mut title = if values.len() == 1 {
        format!("{what}{point}: {}", figure(best, &metric.unit))
    } else {
        let (of, to) = if higher {
            (best_name, worst_name)
        } else {
            (worst_name, best_name)
        };
        let from = figure(best, &metric.unit);
        let until = figure(worst, &metric.unit);
        match view.claimed(&metric.name, of, to, x) {
            _ if from == until => format!("{what}{point}: {from} for all"),
            Some(ratio) => format!(
                "{what}{point}: from {from} ({best_name}) to {until} ({worst_name}), {}",
                times(ratio.value)
            ),
            None => format!(
                "{what}{point}: {from} to {until}, without a difference that can be claimed"
            ),
        }
    };
    if let Some(limit) = metric.limit_at(x).filter(|limit| *limit > 0.0)
        && !higher
    {
        // A value below the limit means that the limit does not apply, which must be visible.
        title += &match best < 0.99 * limit {
            true => format!(
                "; the best is below the limit of {}",
                figure(limit, &metric.unit)
            ),
            false => format!("; the best is {} the limit", times(best / limit)),
        };
    }
    title
}

/// Returns the title of the chart with the blocking client in `async def`.
pub(crate) fn blocking_in_async(
    view: &View<'_>,
    metric: &MetricInfo,
    blocking: &str,
    x: f64,
) -> String {
    let unit = &metric.unit;
    let Some(wrong) = view.value(&metric.name, blocking, x) else {
        return capital(&metric.what);
    };
    let mut title = format!(
        "{}: {blocking} takes {}",
        capital(&view.at(x)),
        figure(wrong, unit)
    );
    if let Some(right) = view.value(&metric.name, "aiohttp", x) {
        title += &format!(", aiohttp {}", figure(right, unit));
        if let Some(ratio) = view.claimed(&metric.name, blocking, "aiohttp", x) {
            title += &format!(", so a blocking client costs {}", times(ratio.value));
        }
    }
    let ours = [
        "tokio/hyper",
        "smol/isahc",
        "async-std/surf",
        "threads/ureq",
    ];
    let values = ours
        .iter()
        .filter_map(|name| view.value(&metric.name, name, x));
    let values: Vec<f64> = values.collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    if !values.is_empty() {
        title += &format!(
            "; ours take {} to {}",
            figure(least, unit),
            figure(most, unit)
        );
    }
    title
}

/// Returns whether the metric is the latency at increasing request rates.
pub(crate) fn is_rate_sweep(info: &ExperimentInfo, metric: &MetricInfo) -> bool {
    info.name == "rate" && metric.name == "p99"
}

/// The saturation point of a contender: the knee of its latency curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SaturationPoint {
    /// The last point before the metric exceeds twice its value at the lowest point, and the noise.
    At(f64),
    /// The metric stays below that up to the last point.
    NotReached,
    /// There are fewer than two points.
    Unknown,
}

pub(crate) fn saturation_point(
    measured: &ExperimentResults,
    metric: &MetricInfo,
    contender: &str,
) -> SaturationPoint {
    let points = measured.points(&metric.name);
    let value = |x: f64| median(&measured.get(&metric.name, contender, x)?.values());
    let mut values = points.iter().filter_map(|x| Some((*x, value(*x)?)));
    let Some((mut last, base)) = values.next() else {
        return SaturationPoint::Unknown;
    };
    let smallest = measured.smallest_difference(&metric.name).unwrap_or(1.0);
    let mut found = SaturationPoint::Unknown;
    for (x, value) in values {
        if value > smallest.max(2.0) * base {
            return SaturationPoint::At(last);
        }
        found = SaturationPoint::NotReached;
        last = x;
    }
    found
}

/// Returns the title of a line chart.
pub(crate) fn line_chart(view: &View<'_>, metric: &MetricInfo) -> String {
    let what = capital(&metric.what);
    let blocking = view.blocking_contender(metric);
    let mut names = view.measured.contenders(&metric.name);
    names.retain(|name| Some(*name) != blocking);
    let points = view.measured.points(&metric.name);
    let Some(last) = points.last().copied() else {
        return what;
    };
    let variable = view.info.variable.as_ref();
    let unit = variable.map_or("", |variable| &variable.unit);
    let value = |name: &str, x: f64| view.value(&metric.name, name, x);

    if is_rate_sweep(view.info, metric) {
        let mut reached: Vec<(f64, &str)> = Vec::new();
        let mut not_reached: Vec<&str> = Vec::new();
        for name in &names {
            match saturation_point(view.measured, metric, name) {
                SaturationPoint::At(x) => reached.push((x, name)),
                SaturationPoint::NotReached => not_reached.push(name),
                SaturationPoint::Unknown => {}
            }
        }
        reached.sort_by(|one, other| one.0.total_cmp(&other.0));
        let describe = |(x, name): &(f64, &str)| format!("{} ({name})", figure_of(*x, unit));
        return match (reached.first(), reached.last(), &not_reached[..]) {
            (Some(low), Some(high), []) if low.0 < high.0 => {
                format!(
                    "{what} has its knee between {} and {}",
                    describe(low),
                    describe(high)
                )
            }
            (Some(low), _, []) => {
                format!("{what} has its knee at {} for all", figure_of(low.0, unit))
            }
            (Some(low), _, not_reached) => format!(
                "{what} has its first knee at {}; none up to {} for {}",
                describe(low),
                figure_of(last, unit),
                not_reached.join(", ")
            ),
            (None, ..) => format!("{what}: no knee up to {}", figure_of(last, unit)),
        };
    }

    if view.info.name == "blockers"
        && let Some(title) = blockers(view, metric, &names, &points)
    {
        return title;
    }

    // Compare at the last point, where differences are largest.
    let mut ends: Vec<(f64, &str)> = names
        .iter()
        .filter_map(|name| Some((value(name, last)?, *name)))
        .collect();
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    if metric.better == Some(Better::Higher) {
        ends.reverse();
    }
    let (Some(&(best, best_name)), Some(&(worst, worst_name))) = (ends.first(), ends.last()) else {
        return what;
    };
    let at = view.at(last);
    if ends.len() == 1 || best_name == worst_name {
        return format!("{what}, {at}: {} ({best_name})", figure(best, &metric.unit));
    }
    let (of, to) = if best < worst {
        (worst_name, best_name)
    } else {
        (best_name, worst_name)
    };
    match view.claimed(&metric.name, of, to, last) {
        Some(ratio) => format!(
            "{what}, {at}: {} for {best_name}, {} for {worst_name}, {}",
            figure(best, &metric.unit),
            figure(worst, &metric.unit),
            times(ratio.value)
        ),
        None => format!(
            "{what}, {at}: {} to {}, without a difference that can be claimed",
            figure(best, &metric.unit),
            figure(worst, &metric.unit)
        ),
    }
}

/// Returns a title with the number of blocking calls that stalls all runtimes.
fn blockers(
    view: &View<'_>,
    metric: &MetricInfo,
    names: &[&str],
    points: &[f64],
) -> Option<String> {
    let value = |name: &str, x: f64| view.value(&metric.name, name, x);
    let first = *points.first()?;
    let is_stalled = |x: &f64| {
        let mut stalled = names
            .iter()
            .map(|name| Some(value(name, *x)? > 5.0 * value(name, first)?));
        stalled.all(|stalled| stalled == Some(true))
    };
    let index = points.iter().position(is_stalled).filter(|n| *n > 0)?;
    let before = names
        .iter()
        .filter_map(|name| value(name, points[index - 1]));
    let after = names.iter().filter_map(|name| value(name, points[index]));
    let calls = |x: f64| match x {
        1.0 => "1 blocking call".to_owned(),
        x => format!("{} blocking calls", figure_of(x, "")),
    };
    Some(format!(
        "With {}, the largest gap is {}; with {}, the loop stalls for at least {} on every \
         runtime",
        calls(points[index - 1]),
        figure(before.reduce(f64::max)?, &metric.unit),
        calls(points[index]),
        figure(after.reduce(f64::min)?, &metric.unit)
    ))
}

/// Describes the discarded turns.
pub(crate) fn discarded(measured: &ExperimentResults) -> String {
    let discarded = &measured.discarded;
    if discarded.turns == 0 {
        return format!("none of {} turns thrown away", discarded.total);
    }
    let reasons: Vec<String> = discarded
        .reasons
        .iter()
        .map(|(reason, times)| format!("{reason}: {times}"))
        .collect();
    format!(
        "{} of {} turns thrown away ({})",
        discarded.turns,
        discarded.total,
        reasons.join(", ")
    )
}

/// Formats the smallest difference.
pub(crate) fn smallest(smallest: Option<f64>) -> String {
    smallest.map_or("none can be claimed".to_owned(), format_factor)
}
