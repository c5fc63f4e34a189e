//! The colour and the marker of a contender. A combination of a runtime and a client, such as `tokio/hyper`,
//! has the same style in every chart.
//!
//! The colours are those of Okabe and Ito, which colour-blind people can distinguish. No chart depends
//! on colour alone: each client has a colour, each runtime has a shape, and every series has a label.

use inflight::Cell;
use inflight_charts::{Colour, Marker, MarkerShape};

/// The colours of the clients, in the order of [`Cell::ALL`].
const CLIENT_COLOURS: [Colour; 4] = [
    Colour::Blue,
    Colour::Vermillion,
    Colour::Green,
    Colour::Purple,
];

/// The colours of everything else. No contender without a client of [`Cell::ALL`] has the colour of a client.
const OTHER_COLOURS: [Colour; 4] = [Colour::Ink, Colour::Orange, Colour::Sky, Colour::Muted];

const SHAPES: [MarkerShape; 6] = [
    MarkerShape::Circle,
    MarkerShape::Square,
    MarkerShape::Triangle,
    MarkerShape::Diamond,
    MarkerShape::Cross,
    MarkerShape::Ring,
];

/// Returns the markers of the contenders of one chart. If a name has two parts, such as `smol/hyper` or
/// `smol: inline`, the first part selects the shape and the second part selects the colour. The other contenders
/// get markers that are still free.
pub(crate) fn markers<'a>(names: &[&'a str]) -> Vec<Marker> {
    // Runtimes and clients come first, so that they have the same style in every chart.
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    for cell in Cell::ALL {
        position_or_insert(&mut firsts, cell.runtime());
        position_or_insert(&mut seconds, cell.client());
    }
    let mut of_parts = |name: &&'a str| {
        let (first, second) = cell(name)
            .and(name.split_once('/'))
            .or(name.split_once(": "))?;
        let n = position_or_insert(&mut seconds, second);
        let others = || OTHER_COLOURS[(n - CLIENT_COLOURS.len()) % OTHER_COLOURS.len()];
        Some(Marker {
            colour: CLIENT_COLOURS.get(n).copied().unwrap_or_else(others),
            shape: SHAPES[position_or_insert(&mut firsts, first) % SHAPES.len()],
        })
    };
    let markers: Vec<Option<Marker>> = names.iter().map(&mut of_parts).collect();
    // Neighbours differ in their colour. Crosses and rings come first, because cells rarely have them.
    let shapes = SHAPES.iter().rev();
    let all = shapes.flat_map(|shape| {
        OTHER_COLOURS.map(|colour| Marker {
            colour,
            shape: *shape,
        })
    });
    let free: Vec<Marker> = all.filter(|one| !markers.contains(&Some(*one))).collect();
    let mut free = free.into_iter().cycle();
    let marker = |marker: Option<Marker>| marker.or_else(|| free.next());
    markers.into_iter().filter_map(marker).collect()
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
        let styles = markers(&names);
        for (n, style) in styles.iter().enumerate() {
            assert!(!styles[..n].contains(style), "{} {style:?}", names[n]);
        }
    }

    #[test]
    fn only_clients_have_the_colours_of_clients() {
        let names = [
            "tokio/hyper",
            "tokio/surf",
            "hyper-util alone",
            "reqwest",
            "tokio/hyper, gather.on",
            "tokio/hyper, probed",
            "smol/hyper, block_on",
            "aiohttp",
            "tokio: idle",
            "tokio: async",
        ];
        let styles = markers(&names);
        for (name, style) in names.iter().zip(&styles) {
            let has_client = cell(name).is_some();
            assert_eq!(CLIENT_COLOURS.contains(&style.colour), has_client, "{name}");
        }
    }

    #[test]
    fn each_client_has_one_colour_and_each_runtime_has_one_shape() {
        let styles = markers(&["smol: inline", "tokio/hyper", "smol/hyper"]);
        assert_eq!(styles[1].colour, styles[2].colour);
        assert_eq!(styles[0].shape, styles[2].shape);
        assert_ne!(styles[0].colour, styles[2].colour);
        assert_eq!(markers(&["smol/hyper"]), styles[2..]);
    }
}
