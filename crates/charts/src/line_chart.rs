//! A line chart of a metric over a variable: one line for each contender, labelled at its end. Fewer than three
//! points have no line, because a line would suggest a course between them that nobody measured.

use crate::Interval;
use crate::canvas::{Canvas, FONT_SIZE, datum, line, rect, spread, text_width, truncated, wrapped};
use crate::element::Element;
use crate::marker::Marker;
use crate::scale::{Scale, tick};

/// A line chart.
#[derive(Clone, Debug)]
pub struct LineChart {
    /// The label of the x axis, with the unit.
    pub x_label: String,
    /// The label of the y axis, with the unit.
    pub y_label: String,
    /// Whether the x axis is logarithmic.
    pub x_logarithmic: bool,
    /// Whether the y axis is logarithmic.
    pub y_logarithmic: bool,
    /// The lines.
    pub series: Vec<LineSeries>,
    /// The curve of the limit and its label.
    pub limit: Option<(Vec<(f64, f64)>, String)>,
    /// The legend of the rings around knees, which are points before the metric grows quickly. `None` if no
    /// knee is marked.
    pub knee_legend: Option<&'static str>,
}

/// A series of a chart.
#[derive(Clone, Debug)]
pub struct LineSeries {
    /// The label of the line.
    pub name: String,
    /// The marker and the colour.
    pub style: Marker,
    /// The points, in the order of `x`.
    pub points: Vec<SeriesPoint>,
}

/// A point of a series.
#[derive(Clone, Debug)]
pub struct SeriesPoint {
    /// The position on the x axis.
    pub x: f64,
    /// The value and its interval.
    pub value: Interval,
    /// The tooltip.
    pub tip: String,
    /// Whether the point is a knee, which is marked with a ring.
    pub is_knee: bool,
}

/// The number of points from which a series has a line.
const POINTS_OF_A_LINE: usize = 3;

/// The minimum distance between the labels at the side.
const LABEL_SPACING: f64 = 15.0;

impl LineChart {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let names = self.series.iter().map(|series| text_width(&series.name));
        let names = names.fold(0.0, f64::max);
        let side = if narrow {
            14.0
        } else {
            (names + 46.0).min(240.0)
        };

        let top = self.draw_header(&mut canvas);
        let tall =
            (self.series.len() as f64 * LABEL_SPACING).max(if narrow { 210.0 } else { 260.0 });
        let bottom = top + if narrow { 230.0 } else { tall };
        let points = || self.series.iter().flat_map(|series| &series.points);
        let curve = self.limit.iter().flat_map(|(curve, _)| curve);
        let values =
            points().flat_map(|point| [point.value.low, point.value.value, point.value.high]);
        let values = values.chain(curve.clone().map(|(_, y)| *y));
        let y = Scale::containing(values, self.y_logarithmic, bottom, top);
        let y_ticks = y.ticks(if narrow { 5 } else { 6 });
        let widest = y_ticks.iter().map(|at| text_width(&tick(*at)));
        let left = widest.fold(0.0, f64::max) + 10.0;
        let right = width - side;
        let xs = points().map(|point| point.x);
        let x = Scale::containing(xs, self.x_logarithmic, left, right);

