//! The titles of charts. A title consists of statements, and each statement has the numbers that it claims. They
//! are medians of the same chart, or follow from these medians, so that a title cannot contradict its table.
//!
//! - A statement compares only like with like: kinds of contenders, such as `inline` and `offloaded`, are listed
//!   separately, and a value that is the experiment's own timeout is not compared.
//! - A factor between two contenders is stated only if it may be claimed. See
//!   [`may_claim`](crate::stats::may_claim).
//! - Where nothing can be stated, the title is only the name of the metric.

use std::fmt::{self, Display, Formatter};

use super::experiment_info::MetricInfo;
use super::figures::View;
use super::table::{capitalize, format_exact, format_point};
use crate::data::ExperimentResults;
use crate::experiment::{Better, ChartStyle};
use crate::factors::{Spread, format_factor};
use crate::stats::median;
use crate::text::format_figure;

/// A larger factor is not stated, because one of its two values is almost zero.
const LARGEST_FACTOR: f64 = 100.0;

/// A title: the name of the metric, and what the chart shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Title {
    label: String,
    /// The variable and the point, if the title describes a single point.
    point: Option<String>,
    /// The name of the variable, if the title describes several points.
    variable: Option<String>,
    /// The statements about the single point, or about all points.
    statements: Vec<Statement>,
    /// The statements about each point, if the title describes several points.
    by_point: Vec<(String, Vec<Statement>)>,
}

/// A statement about the medians of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Statement {
    /// The lowest and the highest value.
    Range {
        lowest: End,
        highest: End,
        /// The number of contenders.
        contenders: usize,
        difference: Difference,
        limit: Option<TimesLimit>,
    },
    /// The lowest and the highest value of one kind of contender.
    Kind {
        name: String,
        lowest: f64,
        highest: f64,
        unit: String,
        baseline: Option<TimesBaseline>,
    },
    /// These contenders end at the experiment's timeout, so their values say nothing else.
    AtTimeout { names: Vec<String>, timeout: String },
    /// How much the runtime or the client matters, between two cells that differ only in it.
    Changing {
        part: &'static str,
        spread: Spread,
        may_claim: bool,
    },
    /// The first contender that does not reach the target, and the number of other contenders that do not reach it at
    /// the same point.
    LevelsOff { end: End, at: String },
    /// The number of contenders that reach the target at every point.
    Reach {
        count: usize,
        contenders: usize,
        target: &'static str,
        up_to: String,
    },
    /// The first contender that exceeds twice its value at the lowest point, and the number of other contenders that
    /// exceed it at the same point.
    Doubles { end: End, at: String, base: String },
    /// The number of contenders that never exceed twice their value at the lowest point.
    StayBelowDouble {
        count: usize,
        contenders: usize,
        base: String,
        up_to: String,
    },
}

/// A median, with the name of its contender.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Median {
    pub(crate) contender: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
}

/// A median at one end of a range. Other contenders can have the same text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    median: Median,
    others: usize,
}

/// The difference between the lowest and the highest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Difference {
    /// Both values have the same text.
    None,
    /// The factor may be claimed.
    Factor(f64),
    /// The noise was not measured, or one of the two values is almost zero.
    NotClaimed,
    /// The factor is not larger than the noise.
    Noise,
}

/// The lowest and the highest value, as multiples of the limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimesLimit {
    limit: String,
    lowest: f64,
    highest: f64,
}

/// The values of a kind, as multiples of the values of another kind with the same first part of the name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimesBaseline {
    name: String,
    lowest: f64,
    highest: f64,
}

impl Display for Title {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)?;
        if let Some(point) = &self.point {
            write!(f, " ({point})")?;
        }
        if let Some(variable) = &self.variable {
            write!(f, ", by {variable}")?;
        }
        if !self.statements.is_empty() {
            write!(f, ": {}", join(&self.statements))?;
        }
        for (point, statements) in &self.by_point {
            write!(f, ". At {point}: {}", join(statements))?;
        }
        Ok(())
    }
}

