//! A waterfall: bars and points over time, one row for each request or task.

use std::time::Duration;

use crate::canvas::{Canvas, FONT_SIZE, label, line, rect, text_width, truncated, wrapped};
use crate::element::Element;
use crate::marker::{Colour, circle};
use crate::scale::{Scale, tick};

/// A waterfall. All its groups have the same time axis. For an example, see the [crate].
#[derive(Clone, Debug)]
pub struct Waterfall {
    axis: String,
    unit: Duration,
    groups: Vec<Group>,
}

/// A group of rows with a heading.
#[derive(Clone, Debug)]
pub struct Group {
    heading: String,
    rows: Vec<Row>,
    marks: Vec<(Duration, String)>,
}

/// A row of bars and points.
#[derive(Clone, Debug)]
pub struct Row {
    name: String,
    bars: Vec<(Duration, Duration, Series)>,
    points: Vec<(Duration, Series)>,
}

/// What a bar or a point means: an entry of the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    name: &'static str,
    colour: Colour,
    is_hollow: bool,
}

impl Series {
    /// Creates a series.
    pub const fn new(name: &'static str, colour: Colour) -> Self {
        Self {
            name,
            colour,
            is_hollow: false,
        }
    }

    /// Draws only the outlines of bars and points, for example for time in which a request waits.
    pub const fn hollow(mut self) -> Self {
        self.is_hollow = true;
        self
    }

    fn class(self, shape: &str) -> String {
        let hollow = if self.is_hollow { " hollow" } else { "" };
        format!("{shape}{hollow}")
    }
}

impl Row {
    /// Creates an empty row. If no row of a group has a name, the rows are thin.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            bars: Vec::new(),
            points: Vec::new(),
        }
    }

    /// Adds a bar.
    pub fn bar(mut self, from: Duration, to: Duration, series: Series) -> Self {
        self.bars.push((from, to, series));
        self
    }

    /// Adds a point.
    pub fn point(mut self, at: Duration, series: Series) -> Self {
        self.points.push((at, series));
        self
    }

    fn draw(&self, x: &Scale, unit: Duration, top: f64, size: &RowSize) -> Element {
        let middle = top + size.pitch / 2.0;
        let mut g = Element::new("g");
        for &(from, to, series) in &self.bars {
            let (left, right) = (x.position(units(from, unit)), x.position(units(to, unit)));
            // A bar of almost no time is still visible.
            let width = (right - left).max(1.0);
            let bar = rect(
                &series.class("span"),
                left,
                middle - size.bar / 2.0,
                width,
                size.bar,
            );
            g.add(Element::with_class("g", series.colour.class()).child(bar));
        }
        for &(at, series) in &self.points {
            let point = circle(
                x.position(units(at, unit)),
                middle,
                size.point,
                &series.class("event"),
            );
            g.add(Element::with_class("g", series.colour.class()).child(point));
        }
        g
    }
}

