//! Maps values to positions on an axis, and computes ticks.

/// The scale of an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    logarithmic: bool,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Creates a scale that contains the values. On the page, the axis extends from `start` to `end`. A linear
    /// scale includes 0. A logarithmic scale ignores values that are not positive, and spans at least a factor
    /// of two.
    pub(crate) fn containing(
        values: impl IntoIterator<Item = f64>,
        logarithmic: bool,
        start: f64,
        end: f64,
    ) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            if value.is_finite() && (!logarithmic || value > 0.0) {
                from = from.min(value);
                to = to.max(value);
            }
        }
        if from > to {
            (from, to) = (1.0, 1.0);
        }
        if logarithmic {
            let padding = (to / from).max(2.0).powf(0.04);
            if to / from < 2.0 {
                let middle = (from * to).sqrt();
                (from, to) = (middle / 2f64.sqrt(), middle * 2f64.sqrt());
            }
            (from, to) = (from / padding, to * padding);
        } else {
            from = from.min(0.0);
            to = if to > from {
                to + (to - from) * 0.04
            } else {
                from + 1.0
            };
        }
        Self {
            logarithmic,
            from,
            to,
            start,
            end,
        }
    }

    /// Creates a linear scale that extends only a little beyond the values. It does not start at 0.
    pub(crate) fn fitted(values: impl IntoIterator<Item = f64>, start: f64, end: f64) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            from = from.min(value);
            to = to.max(value);
        }
        if from > to {
            (from, to) = (0.0, 1.0);
        }
        let padding = ((to - from) * 0.12).max(to.abs() * 0.005).max(1e-9);
        Self {
            logarithmic: false,
            from: from - padding,
            to: to + padding,
            start,
            end,
        }
    }

    /// Returns the position of a value. Values outside the scale are at its edge.
    pub(crate) fn position(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Returns whether the scale contains a value.
    pub(crate) fn contains(&self, value: f64) -> bool {
        (self.from..=self.to).contains(&value)
    }

    /// Returns round values within the scale: at least two if possible, and not many more than `most`.
    pub(crate) fn ticks(&self, most: usize) -> Vec<f64> {
        let most = most.max(2);
        if self.logarithmic {
            // Ticks per decade: 1, 2 and 5; 1 and 3; or 1. If a scale of less than a decade has only two of
            // these ticks, it gets linear ticks.
            let sets: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
            for set in sets {
                let ticks = self.decades(set);
                if ticks.len() >= 2 && ticks.len() <= most {
                    return if ticks.len() < 3 && self.to / self.from < 10.0 {
                        self.linear(most)
                    } else {
                        ticks
                    };
                }
            }
            let ticks = self.decades(&[1.0]);
            if ticks.len() > most {
                let step = ticks.len().div_ceil(most);
                return ticks.into_iter().step_by(step).collect();
            }
        }
        self.linear(most)
    }

    fn decades(&self, set: &[f64]) -> Vec<f64> {
        let first = self.from.log10().floor() as i32;
        let last = self.to.log10().ceil() as i32;
        (first..=last)
            .flat_map(|decade| set.iter().map(move |digit| digit * 10f64.powi(decade)))
            .filter(|tick| self.contains(*tick))
            .collect()
    }

    fn linear(&self, most: usize) -> Vec<f64> {
        let decade = 10f64.powf(((self.to - self.from) / most as f64).log10().floor());
        let mut ticks = Vec::new();
        // Each step gives fewer ticks than the previous step. The first step with at most `most` ticks is
        // used, unless it gives fewer than two ticks. Then the previous step is used.
        for step in [0.5, 1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * decade) {
            let first = (self.from / step - 1e-9).ceil() as i64;
            let last = (self.to / step + 1e-9).floor() as i64;
            if last - first < 1 && !ticks.is_empty() {
                break;
            }
            ticks = (first..=last).map(|n| n as f64 * step).collect();
            if ticks.len() <= most {
                break;
            }
        }
        ticks
    }
}

/// Formats a tick as briefly as possible.
pub(crate) fn tick(value: f64) -> String {
    // Rounding to six digits removes floating-point errors.
    let rounded: f64 = format!("{value:.6e}").parse().unwrap_or(value);
    format_count(rounded + 0.0)
}

/// Formats a number without rounding: `5,000`, `0.5`.
///
/// ```
/// assert_eq!(inflight_charts::format_count(5000.0), "5,000");
/// ```
pub fn format_count(value: f64) -> String {
    group_digits(&format!("{value}"))
}

/// Separates the thousands of a decimal number with commas.
///
/// ```
/// assert_eq!(inflight_charts::group_digits("-1234.50"), "-1,234.50");
/// ```
pub fn group_digits(text: &str) -> String {
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = match whole.strip_prefix('-') {
        Some(whole) => ("-", whole),
        None => ("", whole),
    };
    let mut out = String::from(sign);
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn formatted_ticks(scale: &Scale, most: usize) -> Vec<String> {
        scale.ticks(most).into_iter().map(tick).collect()
    }

    #[test]
    fn ticks_are_round() {
        let linear = Scale::containing([103.0, 1.0], false, 0.0, 100.0);
        assert_eq!(
            formatted_ticks(&linear, 6),
            ["0", "20", "40", "60", "80", "100"]
        );
        let tenths = Scale::containing([0.7], false, 0.0, 100.0);
        assert_eq!(
            formatted_ticks(&tenths, 8),
            ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]
        );
        let wide = Scale::containing([1.0, 10_000.0], true, 0.0, 100.0);
        assert_eq!(
            formatted_ticks(&wide, 5),
            ["1", "10", "100", "1,000", "10,000"]
        );
        let narrow = Scale::containing([103.0, 108.0], true, 0.0, 100.0);
        assert_eq!(formatted_ticks(&narrow, 5), ["80", "100", "120", "140"]);
    }

    #[test]
    fn a_fitted_scale_does_not_start_at_zero() {
        let fitted = Scale::fitted([207.0, 200.0, 213.0], 0.0, 100.0);
        assert_eq!(
            formatted_ticks(&fitted, 6),
            ["200", "202.5", "205", "207.5", "210", "212.5"]
        );
        assert!(Scale::fitted([], 0.0, 1.0).position(1.0).is_finite());
        assert!(Scale::fitted([0.0], 0.0, 1.0).position(0.0).is_finite());
    }

    #[test]
    fn a_scale_without_values_is_valid() {
        for logarithmic in [false, true] {
            let scale = Scale::containing([f64::NAN, 0.0], logarithmic, 0.0, 1.0);
            assert!(scale.position(0.0).is_finite());
            assert!(!scale.ticks(5).is_empty());
        }
    }

    proptest! {
        #[test]
        fn every_value_has_a_position_and_ticks_are_few(
            values in prop::collection::vec(0.001..1e7, 1..20),
            logarithmic: bool,
            most in 3..9usize,
        ) {
            let scale = Scale::containing(values.iter().copied(), logarithmic, 50.0, 450.0);
            for value in &values {
                prop_assert!(scale.contains(*value));
                prop_assert!((50.0..=450.0).contains(&scale.position(*value)));
            }
            let ticks = scale.ticks(most);
            prop_assert!(ticks.len() >= 2 && ticks.len() <= most + 2, "{:?}", ticks);
            prop_assert!(ticks.iter().all(|tick| scale.contains(*tick)));
        }
    }
}
