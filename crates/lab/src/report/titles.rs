//! Titles that say what was found, computed.

use super::figures::View;
use super::plot::beat::Strip;
use super::plot::spans::Panel;
use super::subject::{Measure, Subject};
use super::table::{capital, figure_of};
use crate::data::Measured;
use crate::experiment::Better;
use crate::factors::more;
use crate::stats::median;
use crate::text::{figure, number};

/// How a ratio is told: `1.31 times`, `19 times`.
fn times(ratio: f64) -> String {
    match ratio {
        10.0.. => format!("{ratio:.0} times"),
        2.0.. => format!("{ratio:.1} times"),
        _ => format!("{ratio:.2} times"),
    }
}

/// Of rows at one point: who is best and who is worst, if that can be told.
pub(crate) fn dots(view: &View<'_>, metric: &Measure, x: f64) -> String {
    let names = view.measured.contenders(&metric.name);
    let ways = |way: &str| {
        let of_way = names.iter().filter(|name| name.ends_with(way));
        let values = of_way.filter_map(|name| view.value(&metric.name, name, x));
        values.collect::<Vec<f64>>()
    };
    if metric.unit == "ms" && metric.name == "gap" {
        let most = |values: Vec<f64>| values.into_iter().reduce(f64::max);
        let least = |values: Vec<f64>| values.into_iter().reduce(f64::min);
        let others = [ways(": idle"), ways(": offloaded"), ways(": async")].concat();
        if let (Some(inline), Some(others)) = (least(ways(": inline")), most(others))
            && inline > 2.0 * others
        {
            return format!(
                "A blocking call inside the task stops the loop for at least {} on every runtime; on \
                 the blocking pool or with an async client it is never silent for more than {}",
                figure(inline, &metric.unit),
                figure(others, &metric.unit)
            );
        }
    }
    let higher = metric.better == Some(Better::Higher);
    let mistake = view.mistake(metric);
    let mut values: Vec<(f64, &str)> = names
        .iter()
        .filter(|name| Some(**name) != mistake)
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
                "{what}{point}: {from} to {until}, and no difference that can be claimed between \
                 the ends"
            ),
        }
    };
    if let Some(limit) = metric.limit_at(x).filter(|limit| *limit > 0.0)
        && !higher
    {
        // What is below it was not held to it, and that had better be seen.
        title += &match best < 0.99 * limit {
            true => format!(
                "; the limit of {} is none for the best",
                figure(limit, &metric.unit)
            ),
            false => format!("; the best is {} the limit", times(best / limit)),
        };
    }
    title
}

/// Python's mistake beside Python done right.
pub(crate) fn lesson(view: &View<'_>, metric: &Measure, mistake: &str, x: f64) -> String {
    let unit = &metric.unit;
    let Some(wrong) = view.value(&metric.name, mistake, x) else {
        return capital(&metric.what);
    };
    let mut title = format!(
        "{}: {mistake} takes {}",
        capital(&view.at(x)),
        figure(wrong, unit)
    );
    if let Some(right) = view.value(&metric.name, "aiohttp", x) {
        title += &format!(", aiohttp {}", figure(right, unit));
        if let Some(ratio) = view.claimed(&metric.name, mistake, "aiohttp", x) {
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

/// Whether it is latency against an offered rate, which has a knee.
pub(crate) fn is_a_sweep(subject: &Subject, metric: &Measure) -> bool {
    subject.name == "rate" && metric.name == "p99"
}

/// Where a contender's metric bends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Knee {
    /// At the highest point before it is more than twice what it is at the lowest, or more than
    /// noise makes it.
    At(f64),
    /// Nowhere up to the last point.
    Nowhere,
    /// It was not measured at two points.
    Unknown,
}

pub(crate) fn knee(measured: &Measured, metric: &Measure, contender: &str) -> Knee {
    let points = measured.points(&metric.name);
    let value = |x: f64| median(&measured.get(&metric.name, contender, x)?.values());
    let mut values = points.iter().filter_map(|x| Some((*x, value(*x)?)));
    let Some((mut last, base)) = values.next() else {
        return Knee::Unknown;
    };
    let smallest = measured.smallest_difference(&metric.name).unwrap_or(1.0);
    let mut found = Knee::Unknown;
    for (x, value) in values {
        if value > smallest.max(2.0) * base {
            return Knee::At(last);
        }
        found = Knee::Nowhere;
        last = x;
    }
    found
}

/// Of a metric against a variable.
pub(crate) fn lines(view: &View<'_>, metric: &Measure) -> String {
    let what = capital(&metric.what);
    let mistake = view.mistake(metric);
    let mut names = view.measured.contenders(&metric.name);
    names.retain(|name| Some(*name) != mistake);
    let points = view.measured.points(&metric.name);
    let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else {
        return what;
    };
    let variable = view.subject.variable.as_ref();
    let unit = variable.map_or("", |variable| &variable.unit);
    let value = |name: &str, x: f64| view.value(&metric.name, name, x);

    if is_a_sweep(view.subject, metric) {
        let mut knees: Vec<(f64, &str)> = Vec::new();
        let mut never: Vec<&str> = Vec::new();
        for name in &names {
            match knee(view.measured, metric, name) {
                Knee::At(x) => knees.push((x, name)),
                Knee::Nowhere => never.push(name),
                Knee::Unknown => {}
            }
        }
        knees.sort_by(|one, other| one.0.total_cmp(&other.0));
        let told = |(x, name): &(f64, &str)| format!("{} ({name})", figure_of(*x, unit));
        return match (knees.first(), knees.last(), &never[..]) {
            (Some(low), Some(high), []) if low.0 < high.0 => {
                format!("{what} bends between {} and {}", told(low), told(high))
            }
            (Some(low), _, []) => {
                format!("{what} bends at {} for everyone", figure_of(low.0, unit))
            }
            (Some(low), _, never) => format!(
                "{what} bends first at {}; not up to {} for {}",
                told(low),
                figure_of(last, unit),
                never.join(", ")
            ),
            (None, ..) => format!("{what}: no knee up to {}", figure_of(last, unit)),
        };
    }

    if view.subject.name == "dose"
        && let Some(inline) = names.iter().find(|name| name.ends_with("inline"))
        && let (Some(low), Some(high)) = (value(inline, first), value(inline, last))
    {
        let slope = (high - low) / (last - first);
        let others = names.iter().filter(|name| !name.ends_with("inline"));
        let others = others.flat_map(|name| points.iter().filter_map(|x| value(name, *x)));
        let mut title = format!(
            "Inside the task the gap grows by {} {} with each {unit} of delay",
            number(slope),
            metric.unit
        );
        if let Some(most) = others.reduce(f64::max) {
            title += &format!(
                "; otherwise it is at most {}, whatever the delay",
                figure(most, &metric.unit)
            );
        }
        return title;
    }

    if view.subject.name == "blockers"
        && let Some(title) = blockers(view, metric, &names, &points)
    {
        return title;
    }

    // At the end of the axis, where differences are largest.
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
            "{what}, {at}: {} to {}, and no difference that can be claimed",
            figure(best, &metric.unit),
            figure(worst, &metric.unit)
        ),
    }
}

