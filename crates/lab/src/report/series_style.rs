//! The colour and the marker of a contender. They are the same in every chart.
//!
//! The colours are those of Okabe and Ito, which colour-blind people can distinguish. No chart depends
//! on colour alone: a client has a colour, a runtime has a shape, and every series has a label.

use super::markup::Element;

/// The colour and the marker of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeriesStyle {
    /// The CSS class that sets `--c`.
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

/// The styles of other contenders, by position. Neighbours differ in colour and shape.
const OTHERS: [SeriesStyle; 6] = [
    style("green", MarkerShape::Cross),
    style("purple", MarkerShape::Ring),
    style("sky", MarkerShape::Cross),
    style("vermillion", MarkerShape::Ring),
    style("orange", MarkerShape::Cross),
    style("blue", MarkerShape::Ring),
];

/// The styles of contenders that occur in several charts.
const KNOWN: [(&str, SeriesStyle); 8] = [
    ("reqwest", style("ink", MarkerShape::Cross)),
    ("hyper-util alone", style("ink", MarkerShape::Ring)),
    ("tokio/hyper, gather.on", style("blue", MarkerShape::Cross)),
    ("aiohttp", style("orange", MarkerShape::Ring)),
    (
        "requests in async def",
        style("vermillion", MarkerShape::Cross),
    ),
    ("go", style("sky", MarkerShape::Diamond)),
    ("curl --parallel", style("purple", MarkerShape::Cross)),
    ("wrk", style("green", MarkerShape::Ring)),
];

const fn style(colour: &'static str, shape: MarkerShape) -> SeriesStyle {
    SeriesStyle { colour, shape }
}

impl SeriesStyle {
    /// Returns the style of a contender. `n` is its position among the contenders without a fixed style.
    pub(crate) fn new(name: &str, n: usize) -> Self {
        if let Some((runtime, client)) = cell(name)
            && let (Some(shape), Some(colour)) = (runtime_shape(runtime), client_colour(client))
        {
            return style(colour, shape);
        }
        if let Some((runtime, mode)) = name.split_once(": ")
            && let (Some(shape), Some(colour)) = (runtime_shape(runtime), mode_colour(mode))
        {
            return style(colour, shape);
        }
        if let Some((_, style)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return *style;
        }
        match runtime_shape(name) {
            Some(shape) => style(COLOURS[shape as usize % COLOURS.len()], shape),
            None => match mode_colour(name) {
                Some(colour) => style(colour, MarkerShape::Circle),
                None => OTHERS[n % OTHERS.len()],
            },
        }
    }

    /// Returns the styles of the contenders of one chart.
    pub(crate) fn for_all(names: &[&str]) -> Vec<Self> {
        let mut others = 0;
        names
            .iter()
            .map(|name| {
                let style = Self::new(name, others);
                others += usize::from(style == OTHERS[others % OTHERS.len()]);
                style
            })
            .collect()
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

/// Splits the name of a cell into runtime and client. Returns `None` for other names.
pub(crate) fn cell(name: &str) -> Option<(&str, &str)> {
    let (runtime, client) = name.split_once('/')?;
    runtime_shape(runtime).and(client_colour(client))?;
    Some((runtime, client))
}

fn circle(x: f64, y: f64, r: f64, class: &str) -> Element {
    Element::with_class("circle", class)
        .at("cx", x)
        .at("cy", y)
        .at("r", r)
}

fn runtime_shape(runtime: &str) -> Option<MarkerShape> {
    Some(match runtime {
        "tokio" => MarkerShape::Circle,
        "smol" => MarkerShape::Square,
        "async-std" => MarkerShape::Triangle,
        "threads" => MarkerShape::Diamond,
        _ => return None,
    })
}

fn client_colour(client: &str) -> Option<&'static str> {
    Some(match client {
        "hyper" => "blue",
        "isahc" => "vermillion",
        "surf" => "green",
        "ureq" => "purple",
        _ => return None,
    })
}

/// Returns the colour of a fetch mode.
fn mode_colour(mode: &str) -> Option<&'static str> {
    Some(match mode {
        "idle" => "ink",
        "inline" | "one after another" => "vermillion",
        "offloaded" => "purple",
        "async" | "gathered" => "blue",
        _ => return None,
    })
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
        for other in [
            "threads/ureq",
            "reqwest",
            "hyper-util alone",
            "aiohttp",
            "requests in async def",
            "go",
            "curl --parallel",
            "wrk",
            "one",
            "other",
        ] {
            names.push(other.to_owned());
        }
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let styles = SeriesStyle::for_all(&names);
        for (n, style) in styles.iter().enumerate() {
            assert!(!styles[..n].contains(style), "{} {style:?}", names[n]);
        }
    }

    #[test]
    fn a_client_has_one_colour_and_a_runtime_one_shape() {
        assert_eq!(
            SeriesStyle::new("tokio/hyper", 0).colour,
            SeriesStyle::new("smol/hyper", 5).colour
        );
        assert_eq!(
            SeriesStyle::new("smol/hyper", 0).shape,
            SeriesStyle::new("smol: inline", 5).shape
        );
    }
}
