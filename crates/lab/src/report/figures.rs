//! Which pictures an experiment has, and what they say.
//!
//! A title is computed from the figures below it, and names a difference only where the A/A pair
//! allows it.

use super::look::{Look, cell};
use super::plot::beat::{Beat, Strip};
use super::plot::dots::{self, Dots, Group, Row};
use super::plot::heat::{Cell, Heat};
use super::plot::lines::{Lines, Point, Series};
use super::plot::panels::Panels;
use super::plot::spans::{Panel, Span, Spans};
use super::plot::{Canvas, Mark};
use super::subject::{Axis, Measure, Subject};
use super::table::{chosen, figure_of, interval, present};
use super::titles;
use crate::data::{Measured, Sample};
use crate::experiment::Better;
use crate::factors::{CLIENTS, RUNTIMES, Separation, more, separate};
use crate::stats::Estimate;
use crate::text::{figure, number, shown};

/// A picture and its words.
pub(crate) struct Figure {
    /// For links, and for what names the picture.
    pub(crate) id: String,
    /// What it shows, as a sentence.
    pub(crate) title: String,
    /// How to read it.
    pub(crate) caption: String,
    /// The metric whose table stands behind it.
    pub(crate) metric: String,
    pub(crate) plot: Plot,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) enum Plot {
    Dots(Dots),
    Lines(Lines),
    Panels(Panels),
    Heat(Box<Heat>),
    Spans(Spans),
    Beat(Beat),
}

impl Plot {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        match self {
            Self::Dots(dots) => dots.draw(width),
            Self::Lines(lines) => lines.draw(width),
            Self::Panels(panels) => panels.draw(width),
            Self::Heat(heat) => heat.draw(width),
            Self::Spans(spans) => spans.draw(width),
            Self::Beat(beat) => beat.draw(width),
        }
    }
}

/// An experiment with what was measured of it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) measured: &'a Measured,
}

