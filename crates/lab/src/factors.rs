//! Separates the cost of the runtime from the cost of the client.
//!
//! The measured values form a table with a row for each runtime and a column for each client. A cell of the
//! table is one combination, such as `tokio/hyper`. In the model, the value of a cell is the product
//! `common * runtime * client`, so its logarithm is a sum. Tukey's median polish fits this sum. A single
//! outlier does not change the fit. A residual is the ratio of a cell's value to the model.

use crate::experiment::Better;
use crate::stats::{Estimate, LEVEL, RESAMPLES, Resampler, Rounds, may_claim, median};

/// The compared runtimes.
pub const RUNTIMES: [&str; 3] = ["tokio", "smol", "async-std"];
/// The clients that run on all of [`RUNTIMES`].
pub const CLIENTS: [&str; 3] = ["hyper", "isahc", "surf"];

/// A value for each cell. Rows are runtimes, columns are clients.
type Layout = [[f64; 3]; 3];

/// The cost of changing the runtime with the same client, or the client on the same runtime.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The best runtime or client.
    pub best: &'static str,
    /// The worst runtime or client.
    pub worst: &'static str,
    /// The cost of `worst` relative to `best`: a ratio of at least 1, with its interval.
    pub cost: Estimate,
    /// The cost of each runtime or client relative to `best`, in the order of [`RUNTIMES`] or [`CLIENTS`].
    pub factors: [f64; 3],
}

/// The effects of runtime and client on one metric at one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Separation {
    /// The point: the value of the experiment's variable.
    pub x: f64,
    /// The effect of the runtime.
    pub runtime: Effect,
    /// The effect of the client.
    pub client: Effect,
    /// The largest residual of any cell, as a factor of at least 1.
    pub residual: f64,
    /// The cell with the largest residual.
    pub outlier: String,
    /// The smallest difference that can be claimed, as a factor. It comes from the A/A pair, which is two
    /// contenders with the same program.
    pub smallest: Option<f64>,
}

/// Separates the effects of runtime and client. Uses only rounds in which all nine cells have a value.
/// Returns `None` if there is no such round.
pub fn separate<'a>(
    x: f64,
    better: Better,
    cell: impl Fn(&str) -> Option<&'a Rounds>,
    smallest: Option<f64>,
) -> Option<Separation> {
    let layouts = layouts(better, cell)?;
    let fit = Fit::new(&layouts.iter().collect::<Vec<_>>());
    let (runtime_best, runtime_worst) = extremes(&fit.runtimes);
    let (client_best, client_worst) = extremes(&fit.clients);
    let mut resampler = Resampler::new();
    let mut runtimes = Vec::with_capacity(RESAMPLES);
    let mut clients = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let drawn = resampler.indices(layouts.len());
        let drawn: Vec<&Layout> = drawn.into_iter().map(|n| &layouts[n]).collect();
        let fit = Fit::new(&drawn);
        // Each resample compares the runtimes and the clients that are best and worst over all rounds. The
        // ratio of the worst to the best of the resample itself would be biased.
        runtimes.push(fit.runtimes[runtime_worst] - fit.runtimes[runtime_best]);
        clients.push(fit.clients[client_worst] - fit.clients[client_best]);
    }
    let effect = |names: [&'static str; 3], effects: [f64; 3], best: usize, worst: usize, drawn| {
        let rounds = layouts.len();
        let cost = Estimate::from_resamples(effects[worst] - effects[best], drawn, LEVEL, rounds);
        Effect {
            best: names[best],
            worst: names[worst],
            cost: Estimate {
                value: cost.value.exp(),
                low: cost.low.exp(),
                high: cost.high.exp(),
                rounds,
            },
            factors: effects.map(|effect| (effect - effects[best]).exp()),
        }
    };
    let residuals = (0..9).map(|n| (n, fit.residuals[n / 3][n % 3].abs()));
    let (outlier, residual) = residuals.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    Some(Separation {
        x,
        runtime: effect(
            RUNTIMES,
            fit.runtimes,
            runtime_best,
            runtime_worst,
            runtimes,
        ),
        client: effect(CLIENTS, fit.clients, client_best, client_worst, clients),
        residual: residual.exp(),
        outlier: format!("{}/{}", RUNTIMES[outlier / 3], CLIENTS[outlier % 3]),
        smallest,
    })
}

