//! Selects the charts of an experiment, and writes their captions.
//!
//! - A metric over a variable with at least three points gets a line chart. A line through two points would suggest
//!   a course between them that nobody measured, so two points get a dot plot.
//! - A metric of all nine cells also gets a heat map.

use inflight_charts::{
    AxisKind, Chart, DotGroup, DotPlot, DotRow, HeatMap, HeatMapCell, LineChart, LineSeries,
    ReferenceLine, SeriesPoint,
};

use super::experiment_info::{ExperimentInfo, MetricInfo, VariableInfo};
use super::series_style::{cell, markers};
use super::table::{
    RoundCounts, capitalize, format_exact, format_interval, format_point, measured_metrics,
};
use super::titles::{self, Median};
use crate::data::{ExperimentResults, Sample};
use crate::experiment::{Better, ChartStyle};
use crate::factors::{CLIENTS, RUNTIMES, Spread, Spreads, format_factor};
use crate::stats::{Estimate, may_claim, median};
use crate::text::{display_unit, format_figure, format_number};

/// A chart with its title and caption.
pub(crate) struct Figure {
    /// The ID of the HTML element.
    pub(crate) id: String,
    /// The finding, as a sentence.
    pub(crate) title: String,
    /// How to read the chart.
    pub(crate) caption: String,
    /// The metric whose table is shown with the chart.
    pub(crate) metric: String,
    pub(crate) chart: Chart,
}

impl Figure {
    /// Returns the chart with its texts.
    pub(crate) fn drawn(&self) -> inflight_charts::Figure {
        inflight_charts::Figure::new(&self.id, &self.title, &self.caption, self.chart.clone())
    }
}

/// An experiment and its results.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) info: &'a ExperimentInfo,
    pub(crate) results: &'a ExperimentResults,
}

