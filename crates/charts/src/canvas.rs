//! Draws charts as SVG. A chart is laid out for a given width, so that phones get a separate layout.

use crate::element::Element;

/// The width of a chart on large screens and on paper.
pub(crate) const WIDE: f64 = 720.0;
/// The width of a chart on phones.
pub(crate) const NARROW: f64 = 350.0;

/// The font size.
pub(crate) const FONT_SIZE: f64 = 12.0;

/// The additional styles of a picture in a file of its own, which has no page around it.
const FILE_STYLE: &str = "svg { color-scheme: light dark; font-family: system-ui, sans-serif; }\n\
    .paper { fill: var(--paper); }\n";

/// A chart while it is drawn.
pub(crate) struct Canvas {
    pub(crate) width: f64,
    pub(crate) height: f64,
    children: Vec<Element>,
}

impl Canvas {
    pub(crate) fn new(width: f64) -> Self {
        Self {
            width,
            height: 0.0,
            children: Vec::new(),
        }
    }

    pub(crate) fn is_narrow(&self) -> bool {
        self.width < 500.0
    }

    pub(crate) fn add(&mut self, element: Element) {
        self.children.push(element);
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.add(label(x, y, class, text));
    }

    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.add(line(class, from, to));
    }

    /// Returns the SVG element, with a title and a description for screen readers.
    pub(crate) fn svg(self, id: &str, title: &str, description: &str) -> Element {
        let view = format!("0 0 {} {}", self.width, self.height.ceil());
        root(id, title, description)
            .with("viewBox", view)
            .children(self.children)
    }

    /// Returns an SVG file with a style sheet, a margin and a background.
    pub(crate) fn file(
        self,
        id: &str,
        title: &str,
        description: &str,
        style: &'static str,
    ) -> String {
        const MARGIN: f64 = 16.0;
        let (width, height) = (self.width + 2.0 * MARGIN, self.height.ceil() + 2.0 * MARGIN);
        let svg = root(id, title, description)
            .with("xmlns", "http://www.w3.org/2000/svg")
            .with("width", width)
            .with("height", height)
            .with("viewBox", format!("-{MARGIN} -{MARGIN} {width} {height}"))
            .child(Element::new("style").raw(style).raw(FILE_STYLE))
            .child(rect("paper", -MARGIN, -MARGIN, width, height))
            .children(self.children);
        format!("{svg}\n")
    }
}

/// Creates an SVG element without content. Screen readers read its title and its description.
fn root(id: &str, title: &str, description: &str) -> Element {
    let (title_id, description_id) = (format!("{id}-title"), format!("{id}-desc"));
    Element::with_class("svg", "picture")
        .with("id", id)
        .with("role", "img")
        .with("aria-labelledby", format!("{title_id} {description_id}"))
        .child(Element::new("title").with("id", title_id).text(title))
        .child(
            Element::new("desc")
                .with("id", description_id)
                .text(description),
        )
}

/// Creates the group of a data point, with a tooltip. A page that shows tooltips for the keyboard makes the group
/// focusable with a script. Otherwise, a page with many charts would have hundreds of stops of the Tab key.
pub(crate) fn datum(colour: &str, tip: &str) -> Element {
    Element::with_class("g", &format!("datum {colour}"))
        .with("role", "img")
        .with("aria-label", tip)
        .child(Element::new("title").text(tip))
}

/// Creates the area in which the pointer shows the tooltip.
pub(crate) fn hit_area(x: f64, y: f64, width: f64, height: f64) -> Element {
    rect("hit-area", x, y, width, height)
}

pub(crate) fn rect(class: &str, x: f64, y: f64, width: f64, height: f64) -> Element {
    Element::with_class("rect", class)
        .at("x", x)
        .at("y", y)
        .at("width", width.max(0.0))
        .at("height", height.max(0.0))
}

pub(crate) fn line(class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> Element {
    Element::with_class("line", class)
        .at("x1", x1)
        .at("y1", y1)
        .at("x2", x2)
        .at("y2", y2)
}

pub(crate) fn label(x: f64, y: f64, class: &str, text: &str) -> Element {
    Element::with_class("text", class)
        .at("x", x)
        .at("y", y)
        .text(text)
}

/// Estimates the width of a text. The estimate is a little too large, to avoid overlaps.
pub(crate) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * FONT_SIZE * 0.6
}

/// Truncates a text to a width. The full text is in the tooltip and in the table.
pub(crate) fn truncated(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let letters = (width / (FONT_SIZE * 0.6)) as usize;
    let mut cut: String = text.chars().take(letters.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Breaks a text between words into lines of at most this width.
pub(crate) fn wrapped(text: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line) + text_width(word) + FONT_SIZE * 0.6 <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(truncated(word, width)),
        }
    }
    lines
}

/// Moves positions away from each other until they are at least `spacing` apart, between `from` and `to`.
pub(crate) fn spread(places: &mut [(usize, f64)], spacing: f64, from: f64, to: f64) {
    places.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut least = from;
    for (_, place) in places.iter_mut() {
        *place = place.max(least);
        least = *place + spacing;
    }
    let mut most = to;
    for (_, place) in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - spacing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_moved_apart_and_stay_inside() {
        let mut places = [(0, 95.0), (1, 94.0), (2, 10.0), (3, 96.0)];
        spread(&mut places, 10.0, 0.0, 100.0);
        assert_eq!(places, [(2, 10.0), (1, 80.0), (0, 90.0), (3, 100.0)]);
    }

    #[test]
    fn a_long_text_is_broken_between_words_or_cut() {
        assert_eq!(wrapped("one two three", 60.0), ["one two", "three"]);
        assert_eq!(truncated("abcdefghij", 40.0), "abcd…");
    }
}
