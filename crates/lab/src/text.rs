//! Formats numbers for reports.

use inflight_charts::group_digits;

pub use inflight_charts::format_count;

/// Formats a number with three significant digits: `9.37`, `103`, `2,387`.
pub fn format_number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let size = value.abs();
    // The bounds are a little below 100, 10 and 1, so that 9.996 becomes 10.0 and not 10.00.
    let digits = match size {
        _ if size == 0.0 || size >= 99.95 => 0,
        9.995.. => 1,
        0.9995.. => 2,
        _ => (2 - size.log10().floor() as i32).clamp(3, 9) as usize,
    };
    group_digits(&format!("{value:.digits$}"))
}

/// Formats a number with its unit: `103 ms`. A whole number without a unit is a count and is not rounded.
pub fn format_figure(value: f64, unit: &str) -> String {
    let unit = display_unit(unit);
    let text = match unit {
        "" if value.fract() == 0.0 => format_count(value),
        _ => format_number(value),
    };
    with_unit(&text, unit)
}

/// Appends a unit: `103 ms`, `20,000/s`, `12`.
pub(crate) fn with_unit(text: &str, unit: &str) -> String {
    match display_unit(unit) {
        "" => text.to_owned(),
        "1/s" => format!("{text}/s"),
        unit => format!("{text} {unit}"),
    }
}

/// Returns the text that a report shows for a unit of the records.
pub fn display_unit(unit: &str) -> &str {
    match unit {
        "us" => "µs",
        "1" => "",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        let known = [
            (0.0, "0"),
            (0.001_234, "0.00123"),
            (0.123_4, "0.123"),
            (0.999_6, "1.00"),
            (1.0, "1.00"),
            (9.374, "9.37"),
            (9.996, "10.0"),
            (10.44, "10.4"),
            (99.96, "100"),
            (2_387.4, "2,387"),
            (1_234_567.0, "1,234,567"),
            (-12.34, "-12.3"),
            (f64::NAN, "-"),
        ];
        for (value, text) in known {
            assert_eq!(format_number(value), text);
        }
    }

    #[test]
    fn a_figure_has_a_unit_and_a_count_is_not_rounded() {
        assert_eq!(format_figure(9.374, "us"), "9.37 µs");
        assert_eq!(format_figure(12.0, "1"), "12");
        assert_eq!(format_figure(12.5, "1"), "12.5");
        assert_eq!(format_figure(20_533.0, "1/s"), "20,533/s");
        assert_eq!(format_count(5000.0), "5,000");
        assert_eq!(format_count(0.5), "0.5");
    }
}