impl<'a> View<'a> {
    /// Returns the figures, the most important one first.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let metrics = measured_metrics(self.info, self.results);
        let heat_map = metrics.first().and_then(|metric| self.heat_map(metric));
        let mut figures = Vec::from_iter(heat_map);
        for (n, metric) in metrics.iter().enumerate() {
            let points = match self.info.variable {
                Some(_) => self.results.points(&metric.name),
                None => vec![0.0],
            };
            if points.len() < 3 {
                figures.push(self.dot_plot(metric, &points));
                continue;
            }
            // Many lines are hard to tell apart, so a dot plot also shows one point.
            if n == 0 && self.contenders(metric).len() > 6 {
                figures.push(self.dot_plot(metric, &[self.main_point(&metric.name)]));
            }
            figures.push(self.line_chart(metric, &points));
        }
        figures
    }

    /// Returns the largest point at which all nine cells can be compared.
    pub(crate) fn heat_map_point(&self, metric: &MetricInfo) -> Option<f64> {
        let points = self.results.points(&metric.name);
        let mut largest_first = points.iter().rev();
        largest_first
            .find(|x| self.spreads(metric, **x).is_some())
            .copied()
    }

    /// Compares the runtimes and the clients at one point. Returns `None` if a cell has no value above zero, or if the
    /// experiment's own timeout determines a value.
    pub(crate) fn spreads(&self, metric: &MetricInfo, x: f64) -> Option<Spreads> {
        let value = |name: &str| self.value(&metric.name, name, x);
        Spreads::new(|name| value(name).filter(|value| !metric.is_timeout(*value)))
    }

    /// Returns whether a heat map shows this contender.
    pub(crate) fn is_in_heat_map(&self, contender: &str) -> bool {
        contender.split_once('/').is_some_and(|(runtime, client)| {
            RUNTIMES.contains(&runtime) && CLIENTS.contains(&client)
        })
    }

    /// Returns the medians at one point, in the order of the chart.
    pub(crate) fn medians(&self, metric: &MetricInfo, x: f64) -> Vec<Median> {
        let median = |contender: &str| {
            Some(Median {
                contender: contender.to_owned(),
                value: self.value(&metric.name, contender, x)?,
                unit: metric.unit.clone(),
            })
        };
        let names = self.contenders(metric).into_iter();
        names.filter_map(median).collect()
    }

    /// Returns the point for charts of a single point: the largest point with results of nearly all contenders,
    /// which means at least 80 % of the largest number at any point. Some results may be missing, because turns
    /// can be discarded.
    pub(crate) fn main_point(&self, metric: &str) -> f64 {
        let points = self.results.points(metric);
        let count = |x: &f64| {
            self.results
                .of_metric(metric)
                .filter(|sample| sample.x == *x)
                .count()
        };
        let most = points.iter().map(count).max().unwrap_or(0);
        let nearly_all = |x: &&f64| count(x) * 5 >= most * 4;
        points.iter().rev().find(nearly_all).copied().unwrap_or(0.0)
    }

    /// Formats a point: `pages at once: 100`. Returns an empty string if there is no variable.
    pub(crate) fn describe_point(&self, x: f64) -> String {
        let variable = self.info.variable.as_ref();
        variable.map_or(String::new(), |VariableInfo { name, unit }| {
            format!("{name}: {}", format_point(x, unit))
        })
    }

    /// Returns the contenders that the charts of a metric show.
    pub(crate) fn contenders(&self, metric: &MetricInfo) -> Vec<&'a str> {
        let mut names = self.results.contenders(&metric.name);
        names.retain(|name| Some(*name) != self.info.mistake.as_deref());
        names
    }

    fn id(&self, suffix: &str) -> String {
        let letters = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        format!("{}-{suffix}", self.info.name)
            .chars()
            .map(letters)
            .collect()
    }

    fn axis_label(metric: &MetricInfo) -> String {
        match display_unit(&metric.unit) {
            "" | "1/s" => metric.label.clone(),
            unit => format!("{}, {unit}", metric.label),
        }
    }

    /// Returns the tooltip of a value.
    fn tooltip(&self, metric: &MetricInfo, sample: &Sample, value: &Estimate) -> String {
        let mut tip = sample.contender.clone();
        if self.info.variable.is_some() {
            tip += &format!(", {}", self.describe_point(sample.x));
        }
        tip += &format!(": {}", format_figure(value.value, &sample.unit));
        if let Some(interval) = format_interval(value) {
            tip += &format!(" ({interval}), {} rounds", value.rounds);
        }
        if let Some(limit) = metric.limit_at(sample.x).filter(|limit| *limit > 0.0) {
            tip += &format!(", {} times the limit", format_number(value.value / limit));
        }
        tip
    }

    /// Creates a dot plot with a row for each contender at each point.
    fn dot_plot(&self, metric: &MetricInfo, points: &[f64]) -> Figure {
        let groups = self.dot_groups(metric, points);
        let rows = || groups.iter().flat_map(|group| &group.rows);
        let values: Vec<f64> = rows().map(|row| row.value.value).collect();
        let reference = self.reference_line(metric, points);
        let axis_kind = axis_kind(metric, &values, reference.as_ref());
        let point = match (&self.info.variable, points) {
            (Some(_), [x]) => format!("{}. ", capitalize(&self.describe_point(*x))),
            _ => String::new(),
        };
        let mark = match axis_kind {
            AxisKind::FromZero => "Bar",
            _ => "Mark",
        };
        let shown = |sample: &&Sample| points.contains(&sample.x);
        Figure {
            id: self.id(&format!("{}-dots", metric.name)),
            title: titles::title(self, metric, points).to_string(),
            caption: format!("{point}{}", self.how_to_read(metric, mark, shown)),
            metric: metric.name.clone(),
            chart: Chart::DotPlot(DotPlot {
                groups,
                axis: Self::axis_label(metric),
                axis_kind,
                reference,
            }),
        }
    }

    /// Returns the groups of a dot plot. With several points, each point is a group. Otherwise, names with two parts,
    /// such as `smol: inline`, are grouped by the first part, and cells by their client.
    fn dot_groups(&self, metric: &MetricInfo, points: &[f64]) -> Vec<DotGroup> {
        let names = self.contenders(metric);
        let has_groups = names.iter().any(|name| name.contains(": "));
        let has_cells = names.iter().filter(|name| cell(name).is_some()).count() >= 6;
        let mut groups: Vec<DotGroup> = Vec::new();
        for x in points {
            for (name, style) in names.iter().zip(markers(&names)) {
                let sample = self.results.get(&metric.name, name, *x);
                let Some((sample, value)) = sample.and_then(|one| Some((one, one.estimate()?)))
                else {
                    continue;
                };
                let (heading, label) = match (cell(name), name.split_once(": ")) {
                    _ if points.len() > 1 => (Some(self.describe_point(*x)), *name),
                    (Some(cell), _) if has_cells => (Some(cell.client().to_owned()), *name),
                    (_, Some((runtime, mode))) => (Some(runtime.to_owned()), mode),
                    _ if has_cells || has_groups => (Some("others".to_owned()), *name),
                    _ => (None, *name),
                };
                let row = DotRow {
                    name: label.to_owned(),
                    style,
                    value: value.into(),
                    figure: format_figure(value.value, &sample.unit),
                    tip: self.tooltip(metric, sample, &value),
                };
                match groups.iter_mut().find(|group| group.heading == heading) {
                    Some(group) => group.rows.push(row),
                    None => groups.push(DotGroup {
                        heading,
                        rows: vec![row],
                    }),
                }
            }
        }
        groups
    }

    /// Returns the line of the limit, the target or the timeout. A limit that depends on the point has no line in a
    /// chart of several points.
    fn reference_line(&self, metric: &MetricInfo, points: &[f64]) -> Option<ReferenceLine> {
        let reference = Reference::of(metric)?;
        let mut lines = points.iter().map(|x| reference.at(metric, *x));
        let at = lines.next()??;
        lines.all(|other| other == Some(at)).then(|| ReferenceLine {
            at,
            label: reference.label(metric, Some(at)),
        })
    }

    /// Describes the marks of a chart, the noise, the reference line, and what the chart leaves out.
    fn how_to_read(
        &self,
        metric: &MetricInfo,
        mark: &str,
        shown: impl Fn(&&Sample) -> bool,
    ) -> String {
        let samples = self.results.of_metric(&metric.name).filter(shown);
        let marks = match RoundCounts::new(samples).describe() {
            Some((median, intervals)) => format!("{mark}: {median}; line: {intervals}."),
            None => format!("{mark}: the value of one round."),
        };
        let reference = Reference::of(metric).map(|reference| reference.describe());
        format!(
            "{marks} {}{}{}",
            self.describe_noise(&metric.name),
            reference.unwrap_or_default(),
            self.mistake_note(metric)
        )
    }

    fn line_chart(&self, metric: &MetricInfo, all_points: &[f64]) -> Figure {
        let names = self.contenders(metric);
        let has_knees = metric.chart_style == ChartStyle::MarkedKnees;
        let mut series = Vec::new();
        for (name, style) in names.iter().zip(markers(&names)) {
            let knee = titles::knee(self.results, &metric.name, name).filter(|_| has_knees);
            let mut points: Vec<SeriesPoint> = self
                .results
                .of_metric(&metric.name)
                .filter(|sample| sample.contender == *name)
                .filter_map(|sample| {
                    let value = sample.estimate()?;
                    Some(SeriesPoint {
                        x: sample.x,
                        value: value.into(),
                        tip: self.tooltip(metric, sample, &value),
                        is_knee: knee == Some(sample.x),
                    })
                })
                .collect();
            points.sort_by(|one, other| one.x.total_cmp(&other.x));
            series.push(LineSeries {
                name: (*name).to_owned(),
                style,
                points,
            });
        }
        let points = || series.iter().flat_map(|series| &series.points);
        let least = points().map(|point| point.x).fold(f64::INFINITY, f64::min);
        let most = points().map(|point| point.x).fold(0.0, f64::max);
        let curve = Reference::of(metric).map(|reference| {
            let at = (0..=300).map(|n| least * (most / least).powf(f64::from(n) / 300.0));
            let at = at.filter_map(|x| Some((x, reference.at(metric, x)?)));
            (
                at.collect::<Vec<(f64, f64)>>(),
                reference.label(metric, None),
            )
        });
        let limits = curve
            .iter()
            .flat_map(|(curve, _)| curve.iter().map(|(_, y)| *y));
        let values = points().map(|point| point.value.value).chain(limits);
        let y_logarithmic = spans_magnitudes(values);
        let variable = self.info.variable.as_ref();
        let x_name = variable.map_or(String::new(), |variable| {
            match display_unit(&variable.unit) {
                "" | "1/s" => variable.name.clone(),
                unit => format!("{}, {unit}", variable.name),
            }
        });
        let knee_legend = points().any(|point| point.is_knee).then_some(
            "knee: the last point before the metric exceeds twice its value at the lowest point",
        );
        Figure {
            id: self.id(&format!("{}-lines", metric.name)),
            title: titles::title(self, metric, all_points).to_string(),
            caption: self.how_to_read(metric, "Mark", |_| true),
            metric: metric.name.clone(),
            chart: Chart::LineChart(LineChart {
                x_label: x_name,
                y_label: Self::axis_label(metric),
                // The points of a variable usually grow by a constant factor.
                x_logarithmic: least > 0.0,
                y_logarithmic,
                limit: curve,
                knee_legend,
                series,
            }),
        }
    }

    /// Returns a note on the contender that the charts leave out.
    fn mistake_note(&self, metric: &MetricInfo) -> String {
        let mut names = self.results.contenders(&metric.name).into_iter();
        let left_out = names.find(|name| Some(*name) == self.info.mistake.as_deref());
        left_out.map_or(String::new(), |name| {
            format!(" Not shown: {name}, a deliberate mistake. The table has its values.")
        })
    }

    /// Creates the heat map of runtimes and clients, if all cells have results.
    fn heat_map(&self, metric: &MetricInfo) -> Option<Figure> {
        let x = self.heat_map_point(metric)?;
        let spreads = self.spreads(metric, x)?;
        let values = RUNTIMES.map(|runtime| {
            CLIENTS.map(|client| {
                let sample = self
                    .results
                    .get(&metric.name, &format!("{runtime}/{client}"), x)?;
                Some((sample, sample.estimate()?))
            })
        });
        let positive: Vec<f64> = values
            .iter()
            .flatten()
            .flatten()
            .map(|(_, estimate)| estimate.value)
            .filter(|value| *value > 0.0)
            .collect();
        let higher = metric.better == Some(Better::Higher);
        let least = positive.iter().copied().fold(f64::INFINITY, f64::min);
        let most = positive.iter().copied().fold(0.0, f64::max);
        let best = if higher { most } else { least };
        // A difference below the noise gets at most the middle colour of the scale.
        let smallest = self
            .results
            .smallest_difference(&metric.name)
            .unwrap_or(1.0);
        let span = (most / least).max(smallest * smallest).max(1.05).ln();
        let cells = values.map(|row| {
            row.map(|cell| {
                let (sample, estimate) = cell?;
                let factor = (estimate.value / best).max(best / estimate.value);
                Some(HeatMapCell {
                    share: factor.ln() / span,
                    figure: format_figure(estimate.value, &sample.unit),
                    comparison: match factor {
                        1.0 => "best".to_owned(),
                        _ => format!("{factor:.2} x"),
                    },
                    tip: self.tooltip(metric, sample, &estimate),
                })
            })
        });
        let factors = |spreads: &[Spread; 3]| {
            spreads
                .each_ref()
                .map(|spread| format!("{:.2} x", spread.factor))
        };
        let point = match self.info.variable {
            Some(_) => format!(" ({})", self.describe_point(x)),
            None => String::new(),
        };
        Some(Figure {
            id: self.id("matrix"),
            title: titles::of_cells(self, metric, x).to_string(),
            caption: format!(
                "Below each value: the ratio to the best cell. Factor: the highest value of a row or a column, \
                 divided by the lowest. A stronger colour means a higher cost. {}",
                self.describe_noise(&metric.name)
            ),
            metric: metric.name.clone(),
            chart: Chart::HeatMap(Box::new(HeatMap {
                runtime_names: RUNTIMES,
                client_names: CLIENTS,
                cells,
                runtimes: factors(&spreads.of_runtimes),
                clients: factors(&spreads.of_clients),
                label: format!("{}{point}", Self::axis_label(metric)),
            })),
        })
    }

    /// Returns whether the factor between two medians may be claimed: the ratio within the rounds may be claimed, and
    /// the factor itself exceeds the noise.
    pub(crate) fn may_claim(&self, metric: &str, lowest: &str, highest: &str, x: f64) -> bool {
        let smallest = self.results.smallest_difference(metric);
        let ratio = self.results.ratio(metric, highest, lowest, x);
        let values = self
            .value(metric, lowest, x)
            .zip(self.value(metric, highest, x));
        let exceeds = |(low, high): (f64, f64)| smallest.is_some_and(|one| high > one * low);
        ratio.is_some_and(|ratio| ratio.low > 1.0 && may_claim(&ratio, smallest))
            && values.is_some_and(exceeds)
    }

    /// Returns the median of a contender at a point.
    pub(crate) fn value(&self, metric: &str, contender: &str, x: f64) -> Option<f64> {
        median(&self.results.get(metric, contender, x)?.values())
    }

    /// Describes the noise of a metric: the smallest difference that can be claimed.
    fn describe_noise(&self, metric: &str) -> String {
        match self.results.smallest_difference(metric) {
            Some(smallest) => format!(
                "Noise, from one program measured twice: {}.",
                format_factor(smallest)
            ),
            None => "The noise was not measured, so the title claims no factor.".to_owned(),
        }
    }
}

