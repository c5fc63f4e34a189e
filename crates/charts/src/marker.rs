//! The colour and the shape of a marker.
//!
//! The colours are those of Okabe and Ito, which colour-blind people can distinguish. No chart depends on
//! colour alone: markers also differ in their shape, and every series has a label.

use crate::element::Element;

/// A colour of the style sheet. It is dark on a light page, and light on a dark page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "names of colours")]
pub enum Colour {
    Blue,
    Vermillion,
    Green,
    Purple,
    Ink,
    Orange,
    Sky,
    Muted,
}

impl Colour {
    /// Returns the CSS class that sets the colour.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Vermillion => "vermillion",
            Self::Green => "green",
            Self::Purple => "purple",
            Self::Ink => "ink",
            Self::Orange => "orange",
            Self::Sky => "sky",
            Self::Muted => "muted",
        }
    }
}

/// The marker of a series. For an example, see [`LineChart`](crate::LineChart).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The colour of the marker and of the line.
    pub colour: Colour,
    /// The shape.
    pub shape: MarkerShape,
}

/// The shape of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "names of shapes")]
pub enum MarkerShape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Ring,
}

impl Marker {
    /// Creates the group of the marker's series, which has the marker's colour.
    pub(crate) fn group(self) -> Element {
        Element::with_class("g", self.colour.class())
    }

    /// Draws the marker at a position.
    pub(crate) fn draw(self, x: f64, y: f64, size: f64) -> Element {
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
                let a = size * 0.9;
                let [left, right, top, bottom] = [x - a, x + a, y - a, y + a];
                let path = format!(
                    "M{left:.1},{top:.1}L{right:.1},{bottom:.1}M{left:.1},{bottom:.1}L{right:.1},{top:.1}"
                );
                Element::with_class("path", "mark ring").with("d", path)
            }
        }
    }
}

pub(crate) fn circle(x: f64, y: f64, r: f64, class: &str) -> Element {
    Element::with_class("circle", class)
        .at("cx", x)
        .at("cy", y)
        .at("r", r)
}