fn join(statements: &[Statement]) -> String {
    let texts: Vec<String> = statements.iter().map(Statement::to_string).collect();
    texts.join("; ")
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range {
                lowest,
                highest,
                contenders,
                difference,
                limit,
            } => {
                match difference {
                    _ if *contenders == 1 => write!(f, "{lowest}")?,
                    Difference::None => {
                        write!(f, "{} for all {contenders}", lowest.median.figure())?;
                    }
                    Difference::Factor(factor) => {
                        write!(
                            f,
                            "{lowest} to {highest}, a factor of {}",
                            format_ratio(*factor)
                        )?;
                    }
                    Difference::NotClaimed => write!(f, "{lowest} to {highest}")?,
                    Difference::Noise => write!(f, "{lowest} to {highest}, which may be noise")?,
                }
                match limit {
                    Some(limit) => write!(f, " ({limit})"),
                    None => Ok(()),
                }
            }
            Self::Kind {
                name,
                lowest,
                highest,
                unit,
                baseline,
            } => {
                let [low, high] = [lowest, highest].map(|value| format_figure(*value, unit));
                write!(f, "{name}: {}", range(&low, &high))?;
                match baseline {
                    Some(baseline) => write!(f, " ({baseline})"),
                    None => Ok(()),
                }
            }
            Self::AtTimeout { names, timeout } => write!(
                f,
                "{}: only at the request's timeout of {timeout}",
                names.join(", ")
            ),
            Self::Changing {
                part,
                spread,
                may_claim,
            } => {
                let noise = if *may_claim {
                    ""
                } else {
                    ", which may be noise"
                };
                write!(
                    f,
                    "changing the {part}: a factor of up to {}{noise}",
                    format_ratio(spread.factor)
                )
            }
            Self::LevelsOff { end, at } => {
                write!(f, "first to level off: {}, at {at}", end.by_name())
            }
            Self::Reach {
                count,
                contenders,
                target,
                up_to,
            } => write!(
                f,
                "{} reach 99 % of {target} up to {up_to}",
                share(*count, *contenders)
            ),
            Self::Doubles { end, at, base } => write!(
                f,
                "first above twice the value at {base}: {}, at {at}",
                end.by_name()
            ),
            Self::StayBelowDouble {
                count,
                contenders,
                base,
                up_to,
            } => write!(
                f,
                "{} stay within twice their value at {base} up to {up_to}",
                share(*count, *contenders)
            ),
        }
    }
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Median { contender, .. } = &self.median;
        write!(
            f,
            "{} ({contender}{})",
            self.median.figure(),
            and_others(self.others)
        )
    }
}

impl End {
    /// Formats the name before the value: `tokio (101 ms) and 2 others`.
    fn by_name(&self) -> String {
        let Median { contender, .. } = &self.median;
        format!(
            "{contender} ({}){}",
            self.median.figure(),
            and_others(self.others)
        )
    }
}

impl Median {
    fn figure(&self) -> String {
        format_figure(self.value, &self.unit)
    }
}

impl Display for TimesLimit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let times = range(&format_ratio(self.lowest), &format_ratio(self.highest));
        write!(f, "{times} times the limit of {}", self.limit)
    }
}

impl Display for TimesBaseline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let times = range(&format_ratio(self.lowest), &format_ratio(self.highest));
        write!(f, "{times} times {}", self.name)
    }
}

/// Formats a ratio: `1.31`, `2.4`, `19`.
pub(crate) fn format_ratio(ratio: f64) -> String {
    match ratio {
        9.95.. => format!("{ratio:.0}"),
        1.995.. => format!("{ratio:.1}"),
        _ => format!("{ratio:.2}"),
    }
}

