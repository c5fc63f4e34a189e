//! An event plot: one row for each contender, with a line for each event. Long gaps are highlighted.

use super::{Canvas, datum, hit_area, label, line, rect, text_width, truncated};
use crate::report::markup::Element;
use crate::report::scale::{Scale, tick};
use crate::report::series_style::SeriesStyle;
use crate::text::figure;

/// An event plot.
#[derive(Clone, Debug)]
pub(crate) struct EventPlot {
    pub(crate) rows: Vec<EventRow>,
    pub(crate) unit: String,
}

/// A row of events.
#[derive(Clone, Debug)]
pub(crate) struct EventRow {
    pub(crate) name: String,
    pub(crate) style: SeriesStyle,
    /// The time of each event, and the gap before it.
    pub(crate) events: Vec<(f64, f64)>,
    pub(crate) tip: String,
}

impl EventRow {
    /// Returns the longest gap: its end and its length.
    pub(crate) fn longest_gap(&self) -> Option<(f64, f64)> {
        let events = self.events.iter().copied();
        events.max_by(|(_, one), (_, other)| one.total_cmp(other))
    }
}

impl EventPlot {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let names = self.rows.iter().map(|row| text_width(&row.name));
        let names = names.fold(0.0, f64::max).min(width * 0.3);
        let left = if narrow { 6.0 } else { names + 16.0 };
        let right = width - 14.0;
        let times = self.rows.iter().flat_map(|row| &row.events);
        let scale = Scale::containing(times.map(|(at, _)| *at), false, left, right);
        // Gaps above a tenth of the longest one are highlighted.
        let gaps = self.rows.iter().filter_map(EventRow::longest_gap);
        let least = gaps.map(|(_, gap)| gap).fold(0.0, f64::max) / 10.0;
        let row_height = if narrow { 64.0 } else { 52.0 };
        let bottom = self.rows.len() as f64 * row_height + 6.0;
        for at in scale.ticks(((right - left) / 75.0) as usize) {
            let x = scale.position(at);
            canvas.line("grid", (x, 4.0), (x, bottom));
            canvas.text(x, bottom + 16.0, "tick middle", &tick(at));
        }
        for (n, row) in self.rows.iter().enumerate() {
            let top = n as f64 * row_height + if narrow { 22.0 } else { 8.0 };
            let tall = 32.0;
            let mut g = datum(row.style.colour, &row.tip);
            g.add(hit_area(0.0, top, width, tall));
            if narrow {
                g.add(label(left, top - 5.0, "contender", &row.name));
            } else {
                let name = truncated(&row.name, left - 12.0);
                g.add(label(
                    left - 12.0,
                    top + tall / 2.0 + 4.0,
                    "contender end",
                    &name,
                ));
            }
            let strokes: String = row
                .events
                .iter()
                .map(|(at, _)| format!("M{:.1} {:.0}v{tall:.0}", scale.position(*at), top))
                .collect();
            g.add(Element::with_class("path", "event").with("d", strokes));
            for (at, gap) in row
                .events
                .iter()
                .filter(|(_, gap)| *gap > least && *gap > 5.0)
            {
                let (from, to) = (scale.position(at - gap), scale.position(*at));
                g.add(rect("gap", from, top, to - from, tall));
                let middle = top + tall / 2.0;
                let text = format!("gap of {}", figure(*gap, &self.unit));
                let text = if text_width(&text) < to - from - 8.0 {
                    text
                } else {
                    figure(*gap, &self.unit)
                };
                if text_width(&text) < to - from - 4.0 {
                    let x = f64::midpoint(from, to);
                    g.add(label(x, middle + 4.0, "strong middle", &text));
                } else {
                    g.add(line("whisker", (from, top + tall), (to, top + tall)));
                }
            }
            canvas.add(g);
        }
        canvas.line("axis", (left, bottom), (right, bottom));
        canvas.text(
            right,
            bottom + 33.0,
            "name end",
            &format!("time, {}", self.unit),
        );
        canvas.height = bottom + 40.0;
        canvas
    }
}
