//! A waterfall chart: a bar for each page, from the start of its request until its arrival. Each contender
//! has a panel, and all panels have the same scale.

use super::{Canvas, datum, hit_area, label, line, rect, text_width};
use crate::report::scale::{Scale, tick};
use crate::report::series_style::SeriesStyle;
use crate::text::figure;

/// A waterfall chart.
#[derive(Clone, Debug)]
pub(crate) struct Waterfall {
    pub(crate) panels: Vec<WaterfallPanel>,
    pub(crate) unit: String,
}

/// The panel of a contender.
#[derive(Clone, Debug)]
pub(crate) struct WaterfallPanel {
    pub(crate) name: String,
    pub(crate) style: SeriesStyle,
    pub(crate) bars: Vec<WaterfallBar>,
}

/// The bar of a page.
#[derive(Clone, Debug)]
pub(crate) struct WaterfallBar {
    pub(crate) begun: f64,
    pub(crate) ended: f64,
    pub(crate) tip: String,
}

impl WaterfallPanel {
    pub(crate) fn end(&self) -> f64 {
        self.bars.iter().map(|bar| bar.ended).fold(0.0, f64::max)
    }
}

impl Waterfall {
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
            .map(|panel| panel.bars.len())
            .max()
            .unwrap_or(0);
        let row = ((if narrow { 190.0 } else { 240.0 }) / most.max(1) as f64).clamp(2.0, 12.0);
        let tall = row * most as f64;
        let last = self
            .panels
            .iter()
            .map(WaterfallPanel::end)
            .fold(0.0, f64::max);
        let mut height = 0.0;
        for (n, panel) in self.panels.iter().enumerate() {
            let left = (n % columns) as f64 * (column + gap);
            let top = (n / columns) as f64 * (tall + 84.0);
            let (left, right) = (left + 4.0, left + column - 14.0);
            let scale = Scale::containing([last], false, left, right);
            self.draw_panel(&mut canvas, panel, &scale, (left, right), top, row, tall);
            // If the bars fill only a small part of the panel, add an enlarged inset.
            let short = scale.position(panel.end()) - left;
            if short < (right - left) * 0.35 && !panel.bars.is_empty() {
                self.draw_inset(
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

    #[allow(clippy::too_many_arguments, reason = "the coordinates of one panel")]
    fn draw_panel(
        &self,
        canvas: &mut Canvas,
        panel: &WaterfallPanel,
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
            let x = scale.position(at);
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
        for (n, bar) in panel.bars.iter().enumerate() {
            let y = top + n as f64 * row;
            let (from, to) = (scale.position(bar.begun), scale.position(bar.ended));
            let mut g = datum(panel.style.colour, &bar.tip);
            g.add(hit_area(from - 2.0, y, (to - from).max(4.0) + 4.0, row));
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

    /// Draws the bars again, enlarged, in the free part of the panel.
    fn draw_inset(
        &self,
        canvas: &mut Canvas,
        panel: &WaterfallPanel,
        (left, right): (f64, f64),
        top: f64,
        row: f64,
        tall: f64,
    ) {
        let scale = Scale::containing([panel.end()], false, left, right);
        let (top, bottom) = (top + 30.0, top + tall - 22.0);
        let row = row * (bottom - top) / tall;
        canvas.add(rect(
            "inset",
            left - 10.0,
            top - 24.0,
            right - left + 20.0,
            bottom - top + 50.0,
        ));
        let title = "enlarged: each page";
        if text_width(title) < right - left + 10.0 {
            canvas.add(label(left - 3.0, top - 9.0, "name", title));
        }
        for at in scale.ticks(((right - left) / 60.0) as usize) {
            let x = scale.position(at);
            canvas.add(line("grid", (x, top), (x, bottom)));
            canvas.text(x, bottom + 14.0, "tick middle", &tick(at));
        }
        for (n, bar) in panel.bars.iter().enumerate() {
            let y = top + n as f64 * row;
            let (from, to) = (scale.position(bar.begun), scale.position(bar.ended));
            let shape = rect("bar", from, y, (to - from).max(1.0), (row - 1.0).max(1.0));
            canvas.add(
                crate::report::markup::Element::with_class("g", panel.style.colour).child(shape),
            );
        }
    }
}