/// Returns, for each round that has all cells, the logarithms of the values. If higher values are better,
/// the logarithms are negated.
fn layouts<'a>(better: Better, cell: impl Fn(&str) -> Option<&'a Rounds>) -> Option<Vec<Layout>> {
    let mut cells = Vec::new();
    for runtime in RUNTIMES {
        for client in CLIENTS {
            cells.push(cell(&format!("{runtime}/{client}"))?);
        }
    }
    let sign = match better {
        Better::Lower => 1.0,
        Better::Higher => -1.0,
    };
    let of_round = |round: &u32| {
        let mut layout = Layout::default();
        for (n, rounds) in cells.iter().enumerate() {
            let value = *rounds.get(round)?;
            layout[n / 3][n % 3] = sign * (value > 0.0).then(|| value.ln())?;
        }
        // The mean of a round reflects the state of the machine, so it is subtracted.
        let common = layout.iter().flatten().sum::<f64>() / 9.0;
        Some(layout.map(|row| row.map(|value| value - common)))
    };
    let layouts: Vec<Layout> = cells[0].keys().filter_map(of_round).collect();
    (!layouts.is_empty()).then_some(layouts)
}

/// The additive fit of the logarithms by median polish.
struct Fit {
    runtimes: [f64; 3],
    clients: [f64; 3],
    residuals: Layout,
}

impl Fit {
    fn new(layouts: &[&Layout]) -> Self {
        let mut residuals = Layout::default();
        for (n, row) in residuals.iter_mut().enumerate() {
            for (m, value) in row.iter_mut().enumerate() {
                let rounds: Vec<f64> = layouts.iter().map(|layout| layout[n][m]).collect();
                *value = median(&rounds).unwrap_or_default();
            }
        }
        let (mut runtimes, mut clients) = ([0.0; 3], [0.0; 3]);
        // A 3 x 3 layout converges in two or three sweeps.
        for _ in 0..10 {
            for n in 0..3 {
                let share = median3(residuals[n]);
                runtimes[n] += share;
                residuals[n] = residuals[n].map(|value| value - share);
            }
            for m in 0..3 {
                let share = median3([residuals[0][m], residuals[1][m], residuals[2][m]]);
                clients[m] += share;
                for row in &mut residuals {
                    row[m] -= share;
                }
            }
        }
        Self {
            runtimes,
            clients,
            residuals,
        }
    }
}

fn median3([a, b, c]: [f64; 3]) -> f64 {
    a.max(b).min(a.min(b).max(c))
}

/// Returns the indices of the smallest and the largest effect.
fn extremes(effects: &[f64; 3]) -> (usize, usize) {
    let mut order = [0, 1, 2];
    order.sort_by(|one, other| effects[*one].total_cmp(&effects[*other]));
    (order[0], order[2])
}

impl Effect {
    fn describe(&self, smallest: Option<f64>) -> String {
        if !may_claim(&self.cost, smallest) {
            return "nothing that can be measured".to_owned();
        }
        format!(
            "{} from {} to {} ({} to {})",
            format_factor(self.cost.value),
            self.best,
            self.worst,
            format_factor(self.cost.low),
            format_factor(self.cost.high)
        )
    }
}

impl Separation {
    /// Describes both effects in one sentence.
    pub fn sentence(&self) -> String {
        let Some(smallest) = self.smallest else {
            return "There are fewer than two rounds of an A/A pair, so no difference is claimed."
                .to_owned();
        };
        if self.runtime.cost.rounds < 2 {
            return "Only one round has all nine cells, so no difference is claimed.".to_owned();
        }
        format!(
            "Changing the runtime costs {}, changing the client costs {}; the smallest difference \
             that can be claimed is {}.",
            self.runtime.describe(self.smallest),
            self.client.describe(self.smallest),
            format_factor(smallest)
        )
    }

    /// Describes the largest residual, if it exceeds the noise.
    pub fn describe_residual(&self) -> Option<String> {
        let smallest = self.smallest.filter(|_| self.runtime.cost.rounds > 1)?;
        (self.residual > smallest).then(|| {
            format!(
                "The two effects do not fully explain {}: its value differs by {} from the value that \
                 the two effects predict.",
                self.outlier,
                format_factor(self.residual)
            )
        })
    }
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
    use std::collections::BTreeMap;

    type Cells = BTreeMap<String, Rounds>;

    /// Returns cells that are products of these factors, with noise and with slow rounds.
    fn cells(runtimes: [f64; 3], clients: [f64; 3], noise: f64, seed: u64) -> Cells {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut cells = Cells::new();
        for round in 0..12 {
            let slow = 1.0 + random.f64();
            for (n, runtime) in RUNTIMES.iter().enumerate() {
                for (m, client) in CLIENTS.iter().enumerate() {
                    let noise = 1.0 + noise * (random.f64() - 0.5);
                    let value = 10.0 * runtimes[n] * clients[m] * slow * noise;
                    let cell = cells.entry(format!("{runtime}/{client}")).or_default();
                    cell.insert(round, value);
                }
            }
        }
        cells
    }

