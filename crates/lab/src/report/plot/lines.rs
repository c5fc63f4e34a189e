//! A metric against a variable: a line for each contender, named where it ends.

use super::{Canvas, LETTER, datum, fitting, line, rect, spread, width_of, wrapped};
use crate::report::look::Look;
use crate::report::markup::El;
use crate::report::scale::{Scale, tick};
use crate::stats::Estimate;

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    /// What the axes show, with their units.
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) x_logarithmic: bool,
    pub(crate) y_logarithmic: bool,
    pub(crate) series: Vec<Series>,
    /// What cannot be beaten, as a curve, and what it is.
    pub(crate) limit: Option<(Vec<(f64, f64)>, String)>,
    /// What a ring around a point means, if there is one.
    pub(crate) ring: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) look: Look,
    pub(crate) points: Vec<Point>,
}

#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) value: Estimate,
    pub(crate) tip: String,
    /// Whether it is marked with a ring.
    pub(crate) ringed: bool,
}

/// How far names at the side are apart.
const APART: f64 = 15.0;

impl Lines {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let names = self.series.iter().map(|series| width_of(&series.name));
        let names = names.fold(0.0, f64::max);
        let side = if narrow {
            14.0
        } else {
            (names + 46.0).min(240.0)
        };

        let top = self.head(&mut canvas);
        let tall = (self.series.len() as f64 * APART).max(if narrow { 210.0 } else { 260.0 });
        let bottom = top + if narrow { 230.0 } else { tall };
        let points = || self.series.iter().flat_map(|series| &series.points);
        let curve = self.limit.iter().flat_map(|(curve, _)| curve);
        let values =
            points().flat_map(|point| [point.value.low, point.value.value, point.value.high]);
        let values = values.chain(curve.clone().map(|(_, y)| *y));
        let y = Scale::holding(values, self.y_logarithmic, bottom, top);
        let y_ticks = y.ticks(if narrow { 5 } else { 6 });
        let widest = y_ticks.iter().map(|at| width_of(&tick(*at)));
        let left = widest.fold(0.0, f64::max) + 10.0;
        let right = width - side;
        let xs = points().map(|point| point.x);
        let x = Scale::holding(xs, self.x_logarithmic, left, right);

