//! The colour and the marker of a contender. A combination of a runtime and a client, such as `tokio/hyper`,
//! has the same style in every chart.
//!
//! The colours are those of Okabe and Ito, which colour-blind people can distinguish. No chart depends
//! on colour alone: each client has a colour, each runtime has a shape, and every series has a label.

use inflight::Cell;

use super::markup::Element;

/// The colour and the marker of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeriesStyle {
    /// The CSS class that sets the colour `--c`.
    pub(crate) colour: &'static str,
    /// The shape of the marker.
    pub(crate) shape: MarkerShape,
}

/// The shape of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkerShape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Ring,
}

const COLOURS: [&str; 7] = [
    "blue",
    "vermillion",
    "green",
    "purple",
    "ink",
    "orange",
    "sky",
];

const SHAPES: [MarkerShape; 6] = [
    MarkerShape::Circle,
    MarkerShape::Square,
    MarkerShape::Triangle,
    MarkerShape::Diamond,
    MarkerShape::Cross,
    MarkerShape::Ring,
];

impl SeriesStyle {
    /// Returns the styles of the contenders of one chart. If a name has two parts, such as `smol/hyper` or
    /// `smol: inline`, the first part selects the shape and the second part selects the colour.
    pub(crate) fn for_all<'a>(names: &[&'a str]) -> Vec<Self> {
        // Runtimes and clients come first, so that they have the same style in every chart.
        let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
        for cell in Cell::ALL {
            position_or_insert(&mut firsts, cell.runtime());
            position_or_insert(&mut seconds, cell.client());
        }
        let mut others = 0;
        let style = |name: &&'a str| {
            let name = *name;
            let parts = cell(name)
                .and(name.split_once('/'))
                .or(name.split_once(": "));
            let Some((first, second)) = parts else {
                others += 1;
                return Self {
                    colour: COLOURS[others % COLOURS.len()],
                    shape: [MarkerShape::Cross, MarkerShape::Ring][others % 2],
                };
            };
            Self {
                colour: COLOURS[position_or_insert(&mut seconds, second) % COLOURS.len()],
                shape: SHAPES[position_or_insert(&mut firsts, first) % SHAPES.len()],
            }
        };
        names.iter().map(style).collect()
    }

    /// Draws a marker at a position.
    pub(crate) fn marker(self, x: f64, y: f64, size: f64) -> Element {
        let points = |points: &[(f64, f64)]| {
            let mut text = String::new();
            for (dx, dy) in points {
                text += &format!("{:.1},{:.1} ", x + dx * size, y + dy * size);
            }
            Element::with_class("polygon", "mark").with("points", text.trim_end())
        };
        match self.shape {
            MarkerShape::Circle => circle(x, y, size, "mark"),
            MarkerShape::Ring => circle(x, y, size - 0.5, "mark ring"),
            MarkerShape::Square => points(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            MarkerShape::Triangle => points(&[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)]),
            MarkerShape::Diamond => points(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
            MarkerShape::Cross => {
                let (a, b) = (size * 0.9, size * 0.9);
                let path = format!(
                    "M{:.1},{:.1}L{:.1},{:.1}M{:.1},{:.1}L{:.1},{:.1}",
                    x - a,
                    y - b,
                    x + a,
                    y + b,
                    x - a,
                    y + b,
                    x + a,
                    y - b
                );
                Element::with_class("path", "mark ring").with("d", path)
            }
        }
    }
}

/// Returns the cell (a runtime and a client) with this name.
pub(crate) fn cell(name: &str) -> Option<Cell> {
    Cell::ALL.into_iter().find(|cell| cell.to_string() == name)
}

/// Returns the position of a name in the list. Adds the name if it is new.
fn position_or_insert<'a>(known: &mut Vec<&'a str>, name: &'a str) -> usize {
    known
        .iter()
        .position(|one| *one == name)
        .unwrap_or_else(|| {
            known.push(name);
            known.len() - 1
        })
}

fn circle(x: f64, y: f64, r: f64, class: &str) -> Element {
    Element::with_class("circle", class)
        .at("cx", x)
        .at("cy", y)
        .at("r", r)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_in_one_chart_are_distinct() {
        let mut names = Vec::new();
        for runtime in ["tokio", "smol", "async-std"] {
            for client in ["hyper", "isahc", "surf", "ureq"] {
                names.push(format!("{runtime}/{client}"));
            }
        }
        names.push("threads/ureq".to_owned());
        names.extend((0..10).map(|n| format!("other {n}")));
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let styles = SeriesStyle::for_all(&names);
        for (n, style) in styles.iter().enumerate() {
            assert!(!styles[..n].contains(style), "{} {style:?}", names[n]);
        }
    }

    #[test]
    fn each_client_has_one_colour_and_each_runtime_has_one_shape() {
        let styles = SeriesStyle::for_all(&["smol: inline", "tokio/hyper", "smol/hyper"]);
        assert_eq!(styles[1].colour, styles[2].colour);
        assert_eq!(styles[0].shape, styles[2].shape);
        assert_ne!(styles[0].colour, styles[2].colour);
        assert_eq!(SeriesStyle::for_all(&["smol/hyper"]), styles[2..]);
    }
}