/// How many blocking calls it takes until nobody's heart beats as it did with one.
fn blockers(view: &View<'_>, metric: &Measure, names: &[&str], points: &[f64]) -> Option<String> {
    let value = |name: &str, x: f64| view.value(&metric.name, name, x);
    let first = *points.first()?;
    let stands = |x: &f64| {
        let mut stand = names
            .iter()
            .map(|name| Some(value(name, *x)? > 5.0 * value(name, first)?));
        stand.all(|stands| stands == Some(true))
    };
    let stop = points.iter().position(stands).filter(|n| *n > 0)?;
    let before = names
        .iter()
        .filter_map(|name| value(name, points[stop - 1]));
    let after = names.iter().filter_map(|name| value(name, points[stop]));
    let calls = |x: f64| match x {
        1.0 => "1 blocking call".to_owned(),
        x => format!("{} blocking calls", figure_of(x, "")),
    };
    Some(format!(
        "With {} the loop beats on, with gaps of at most {}; with {} it stands still for at least \
         {}, on every runtime",
        calls(points[stop - 1]),
        figure(before.reduce(f64::max)?, &metric.unit),
        calls(points[stop]),
        figure(after.reduce(f64::min)?, &metric.unit)
    ))
}

pub(crate) fn timeline(panels: &[Panel], unit: &str) -> String {
    let find = |name: &str| panels.iter().find(|panel| panel.name.contains(name));
    match (find("one after"), find("gathered")) {
        (Some(one), Some(gathered)) => format!(
            "{} pages took {} one after another, and {} gathered: {} sooner",
            one.spans.len(),
            figure(one.end(), unit),
            figure(gathered.end(), unit),
            times(one.end() / gathered.end())
        ),
        _ => {
            let told: Vec<String> = panels
                .iter()
                .map(|panel| format!("{}: {}", panel.name, figure(panel.end(), unit)))
                .collect();
            told.join("; ")
        }
    }
}

pub(crate) fn heartbeat(strips: &[Strip], unit: &str) -> String {
    let hole = |strip: &Strip| strip.hole().map_or(0.0, |(_, gap)| gap);
    let inline = strips.iter().find(|strip| strip.name.ends_with("inline"));
    let others = strips
        .iter()
        .filter(|strip| !strip.name.ends_with("inline"));
    match (inline, others.map(hole).reduce(f64::max)) {
        (Some(inline), Some(others)) => format!(
            "A blocking call inside the task stopped the heart for {}; otherwise it was silent for \
             at most {}",
            figure(hole(inline), unit),
            figure(others, unit)
        ),
        _ => {
            let longest = strips.iter().map(hole).fold(0.0, f64::max);
            format!("The longest silence was {}", figure(longest, unit))
        }
    }
}

/// What is thrown away, for people.
pub(crate) fn thrown(measured: &Measured) -> String {
    let thrown = &measured.thrown;
    if thrown.turns == 0 {
        return format!("none of {} {} thrown away", thrown.of, what(measured));
    }
    let reasons: Vec<String> = thrown
        .reasons
        .iter()
        .map(|(reason, times)| format!("{reason}: {times}"))
        .collect();
    format!(
        "{} of {} {} thrown away ({})",
        thrown.turns,
        thrown.of,
        what(measured),
        reasons.join(", ")
    )
}

/// What is counted: in a trace each event has its line.
fn what(measured: &Measured) -> &'static str {
    match measured.trace {
        true => "events",
        false => "turns",
    }
}

/// A threshold as a percentage, or that there is none.
pub(crate) fn smallest(smallest: Option<f64>) -> String {
    smallest.map_or("none can be claimed".to_owned(), more)
}