        for at in y_ticks {
            let place = y.position(at);
            canvas.line("grid", (left, place), (right, place));
            canvas.text(left - 7.0, place + 4.0, "tick end", &tick(at));
        }
        canvas.line("axis", (left, bottom), (right, bottom));
        self.draw_x_axis(&mut canvas, &x, bottom, right);
        self.draw_limit(&mut canvas, &x, &y);
        let with_line = |series: &&LineSeries| series.points.len() >= POINTS_OF_A_LINE;
        for series in self.series.iter().filter(with_line) {
            canvas.add(draw_series(series, &x, &y));
        }
        let mut below = bottom + 44.0;
        if narrow {
            below = self.legend_below(&mut canvas, below, width, names);
        } else {
            self.labels_beside(&mut canvas, &x, &y, (top, bottom), right);
        }
        for (n, series) in self.series.iter().enumerate() {
            // Draw points after all lines, so that no line covers a point.
            for point in &series.points {
                canvas.add(self.draw_point(n, point, &x, &y));
            }
        }
        canvas.height = below;
        canvas
    }

    /// Draws the label of the y axis and the legend above the chart. Returns the position at which the chart
    /// starts.
    fn draw_header(&self, canvas: &mut Canvas) -> f64 {
        let mut top = 0.0;
        for text in wrapped(&self.y_name(), canvas.width) {
            top += FONT_SIZE + 4.0;
            canvas.text(0.0, top - 3.0, "name", &text);
        }
        for entry in self.legend() {
            top = self.draw_legend_entry(canvas, entry, top);
        }
        top + 14.0
    }

    fn draw_limit(&self, canvas: &mut Canvas, x: &Scale, y: &Scale) {
        if let Some((curve, _)) = &self.limit {
            let inside = curve
                .iter()
                .filter(|(at, value)| x.contains(*at) && y.contains(*value));
            let places = inside.map(|(at, value)| (x.position(*at), y.position(*value)));
            canvas.add(polyline("limit", places));
        }
    }

    fn x_name(&self) -> String {
        match self.x_logarithmic {
            true => format!("{}, logarithmic", self.x_label),
            false => self.x_label.clone(),
        }
    }

    /// Returns the ticks of the x axis: the measured points, or round values if there are many points.
    fn x_ticks(&self, x: &Scale, most: usize) -> Vec<f64> {
        let series = self.series.iter();
        let mut at: Vec<f64> = series
            .flat_map(|series| series.points.iter().map(|point| point.x))
            .collect();
        at.sort_by(f64::total_cmp);
        at.dedup();
        match at.len() {
            0..=12 => at,
            _ => x.ticks(most),
        }
    }

    fn y_name(&self) -> String {
        match self.y_logarithmic {
            true => format!("{}, logarithmic", self.y_label),
            false => self.y_label.clone(),
        }
    }

    fn legend(&self) -> Vec<LegendEntry<'_>> {
        let limit = self.limit.iter().map(|(_, text)| LegendEntry::Limit(text));
        limit
            .chain(self.knee_legend.map(LegendEntry::Knee))
            .collect()
    }

    /// Draws an entry of the legend. Returns the position of the entry's lower end.
    fn draw_legend_entry(&self, canvas: &mut Canvas, entry: LegendEntry<'_>, top: f64) -> f64 {
        let middle = top + FONT_SIZE - 2.0;
        let text = match entry {
            LegendEntry::Limit(text) => {
                canvas.line("limit", (0.0, middle), (22.0, middle));
                text
            }
            LegendEntry::Knee(text) => {
                canvas.add(ring(11.0, middle, 6.5));
                text
            }
        };
        let mut y = top;
        for text in wrapped(text, canvas.width - 30.0) {
            y += FONT_SIZE + 4.0;
            canvas.text(28.0, y - 2.0, "limit-name", &text);
        }
        y
    }

    /// Draws the ticks and the label of the x axis. The labels of ticks are omitted where they do not fit.
    fn draw_x_axis(&self, canvas: &mut Canvas, x: &Scale, bottom: f64, right: f64) {
        let mut free = f64::NEG_INFINITY;
        for at in self.x_ticks(x, 8) {
            let place = x.position(at);
            canvas.line("axis", (place, bottom), (place, bottom + 4.0));
            let half = text_width(&tick(at)) / 2.0;
            let middle = place.min(canvas.width - half - 3.0);
            if middle - half > free {
                canvas.text(middle, bottom + 17.0, "tick middle", &tick(at));
                free = middle + half + 6.0;
            }
        }
        canvas.text(
            right,
            bottom + 35.0,
            "name end",
            &truncated(&self.x_name(), right),
        );
    }

    fn draw_point(&self, series: usize, point: &SeriesPoint, x: &Scale, y: &Scale) -> Element {
        let style = self.series[series].style;
        let (at, value) = (x.position(point.x), y.position(point.value.value));
        let (low, high) = (y.position(point.value.low), y.position(point.value.high));
        let mut g = datum(style.colour.class(), &point.tip);
        g.add(rect("hit-area", at - 9.0, value - 9.0, 18.0, 18.0));
        g.add(line("whisker", (at, low), (at, high)));
        if point.is_knee {
            g.add(ring(at, value, 9.0));
        }
        g.add(style.draw(at, value, 4.2));
        g
    }

    fn labels_beside(
        &self,
        canvas: &mut Canvas,
        x: &Scale,
        y: &Scale,
        (top, bottom): (f64, f64),
        right: f64,
    ) {
        let mut places = Vec::new();
        for (n, series) in self.series.iter().enumerate() {
            if let Some(last) = series.points.last() {
                places.push((n, y.position(last.value.value)));
            }
        }
        spread(&mut places, LABEL_SPACING, top + 4.0, bottom);
        for (n, place) in places {
            let series = &self.series[n];
            let Some(last) = series.points.last() else {
                continue;
            };
            let from = (x.position(last.x) + 6.0, y.position(last.value.value));
            canvas.line("leader", from, (right + 16.0, place));
            let mark = series.style.draw(right + 23.0, place, 4.0);
            canvas.add(series.style.group().child(mark));
            let name = truncated(&series.name, canvas.width - right - 34.0);
            canvas.text(right + 33.0, place + 4.0, "contender", &name);
        }
    }

    /// Draws the names of the series below the chart, in as many columns as fit. Phones have no space at the
    /// side. Returns the position of the lower end.
    fn legend_below(&self, canvas: &mut Canvas, top: f64, width: f64, names: f64) -> f64 {
        let columns = (width / (names + 30.0)).floor().clamp(1.0, 3.0) as usize;
        let column = width / columns as f64;
        for (n, series) in self.series.iter().enumerate() {
            let x = (n % columns) as f64 * column + 8.0;
            let y = top + (n / columns) as f64 * 18.0 + 8.0;
            let mark = series.style.draw(x, y - 4.0, 4.2);
            canvas.add(series.style.group().child(mark));
            canvas.text(
                x + 12.0,
                y,
                "contender",
                &truncated(&series.name, column - 22.0),
            );
        }
        top + self.series.len().div_ceil(columns) as f64 * 18.0 + 6.0
    }
}

/// An entry of the legend above a chart.
enum LegendEntry<'a> {
    Limit(&'a str),
    Knee(&'a str),
}

fn ring(x: f64, y: f64, r: f64) -> Element {
    Element::with_class("circle", "knee")
        .at("cx", x)
        .at("cy", y)
        .at("r", r)
}

fn draw_series(series: &LineSeries, x: &Scale, y: &Scale) -> Element {
    let points = series.points.iter();
    let places = points.map(|point| (x.position(point.x), y.position(point.value.value)));
    series.style.group().child(polyline("series", places))
}

fn polyline(class: &str, places: impl Iterator<Item = (f64, f64)>) -> Element {
    let points: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    Element::with_class("polyline", class).with("points", points.join(" "))
}
