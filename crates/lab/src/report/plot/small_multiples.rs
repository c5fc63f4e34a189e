//! Small multiples: one line chart for each group of contenders. The chart draws all other contenders in
//! grey.

use super::line_chart::{LineChart, Series};
use super::{Canvas, datum, label, line, rect, text_width, truncated, wrapped};
use crate::report::markup::Element;
use crate::report::scale::{Scale, tick};

/// Panels that repeat a line chart, each with other series coloured.
#[derive(Clone, Debug)]
pub(crate) struct SmallMultiples {
    /// All series and the axes.
    pub(crate) chart: LineChart,
    /// The panels: a heading, and the indices and labels of the coloured series.
    pub(crate) panels: Vec<(String, Vec<(usize, String)>)>,
}

const GAP: f64 = 16.0;

impl SmallMultiples {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let columns = if narrow { 2 } else { 3 };
        let mut top = self.chart.draw_header(&mut canvas);
        let points = || self.chart.series.iter().flat_map(|series| &series.points);
        let curve = self.chart.limit.iter().flat_map(|(curve, _)| curve);
        let values = points().map(|point| point.value.value);
        let values: Vec<f64> = values.chain(curve.map(|(_, y)| *y)).collect();
        let tall = if narrow { 150.0 } else { 170.0 };
        let ticks =
            Scale::containing(values.iter().copied(), self.chart.y_logarithmic, 1.0, 0.0).ticks(4);
        let left = ticks
            .iter()
            .map(|at| text_width(&tick(*at)))
            .fold(0.0, f64::max)
            + 8.0;
        let column = (width - left - GAP * (columns - 1) as f64 - 4.0) / columns as f64;
        for row in self.panels.chunks(columns) {
            let legend_rows = row.iter().map(|(_, names)| names.len()).max().unwrap_or(0);
            let (from, to) = (top + 22.0, top + 22.0 + tall);
            let y = Scale::containing(values.iter().copied(), self.chart.y_logarithmic, to, from);
            for (n, (heading, names)) in row.iter().enumerate() {
                let start = left + n as f64 * (column + GAP);
                let end = start + column;
                let xs = points().map(|point| point.x);
                let x = Scale::containing(xs, self.chart.x_logarithmic, start, end);
                canvas.text(start, top + 14.0, "heading", &truncated(heading, column));
                for at in &ticks {
                    let place = y.position(*at);
                    canvas.line("grid", (start, place), (end, place));
                    if n == 0 {
                        canvas.text(start - 6.0, place + 4.0, "tick end", &tick(*at));
                    }
                }
                self.draw_panel(&mut canvas, names, &x, &y, (start, end, to));
                for (place, (series, name)) in names.iter().enumerate() {
                    let style = self.chart.series[*series].style;
                    let y = to + 38.0 + place as f64 * 17.0;
                    let mark = style.marker(start + 7.0, y - 4.0, 4.2);
                    canvas.add(Element::with_class("g", style.colour).child(mark));
                    canvas.add(label(
                        start + 18.0,
                        y,
                        "contender",
                        &truncated(name, column - 18.0),
                    ));
                }
            }
            top = to + 42.0 + legend_rows as f64 * 17.0;
        }
        let name = self.chart.x_name();
        for (n, text) in wrapped(&name, width).iter().enumerate() {
            canvas.text(left, top + 6.0 + n as f64 * 15.0, "name", text);
        }
        canvas.height = top + 12.0 + (wrapped(&name, width).len() as f64 - 1.0) * 15.0;
        canvas
    }

    fn draw_panel(
        &self,
        canvas: &mut Canvas,
        names: &[(usize, String)],
        x: &Scale,
        y: &Scale,
        (start, end, bottom): (f64, f64, f64),
    ) {
        canvas.line("axis", (start, bottom), (end, bottom));
        let mut free = f64::NEG_INFINITY;
        for at in self.chart.measured_at(x, 4) {
            let place = x.position(at);
            canvas.line("axis", (place, bottom), (place, bottom + 4.0));
            let half = text_width(&tick(at)) / 2.0;
            // Keeps the label within the panel, with a tolerance of 2.
            let middle = place.min(end + 2.0 - half).max(start - 2.0 + half);
            if middle - half > free {
                canvas.text(middle, bottom + 17.0, "tick middle", &tick(at));
                free = middle + half + 4.0;
            }
        }
        for series in &self.chart.series {
            canvas.add(Element::with_class("g", "behind").child(draw_series(series, x, y)));
        }
        self.chart.draw_limit(canvas, x, y);
        for (series, _) in names {
            let series = &self.chart.series[*series];
            canvas.add(
                Element::with_class("g", series.style.colour).child(draw_series(series, x, y)),
            );
        }
        for (series, _) in names {
            let series = &self.chart.series[*series];
            for point in &series.points {
                let (at, value) = (x.position(point.x), y.position(point.value.value));
                let mut g = datum(series.style.colour, &point.tip);
                g.add(rect("hit-area", at - 8.0, value - 8.0, 16.0, 16.0));
                let (low, high) = (y.position(point.value.low), y.position(point.value.high));
                g.add(line("whisker", (at, low), (at, high)));
                g.add(series.style.marker(at, value, 3.8));
                canvas.add(g);
            }
        }
    }
}

fn draw_series(series: &Series, x: &Scale, y: &Scale) -> Element {
    let points = series.points.iter();
    let places = points.map(|point| (x.position(point.x), y.position(point.value.value)));
    super::line_chart::polyline("series", places)
}
