//! Selects the charts of an experiment.
//!
//! Titles are computed from the data. They claim a difference only if the A/A pair allows it.

use super::experiment_info::{ExperimentInfo, MetricInfo, VariableInfo};
use super::plot::dot_plot::{AxisKind, DotGroup, DotPlot, DotRow};
use super::plot::heat_map::{HeatMap, HeatMapCell};
use super::plot::line_chart::{LineChart, Series, SeriesPoint};
use super::plot::small_multiples::SmallMultiples;
use super::plot::{Canvas, ReferenceLine};
use super::series_style::{SeriesStyle, cell};
use super::table::{chosen, figure_of, interval, present};
use super::titles;
use crate::data::{ExperimentResults, Sample};
use crate::experiment::Better;
use crate::factors::{CLIENTS, RUNTIMES, Separation, format_factor, separate};
use crate::stats::Estimate;
use crate::text::{figure, number, shown};

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

/// A chart.
#[derive(Clone, Debug)]
pub(crate) enum Chart {
    DotPlot(DotPlot),
    LineChart(LineChart),
    SmallMultiples(SmallMultiples),
    HeatMap(Box<HeatMap>),
}

impl Chart {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        match self {
            Self::DotPlot(plot) => plot.draw(width),
            Self::LineChart(chart) => chart.draw(width),
            Self::SmallMultiples(charts) => charts.draw(width),
            Self::HeatMap(map) => map.draw(width),
        }
    }
}

/// An experiment and its results.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) info: &'a ExperimentInfo,
    pub(crate) measured: &'a ExperimentResults,
}