        for at in y_ticks {
            let place = y.place(at);
            canvas.line("grid", (left, place), (right, place));
            canvas.text(left - 7.0, place + 4.0, "tick end", &tick(at));
        }
        canvas.line("axis", (left, bottom), (right, bottom));
        self.x_axis(&mut canvas, &x, bottom, right);
        self.limit_curve(&mut canvas, &x, &y);
        for series in &self.series {
            canvas.add(drawn(series, &x, &y));
        }
        let mut below = bottom + 44.0;
        if narrow {
            below = self.key_below(&mut canvas, below, width, names);
        } else {
            self.names_beside(&mut canvas, &x, &y, (top, bottom), right);
        }
        for (n, series) in self.series.iter().enumerate() {
            // Lines first and points over them, so that none hides what can be reached.
            for point in &series.points {
                canvas.add(self.point(n, point, &x, &y));
            }
        }
        canvas.height = below;
        canvas
    }

    /// Above the plot: what the axis shows, then the signs. Where it ends.
    pub(super) fn head(&self, canvas: &mut Canvas) -> f64 {
        let mut top = 0.0;
        for text in wrapped(&self.y_name(), canvas.width) {
            top += LETTER + 4.0;
            canvas.text(0.0, top - 3.0, "name", &text);
        }
        for sign in self.signs() {
            top = self.sign(canvas, sign, top);
        }
        top + 14.0
    }

    pub(super) fn limit_curve(&self, canvas: &mut Canvas, x: &Scale, y: &Scale) {
        if let Some((curve, _)) = &self.limit {
            let inside = curve
                .iter()
                .filter(|(at, value)| x.holds(*at) && y.holds(*value));
            let places = inside.map(|(at, value)| (x.place(*at), y.place(*value)));
            canvas.add(polyline("limit", places));
        }
    }

    pub(super) fn x_name(&self) -> String {
        match self.x_logarithmic {
            true => format!("{}, logarithmic", self.x),
            false => self.x.clone(),
        }
    }

    /// Where something was measured; round values within, where that is at many places.
    pub(super) fn measured_at(&self, x: &Scale, most: usize) -> Vec<f64> {
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
            true => format!("{}, logarithmic", self.y),
            false => self.y.clone(),
        }
    }

    fn signs(&self) -> Vec<Sign<'_>> {
        let limit = self.limit.iter().map(|(_, what)| Sign::Limit(what));
        limit.chain(self.ring.as_deref().map(Sign::Ring)).collect()
    }

    /// A sign and what it means; where it ends.
    fn sign(&self, canvas: &mut Canvas, sign: Sign<'_>, top: f64) -> f64 {
        let middle = top + LETTER - 2.0;
        let text = match sign {
            Sign::Limit(what) => {
                canvas.line("limit", (0.0, middle), (22.0, middle));
                what
            }
            Sign::Ring(what) => {
                canvas.add(ring(11.0, middle, 6.5));
                what
            }
        };
        let mut y = top;
        for text in wrapped(text, canvas.width - 30.0) {
            y += LETTER + 4.0;
            canvas.text(28.0, y - 2.0, "limit-name", &text);
        }
        y
    }

    /// Ticks where something was measured, as far as there is room for their figures.
    fn x_axis(&self, canvas: &mut Canvas, x: &Scale, bottom: f64, right: f64) {
        let mut free = f64::NEG_INFINITY;
        for at in self.measured_at(x, 8) {
            let place = x.place(at);
            canvas.line("axis", (place, bottom), (place, bottom + 4.0));
            let half = width_of(&tick(at)) / 2.0;
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
            &fitting(&self.x_name(), right),
        );
    }

    fn point(&self, series: usize, point: &Point, x: &Scale, y: &Scale) -> El {
        let look = self.series[series].look;
        let (at, value) = (x.place(point.x), y.place(point.value.value));
        let (low, high) = (y.place(point.value.low), y.place(point.value.high));
        let mut g = datum(look.colour, &point.tip);
        g.add(rect("room", at - 9.0, value - 9.0, 18.0, 18.0));
        g.add(line("whisker", (at, low), (at, high)));
        if point.ringed {
            g.add(ring(at, value, 9.0));
        }
        g.add(look.mark(at, value, 4.2));
        g
    }

    fn names_beside(
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
                places.push((n, y.place(last.value.value)));
            }
        }
        spread(&mut places, APART, top + 4.0, bottom);
        for (n, place) in places {
            let series = &self.series[n];
            let Some(last) = series.points.last() else {
                continue;
            };
            let from = (x.place(last.x) + 6.0, y.place(last.value.value));
            canvas.line("leader", from, (right + 16.0, place));
            let mark = series.look.mark(right + 23.0, place, 4.0);
            canvas.add(El::of("g", series.look.colour).child(mark));
            let name = fitting(&series.name, canvas.width - right - 34.0);
            canvas.text(right + 33.0, place + 4.0, "who", &name);
        }
    }

    /// On a phone there is no room beside: the names are below, in as many columns as fit.
    fn key_below(&self, canvas: &mut Canvas, top: f64, width: f64, names: f64) -> f64 {
        let columns = (width / (names + 30.0)).floor().clamp(1.0, 3.0) as usize;
        let column = width / columns as f64;
        for (n, series) in self.series.iter().enumerate() {
            let x = (n % columns) as f64 * column + 8.0;
            let y = top + (n / columns) as f64 * 18.0 + 8.0;
            let mark = series.look.mark(x, y - 4.0, 4.2);
            canvas.add(El::of("g", series.look.colour).child(mark));
            canvas.text(x + 12.0, y, "who", &fitting(&series.name, column - 22.0));
        }
        top + self.series.len().div_ceil(columns) as f64 * 18.0 + 6.0
    }
}

enum Sign<'a> {
    Limit(&'a str),
    Ring(&'a str),
}

fn ring(x: f64, y: f64, r: f64) -> El {
    El::of("circle", "knee").at("cx", x).at("cy", y).at("r", r)
}

fn drawn(series: &Series, x: &Scale, y: &Scale) -> El {
    let points = series.points.iter();
    let places = points.map(|point| (x.place(point.x), y.place(point.value.value)));
    El::of("g", series.look.colour).child(polyline("series", places))
}

pub(super) fn polyline(class: &str, places: impl Iterator<Item = (f64, f64)>) -> El {
    let points: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    El::of("polyline", class).with("points", points.join(" "))
}