/// A line or a curve that the values are compared with.
#[derive(Clone, Copy)]
enum Reference {
    Limit(&'static str),
    Target(&'static str),
    Timeout,
}

impl Reference {
    fn of(metric: &MetricInfo) -> Option<Self> {
        let limit = metric.limit.map(|limit| Self::Limit(limit.description));
        let target = metric.target.map(|target| Self::Target(target.description));
        metric.timeout.map(|_| Self::Timeout).or(limit).or(target)
    }

    fn at(self, metric: &MetricInfo, x: f64) -> Option<f64> {
        match self {
            Self::Limit(_) => metric.limit_at(x),
            Self::Target(_) => metric.target_at(x),
            Self::Timeout => metric.timeout,
        }
    }

    /// Returns the label of the line, with the value at the line unless it varies.
    fn label(self, metric: &MetricInfo, at: Option<f64>) -> String {
        let (kind, description) = match self {
            Self::Limit(description) => ("limit", description),
            Self::Target(description) => ("target", description),
            Self::Timeout => ("timeout", "the request's own timeout"),
        };
        match at {
            Some(at) => format!("{kind} {}: {description}", format_exact(at, &metric.unit)),
            None => format!("{kind}: {description}"),
        }
    }

    /// Describes the line for the caption, because the label at the line may be truncated.
    fn describe(self) -> String {
        match self {
            Self::Limit(description) => format!(" Dashed: the physical limit, {description}."),
            Self::Target(description) => format!(" Dashed: {description}."),
            Self::Timeout => " Dashed: the timeout of the requests.".to_owned(),
        }
    }
}

fn axis_kind(metric: &MetricInfo, values: &[f64], reference: Option<&ReferenceLine>) -> AxisKind {
    let reference = reference.map(|line| line.at).filter(|at| *at > 0.0);
    let is_wide = spans_magnitudes(values.iter().copied().chain(reference));
    let most = values.iter().copied().fold(0.0, f64::max);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let is_close = least > 0.0 && most / least < 2.0;
    match metric.chart_style {
        ChartStyle::BarsFromZero => AxisKind::FromZero,
        _ if values.len() < 2 => AxisKind::FromZero,
        _ if is_close => AxisKind::Fitted,
        _ if is_wide => AxisKind::Logarithmic,
        _ => AxisKind::FromZero,
    }
}

fn spans_magnitudes(values: impl Iterator<Item = f64>) -> bool {
    let (mut least, mut most) = (f64::INFINITY, 0.0f64);
    for value in values {
        least = least.min(value);
        most = most.max(value);
    }
    least > 0.0 && most / least > 12.0
}
