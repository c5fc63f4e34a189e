//! A dot plot: one row for each contender, with a marker at the median and a line for the interval.

use crate::Interval;
use crate::canvas::{
    Canvas, FONT_SIZE, datum, hit_area, label, line, rect, text_width, truncated, wrapped,
};
use crate::element::Element;
use crate::marker::Marker;
use crate::scale::{Scale, tick};

/// A dot plot.
#[derive(Clone, Debug)]
pub struct DotPlot {
    /// The groups, from top to bottom.
    pub groups: Vec<DotGroup>,
    /// The axis label, with the unit.
    pub axis: String,
    /// The kind of the axis.
    pub axis_kind: AxisKind,
    /// The line of the physical limit, if there is one.
    pub reference: Option<ReferenceLine>,
}

/// The kind of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisKind {
    /// Starts at zero. Rows are bars, whose lengths can be compared.
    FromZero,
    /// Logarithmic, for values of different magnitudes.
    Logarithmic,
    /// Contains only the range of the values, for values that would look equal on an axis from zero.
    Fitted,
}

/// A group of rows.
#[derive(Clone, Debug)]
pub struct DotGroup {
    /// The heading above the rows.
    pub heading: Option<String>,
    /// The rows, from top to bottom.
    pub rows: Vec<DotRow>,
}

/// A row of a dot plot.
#[derive(Clone, Debug)]
pub struct DotRow {
    /// The label of the row.
    pub name: String,
    /// The marker.
    pub style: Marker,
    /// The value and its interval.
    pub value: Interval,
    /// The formatted value.
    pub figure: String,
    /// The tooltip.
    pub tip: String,
}

/// A labelled reference line, such as a limit.
#[derive(Clone, Debug)]
pub struct ReferenceLine {
    /// The value at which the line is drawn.
    pub at: f64,
    /// The label, which is truncated if it does not fit.
    pub label: String,
}

const HEADING: f64 = 24.0;

impl DotPlot {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let rows = || self.groups.iter().flat_map(|group| &group.rows);
        let widest = |of: fn(&DotRow) -> &str| {
            let widths = rows().map(|row| text_width(of(row)));
            widths.fold(0.0, f64::max)
        };
        let figures = widest(|row| &row.figure) + 12.0;
        // On phones, the name and the value are above the row.
        let (left, right, height) = if narrow {
            (10.0, width - 12.0, 36.0)
        } else {
            let names = (widest(|row| &row.name) + 16.0).min(width * 0.36);
            (names, width - figures, 23.0)
        };
        let values = rows().flat_map(|row| [row.value.low, row.value.value, row.value.high]);
        let values = values.chain(self.reference.iter().map(|reference| reference.at));
        let scale = match self.axis_kind {
            AxisKind::Fitted => Scale::fitted(values, left, right),
            axis => Scale::containing(values, axis == AxisKind::Logarithmic, left, right),
        };

        // The label of the reference line is above the rows.
        let top = match self.reference {
            Some(_) => FONT_SIZE + 11.0,
            None => 6.0,
        };
        let mut y = top;
        let mut drawn = Vec::new();
        // The vertical lines are drawn only here, so that they cross no label.
        let mut bands: Vec<(f64, f64)> = Vec::new();
        for group in &self.groups {
            if let Some(heading) = &group.heading {
                drawn.push(label(
                    if narrow { left } else { 0.0 },
                    y + 17.0,
                    "heading",
                    heading,
                ));
                y += HEADING;
            }
            if !narrow {
                bands.push((y, y + height * group.rows.len() as f64));
            }
            for row in &group.rows {
                let middle = y + if narrow { 24.0 } else { height / 2.0 };
                drawn.push(self.row(row, &scale, (left, right), y, middle, height, width));
                if narrow {
                    bands.push((middle - 7.0, middle + 7.0));
                }
                y += height;
            }
        }
        let bottom = y + 4.0;
        for at in scale.ticks(((right - left) / 75.0) as usize) {
            let x = scale.position(at);
            for (from, to) in &bands {
                canvas.line("grid", (x, *from), (x, *to));
            }
            canvas.line("axis", (x, bottom), (x, bottom + 3.0));
            // The label of a tick at the right end is moved left if it does not fit.
            let text = tick(at);
            let middle = x.min(width - text_width(&text) / 2.0);
            canvas.text(middle, bottom + 15.0, "tick middle", &text);
        }
        canvas.line("axis", (left, bottom), (right, bottom));
        let axis = match self.axis_kind {
            AxisKind::Logarithmic => format!("{}, logarithmic", self.axis),
            AxisKind::Fitted => format!("{}; does not begin at 0", self.axis),
            AxisKind::FromZero => self.axis.clone(),
        };
        // Move the label left if it does not fit.
        let start = left.min(width - text_width(&axis)).max(0.0);
        let mut below = bottom + 18.0;
        for text in wrapped(&axis, width) {
            below += FONT_SIZE + 4.0;
            canvas.text(start, below, "name", &text);
        }
        if let Some(reference) = &self.reference {
            let x = scale.position(reference.at);
            let line_y = FONT_SIZE + 5.0;
            canvas.line("limit", (x, line_y - 9.0), (x, line_y + 4.0));
            for (from, to) in &bands {
                canvas.line("limit", (x, *from), (x, *to));
            }
            let room = text_width(&reference.label) + 8.0;
            // Put the label on a side of the line where it fits, or truncate it on the wider side.
            let (place, class, space) = if x + room <= width {
                (x + 5.0, "limit-name", width - x)
            } else if x >= room || x > width / 2.0 {
                (x - 5.0, "limit-name end", x)
            } else {
                (x + 5.0, "limit-name", width - x)
            };
            canvas.text(
                place,
                line_y,
                class,
                &truncated(&reference.label, space - 6.0),
            );
        }
        for element in drawn {
            canvas.add(element);
        }
        canvas.height = below + 8.0;
        canvas
    }

    #[allow(clippy::too_many_arguments, reason = "the coordinates of one row")]
    fn row(
        &self,
        row: &DotRow,
        scale: &Scale,
        (left, right): (f64, f64),
        top: f64,
        middle: f64,
        height: f64,
        width: f64,
    ) -> Element {
        let narrow = width < 500.0;
        let x = scale.position(row.value.value);
        let mut g = datum(row.style.colour.class(), &row.tip);
        g.add(hit_area(0.0, top, width, height));
        if narrow {
            let names = width - left - text_width(&row.figure) - 16.0;
            g.add(label(
                left,
                top + 13.0,
                "contender",
                &truncated(&row.name, names),
            ));
            g.add(label(right, top + 13.0, "figure end", &row.figure));
        } else {
            let name = truncated(&row.name, left - 12.0);
            g.add(label(left - 12.0, middle + 4.0, "contender end", &name));
            g.add(label(width - 2.0, middle + 4.0, "figure end", &row.figure));
        }
        let bar = self.axis_kind == AxisKind::FromZero;
        if bar {
            let start = scale.position(0.0);
            g.add(rect("bar", start, middle - 5.0, x - start, 10.0));
        } else {
            g.add(line("lead", (left, middle), (right, middle)));
        }
        let (low, high) = (
            scale.position(row.value.low),
            scale.position(row.value.high),
        );
        g.add(line("whisker", (low, middle), (high, middle)));
        if !bar {
            g.add(row.style.draw(x, middle, 5.0));
        } else if high - low > 2.0 {
            for end in [low, high] {
                g.add(line("whisker", (end, middle - 4.0), (end, middle + 4.0)));
            }
        }
        g
    }
}
