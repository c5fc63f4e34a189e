//! Selects the charts of an experiment. A title claims a difference only if the difference exceeds the noise.
//! The noise is the difference between the two contenders of an A/A pair, which have the same program.

use inflight_charts::{
    AxisKind, Chart, DotGroup, DotPlot, DotRow, HeatMap, HeatMapCell, LineChart, LineSeries,
    ReferenceLine, SeriesPoint,
};

use super::experiment_info::{ExperimentInfo, MetricInfo, VariableInfo};
use super::series_style::{cell, markers};
use super::table::{format_exact, format_interval, format_point, measured_metrics};
use super::titles;
use crate::data::{ExperimentResults, Sample};
use crate::experiment::{Better, ChartStyle};
use crate::factors::{CLIENTS, RUNTIMES, Separation, format_factor, separate};
use crate::stats::Estimate;
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
            match &self.info.variable {
                Some(_) if self.results.points(&metric.name).len() > 1 => {
                    // Many lines are hard to tell apart, so a dot plot also shows one point.
                    if n == 0 && self.contenders(metric).len() > 6 {
                        figures.push(self.dot_plot(metric));
                    }
                    figures.push(self.line_chart(metric));
                }
                _ => figures.push(self.dot_plot(metric)),
            }
        }
        figures
    }

    /// Separates the effects of runtime and client at the largest point at which all combinations of a runtime
    /// and a client have results.
    pub(crate) fn separation(&self) -> Option<Separation> {
        let metric = *measured_metrics(self.info, self.results).first()?;
        let better = metric.better.unwrap_or(Better::Lower);
        let smallest = self.results.smallest_difference(&metric.name);
        let points = self.results.points(&metric.name);
        points.iter().rev().find_map(|x| {
            let cell = |name: &str| Some(&self.results.get(&metric.name, name, *x)?.rounds);
            separate(*x, better, cell, smallest)
        })
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

    /// Creates a dot plot with a row for each contender. If names have two parts, such as `smol: inline`, the
    /// rows are grouped.
    fn dot_plot(&self, metric: &MetricInfo) -> Figure {
        let x = self.main_point(&metric.name);
        let names = self.contenders(metric);
        let has_groups = names.iter().any(|name| name.contains(": "));
        let has_cells = names.iter().filter(|name| cell(name).is_some()).count() >= 6;
        let mut groups: Vec<DotGroup> = Vec::new();
        for (name, style) in names.iter().zip(markers(&names)) {
            let sample = self.results.get(&metric.name, name, x);
            let Some((sample, value)) = sample.and_then(|one| Some((one, one.estimate()?))) else {
                continue;
            };
            let (heading, label) = match (cell(name), name.split_once(": ")) {
                (Some(cell), _) if has_cells => (Some(cell.client()), *name),
                (_, Some((runtime, mode))) => (Some(runtime), mode),
                _ if has_cells || has_groups => (Some("others"), *name),
                _ => (None, *name),
            };
            let row = DotRow {
                name: label.to_owned(),
                style,
                value: value.into(),
                figure: format_figure(value.value, &sample.unit),
                tip: self.tooltip(metric, sample, &value),
            };
            let heading = heading.map(str::to_owned);
            match groups.iter_mut().find(|group| group.heading == heading) {
                Some(group) => group.rows.push(row),
                None => groups.push(DotGroup {
                    heading,
                    rows: vec![row],
                }),
            }
        }
        let values: Vec<f64> = groups
            .iter()
            .flat_map(|group| group.rows.iter().map(|row| row.value.value))
            .collect();
        let reference = metric.limit_at(x).map(|at| ReferenceLine {
            at,
            label: limit_label(metric, Some(at)),
        });
        let limit = reference.as_ref().map(|reference| reference.at);
        let is_wide = spans_magnitudes(values.iter().copied().chain(limit));
        let most = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let is_close = least > 0.0 && most / least < 2.0;
        let axis_kind = match metric.chart_style {
            ChartStyle::BarsFromZero => AxisKind::FromZero,
            _ if values.len() < 2 => AxisKind::FromZero,
            _ if is_close => AxisKind::Fitted,
            _ if is_wide => AxisKind::Logarithmic,
            _ => AxisKind::FromZero,
        };
        let point = match self.info.variable {
            Some(_) => format!("{}. ", super::table::capitalize(&self.describe_point(x))),
            None => String::new(),
        };
        let shape = match axis_kind {
            AxisKind::FromZero => "Bar",
            _ => "Mark",
        };
        Figure {
            id: self.id(&format!("{}-dots", metric.name)),
            title: titles::comparison(self, metric, x),
            caption: format!(
                "{point}{shape}: median; thin line: 95 % interval.{}{}",
                describe_limit(metric),
                self.mistake_note(metric)
            ),
            metric: metric.name.clone(),
            chart: Chart::DotPlot(DotPlot {
                groups,
                axis: Self::axis_label(metric),
                axis_kind,
                reference,
            }),
        }
    }

    fn line_chart(&self, metric: &MetricInfo) -> Figure {
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
        let curve = metric.limit.as_ref().map(|_| {
            let at = (0..=300).map(|n| least * (most / least).powf(f64::from(n) / 300.0));
            let curve: Vec<(f64, f64)> =
                at.filter_map(|x| Some((x, metric.limit_at(x)?))).collect();
            (curve, limit_label(metric, None))
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
        let last = self.results.points(&metric.name).last().copied();
        Figure {
            id: self.id(&format!("{}-lines", metric.name)),
            title: match has_knees {
                true => titles::knees(self, metric),
                // Differences are usually largest at the last point.
                false => titles::comparison(self, metric, last.unwrap_or_default()),
            },
            caption: format!(
                "Mark: median; line through it: 95 % interval.{}{}",
                describe_limit(metric),
                self.mistake_note(metric)
            ),
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
        let separation = self.separation()?;
        let x = separation.x;
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
        let factors = |factors: [f64; 3]| factors.map(|factor| format!("{factor:.2} x"));
        let point = match self.info.variable {
            Some(_) => format!(" ({})", self.describe_point(x)),
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
                    .describe_residual()
                    .map_or(String::new(), |residual| residual + " ")
            ),
            metric: metric.name.clone(),
            chart: Chart::HeatMap(Box::new(HeatMap {
                runtime_names: RUNTIMES,
                client_names: CLIENTS,
                cells,
                runtimes: factors(separation.runtime.factors),
                clients: factors(separation.client.factors),
                label: format!("{}{point}", Self::axis_label(metric)),
            })),
        })
    }

    /// Returns the ratio of the contender `of` to the contender `to`, if the ratio may be claimed as a
    /// difference.
    pub(crate) fn claimable_ratio(
        &self,
        metric: &str,
        of: &str,
        to: &str,
        x: f64,
    ) -> Option<Estimate> {
        let ratio = self.results.ratio(metric, of, to, x)?;
        let smallest = self.results.smallest_difference(metric);
        crate::stats::may_claim(&ratio, smallest).then_some(ratio)
    }

    /// Returns the median of a contender at a point.
    pub(crate) fn value(&self, metric: &str, contender: &str, x: f64) -> Option<f64> {
        crate::stats::median(&self.results.get(metric, contender, x)?.values())
    }

    /// Describes the smallest difference that can be claimed: `nothing is claimed below 3.1 %`.
    pub(crate) fn describe_threshold(&self, metric: &str) -> String {
        match self.results.smallest_difference(metric) {
            Some(smallest) => format!("nothing is claimed below {}", format_factor(smallest)),
            None => "there are fewer than two rounds of an A/A pair, so no difference is claimed"
                .to_owned(),
        }
    }
}

fn limit_label(metric: &MetricInfo, at: Option<f64>) -> String {
    let description = metric.limit.as_ref().map_or("", |limit| limit.description);
    match at {
        Some(at) => format!("limit {}: {description}", format_exact(at, &metric.unit)),
        None => format!("limit: {description}"),
    }
}

/// Describes the limit for the caption, because the label at the line of the limit may be truncated.
fn describe_limit(metric: &MetricInfo) -> String {
    let limit = metric.limit.as_ref();
    limit.map_or(String::new(), |limit| {
        format!(" Dashed: the physical limit, {}.", limit.description)
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
