//! Pictures, as SVG. Each is laid out for the width that it is asked for, so that a phone gets a
//! picture of its own and not a small one of a desk's.

pub(crate) mod beat;
pub(crate) mod dots;
pub(crate) mod heat;
pub(crate) mod lines;
pub(crate) mod panels;
pub(crate) mod spans;

use super::markup::El;

/// The width of a picture on a desk and on paper.
pub(crate) const WIDE: f64 = 720.0;
/// The width on a phone.
pub(crate) const NARROW: f64 = 350.0;

/// The size of letters.
const LETTER: f64 = 12.0;

/// A picture being drawn.
pub(crate) struct Canvas {
    width: f64,
    height: f64,
    children: Vec<El>,
}

impl Canvas {
    pub(crate) fn new(width: f64) -> Self {
        Self {
            width,
            height: 0.0,
            children: Vec::new(),
        }
    }

    fn is_narrow(&self) -> bool {
        self.width < 500.0
    }

    fn add(&mut self, el: El) {
        self.children.push(el);
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.add(label(x, y, class, text));
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.add(line(class, from, to));
    }

    /// The picture, named for those who do not see it.
    pub(crate) fn svg(self, id: &str, title: &str, description: &str) -> El {
        let (title_id, description_id) = (format!("{id}-title"), format!("{id}-desc"));
        El::of("svg", "picture")
            .with("id", id)
            .with(
                "viewBox",
                format!("0 0 {} {}", self.width, self.height.ceil()),
            )
            .with("role", "img")
            .with("aria-labelledby", format!("{title_id} {description_id}"))
            .child(El::new("title").with("id", title_id).text(title))
            .child(El::new("desc").with("id", description_id).text(description))
            .children(self.children)
    }
}

/// What can be pointed at and reached with the keyboard, and says its figures then.
fn datum(colour: &str, tip: &str) -> El {
    El::of("g", &format!("datum {colour}"))
        .with("tabindex", 0)
        .with("role", "img")
        .with("aria-label", tip)
        .child(El::new("title").text(tip))
}

/// Room to point at.
fn room(x: f64, y: f64, width: f64, height: f64) -> El {
    rect("room", x, y, width, height)
}

fn rect(class: &str, x: f64, y: f64, width: f64, height: f64) -> El {
    El::of("rect", class)
        .at("x", x)
        .at("y", y)
        .at("width", width.max(0.0))
        .at("height", height.max(0.0))
}

fn line(class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> El {
    El::of("line", class)
        .at("x1", x1)
        .at("y1", y1)
        .at("x2", x2)
        .at("y2", y2)
}

fn label(x: f64, y: f64, class: &str, text: &str) -> El {
    El::of("text", class).at("x", x).at("y", y).text(text)
}

/// About how wide a text is. A little more than most letters need, so that nothing overlaps.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER * 0.6
}

/// Cuts a text that has no room. The whole of it is in the tip and in the table.
fn fitting(text: &str, width: f64) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let letters = (width / (LETTER * 0.6)) as usize;
    let mut cut: String = text.chars().take(letters.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A text in lines of at most this width, broken between words.
fn wrapped(text: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width_of(line) + width_of(word) + LETTER * 0.6 <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fitting(word, width)),
        }
    }
    lines
}

/// A line that no contender can beat, or another to compare with.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at: f64,
    pub(crate) label: String,
}

/// Moves places apart that are closer than `apart`, as little as possible, between `from` and `to`.
fn spread(places: &mut [(usize, f64)], apart: f64, from: f64, to: f64) {
    places.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut least = from;
    for (_, place) in places.iter_mut() {
        *place = place.max(least);
        least = *place + apart;
    }
    let mut most = to;
    for (_, place) in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - apart;
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
        assert_eq!(fitting("abcdefghij", 40.0), "abcd…");
    }
}