impl<'a> View<'a> {
    /// Returns the figures, the most important one first.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let metrics = present(self.info, self.measured);
        let mut figures = Vec::new();
        if self.info.name == "gather" {
            figures.extend(
                metrics
                    .first()
                    .and_then(|metric| self.blocking_in_async(metric)),
            );
        }
        for (n, metric) in metrics.iter().enumerate() {
            figures.extend(self.heat_map(metric).filter(|_| n == 0));
            match &self.info.variable {
                Some(_) if self.measured.points(&metric.name).len() > 1 => {
                    if n == 0 && self.is_crowded(metric, 6) {
                        figures.push(self.dot_plot(metric));
                    }
                    figures.push(self.line_chart(metric));
                }
                _ => figures.push(self.dot_plot(metric)),
            }
        }
        figures
    }

    /// Separates the effects of runtime and client at the largest point that all cells have.
    pub(crate) fn separation(&self) -> Option<Separation> {
        let metric = *present(self.info, self.measured).first()?;
        let better = metric.better.unwrap_or(Better::Lower);
        let smallest = self.measured.smallest_difference(&metric.name);
        let points = self.measured.points(&metric.name);
        points.iter().rev().find_map(|x| {
            let cell = |name: &str| Some(&self.measured.get(&metric.name, name, *x)?.rounds);
            separate(*x, better, cell, smallest)
        })
    }

    /// Returns the largest point that at least 80 % of the contenders have. Charts of a single point use
    /// it. Some contenders may be missing, because turns can be discarded.
    pub(crate) fn main_point(&self, metric: &str) -> f64 {
        let points = self.measured.points(metric);
        let count = |x: &f64| {
            self.measured
                .of_metric(metric)
                .filter(|sample| sample.x == *x)
                .count()
        };
        let most = points.iter().map(count).max().unwrap_or(0);
        let nearly_all = |x: &&f64| count(x) * 5 >= most * 4;
        points.iter().rev().find(nearly_all).copied().unwrap_or(0.0)
    }

    /// Formats a point: `100 pages at once`. Returns an empty string if there is no variable.
    pub(crate) fn at(&self, x: f64) -> String {
        match &self.info.variable {
            // `100 pages at once`, or `limit of pages in flight: 8`.
            Some(VariableInfo { name, unit, .. }) if unit.is_empty() || unit == "1/s" => {
                let first = name.split(' ').next().unwrap_or_default();
                match first.ends_with('s') || first == "in" {
                    true => format!("{} {name}", figure_of(x, "")),
                    false => format!("{name}: {}", figure_of(x, "")),
                }
            }
            Some(VariableInfo { name, unit, .. }) => format!("{name}: {}", figure_of(x, unit)),
            None => String::new(),
        }
    }

    fn id(&self, what: &str) -> String {
        let letters = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        format!("{}-{what}", self.info.name)
            .chars()
            .map(letters)
            .collect()
    }

    fn axis(metric: &MetricInfo) -> String {
        match shown(&metric.unit) {
            "" | "1/s" => metric.what.clone(),
            unit => format!("{}, {unit}", metric.what),
        }
    }

    /// Returns the tooltip of a value.
    fn tooltip(&self, metric: &MetricInfo, sample: &Sample, value: &Estimate) -> String {
        let mut tip = sample.contender.clone();
        if self.info.variable.is_some() {
            tip += &format!(", {}", self.at(sample.x));
        }
        tip += &format!(": {}", figure(value.value, &sample.unit));
        if let Some(interval) = interval(value) {
            tip += &format!(" ({interval}), {} rounds", value.rounds);
        }
        if let Some(limit) = metric.limit_at(sample.x).filter(|limit| *limit > 0.0) {
            tip += &format!(", {} times the limit", number(value.value / limit));
        }
        tip
    }

    fn row(
        &self,
        metric: &MetricInfo,
        sample: &Sample,
        name: &str,
        style: SeriesStyle,
    ) -> Option<DotRow> {
        let value = sample.estimate()?;
        Some(DotRow {
            name: name.to_owned(),
            style,
            value,
            figure: figure(value.value, &sample.unit),
            tip: self.tooltip(metric, sample, &value),
        })
    }

    /// Creates a row for each contender. Names with two parts are grouped.
    fn dot_plot(&self, metric: &MetricInfo) -> Figure {
        let x = self.main_point(&metric.name);
        let names = self.measured.contenders(&metric.name);
        let styles = SeriesStyle::for_all(&names);
        let cells = names.iter().filter(|name| cell(name).is_some()).count() >= 6;
        let blocking = self.blocking_contender(metric);
        let mut groups: Vec<DotGroup> = Vec::new();
        for (name, style) in names.iter().zip(styles) {
            // The blocking contender has a chart of its own and would dominate the scale of this one.
            let Some(sample) = self
                .measured
                .get(&metric.name, name, x)
                .filter(|_| Some(*name) != blocking)
            else {
                continue;
            };
            let (heading, label) = match (cell(name), name.split_once(": ")) {
                (Some((_, client)), _) if cells => (Some(client), *name),
                (_, Some((runtime, mode))) => (Some(runtime), mode),
                _ if cells || names.iter().any(|name| name.contains(": ")) => {
                    (Some("others"), *name)
                }
                _ => (None, *name),
            };
            let heading = heading.map(str::to_owned);
            let row = self.row(metric, sample, label, style);
            match groups.iter_mut().find(|group| group.heading == heading) {
                Some(group) => group.rows.extend(row),
                None => groups.push(DotGroup {
                    heading,
                    rows: row.into_iter().collect(),
                }),
            }
        }
        let mut figure = self.dot_plot_of(
            metric,
            x,
            groups,
            titles::dot_plot(self, metric, x),
            "dots",
            None,
        );
        figure.caption += &without(blocking);
        figure
    }

    fn dot_plot_of(
        &self,
        metric: &MetricInfo,
        x: f64,
        groups: Vec<DotGroup>,
        title: String,
        id: &str,
        axis: Option<AxisKind>,
    ) -> Figure {
        let values: Vec<f64> = groups
            .iter()
            .flat_map(|group| group.rows.iter().map(|row| row.value.value))
            .collect();
        let references: Vec<ReferenceLine> = metric
            .limit_at(x)
            .filter(|_| metric.limit.is_some())
            .map(|at| ReferenceLine {
                at,
                label: limit_label(metric, Some(at)),
            })
            .into_iter()
            .collect();
        let is_wide = spans_magnitudes(
            values
                .iter()
                .copied()
                .chain(references.iter().map(|reference| reference.at)),
        );
        let most = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let close = least > 0.0 && most / least < 2.0 && values.len() > 1;
        let axis_kind = axis.unwrap_or(match () {
            () if close => AxisKind::Near,
            // Gaps are compared by length, so their axis starts at zero.
            () if is_wide && values.len() > 1 && metric.name != "gap" => AxisKind::Logarithmic,
            () => AxisKind::FromZero,
        });
        let point = match self.info.variable {
            Some(_) => format!("{}. ", super::table::capital(&self.at(x))),
            None => String::new(),
        };
        Figure {
            id: self.id(&format!("{}-{id}", metric.name)),
            title,
            caption: format!(
                "{point}{}: median; thin line: 95 % interval.{}",
                if axis_kind == AxisKind::FromZero {
                    "Bar"
                } else {
                    "Mark"
                },
                dashed(metric)
            ),
            metric: metric.name.clone(),
            chart: Chart::DotPlot(DotPlot {
                groups,
                axis: Self::axis(metric),
                axis_kind,
                references,
            }),
        }
    }

    /// Returns the contender with a blocking client in `async def`, for the metric that shows it in a chart
    /// of its own.
    pub(crate) fn blocking_contender(&self, metric: &MetricInfo) -> Option<&'a str> {
        let first = self.info.metrics.first()?;
        let is_shown = self.info.name == "gather" && first.name == metric.name;
        let mut names = self.measured.contenders(&metric.name).into_iter();
        names.find(|name| is_shown && name.contains("requests"))
    }

    /// Compares a blocking client in a coroutine with the other contenders.
    fn blocking_in_async(&self, metric: &MetricInfo) -> Option<Figure> {
        let names = self.measured.contenders(&metric.name);
        let blocking = self.blocking_contender(metric)?;
        let points = self.measured.of_metric(&metric.name);
        let x = points
            .filter(|sample| sample.contender == blocking)
            .map(|sample| sample.x)
            .fold(0.0, f64::max);
        let limit = metric.limit_at(x)?;
        // One cell per client, and all contenders that are not cells.
        let ours = [
            "tokio/hyper",
            "smol/isahc",
            "async-std/surf",
            "threads/ureq",
        ];
        let shown = names
            .iter()
            .filter(|name| ours.contains(*name) || !name.contains('/'));
        let shown: Vec<&str> = shown.copied().collect();
        let styles = SeriesStyle::for_all(&shown);
        let mut rows: Vec<DotRow> = shown
            .iter()
            .zip(styles)
            .filter_map(|(name, style)| {
                let sample = self.measured.get(&metric.name, name, x)?;
                self.row(metric, sample, name, style)
            })
            .collect();
        rows.sort_by(|one, other| one.value.value.total_cmp(&other.value.value));
        let title = titles::blocking_in_async(self, metric, blocking, x);
        let groups = vec![DotGroup {
            heading: None,
            rows,
        }];
        let mut figure = self.dot_plot_of(
            metric,
            x,
            groups,
            title,
            "lesson",
            Some(AxisKind::Logarithmic),
        );
        if let Chart::DotPlot(dots) = &mut figure.chart {
            let sum = limit * x;
            dots.references.push(ReferenceLine {
                at: sum,
                label: format!("{}: the sum of the delays", chosen(sum, &metric.unit)),
            });
        }
        figure.caption += " The second dashed line is the time of sequential pages.";
        Some(figure)
    }

    /// Returns whether there are more than `most` contenders.
    fn is_crowded(&self, metric: &MetricInfo, most: usize) -> bool {
        self.measured.contenders(&metric.name).len() > most
    }

    /// Assigns contenders to panels by client. The others share a panel.
    fn panels(names: &[&str]) -> Vec<(String, Vec<(usize, String)>)> {
        let mut panels: Vec<(String, Vec<(usize, String)>)> = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let (heading, label) = match (cell(name), name.split_once(": ")) {
                (Some((runtime, client)), _) => (client, runtime),
                (_, Some((runtime, mode))) => (runtime, mode),
                _ => ("others", *name),
            };
            let one = (n, label.to_owned());
            match panels.iter_mut().find(|(known, _)| known == heading) {
                Some((_, panel)) => panel.push(one),
                None => panels.push((heading.to_owned(), vec![one])),
            }
        }
        panels
    }

    fn line_chart(&self, metric: &MetricInfo) -> Figure {
        let blocking = self.blocking_contender(metric);
        let mut names = self.measured.contenders(&metric.name);
        names.retain(|name| Some(*name) != blocking);
        let styles = SeriesStyle::for_all(&names);
        let is_rate_sweep = titles::is_rate_sweep(self.info, metric);
        let mut series = Vec::new();
        for (name, style) in names.iter().zip(styles) {
            let saturation_point = titles::saturation_point(self.measured, metric, name);
            let mut points: Vec<SeriesPoint> = self
                .measured
                .of_metric(&metric.name)
                .filter(|sample| sample.contender == *name)
                .filter_map(|sample| {
                    let value = sample.estimate()?;
                    Some(SeriesPoint {
                        x: sample.x,
                        value,
                        tip: self.tooltip(metric, sample, &value),
                        is_saturation: is_rate_sweep
                            && saturation_point == titles::SaturationPoint::At(sample.x),
                    })
                })
                .collect();
            points.sort_by(|one, other| one.x.total_cmp(&other.x));
            series.push(Series {
                name: (*name).to_owned(),
                style,
                points,
            });
        }
        let points = || series.iter().flat_map(|series| &series.points);
        let least = points().map(|point| point.x).fold(f64::INFINITY, f64::min);
        let most = points().map(|point| point.x).fold(0.0, f64::max);
        let curve = metric.limit.as_ref().map(|_| {
            let steps = (0..=300).map(|n| least + (most - least) * f64::from(n) / 300.0);
            let factors = (0..=100).map(|n| least * (most / least).powf(f64::from(n) / 100.0));
            let mut at: Vec<f64> = steps.chain(factors).filter(|x| x.is_finite()).collect();
            at.sort_by(f64::total_cmp);
            let curve = at
                .into_iter()
                .filter_map(|x| Some((x, metric.limit_at(x)?)));
            (curve.collect(), limit_label(metric, None))
        });
        let limits = curve
            .iter()
            .flat_map(|(curve, _): &(Vec<(f64, f64)>, _)| curve.iter().map(|(_, y)| *y));
        let values = points().map(|point| point.value.value).chain(limits);
        let y_logarithmic = spans_magnitudes(values);
        let variable = self.info.variable.as_ref();
        let x_name = variable.map_or(String::new(), |variable| match shown(&variable.unit) {
            "" | "1/s" => variable.name.clone(),
            unit => format!("{}, {unit}", variable.name),
        });
        let x_logarithmic = least > 0.0
            && (variable.is_some_and(|variable| variable.logarithmic) || most / least > 20.0);
        let saturation = points().any(|point| point.is_saturation).then(|| {
            "knee: the highest rate before the metric doubles its value at the lowest rate"
                .to_owned()
        });
        let chart = LineChart {
            x: x_name,
            y: Self::axis(metric),
            x_logarithmic,
            y_logarithmic,
            limit: curve,
            saturation,
            series,
        };
        let crowded = self.is_crowded(metric, 8);
        Figure {
            id: self.id(&format!("{}-lines", metric.name)),
            title: titles::line_chart(self, metric),
            caption: format!(
                "Mark: median; line through it: 95 % interval.{}{}{}",
                dashed(metric),
                without(blocking),
                if crowded {
                    " Grey: the contenders of the other panels."
                } else {
                    ""
                }
            ),
            metric: metric.name.clone(),
            chart: match crowded {
                true => Chart::SmallMultiples(SmallMultiples {
                    chart,
                    panels: Self::panels(&names),
                }),
                false => Chart::LineChart(chart),
            },
        }
    }

    /// Creates the matrix of runtimes and clients, if all cells have results.
    fn heat_map(&self, metric: &MetricInfo) -> Option<Figure> {
        let separation = self.separation()?;
        let x = separation.x;
        let values = RUNTIMES.map(|runtime| {
            CLIENTS.map(|client| {
                let sample = self
                    .measured
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
        // Differences below the noise get no shade.
        let smallest = self
            .measured
            .smallest_difference(&metric.name)
            .unwrap_or(1.0);
        let span = (most / least).max(smallest * smallest).max(1.05).ln();
        let cells = values.map(|row| {
            row.map(|cell| {
                let (sample, estimate) = cell?;
                let factor = (estimate.value / best).max(best / estimate.value);
                Some(HeatMapCell {
                    share: factor.ln() / span,
                    figure: figure(estimate.value, &sample.unit),
                    comparison: match factor {
                        1.0 => "best".to_owned(),
                        _ => format!("{factor:.2} x"),
                    },
                    tip: self.tooltip(metric, sample, &estimate),
                })
            })
        });
        let factors = |factors: [f64; 3]| factors.map(|factor| format!("{factor:.2} x"));
        let point = match self.info.variable {
            Some(_) => format!(" ({})", self.at(x)),
            None => String::new(),
        };
        Some(Figure {
            id: self.id("matrix"),
            title: separation.sentence(),
            caption: format!(
                "{}Below each value: the ratio to the best cell. The outer row and column show the cost of \
                 a client and of a runtime alone, as a ratio to the best one. A stronger colour means a \
                 higher cost.",
                separation
                    .residual()
                    .map_or(String::new(), |residual| residual + " ")
            ),
            metric: metric.name.clone(),
            chart: Chart::HeatMap(Box::new(HeatMap {
                cells,
                runtimes: Some(factors(separation.runtime.factors)),
                clients: Some(factors(separation.client.factors)),
                what: format!("{}{point}", Self::axis(metric)),
            })),
        })
    }

    /// Returns the ratio of one contender to another, if it may be claimed.
    pub(crate) fn claimed(&self, metric: &str, of: &str, to: &str, x: f64) -> Option<Estimate> {
        let ratio = self.measured.ratio(metric, of, to, x)?;
        let smallest = self.measured.smallest_difference(metric);
        crate::stats::may_claim(&ratio, smallest).then_some(ratio)
    }

    /// Returns the median of a contender at a point.
    pub(crate) fn value(&self, metric: &str, contender: &str, x: f64) -> Option<f64> {
        crate::stats::median(&self.measured.get(metric, contender, x)?.values())
    }

    /// Describes the smallest difference: `nothing is claimed below 3.1 %`.
    pub(crate) fn threshold(&self, metric: &str) -> String {
        match self.measured.smallest_difference(metric) {
            Some(smallest) => format!("nothing is claimed below {}", format_factor(smallest)),
            None => {
                "there are not two rounds of an A/A pair, so no difference is claimed".to_owned()
            }
        }
    }
}

fn limit_label(metric: &MetricInfo, at: Option<f64>) -> String {
    let what = metric.limit.as_ref().map_or("", |limit| limit.what);
    match at {
        Some(at) => format!("limit {}: {what}", chosen(at, &metric.unit)),
        None => format!("limit: {what}"),
    }
}

/// Returns a note about a contender that is not in the chart.
fn without(blocking: Option<&str>) -> String {
    blocking.map_or(String::new(), |name| {
        format!(" Without {name}, which is in the first chart.")
    })
}

/// Describes the dashed line, because its label may be truncated.
fn dashed(metric: &MetricInfo) -> String {
    let limit = metric.limit.as_ref();
    limit.map_or(String::new(), |limit| {
        format!(" Dashed: the physical limit, {}.", limit.what)
    })
}

fn spans_magnitudes(values: impl Iterator<Item = f64>) -> bool {
    let (mut least, mut most) = (f64::INFINITY, 0.0f64);
    for value in values {
        least = least.min(value);
        most = most.max(value);
    }
    least > 0.0 && most / least > 12.0
}
