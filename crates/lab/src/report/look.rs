//! Which colour and which shape a contender has, the same in every picture.
//!
//! The colours are Okabe and Ito's, which the colour-blind tell apart. No picture rests on colour
//! alone: a client has a colour and a runtime a shape, and every series is named where it is drawn.

use super::markup::El;

/// A colour, by the class that sets it, and a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The class that sets `--c`.
    pub(crate) colour: &'static str,
    /// The shape of a mark.
    pub(crate) shape: Shape,
}

/// The shape of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
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

/// For all others: by their place among them, so that neighbours differ in both.
const OTHERS: [Look; 6] = [
    look("green", Shape::Cross),
    look("purple", Shape::Ring),
    look("sky", Shape::Cross),
    look("vermillion", Shape::Ring),
    look("orange", Shape::Cross),
    look("blue", Shape::Ring),
];

/// Those that are in several pictures.
const KNOWN: [(&str, Look); 8] = [
    ("reqwest", look("ink", Shape::Cross)),
    ("hyper-util alone", look("ink", Shape::Ring)),
    ("tokio/hyper, gather.on", look("blue", Shape::Cross)),
    ("aiohttp", look("orange", Shape::Ring)),
    ("requests in async def", look("vermillion", Shape::Cross)),
    ("go", look("sky", Shape::Diamond)),
    ("curl --parallel", look("purple", Shape::Cross)),
    ("wrk", look("green", Shape::Ring)),
];

const fn look(colour: &'static str, shape: Shape) -> Look {
    Look { colour, shape }
}

impl Look {
    /// Of a contender that is the `n`th of those that are no cell.
    pub(crate) fn of(name: &str, n: usize) -> Self {
        if let Some((runtime, client)) = cell(name)
            && let (Some(shape), Some(colour)) = (runtime_shape(runtime), client_colour(client))
        {
            return look(colour, shape);
        }
        if let Some((runtime, way)) = name.split_once(": ")
            && let (Some(shape), Some(colour)) = (runtime_shape(runtime), way_colour(way))
        {
            return look(colour, shape);
        }
        if let Some((_, look)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return *look;
        }
        match runtime_shape(name) {
            Some(shape) => look(COLOURS[shape as usize % COLOURS.len()], shape),
            None => match way_colour(name) {
                Some(colour) => look(colour, Shape::Circle),
                None => OTHERS[n % OTHERS.len()],
            },
        }
    }

    /// Of contenders that stand in one picture.
    pub(crate) fn of_all(names: &[&str]) -> Vec<Self> {
        let mut others = 0;
        names
            .iter()
            .map(|name| {
                let look = Self::of(name, others);
                others += usize::from(look == OTHERS[others % OTHERS.len()]);
                look
            })
            .collect()
    }

    /// A mark at a place.
    pub(crate) fn mark(self, x: f64, y: f64, size: f64) -> El {
        let points = |points: &[(f64, f64)]| {
            let mut text = String::new();
            for (dx, dy) in points {
                text += &format!("{:.1},{:.1} ", x + dx * size, y + dy * size);
            }
            El::of("polygon", "mark").with("points", text.trim_end())
        };
        match self.shape {
            Shape::Circle => circle(x, y, size, "mark"),
            Shape::Ring => circle(x, y, size - 0.5, "mark ring"),
            Shape::Square => points(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            Shape::Triangle => points(&[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)]),
            Shape::Diamond => points(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
            Shape::Cross => {
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
                El::of("path", "mark ring").with("d", path)
            }
        }
    }
}

/// The runtime and the client of a cell; `None` for what only begins like one.
pub(crate) fn cell(name: &str) -> Option<(&str, &str)> {
    let (runtime, client) = name.split_once('/')?;
    runtime_shape(runtime).and(client_colour(client))?;
    Some((runtime, client))
}

fn circle(x: f64, y: f64, r: f64, class: &str) -> El {
    El::of("circle", class).at("cx", x).at("cy", y).at("r", r)
}

fn runtime_shape(runtime: &str) -> Option<Shape> {
    Some(match runtime {
        "tokio" => Shape::Circle,
        "smol" => Shape::Square,
        "async-std" => Shape::Triangle,
        "threads" => Shape::Diamond,
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

/// The ways in which a call may be made.
fn way_colour(way: &str) -> Option<&'static str> {
    Some(match way {
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
    fn no_two_of_a_picture_look_alike() {
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
        let looks = Look::of_all(&names);
        for (n, look) in looks.iter().enumerate() {
            assert!(!looks[..n].contains(look), "{} {look:?}", names[n]);
        }
    }

    #[test]
    fn a_client_has_one_colour_and_a_runtime_one_shape() {
        assert_eq!(
            Look::of("tokio/hyper", 0).colour,
            Look::of("smol/hyper", 5).colour
        );
        assert_eq!(
            Look::of("smol/hyper", 0).shape,
            Look::of("smol: inline", 5).shape
        );
    }
}