    fn separate_by_time(cells: &Cells, smallest: f64) -> Separation {
        separate(0.0, Better::Lower, |cell| cells.get(cell), Some(smallest)).unwrap()
    }

    #[test]
    fn known_effects_are_separated() {
        let cells = cells([1.0, 1.2, 1.5], [1.0, 2.0, 6.0], 0.0, 1);
        let found = separate_by_time(&cells, 1.02);
        assert!((found.runtime.cost.value - 1.5).abs() < 1e-9);
        assert!((found.client.cost.value - 6.0).abs() < 1e-9);
        assert_eq!(
            (found.runtime.best, found.runtime.worst),
            ("tokio", "async-std")
        );
        assert_eq!((found.client.best, found.client.worst), ("hyper", "surf"));
        assert!((found.runtime.factors[1] - 1.2).abs() < 1e-9);
        assert!(found.residual < 1.0 + 1e-9);
        assert_eq!(
            found.sentence(),
            "Changing the runtime costs 50 % from tokio to async-std (50 % to 50 %), changing the \
             client costs 6.0 times from hyper to surf (6.0 times to 6.0 times); the smallest \
             difference that can be claimed is 2.0 %."
        );
    }

    #[test]
    fn an_outlier_changes_no_effect_and_has_the_largest_residual() {
        let mut cells = cells([1.0, 1.2, 1.5], [1.0, 2.0, 6.0], 0.0, 1);
        for value in cells.get_mut("smol/surf").unwrap().values_mut() {
            *value *= 3.0;
        }
        let found = separate_by_time(&cells, 1.02);
        assert!((found.runtime.cost.value - 1.5).abs() < 1e-9);
        assert!((found.client.cost.value - 6.0).abs() < 1e-9);
        assert_eq!(found.outlier, "smol/surf");
        assert!((found.residual - 3.0).abs() < 1e-9);
        assert!(
            found
                .describe_residual()
                .unwrap()
                .contains("smol/surf: its value differs by 3.0 times")
        );
    }

    #[test]
    fn an_effect_below_the_smallest_difference_is_not_claimed() {
        let cells = cells([1.0, 1.0, 1.005], [1.0, 1.0, 1.3], 0.01, 3);
        let sentence = separate_by_time(&cells, 1.02).sentence();
        assert!(
            sentence.starts_with("Changing the runtime costs nothing that can be measured"),
            "{sentence}"
        );
        assert!(sentence.contains("from hyper to surf") || sentence.contains("from isahc to surf"));
        let none = separate(0.0, Better::Lower, |cell| cells.get(cell), None).unwrap();
        assert!(none.sentence().contains("no difference is claimed"));
    }

    #[test]
    fn a_higher_value_can_be_better() {
        let cells = cells([1.0, 1.0, 2.0], [1.0, 1.0, 1.0], 0.0, 1);
        let found = separate(0.0, Better::Higher, |cell| cells.get(cell), Some(1.01)).unwrap();
        assert_eq!(found.runtime.best, "async-std");
        assert!((found.runtime.cost.value - 2.0).abs() < 1e-9);
    }

    #[test]
    fn with_one_round_nothing_is_claimed() {
        let mut cells = cells([1.0, 1.2, 1.5], [1.0, 2.0, 6.0], 0.0, 1);
        cells
            .get_mut("smol/surf")
            .unwrap()
            .retain(|round, _| *round == 3);
        let found = separate_by_time(&cells, 1.02);
        assert!(found.sentence().contains("no difference is claimed"));
        assert_eq!(found.describe_residual(), None);
    }

    #[test]
    fn without_a_value_for_each_cell_nothing_is_separated() {
        let mut cells = cells([1.0; 3], [1.0; 3], 0.0, 1);
        cells.remove("smol/isahc");
        assert_eq!(
            separate(0.0, Better::Lower, |cell| cells.get(cell), None),
            None
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn effects_are_found_despite_noise(
            runtimes in prop::array::uniform3(1.0..3.0),
            clients in prop::array::uniform3(1.0..8.0),
            seed: u64,
        ) {
            let found = separate_by_time(&cells(runtimes, clients, 0.04, seed), 1.02);
            let spread = |values: [f64; 3]| {
                let most = values.iter().copied().fold(0.0, f64::max);
                most / values.iter().copied().fold(f64::INFINITY, f64::min)
            };
            prop_assert!((found.runtime.cost.value / spread(runtimes) - 1.0).abs() < 0.04);
            prop_assert!((found.client.cost.value / spread(clients) - 1.0).abs() < 0.04);
            prop_assert!(found.runtime.cost.low <= found.runtime.cost.value);
            prop_assert!(found.residual < 1.06);
        }
    }
}