impl Group {
    /// Creates a group without rows.
    pub fn new(heading: impl Into<String>) -> Self {
        Self {
            heading: heading.into(),
            rows: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(mut self, row: Row) -> Self {
        self.rows.push(row);
        self
    }

    /// Adds rows.
    pub fn rows(mut self, rows: impl IntoIterator<Item = Row>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// Adds a labelled vertical line.
    pub fn mark(mut self, at: Duration, label: impl Into<String>) -> Self {
        self.marks.push((at, label.into()));
        self
    }

    fn size(&self) -> RowSize {
        let named = self.rows.iter().any(|row| !row.name.is_empty());
        let (pitch, bar, point) = match self.rows.len() {
            _ if named => (17.0, 11.0, 3.5),
            0..=12 => (14.0, 10.0, 3.5),
            13..=40 => (7.0, 5.5, 2.5),
            _ => (4.0, 3.0, 1.5),
        };
        RowSize { pitch, bar, point }
    }
}

/// The sizes of a row.
struct RowSize {
    /// The distance between the tops of two rows.
    pitch: f64,
    /// The height of a bar.
    bar: f64,
    /// The radius of a point.
    point: f64,
}

/// The height of a line of text.
const LINE: f64 = FONT_SIZE + 4.0;

impl Waterfall {
    /// Creates a waterfall without groups. `axis` is the label of the time axis, whose unit is the millisecond.
    pub fn new(axis: impl Into<String>) -> Self {
        Self {
            axis: axis.into(),
            unit: Duration::from_millis(1),
            groups: Vec::new(),
        }
    }

    /// Sets the unit of the time axis.
    ///
    /// # Panics
    ///
    /// Panics if the unit is zero.
    pub fn unit(mut self, unit: Duration) -> Self {
        assert!(!unit.is_zero(), "the unit of a time axis is zero");
        self.unit = unit;
        self
    }

    /// Adds a group below the existing groups.
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let names = self.names_width();
        // Phones have no space beside the rows for long names.
        let names_above = names > width * 0.34;
        let left = if names_above { 4.0 } else { names };
        let times = self.times().map(|time| units(time, self.unit));
        let x = Scale::containing(times, false, left, width - 4.0);
        let top = self.draw_legend(&mut canvas);
        let mut y = top;
        let mut drawn = Vec::new();
        for group in &self.groups {
            y = self.draw_group(&mut drawn, group, &x, width, y, names_above);
        }
        let bottom = y + 4.0;
        self.draw_axis(&mut canvas, &x, (left, width), (top, bottom));
        for element in drawn {
            canvas.add(element);
        }
        canvas
    }

    /// Returns all times of the chart.
    fn times(&self) -> impl Iterator<Item = Duration> {
        self.groups.iter().flat_map(|group| {
            let bars = group.rows.iter().flat_map(|row| &row.bars);
            let points = group.rows.iter().flat_map(|row| &row.points);
            let marks = group.marks.iter().map(|(at, _)| *at);
            let ends = bars.map(|(_, to, _)| *to);
            ends.chain(points.map(|(at, _)| *at)).chain(marks)
        })
    }

    /// Returns the width that a column with the names of all rows needs.
    fn names_width(&self) -> f64 {
        let rows = self.groups.iter().flat_map(|group| &group.rows);
        let widest = rows.map(|row| text_width(&row.name)).fold(0.0, f64::max);
        match widest {
            0.0 => 4.0,
            _ => widest + 10.0,
        }
    }

    /// Draws the series above the chart, if there are several. Returns the position of the lower end.
    fn draw_legend(&self, canvas: &mut Canvas) -> f64 {
        let series = self.series();
        if series.len() < 2 {
            return 0.0;
        }
        let (mut x, mut y) = (0.0, 0.0);
        for one in series {
            let room = 18.0 + text_width(one.name) + 14.0;
            if x > 0.0 && x + room > canvas.width + 14.0 {
                (x, y) = (0.0, y + LINE);
            }
            let swatch = rect(&one.class("span"), x, y + 3.0, 12.0, 9.0);
            canvas.add(Element::with_class("g", one.colour.class()).child(swatch));
            let name = truncated(one.name, canvas.width - 18.0);
            canvas.text(x + 18.0, y + FONT_SIZE, "limit-name", &name);
            x += room;
        }
        y + LINE + 6.0
    }

    /// Returns the series in the order in which they first occur.
    fn series(&self) -> Vec<Series> {
        let mut known: Vec<Series> = Vec::new();
        for row in self.groups.iter().flat_map(|group| &group.rows) {
            let bars = row.bars.iter().map(|(_, _, series)| *series);
            for series in bars.chain(row.points.iter().map(|(_, series)| *series)) {
                if !known.contains(&series) {
                    known.push(series);
                }
            }
        }
        known
    }

    /// Draws a group that starts at `y`. Returns the position of its lower end.
    fn draw_group(
        &self,
        drawn: &mut Vec<Element>,
        group: &Group,
        x: &Scale,
        width: f64,
        mut y: f64,
        names_above: bool,
    ) -> f64 {
        y += 6.0;
        for text in wrapped(&group.heading, width) {
            y += LINE;
            drawn.push(label(0.0, y - 3.0, "heading", &text));
        }
        let size = group.size();
        let labels = y;
        y += group.marks.len() as f64 * LINE + 2.0;
        for row in &group.rows {
            if names_above && !row.name.is_empty() {
                y += LINE;
                let name = truncated(&row.name, width);
                drawn.push(label(0.0, y - 3.0, "tick", &name));
            } else if !row.name.is_empty() {
                drawn.push(label(0.0, y + size.pitch / 2.0 + 4.0, "tick", &row.name));
            }
            drawn.push(row.draw(x, self.unit, y, &size));
            y += size.pitch;
        }
        for (n, (at, text)) in group.marks.iter().enumerate() {
            let at = x.position(units(*at, self.unit));
            // Each label has a line of its own, so that labels never overlap.
            let line_y = labels + (n + 1) as f64 * LINE - 2.0;
            drawn.push(line("limit", (at, line_y - 9.0), (at, y)));
            let fits = at + text_width(text) + 8.0 <= width;
            let (place, class, room) = match fits || at < width / 2.0 {
                true => (at + 5.0, "limit-name", width - at - 5.0),
                false => (at - 5.0, "limit-name end", at - 5.0),
            };
            drawn.push(label(place, line_y, class, &truncated(text, room)));
        }
        y + 2.0
    }

    fn draw_axis(
        &self,
        canvas: &mut Canvas,
        x: &Scale,
        (left, width): (f64, f64),
        (top, bottom): (f64, f64),
    ) {
        let mut free = f64::NEG_INFINITY;
        for at in x.ticks(((width - left) / 70.0) as usize) {
            let place = x.position(at);
            canvas.line("grid", (place, top), (place, bottom));
            let half = text_width(&tick(at)) / 2.0;
            let middle = place.min(width - half).max(half);
            if middle - half > free {
                canvas.text(middle, bottom + 15.0, "tick middle", &tick(at));
                free = middle + half + 6.0;
            }
        }
        canvas.line("axis", (left, bottom), (width, bottom));
        let name = truncated(&self.axis, width);
        canvas.text(width, bottom + 33.0, "name end", &name);
        canvas.height = bottom + 40.0;
    }
}

fn units(time: Duration, unit: Duration) -> f64 {
    time.div_duration_f64(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: Series = Series::new("finished", Colour::Blue);
    const FAILED: Series = Series::new("failed", Colour::Vermillion).hollow();

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn draw(chart: &Waterfall, width: f64) -> String {
        chart
            .draw(width)
            .svg("id", "title", "description")
            .to_string()
    }

    fn attributes(svg: &str, tag: &str, class: &str, name: &str) -> Vec<f64> {
        let document = roxmltree::Document::parse(svg).unwrap();
        document
            .descendants()
            .filter(|node| node.has_tag_name(tag) && node.attribute("class") == Some(class))
            .map(|node| node.attribute(name).unwrap().parse().unwrap())
            .collect()
    }

    #[test]
    fn bars_of_all_groups_have_one_scale() {
        let group = |to| Group::new("group").row(Row::new("row").bar(ms(0), ms(to), DONE));
        let svg = draw(
            &Waterfall::new("ms").group(group(100)).group(group(50)),
            720.0,
        );
        let widths = attributes(&svg, "rect", "span", "width");
        assert!((widths[0] - 2.0 * widths[1]).abs() < 0.2, "{widths:?}");
    }

    #[test]
    fn a_bar_of_no_time_and_a_chart_without_rows_are_valid() {
        let row = Row::new("").bar(ms(3), ms(3), DONE);
        let svg = draw(&Waterfall::new("ms").group(Group::new("").row(row)), 350.0);
        assert_eq!(attributes(&svg, "rect", "span", "width"), [1.0]);
        draw(&Waterfall::new("ms"), 350.0);
    }

    #[test]
    fn several_series_have_a_legend_and_one_has_none() {
        let row = Row::new("").bar(ms(0), ms(3), DONE);
        let one = Waterfall::new("ms").group(Group::new("g").row(row.clone()));
        assert!(!draw(&one, 720.0).contains("finished"));
        let both = one.group(Group::new("h").row(row.point(ms(2), FAILED)));
        let svg = draw(&both, 720.0);
        assert!(
            svg.contains(">finished<") && svg.contains(">failed<"),
            "{svg}"
        );
        assert!(svg.contains("event hollow"), "{svg}");
    }

    #[test]
    fn labels_of_marks_stay_inside() {
        let row = Row::new("").bar(ms(0), ms(100), DONE);
        let group = Group::new("g")
            .row(row)
            .mark(ms(100), "the deadline of this gather");
        let svg = draw(&Waterfall::new("ms").group(group), 350.0);
        let end = attributes(&svg, "text", "limit-name end", "x");
        assert!(
            end[0] < 350.0 && svg.contains("the deadline of this gather"),
            "{svg}"
        );
    }

    #[test]
    fn long_names_are_above_their_rows_on_phones() {
        let name = "GET: response after two retries";
        let row = Row::new(name).bar(ms(0), ms(100), DONE);
        let chart = Waterfall::new("ms").group(Group::new("g").row(row));
        for (width, beside) in [(720.0, true), (350.0, false)] {
            let svg = draw(&chart, width);
            assert!(svg.contains(name), "{svg}");
            let left = attributes(&svg, "rect", "span", "x")[0];
            assert_eq!(left > text_width(name), beside, "{width}: {svg}");
        }
    }

    #[test]
    #[should_panic(expected = "zero")]
    fn a_unit_of_zero_panics() {
        let _ = Waterfall::new("ms").unit(Duration::ZERO);
    }
}