impl<'a> View<'a> {
    /// The pictures, the one that matters most first.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let metrics = present(self.subject, self.measured);
        let mut figures = match &*self.subject.name {
            "timeline" if self.subject.trace && metrics.len() >= 2 => {
                self.timeline(metrics[0], metrics[1])
            }
            "heartbeat" if self.subject.trace => self.heartbeat(metrics[0]),
            _ => Vec::new(),
        };
        if !figures.is_empty() {
            return figures;
        }
        if self.subject.name == "gather" {
            figures.extend(metrics.first().and_then(|metric| self.lesson(metric)));
        }
        for (n, metric) in metrics.iter().enumerate() {
            figures.extend(self.heat(metric).filter(|_| n == 0));
            match &self.subject.variable {
                Some(_) if self.measured.points(&metric.name).len() > 1 => {
                    if n == 0 && self.is_crowded(metric, 6) {
                        figures.push(self.dots(metric));
                    }
                    figures.push(self.lines(metric));
                }
                _ => figures.push(self.dots(metric)),
            }
        }
        figures
    }

    /// What the runtime and the client cost, at the largest point that all cells have.
    pub(crate) fn separation(&self) -> Option<Separation> {
        let metric = *present(self.subject, self.measured).first()?;
        let better = metric.better.unwrap_or(Better::Lower);
        let smallest = self.measured.smallest_difference(&metric.name);
        let points = self.measured.points(&metric.name);
        points.iter().rev().find_map(|x| {
            let cell = |name: &str| Some(&self.measured.get(&metric.name, name, *x)?.rounds);
            separate(*x, better, cell, smallest)
        })
    }

    /// The largest point that nearly all contenders have: the one that a picture without a variable
    /// shows. Nearly, as a turn of one may have been thrown away.
    pub(crate) fn main_point(&self, metric: &str) -> f64 {
        let points = self.measured.points(metric);
        let there = |x: &f64| {
            self.measured
                .of_metric(metric)
                .filter(|sample| sample.x == *x)
                .count()
        };
        let most = points.iter().map(there).max().unwrap_or(0);
        let nearly_all = |x: &&f64| there(x) * 5 >= most * 4;
        points.iter().rev().find(nearly_all).copied().unwrap_or(0.0)
    }

    /// `, 100 pages at once`: nothing where nothing is varied.
    pub(crate) fn at(&self, x: f64) -> String {
        match &self.subject.variable {
            // `100 pages at once`, and `limit of 8`.
            Some(Axis { name, unit, .. }) if unit.is_empty() || unit == "1/s" => {
                let first = name.split(' ').next().unwrap_or_default();
                match first.ends_with('s') || first == "in" {
                    true => format!("{} {name}", figure_of(x, "")),
                    false => format!("{name}: {}", figure_of(x, "")),
                }
            }
            Some(Axis { name, unit, .. }) => format!("{name}: {}", figure_of(x, unit)),
            None => String::new(),
        }
    }

    fn id(&self, what: &str) -> String {
        let letters = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        format!("{}-{what}", self.subject.name)
            .chars()
            .map(letters)
            .collect()
    }

    fn axis(metric: &Measure) -> String {
        match shown(&metric.unit) {
            "" | "1/s" => metric.what.clone(),
            unit => format!("{}, {unit}", metric.what),
        }
    }

    /// All there is to say of a figure.
    fn tip(&self, metric: &Measure, sample: &Sample, value: &Estimate) -> String {
        let mut tip = sample.contender.clone();
        if self.subject.variable.is_some() {
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

    fn row(&self, metric: &Measure, sample: &Sample, name: &str, look: Look) -> Option<Row> {
        let value = sample.estimate()?;
        Some(Row {
            name: name.to_owned(),
            look,
            value,
            figure: figure(value.value, &sample.unit),
            tip: self.tip(metric, sample, &value),
        })
    }

    /// A row for each contender, in groups where their names have two parts.
    fn dots(&self, metric: &Measure) -> Figure {
        let x = self.main_point(&metric.name);
        let names = self.measured.contenders(&metric.name);
        let looks = Look::of_all(&names);
        let cells = names.iter().filter(|name| cell(name).is_some()).count() >= 6;
        let mistake = self.mistake(metric);
        let mut groups: Vec<Group> = Vec::new();
        for (name, look) in names.iter().zip(looks) {
            // It has a picture of its own, and would press all others into a corner of this one.
            let Some(sample) = self
                .measured
                .get(&metric.name, name, x)
                .filter(|_| Some(*name) != mistake)
            else {
                continue;
            };
            let (heading, label) = match (cell(name), name.split_once(": ")) {
                (Some((_, client)), _) if cells => (Some(client), *name),
                (_, Some((runtime, way))) => (Some(runtime), way),
                _ if cells || names.iter().any(|name| name.contains(": ")) => {
                    (Some("others"), *name)
                }
                _ => (None, *name),
            };
            let heading = heading.map(str::to_owned);
            let row = self.row(metric, sample, label, look);
            match groups.iter_mut().find(|group| group.heading == heading) {
                Some(group) => group.rows.extend(row),
                None => groups.push(Group {
                    heading,
                    rows: row.into_iter().collect(),
                }),
            }
        }
        let mut figure = self.dots_of(
            metric,
            x,
            groups,
            titles::dots(self, metric, x),
            "dots",
            None,
        );
        figure.caption += &without(mistake);
        figure
    }

    fn dots_of(
        &self,
        metric: &Measure,
        x: f64,
        groups: Vec<Group>,
        title: String,
        id: &str,
        axis: Option<dots::Axis>,
    ) -> Figure {
        let values: Vec<f64> = groups
            .iter()
            .flat_map(|group| group.rows.iter().map(|row| row.value.value))
            .collect();
        let marks: Vec<Mark> = metric
            .limit_at(x)
            .filter(|_| metric.limit.is_some())
            .map(|at| Mark {
                at,
                label: limit_label(metric, Some(at)),
            })
            .into_iter()
            .collect();
        let spans = spans_magnitudes(
            values
                .iter()
                .copied()
                .chain(marks.iter().map(|mark| mark.at)),
        );
        let most = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let close = least > 0.0 && most / least < 2.0 && values.len() > 1;
        let axis_is = axis.unwrap_or(match () {
            () if close => dots::Axis::Near,
            // Of a gap the picture is how large it is beside the others, however small they are.
            () if spans && values.len() > 1 && metric.name != "gap" => dots::Axis::Logarithmic,
            () => dots::Axis::FromZero,
        });
        let point = match self.subject.variable {
            Some(_) => format!("{}. ", super::table::capital(&self.at(x))),
            None => String::new(),
        };
        Figure {
            id: self.id(&format!("{}-{id}", metric.name)),
            title,
            caption: format!(
                "{point}{}: the median; thin line: the interval of 95 %.{}",
                if axis_is == dots::Axis::FromZero {
                    "Bar"
                } else {
                    "Mark"
                },
                dashed(metric)
            ),
            metric: metric.name.clone(),
            plot: Plot::Dots(Dots {
                groups,
                axis: Self::axis(metric),
                axis_is,
                marks,
            }),
        }
    }

    /// The contender that does what nobody should, where its picture is shown.
    pub(crate) fn mistake(&self, metric: &Measure) -> Option<&'a str> {
        let first = self.subject.metrics.first()?;
        let is_shown = self.subject.name == "gather" && first.name == metric.name;
        let mut names = self.measured.contenders(&metric.name).into_iter();
        names.find(|name| is_shown && name.contains("requests"))
    }

    /// The lesson of a blocking client in a coroutine, in its own language and in ours.
    fn lesson(&self, metric: &Measure) -> Option<Figure> {
        let names = self.measured.contenders(&metric.name);
        let mistake = self.mistake(metric)?;
        let points = self.measured.of_metric(&metric.name);
        let x = points
            .filter(|sample| sample.contender == mistake)
            .map(|sample| sample.x)
            .fold(0.0, f64::max);
        let limit = metric.limit_at(x)?;
        // Ours by their short names, and all that is not ours.
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
        let looks = Look::of_all(&shown);
        let mut rows: Vec<Row> = shown
            .iter()
            .zip(looks)
            .filter_map(|(name, look)| {
                let sample = self.measured.get(&metric.name, name, x)?;
                self.row(metric, sample, name, look)
            })
            .collect();
        rows.sort_by(|one, other| one.value.value.total_cmp(&other.value.value));
        let title = titles::lesson(self, metric, mistake, x);
        let groups = vec![Group {
            heading: None,
            rows,
        }];
        let mut figure = self.dots_of(
            metric,
            x,
            groups,
            title,
            "lesson",
            Some(dots::Axis::Logarithmic),
        );
        if let Plot::Dots(dots) = &mut figure.plot {
            let sum = limit * x;
            dots.marks.push(Mark {
                at: sum,
                label: format!("{}: the sum of the delays", chosen(sum, &metric.unit)),
            });
        }
        figure.caption += " The second dashed line is what pages cost one after another.";
        Some(figure)
    }

    /// Whether there are more contenders than this.
    fn is_crowded(&self, metric: &Measure, most: usize) -> bool {
        self.measured.contenders(&metric.name).len() > most
    }

    /// Which contenders go into which panel: by client, and the others together.
    fn panels(names: &[&str]) -> Vec<(String, Vec<(usize, String)>)> {
        let mut panels: Vec<(String, Vec<(usize, String)>)> = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let (heading, label) = match (cell(name), name.split_once(": ")) {
                (Some((runtime, client)), _) => (client, runtime),
                (_, Some((runtime, way))) => (runtime, way),
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

    fn lines(&self, metric: &Measure) -> Figure {
        let mistake = self.mistake(metric);
        let mut names = self.measured.contenders(&metric.name);
        names.retain(|name| Some(*name) != mistake);
        let looks = Look::of_all(&names);
        let knees = titles::is_a_sweep(self.subject, metric);
        let mut series = Vec::new();
        for (name, look) in names.iter().zip(looks) {
            let knee = titles::knee(self.measured, metric, name);
            let mut points: Vec<Point> = self
                .measured
                .of_metric(&metric.name)
                .filter(|sample| sample.contender == *name)
                .filter_map(|sample| {
                    let value = sample.estimate()?;
                    Some(Point {
                        x: sample.x,
                        value,
                        tip: self.tip(metric, sample, &value),
                        ringed: knees && knee == titles::Knee::At(sample.x),
                    })
                })
                .collect();
            points.sort_by(|one, other| one.x.total_cmp(&other.x));
            series.push(Series {
                name: (*name).to_owned(),
                look,
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
        let variable = self.subject.variable.as_ref();
        let x_name = variable.map_or(String::new(), |variable| match shown(&variable.unit) {
            "" | "1/s" => variable.name.clone(),
            unit => format!("{}, {unit}", variable.name),
        });
        let x_logarithmic = least > 0.0
            && (variable.is_some_and(|variable| variable.logarithmic) || most / least > 20.0);
        let ring = points().any(|point| point.ringed).then(|| {
            "knee: the highest rate before it is twice what it was at the lowest".to_owned()
        });
        let lines = Lines {
            x: x_name,
            y: Self::axis(metric),
            x_logarithmic,
            y_logarithmic,
            limit: curve,
            ring,
            series,
        };
        let crowded = self.is_crowded(metric, 8);
        Figure {
            id: self.id(&format!("{}-lines", metric.name)),
            title: titles::lines(self, metric),
            caption: format!(
                "Mark: the median; line through it: the interval of 95 %.{}{}{}",
                dashed(metric),
                without(mistake),
                if crowded {
                    " Grey: the contenders of the other panels."
                } else {
                    ""
                }
            ),
            metric: metric.name.clone(),
            plot: match crowded {
                true => Plot::Panels(Panels {
                    lines,
                    panels: Self::panels(&names),
                }),
                false => Plot::Lines(lines),
            },
        }
    }

    /// The matrix of runtimes and clients, where all of its cells are there.
    fn heat(&self, metric: &Measure) -> Option<Figure> {
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
        let there: Vec<f64> = values
            .iter()
            .flatten()
            .flatten()
            .map(|(_, estimate)| estimate.value)
            .filter(|value| *value > 0.0)
            .collect();
        let higher = metric.better == Some(Better::Higher);
        let least = there.iter().copied().fold(f64::INFINITY, f64::min);
        let most = there.iter().copied().fold(0.0, f64::max);
        let best = if higher { most } else { least };
        // Below the noise there is no shade: it would show a difference that may be none.
        let smallest = self
            .measured
            .smallest_difference(&metric.name)
            .unwrap_or(1.0);
        let span = (most / least).max(smallest * smallest).max(1.05).ln();
        let cells = values.map(|row| {
            row.map(|cell| {
                let (sample, estimate) = cell?;
                let factor = (estimate.value / best).max(best / estimate.value);
                Some(Cell {
                    share: factor.ln() / span,
                    figure: figure(estimate.value, &sample.unit),
                    second: match factor {
                        1.0 => "best".to_owned(),
                        _ => format!("{factor:.2} x"),
                    },
                    tip: self.tip(metric, sample, &estimate),
                })
            })
        });
        let factors = |factors: [f64; 3]| factors.map(|factor| format!("{factor:.2} x"));
        let point = match self.subject.variable {
            Some(_) => format!(" ({})", self.at(x)),
            None => String::new(),
        };
        Some(Figure {
            id: self.id("matrix"),
            title: separation.sentence(),
            caption: format!(
                "{}Below each figure: how many times the best. The row and the column outside are \
                 what a runtime and a client cost alone, the other held, as a factor of the best of \
                 them. The stronger the colour, the dearer.",
                separation.rest().map_or(String::new(), |rest| rest + " ")
            ),
            metric: metric.name.clone(),
            plot: Plot::Heat(Box::new(Heat {
                cells,
                runtimes: Some(factors(separation.runtime.factors)),
                clients: Some(factors(separation.client.factors)),
                what: format!("{}{point}", Self::axis(metric)),
            })),
        })
    }

    fn timeline(&self, begun: &Measure, ended: &Measure) -> Vec<Figure> {
        let names = self.measured.contenders(&ended.name);
        let looks = Look::of_all(&names);
        let panels: Vec<Panel> = names
            .iter()
            .zip(looks)
            .map(|(name, look)| {
                let ends = self.measured.of_metric(&ended.name);
                let mut spans: Vec<(f64, Span)> = ends
                    .filter(|sample| sample.contender == *name)
                    .filter_map(|end| {
                        let start = self.measured.get(&begun.name, name, end.x)?;
                        let (from, to) = (start.estimate()?.value, end.estimate()?.value);
                        let unit = &ended.unit;
                        let tip = format!(
                            "{name}, page {}: from {} to {}, {}",
                            number_of(end.x),
                            figure(from, unit),
                            figure(to, unit),
                            figure(to - from, unit)
                        );
                        let span = Span {
                            begun: from,
                            ended: to,
                            tip,
                        };
                        Some((end.x, span))
                    })
                    .collect();
                spans.sort_by(|(one, _), (other, _)| one.total_cmp(other));
                Panel {
                    name: (*name).to_owned(),
                    look,
                    spans: spans.into_iter().map(|(_, span)| span).collect(),
                }
            })
            .collect();
        let title = titles::timeline(&panels, &ended.unit);
        vec![Figure {
            id: self.id("spans"),
            title,
            caption: "Each bar is a page, from when it was asked for until it was there. Both \
                      panels have the same scale. Events of one round, not a measurement."
                .to_owned(),
            metric: ended.name.clone(),
            plot: Plot::Spans(Spans {
                panels,
                unit: ended.unit.clone(),
            }),
        }]
    }

    fn heartbeat(&self, metric: &Measure) -> Vec<Figure> {
        let names = self.measured.contenders(&metric.name);
        let looks = Look::of_all(&names);
        let strips: Vec<Strip> = names
            .iter()
            .zip(looks)
            .map(|(name, look)| {
                let samples = self.measured.of_metric(&metric.name);
                let mut beats: Vec<(f64, f64)> = samples
                    .filter(|sample| sample.contender == *name)
                    .filter_map(|sample| Some((sample.x, *sample.values().first()?)))
                    .collect();
                beats.sort_by(|one, other| one.0.total_cmp(&other.0));
                let mut strip = Strip {
                    name: (*name).to_owned(),
                    look,
                    beats,
                    tip: String::new(),
                };
                if let Some((at, gap)) = strip.hole() {
                    strip.tip = format!(
                        "{name}: {} beats, longest silence {}, until {}",
                        strip.beats.len(),
                        figure(gap, &metric.unit),
                        figure(at, &metric.unit)
                    );
                }
                strip
            })
            .collect();
        let title = titles::heartbeat(&strips, &metric.unit);
        vec![Figure {
            id: self.id("beat"),
            title,
            caption: "Each stroke is a beat of a heart that shall beat every millisecond, on the \
                      one worker on which a page is fetched. Events of one round, not a measurement."
                .to_owned(),
            metric: metric.name.clone(),
            plot: Plot::Beat(Beat {
                strips,
                unit: metric.unit.clone(),
            }),
        }]
    }

    /// How much one contender is of another, where that may be claimed.
    pub(crate) fn claimed(&self, metric: &str, of: &str, to: &str, x: f64) -> Option<Estimate> {
        let ratio = self.measured.ratio(metric, of, to, x)?;
        let smallest = self.measured.smallest_difference(metric);
        crate::stats::may_claim(&ratio, smallest).then_some(ratio)
    }

    /// The median of a contender at a point.
    pub(crate) fn value(&self, metric: &str, contender: &str, x: f64) -> Option<f64> {
        crate::stats::median(&self.measured.get(metric, contender, x)?.values())
    }

    /// `nothing is claimed below 3.1 %`.
    pub(crate) fn threshold(&self, metric: &str) -> String {
        match self.measured.smallest_difference(metric) {
            _ if self.subject.trace => {
                "events of one round, of which nothing is claimed".to_owned()
            }
            Some(smallest) => format!("nothing is claimed below {}", more(smallest)),
            None => {
                "there are not two rounds of an A/A pair, so no difference is claimed".to_owned()
            }
        }
    }
}

fn number_of(x: f64) -> String {
    crate::text::count(x)
}

fn limit_label(metric: &Measure, at: Option<f64>) -> String {
    let what = metric.limit.as_ref().map_or("", |limit| limit.what);
    match at {
        Some(at) => format!("limit {}: {what}", chosen(at, &metric.unit)),
        None => format!("limit: {what}"),
    }
}

/// Who is left out of a picture, and where it is instead.
fn without(mistake: Option<&str>) -> String {
    mistake.map_or(String::new(), |name| {
        format!(" Without {name}, which is in the first picture.")
    })
}

/// What is dashed, in full: beside the line there may be no room for it.
fn dashed(metric: &Measure) -> String {
    let limit = metric.limit.as_ref();
    limit.map_or(String::new(), |limit| {
        format!(" Dashed: what no contender can beat, {}.", limit.what)
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
