//! Pages in time: each a bar from when it was asked for until it was there. One panel for each way,
//! all with the same scale.

use super::{Canvas, datum, label, line, rect, room, width_of};
use crate::report::look::Look;
use crate::report::scale::{Scale, tick};
use crate::text::figure;

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    pub(crate) panels: Vec<Panel>,
    pub(crate) unit: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) name: String,
    pub(crate) look: Look,
    pub(crate) spans: Vec<Span>,
}

#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) begun: f64,
    pub(crate) ended: f64,
    pub(crate) tip: String,
}

impl Panel {
    pub(crate) fn end(&self) -> f64 {
        self.spans.iter().map(|span| span.ended).fold(0.0, f64::max)
    }
}

impl Spans {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let columns = if narrow {
            1
        } else {
            self.panels.len().clamp(1, 2)
        };
        let gap = 34.0;
        let column = (width - gap * (columns - 1) as f64) / columns as f64;
        let most = self
            .panels
            .iter()
            .map(|panel| panel.spans.len())
            .max()
            .unwrap_or(0);
        let row = ((if narrow { 190.0 } else { 240.0 }) / most.max(1) as f64).clamp(2.0, 12.0);
        let tall = row * most as f64;
        let last = self.panels.iter().map(Panel::end).fold(0.0, f64::max);
        let mut height = 0.0;
        for (n, panel) in self.panels.iter().enumerate() {
            let left = (n % columns) as f64 * (column + gap);
            let top = (n / columns) as f64 * (tall + 84.0);
            let (left, right) = (left + 4.0, left + column - 14.0);
            let scale = Scale::holding([last], false, left, right);
            self.panel(&mut canvas, panel, &scale, (left, right), top, row, tall);
            // A panel that is narrow at this scale has room for a closer look.
            let short = scale.place(panel.end()) - left;
            if short < (right - left) * 0.35 && !panel.spans.is_empty() {
                self.closer(
                    &mut canvas,
                    panel,
                    (left + short + 46.0, right),
                    top + 30.0,
                    row,
                    tall,
                );
            }
            height = top + tall + 78.0;
        }
        canvas.height = height;
        canvas
    }

    #[allow(clippy::too_many_arguments, reason = "the places of one panel")]
    fn panel(
        &self,
        canvas: &mut Canvas,
        panel: &Panel,
        scale: &Scale,
        (left, right): (f64, f64),
        top: f64,
        row: f64,
        tall: f64,
    ) {
        let total = figure(panel.end(), &self.unit);
        canvas.text(
            left,
            top + 16.0,
            "heading",
            &format!("{}: {total}", panel.name),
        );
        let (top, bottom) = (top + 30.0, top + 30.0 + tall);
        for at in scale.ticks(((right - left) / 70.0) as usize) {
            let x = scale.place(at);
            canvas.line("grid", (x, top), (x, bottom + 4.0));
            canvas.text(x, bottom + 18.0, "tick middle", &tick(at));
        }
        canvas.line("axis", (left, bottom + 4.0), (right, bottom + 4.0));
        canvas.text(
            right,
            bottom + 35.0,
            "name end",
            &format!("time, {}", self.unit),
        );
        for (n, span) in panel.spans.iter().enumerate() {
            let y = top + n as f64 * row;
            let (from, to) = (scale.place(span.begun), scale.place(span.ended));
            let mut g = datum(panel.look.colour, &span.tip);
            g.add(room(from - 2.0, y, (to - from).max(4.0) + 4.0, row));
            g.add(rect(
                "bar",
                from,
                y + 0.5,
                (to - from).max(1.0),
                (row - 1.0).max(1.0),
            ));
            canvas.add(g);
        }
    }

    /// The same bars, in the room that they leave.
    fn closer(
        &self,
        canvas: &mut Canvas,
        panel: &Panel,
        (left, right): (f64, f64),
        top: f64,
        row: f64,
        tall: f64,
    ) {
        let scale = Scale::holding([panel.end()], false, left, right);
        let (top, bottom) = (top + 30.0, top + tall - 22.0);
        let row = row * (bottom - top) / tall;
        canvas.add(rect(
            "inset",
            left - 10.0,
            top - 24.0,
            right - left + 20.0,
            bottom - top + 50.0,
        ));
        let title = "closer: each page on its own";
        if width_of(title) < right - left + 10.0 {
            canvas.add(label(left - 3.0, top - 9.0, "name", title));
        }
        for at in scale.ticks(((right - left) / 60.0) as usize) {
            let x = scale.place(at);
            canvas.add(line("grid", (x, top), (x, bottom)));
            canvas.text(x, bottom + 14.0, "tick middle", &tick(at));
        }
        for (n, span) in panel.spans.iter().enumerate() {
            let y = top + n as f64 * row;
            let (from, to) = (scale.place(span.begun), scale.place(span.ended));
            let bar = rect("bar", from, y, (to - from).max(1.0), (row - 1.0).max(1.0));
            canvas.add(crate::report::markup::El::of("g", panel.look.colour).child(bar));
        }
    }
}
