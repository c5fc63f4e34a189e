//! Compares the runtimes and the clients of the cells, which are their combinations, such as `tokio/hyper`.
//!
//! The values form a table with a row for each runtime and a column for each client. The factor of a row is its
//! highest value divided by its lowest: how much the client matters on that runtime. The factor of a column shows
//! how much the runtime matters with that client. There is no average over rows or columns, because an average
//! can hide a difference that the table shows.

/// The compared runtimes.
pub const RUNTIMES: [&str; 3] = ["tokio", "smol", "async-std"];
/// The clients that run on all of [`RUNTIMES`].
pub const CLIENTS: [&str; 3] = ["hyper", "isahc", "surf"];

/// The lowest and the highest of three cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// The cell with the lowest value.
    pub lowest: String,
    /// The cell with the highest value.
    pub highest: String,
    /// The highest value divided by the lowest.
    pub factor: f64,
}

/// The differences between runtimes and between clients, for one metric at one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Spreads {
    /// For each of [`RUNTIMES`], the difference between the clients on that runtime.
    pub of_runtimes: [Spread; 3],
    /// For each of [`CLIENTS`], the difference between the runtimes with that client.
    pub of_clients: [Spread; 3],
}

impl Spreads {
    /// Compares the values of the nine cells. Returns `None` if a cell has no value above zero.
    pub fn new(value: impl Fn(&str) -> Option<f64>) -> Option<Self> {
        let mut cells = Vec::new();
        for runtime in RUNTIMES {
            for client in CLIENTS {
                let name = format!("{runtime}/{client}");
                let value = value(&name).filter(|value| *value > 0.0)?;
                cells.push((name, value));
            }
        }
        Some(Self {
            of_runtimes: [0, 1, 2].map(|n| spread([0, 1, 2].map(|m| &cells[3 * n + m]))),
            of_clients: [0, 1, 2].map(|m| spread([0, 1, 2].map(|n| &cells[3 * n + m]))),
        })
    }

    /// Returns the largest difference that changing only the runtime makes.
    pub fn between_runtimes(&self) -> &Spread {
        largest(&self.of_clients)
    }

    /// Returns the largest difference that changing only the client makes.
    pub fn between_clients(&self) -> &Spread {
        largest(&self.of_runtimes)
    }
}

fn spread(mut cells: [&(String, f64); 3]) -> Spread {
    cells.sort_by(|one, other| one.1.total_cmp(&other.1));
    let [(lowest, low), _, (highest, high)] = cells;
    Spread {
        lowest: lowest.clone(),
        highest: highest.clone(),
        factor: high / low,
    }
}

fn largest(spreads: &[Spread; 3]) -> &Spread {
    let [first, rest @ ..] = spreads;
    rest.iter()
        .fold(first, |one, other| match other.factor > one.factor {
            true => other,
            false => one,
        })
}

/// Formats a factor of at least 1: `4.2 %` or `3.1 times`.
pub fn format_factor(factor: f64) -> String {
    let percent = (factor - 1.0) * 100.0;
    match percent {
        _ if factor >= 2.0 => format!("{factor:.1} times"),
        9.95.. => format!("{percent:.0} %"),
        0.095.. => format!("{percent:.1} %"),
        _ => "less than 0.1 %".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spreads_of(values: [f64; 9]) -> Option<Spreads> {
        Spreads::new(|name| {
            let (runtime, client) = name.split_once('/')?;
            let n = RUNTIMES.iter().position(|one| *one == runtime)?;
            let m = CLIENTS.iter().position(|one| *one == client)?;
            Some(values[3 * n + m])
        })
    }

    #[test]
    fn a_difference_between_two_cells_is_not_averaged_away() {
        // With hyper, the runtime matters. With the other clients, it does not. A median hides this.
        let spreads = spreads_of([13.8, 40.0, 50.0, 16.4, 40.0, 50.0, 19.0, 40.0, 50.0]).unwrap();
        let runtimes = spreads.between_runtimes();
        assert_eq!(
            (&*runtimes.lowest, &*runtimes.highest),
            ("tokio/hyper", "async-std/hyper")
        );
        assert!((runtimes.factor - 19.0 / 13.8).abs() < 1e-9);
        let clients = spreads.between_clients();
        assert_eq!(
            (&*clients.lowest, &*clients.highest),
            ("tokio/hyper", "tokio/surf")
        );
    }

    #[test]
    fn without_a_value_above_zero_for_each_cell_nothing_is_compared() {
        assert_eq!(
            spreads_of([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
            None
        );
        assert_eq!(
            Spreads::new(|name| (name != "smol/isahc").then_some(1.0)),
            None
        );
    }

    proptest! {
        #[test]
        fn no_difference_between_neighbours_exceeds_the_largest(
            values in prop::array::uniform9(0.001..1e6),
        ) {
            let spreads = spreads_of(values).unwrap();
            for n in 0..3 {
                for (m, k) in [(0, 1), (0, 2), (1, 2)] {
                    let between_clients = values[3 * n + m] / values[3 * n + k];
                    let between_runtimes = values[3 * m + n] / values[3 * k + n];
                    for (factor, largest) in [
                        (between_clients, spreads.between_clients()),
                        (between_runtimes, spreads.between_runtimes()),
                    ] {
                        prop_assert!(factor.max(1.0 / factor) <= largest.factor * (1.0 + 1e-9));
                    }
                }
            }
        }
    }
}
