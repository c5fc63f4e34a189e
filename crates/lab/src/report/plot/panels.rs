//! Many contenders against a variable: a panel for each kind of them, in which all others are grey,
//! so that eighteen lines can be told apart.

use super::lines::{Lines, Series};
use super::{Canvas, datum, fitting, label, line, rect, width_of, wrapped};
use crate::report::markup::El;
use crate::report::scale::{Scale, tick};

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    /// All series, and what the axes show.
    pub(crate) lines: Lines,
    /// The panels: a heading, and which of the series are in colour, with the name that each has there.
    pub(crate) panels: Vec<(String, Vec<(usize, String)>)>,
}

const GAP: f64 = 16.0;

impl Panels {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let columns = if narrow { 2 } else { 3 };
        let mut top = self.lines.head(&mut canvas);
        let points = || self.lines.series.iter().flat_map(|series| &series.points);
        let curve = self.lines.limit.iter().flat_map(|(curve, _)| curve);
        let values = points().map(|point| point.value.value);
        let values: Vec<f64> = values.chain(curve.map(|(_, y)| *y)).collect();
        let tall = if narrow { 150.0 } else { 170.0 };
        let ticks =
            Scale::holding(values.iter().copied(), self.lines.y_logarithmic, 1.0, 0.0).ticks(4);
        let left = ticks
            .iter()
            .map(|at| width_of(&tick(*at)))
            .fold(0.0, f64::max)
            + 8.0;
        let column = (width - left - GAP * (columns - 1) as f64 - 4.0) / columns as f64;
        for row in self.panels.chunks(columns) {
            let keys = row.iter().map(|(_, names)| names.len()).max().unwrap_or(0);
            let (from, to) = (top + 22.0, top + 22.0 + tall);
            let y = Scale::holding(values.iter().copied(), self.lines.y_logarithmic, to, from);
            for (n, (heading, names)) in row.iter().enumerate() {
                let start = left + n as f64 * (column + GAP);
                let end = start + column;
                let xs = points().map(|point| point.x);
                let x = Scale::holding(xs, self.lines.x_logarithmic, start, end);
                canvas.text(start, top + 14.0, "heading", &fitting(heading, column));
                for at in &ticks {
                    let place = y.place(*at);
                    canvas.line("grid", (start, place), (end, place));
                    if n == 0 {
                        canvas.text(start - 6.0, place + 4.0, "tick end", &tick(*at));
                    }
                }
                self.panel(&mut canvas, names, &x, &y, (start, end, to));
                for (place, (series, name)) in names.iter().enumerate() {
                    let look = self.lines.series[*series].look;
                    let y = to + 38.0 + place as f64 * 17.0;
                    let mark = look.mark(start + 7.0, y - 4.0, 4.2);
                    canvas.add(El::of("g", look.colour).child(mark));
                    canvas.add(label(start + 18.0, y, "who", &fitting(name, column - 18.0)));
                }
            }
            top = to + 42.0 + keys as f64 * 17.0;
        }
        let name = self.lines.x_name();
        for (n, text) in wrapped(&name, width).iter().enumerate() {
            canvas.text(left, top + 6.0 + n as f64 * 15.0, "name", text);
        }
        canvas.height = top + 12.0 + (wrapped(&name, width).len() as f64 - 1.0) * 15.0;
        canvas
    }

    fn panel(
        &self,
        canvas: &mut Canvas,
        names: &[(usize, String)],
        x: &Scale,
        y: &Scale,
        (start, end, bottom): (f64, f64, f64),
    ) {
        canvas.line("axis", (start, bottom), (end, bottom));
        let mut free = f64::NEG_INFINITY;
        for at in self.lines.measured_at(x, 4) {
            let place = x.place(at);
            canvas.line("axis", (place, bottom), (place, bottom + 4.0));
            let half = width_of(&tick(at)) / 2.0;
            // Not into the next panel.
            let middle = place.min(end + 2.0 - half).max(start - 2.0 + half);
            if middle - half > free {
                canvas.text(middle, bottom + 17.0, "tick middle", &tick(at));
                free = middle + half + 4.0;
            }
        }
        for series in &self.lines.series {
            canvas.add(El::of("g", "behind").child(drawn(series, x, y)));
        }
        self.lines.limit_curve(canvas, x, y);
        for (series, _) in names {
            let series = &self.lines.series[*series];
            canvas.add(El::of("g", series.look.colour).child(drawn(series, x, y)));
        }
        for (series, _) in names {
            let series = &self.lines.series[*series];
            for point in &series.points {
                let (at, value) = (x.place(point.x), y.place(point.value.value));
                let mut g = datum(series.look.colour, &point.tip);
                g.add(rect("room", at - 8.0, value - 8.0, 16.0, 16.0));
                let (low, high) = (y.place(point.value.low), y.place(point.value.high));
                g.add(line("whisker", (at, low), (at, high)));
                g.add(series.look.mark(at, value, 3.8));
                canvas.add(g);
            }
        }
    }
}

fn drawn(series: &Series, x: &Scale, y: &Scale) -> El {
    let points = series.points.iter();
    let places = points.map(|point| (x.place(point.x), y.place(point.value.value)));
    super::lines::polyline("series", places)
}