/// Formats a range: `1.1 ms to 2.3 ms`, or one of the two texts if they are equal.
fn range(low: &str, high: &str) -> String {
    match low == high {
        true => low.to_owned(),
        false => format!("{low} to {high}"),
    }
}

fn and_others(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => " and 1 other".to_owned(),
        _ => format!(" and {others} others"),
    }
}

fn share(count: usize, contenders: usize) -> String {
    match count {
        0 => format!("none of {contenders}"),
        _ if count == contenders => format!("all {contenders}"),
        _ => format!("{count} of {contenders}"),
    }
}

/// Returns the title of a chart that shows these points.
pub(crate) fn title(view: &View<'_>, metric: &MetricInfo, points: &[f64]) -> Title {
    let label = capitalize(&metric.label);
    let over_points = over_points(view, metric, points);
    let (Some(variable), [first, .., last]) = (&view.info.variable, points) else {
        let x = points.first().copied().unwrap_or_default();
        let mut statements = at_point(view, metric, x);
        statements.extend(over_points);
        return Title {
            label,
            point: Some(view.describe_point(x)).filter(|point| !point.is_empty()),
            variable: None,
            statements,
            by_point: Vec::new(),
        };
    };
    let by_point = [first, last].map(|x| {
        let point = format_point(*x, &variable.unit);
        (point, at_point(view, metric, *x))
    });
    let by_point = by_point.into_iter().filter(|(_, made)| !made.is_empty());
    Title {
        label,
        point: None,
        variable: Some(variable.name.clone()),
        statements: over_points,
        by_point: by_point.collect(),
    }
}

/// Returns the title of a heat map: the range of its cells, and how much the runtime and the client matter.
pub(crate) fn of_cells(view: &View<'_>, metric: &MetricInfo, x: f64) -> Title {
    let cells: Vec<Median> = view
        .medians(metric, x)
        .into_iter()
        .filter(|one| view.is_in_heat_map(&one.contender))
        .collect();
    let mut statements: Vec<Statement> = range_of(view, metric, x, &cells).into_iter().collect();
    let has_noise = view.results.smallest_difference(&metric.name).is_some();
    if let Some(spreads) = view.spreads(metric, x).filter(|_| has_noise) {
        let parts = [
            ("runtime", spreads.between_runtimes()),
            ("client", spreads.between_clients()),
        ];
        statements.extend(parts.map(|(part, spread)| Statement::Changing {
            part,
            spread: spread.clone(),
            may_claim: view.may_claim(&metric.name, &spread.lowest, &spread.highest, x),
        }));
    }
    Title {
        label: capitalize(&metric.label),
        point: Some(view.describe_point(x)).filter(|point| !point.is_empty()),
        variable: None,
        statements,
        by_point: Vec::new(),
    }
}

/// Returns the statements about the contenders at one point.
fn at_point(view: &View<'_>, metric: &MetricInfo, x: f64) -> Vec<Statement> {
    let all = view.medians(metric, x);
    let (ended, compared): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|one| metric.is_timeout(one.value));
    // If names have two parts, a name with one part is a kind of its own. Otherwise, contenders without a kind are
    // compared with each other.
    let has_groups = compared.iter().any(|one| one.contender.contains(": "));
    let (of_kinds, plain): (Vec<_>, Vec<_>) = compared
        .into_iter()
        .partition(|one| has_groups || kind(&one.contender) != one.contender);
    let mut statements: Vec<Statement> = range_of(view, metric, x, &plain).into_iter().collect();
    statements.extend(kinds(view, metric, x, &of_kinds));
    if let Some(timeout) = metric.timeout.filter(|_| !ended.is_empty()) {
        statements.push(Statement::AtTimeout {
            names: ended.into_iter().map(|one| one.contender).collect(),
            timeout: format_exact(timeout, &metric.unit),
        });
    }
    statements
}

