//! A heart that beats, a stroke for each beat: where it stops, there is a hole.

use super::{Canvas, datum, fitting, label, line, rect, room, width_of};
use crate::report::look::Look;
use crate::report::markup::El;
use crate::report::scale::{Scale, tick};
use crate::text::figure;

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    pub(crate) strips: Vec<Strip>,
    pub(crate) unit: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Strip {
    pub(crate) name: String,
    pub(crate) look: Look,
    /// When each beat was, and how long after the one before.
    pub(crate) beats: Vec<(f64, f64)>,
    pub(crate) tip: String,
}

impl Strip {
    /// The longest silence: when it ended, and how long it was.
    pub(crate) fn hole(&self) -> Option<(f64, f64)> {
        let beats = self.beats.iter().copied();
        beats.max_by(|(_, one), (_, other)| one.total_cmp(other))
    }
}

impl Beat {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let names = self.strips.iter().map(|strip| width_of(&strip.name));
        let names = names.fold(0.0, f64::max).min(width * 0.3);
        let left = if narrow { 6.0 } else { names + 16.0 };
        let right = width - 14.0;
        let times = self.strips.iter().flat_map(|strip| &strip.beats);
        let scale = Scale::holding(times.map(|(at, _)| *at), false, left, right);
        // What is silence and what is a beat a little late: a tenth of the longest of all.
        let holes = self.strips.iter().filter_map(Strip::hole);
        let least = holes.map(|(_, gap)| gap).fold(0.0, f64::max) / 10.0;
        let row = if narrow { 64.0 } else { 52.0 };
        let bottom = self.strips.len() as f64 * row + 6.0;
        for at in scale.ticks(((right - left) / 75.0) as usize) {
            let x = scale.place(at);
            canvas.line("grid", (x, 4.0), (x, bottom));
            canvas.text(x, bottom + 16.0, "tick middle", &tick(at));
        }
        for (n, strip) in self.strips.iter().enumerate() {
            let top = n as f64 * row + if narrow { 22.0 } else { 8.0 };
            let tall = 32.0;
            let mut g = datum(strip.look.colour, &strip.tip);
            g.add(room(0.0, top, width, tall));
            if narrow {
                g.add(label(left, top - 5.0, "who", &strip.name));
            } else {
                let name = fitting(&strip.name, left - 12.0);
                g.add(label(left - 12.0, top + tall / 2.0 + 4.0, "who end", &name));
            }
            let strokes: String = strip
                .beats
                .iter()
                .map(|(at, _)| format!("M{:.1} {:.0}v{tall:.0}", scale.place(*at), top))
                .collect();
            g.add(El::of("path", "beat").with("d", strokes));
            for (at, gap) in strip
                .beats
                .iter()
                .filter(|(_, gap)| *gap > least && *gap > 5.0)
            {
                let (from, to) = (scale.place(at - gap), scale.place(*at));
                g.add(rect("hole", from, top, to - from, tall));
                let middle = top + tall / 2.0;
                let text = format!("{} of silence", figure(*gap, &self.unit));
                let text = if width_of(&text) < to - from - 8.0 {
                    text
                } else {
                    figure(*gap, &self.unit)
                };
                if width_of(&text) < to - from - 4.0 {
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
