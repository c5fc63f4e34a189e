//! A row for each, a mark where its median is, a line as long as its interval.

use super::{Canvas, LETTER, Mark, datum, fitting, label, line, rect, room, width_of, wrapped};
use crate::report::look::Look;
use crate::report::scale::{Scale, tick};
use crate::stats::Estimate;

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Dots {
    pub(crate) groups: Vec<Group>,
    /// What the axis shows, with its unit.
    pub(crate) axis: String,
    pub(crate) axis_is: Axis,
    pub(crate) marks: Vec<Mark>,
}

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// From zero: each row is a bar, and its length can be compared.
    FromZero,
    /// Values that differ by magnitudes.
    Logarithmic,
    /// Values so close to each other that from zero they would be one.
    Near,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) heading: Option<String>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) look: Look,
    pub(crate) value: Estimate,
    /// The figure beside it.
    pub(crate) figure: String,
    /// All there is to say.
    pub(crate) tip: String,
}

const HEADING: f64 = 24.0;

impl Dots {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let rows = || self.groups.iter().flat_map(|group| &group.rows);
        let widest = |of: fn(&Row) -> &str| {
            let widths = rows().map(|row| width_of(of(row)));
            widths.fold(0.0, f64::max)
        };
        let figures = widest(|row| &row.figure) + 12.0;
        // On a phone the name stands above its row, and the figure at that line's end.
        let (left, right, height) = if narrow {
            (10.0, width - 12.0, 36.0)
        } else {
            let names = (widest(|row| &row.name) + 16.0).min(width * 0.36);
            (names, width - figures, 23.0)
        };
        let values = rows().flat_map(|row| [row.value.low, row.value.value, row.value.high]);
        let values = values.chain(self.marks.iter().map(|mark| mark.at));
        let scale = match self.axis_is {
            Axis::Near => Scale::near(values, left, right),
            axis => Scale::holding(values, axis == Axis::Logarithmic, left, right),
        };

        // The marks' labels, a line for each.
        let top = 6.0 + self.marks.len() as f64 * (LETTER + 5.0);
        let mut y = top;
        let mut drawn = Vec::new();
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
            for row in &group.rows {
                let middle = y + if narrow { 24.0 } else { height / 2.0 };
                drawn.push(self.row(row, &scale, (left, right), y, middle, height, width));
                y += height;
            }
        }
        let bottom = y + 4.0;
        for at in scale.ticks(((right - left) / 75.0) as usize) {
            let x = scale.place(at);
            canvas.line("grid", (x, top), (x, bottom));
            canvas.text(x, bottom + 15.0, "tick middle", &tick(at));
        }
        canvas.line("axis", (left, bottom), (right, bottom));
        let axis = match self.axis_is {
            Axis::Logarithmic => format!("{}, logarithmic", self.axis),
            Axis::Near => format!("{}; does not begin at 0", self.axis),
            Axis::FromZero => self.axis.clone(),
        };
        // As near to the axis as there is room for it.
        let start = left.min(width - width_of(&axis)).max(0.0);
        let mut below = bottom + 18.0;
        for text in wrapped(&axis, width) {
            below += LETTER + 4.0;
            canvas.text(start, below, "name", &text);
        }
        for (n, mark) in self.marks.iter().enumerate() {
            let x = scale.place(mark.at);
            let line_y = 6.0 + (n as f64 + 1.0) * (LETTER + 5.0) - 6.0;
            canvas.line("limit", (x, line_y - 9.0), (x, bottom));
            let room = width_of(&mark.label) + 8.0;
            // On the side where it fits; else as much of it as the wider side holds.
            let (place, class, space) = if x + room <= width {
                (x + 5.0, "limit-name", width - x)
            } else if x >= room || x > width / 2.0 {
                (x - 5.0, "limit-name end", x)
            } else {
                (x + 5.0, "limit-name", width - x)
            };
            canvas.text(place, line_y, class, &fitting(&mark.label, space - 6.0));
        }
        for el in drawn {
            canvas.add(el);
        }
        canvas.height = below + 8.0;
        canvas
    }

    #[allow(clippy::too_many_arguments, reason = "the places of one row")]
    fn row(
        &self,
        row: &Row,
        scale: &Scale,
        (left, right): (f64, f64),
        top: f64,
        middle: f64,
        height: f64,
        width: f64,
    ) -> crate::report::markup::El {
        let narrow = width < 500.0;
        let x = scale.place(row.value.value);
        let mut g = datum(row.look.colour, &row.tip);
        g.add(room(0.0, top, width, height));
        if narrow {
            let names = width - left - width_of(&row.figure) - 16.0;
            g.add(label(left, top + 13.0, "who", &fitting(&row.name, names)));
            g.add(label(right, top + 13.0, "figure end", &row.figure));
        } else {
            let name = fitting(&row.name, left - 12.0);
            g.add(label(left - 12.0, middle + 4.0, "who end", &name));
            g.add(label(width - 2.0, middle + 4.0, "figure end", &row.figure));
        }
        let bar = self.axis_is == Axis::FromZero;
        if bar {
            let start = scale.place(0.0);
            g.add(rect("bar", start, middle - 5.0, x - start, 10.0));
        } else {
            g.add(line("lead", (left, middle), (right, middle)));
        }
        let (low, high) = (scale.place(row.value.low), scale.place(row.value.high));
        g.add(line("whisker", (low, middle), (high, middle)));
        if !bar {
            g.add(row.look.mark(x, middle, 5.0));
        } else if high - low > 2.0 {
            for end in [low, high] {
                g.add(line("whisker", (end, middle - 4.0), (end, middle + 4.0)));
            }
        }
        g
    }
}