fn range_of(view: &View<'_>, metric: &MetricInfo, x: f64, medians: &[Median]) -> Option<Statement> {
    let by_value = |one: &&Median, other: &&Median| one.value.total_cmp(&other.value);
    let low = medians.iter().min_by(by_value)?;
    let high = medians.iter().max_by(by_value)?;
    let limit = metric.limit_at(x).filter(|limit| *limit > 0.0);
    let limit = limit.filter(|_| metric.better != Some(Better::Higher));
    let end = |end: &Median| End {
        others: medians
            .iter()
            .filter(|one| one.figure() == end.figure())
            .count()
            - 1,
        median: end.clone(),
    };
    Some(Statement::Range {
        lowest: end(low),
        highest: end(high),
        contenders: medians.len(),
        difference: difference(view, metric, x, low, high),
        limit: limit.map(|limit| TimesLimit {
            limit: format_exact(limit, &metric.unit),
            lowest: low.value / limit,
            highest: high.value / limit,
        }),
    })
}

fn difference(
    view: &View<'_>,
    metric: &MetricInfo,
    x: f64,
    low: &Median,
    high: &Median,
) -> Difference {
    let factor = high.value / low.value;
    if low.figure() == high.figure() {
        Difference::None
    } else if view.results.smallest_difference(&metric.name).is_none() {
        Difference::NotClaimed
    } else if !view.may_claim(&metric.name, &low.contender, &high.contender, x) {
        Difference::Noise
    } else if factor > LARGEST_FACTOR {
        Difference::NotClaimed
    } else {
        Difference::Factor(factor)
    }
}

/// Returns the kind of a contender: the second part of a name such as `tokio: inline`, the addition of a name such as
/// `tokio/hyper, probed`, or the whole name.
fn kind(contender: &str) -> &str {
    let second = contender.split_once(": ").or(contender.rsplit_once(", "));
    second.map_or(contender, |(_, kind)| kind)
}

/// Describes each kind of contender. If a kind has a variant and a setting, such as `a session each, https`, it is
/// compared with the first variant in the same setting.
fn kinds(view: &View<'_>, metric: &MetricInfo, x: f64, medians: &[Median]) -> Vec<Statement> {
    let mut names: Vec<&str> = Vec::new();
    for name in medians.iter().map(|one| kind(&one.contender)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let statement = |name: &&str| {
        let of_kind: Vec<&Median> = medians
            .iter()
            .filter(|one| kind(&one.contender) == *name)
            .collect();
        let (lowest, highest) = extremes(of_kind.iter().map(|one| one.value))?;
        let setting = name.split_once(", ").map(|(_, setting)| setting);
        let same_setting = |other: &&&str| {
            setting.is_some() && other.split_once(", ").map(|(_, setting)| setting) == setting
        };
        let baseline = names.iter().find(same_setting).filter(|one| *one != name);
        Some(Statement::Kind {
            name: (*name).to_owned(),
            lowest,
            highest,
            unit: of_kind.first()?.unit.clone(),
            baseline: baseline.and_then(|one| times_baseline(view, metric, x, &of_kind, one)),
        })
    };
    names.iter().filter_map(statement).collect()
}

/// Compares each contender of a kind with the contender of another kind that has the same first part. Returns
/// `None` unless every ratio may be claimed.
fn times_baseline(
    view: &View<'_>,
    metric: &MetricInfo,
    x: f64,
    of_kind: &[&Median],
    baseline: &str,
) -> Option<TimesBaseline> {
    let mut ratios = Vec::new();
    for one in of_kind {
        let (first, _) = one.contender.split_once(": ")?;
        let other = format!("{first}: {baseline}");
        let ratio = one.value / view.value(&metric.name, &other, x)?;
        let may_claim = view.may_claim(&metric.name, &other, &one.contender, x);
        ratios.push(Some(ratio).filter(|ratio| may_claim && *ratio <= LARGEST_FACTOR)?);
    }
    let (lowest, highest) = extremes(ratios.into_iter())?;
    Some(TimesBaseline {
        name: baseline.to_owned(),
        lowest,
        highest,
    })
}

fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut extremes = None;
    for value in values {
        let (low, high) = extremes.unwrap_or((value, value));
        extremes = Some((f64::min(low, value), f64::max(high, value)));
    }
    extremes
}

/// Returns the statements about several points: where a contender no longer reaches the target, and where it exceeds
/// twice its value at the lowest point.
fn over_points(view: &View<'_>, metric: &MetricInfo, points: &[f64]) -> Vec<Statement> {
    let ([first, .., last], Some(variable)) = (points, &view.info.variable) else {
        return Vec::new();
    };
    let point = |x: f64| format_point(x, &variable.unit);
    let mut statements = Vec::new();
    if let Some(target) = &metric.target {
        let failing = failing(view, metric, |x, value, _| !metric.reaches_target(x, value));
        if let Some((x, end)) = failing.first {
            statements.push(Statement::LevelsOff { end, at: point(x) });
        }
        statements.extend((failing.contenders > 0).then(|| Statement::Reach {
            count: failing.others,
            contenders: failing.contenders,
            target: target.description,
            up_to: point(*last),
        }));
    }
    if metric.chart_style == ChartStyle::MarkedKnees {
        let failing = failing(view, metric, |_, value, base| is_above_double(value, base));
        if let Some((x, end)) = failing.first {
            statements.push(Statement::Doubles {
                end,
                at: point(x),
                base: point(*first),
            });
        }
        statements.extend(
            (failing.contenders > 0).then(|| Statement::StayBelowDouble {
                count: failing.others,
                contenders: failing.contenders,
                base: point(*first),
                up_to: point(*last),
            }),
        );
    }
    statements
}

/// The contenders that fail a condition at some point.
struct Failing {
    /// The lowest point at which a contender fails, and the first contender that fails there.
    first: Option<(f64, End)>,
    /// The number of contenders that fail at no point.
    others: usize,
    /// The number of contenders that have a value at each point.
    contenders: usize,
}

/// Finds the contenders for which `fails` holds at some point. `fails` has as arguments the point, the value, and
/// the value at the lowest point.
fn failing(view: &View<'_>, metric: &MetricInfo, fails: impl Fn(f64, f64, f64) -> bool) -> Failing {
    let points = view.results.points(&metric.name);
    let mut found = Failing {
        first: None,
        others: 0,
        contenders: 0,
    };
    for name in view.contenders(metric) {
        let values: Option<Vec<f64>> = points
            .iter()
            .map(|x| view.value(&metric.name, name, *x))
            .collect();
        let Some(values) = values.filter(|values| !values.is_empty()) else {
            continue;
        };
        found.contenders += 1;
        let mut at = points.iter().zip(&values);
        let Some((x, value)) = at.find(|(x, value)| fails(**x, **value, values[0])) else {
            found.others += 1;
            continue;
        };
        match &mut found.first {
            Some((first, _)) if *first < *x => {}
            Some((first, end)) if *first == *x => end.others += 1,
            first => {
                let median = Median {
                    contender: name.to_owned(),
                    value: *value,
                    unit: metric.unit.clone(),
                };
                *first = Some((*x, End { median, others: 0 }));
            }
        }
    }
    found
}

fn is_above_double(value: f64, base: f64) -> bool {
    value > 2.0 * base
}

/// Returns the knee of a contender's line: the last point before the metric exceeds twice its value at the lowest
/// point. Returns `None` if there is no such point.
pub(crate) fn knee(results: &ExperimentResults, metric: &str, contender: &str) -> Option<f64> {
    let value = |x: f64| median(&results.get(metric, contender, x)?.values());
    let points = results.points(metric).into_iter();
    let mut values = points.filter_map(|x| Some((x, value(x)?)));
    let (mut last, base) = values.next()?;
    for (x, value) in values {
        if is_above_double(value, base) {
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
