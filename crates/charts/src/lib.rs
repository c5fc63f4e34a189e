//! Charts as SVG. The lab's report and the pictures of the book use the same charts.
//!
//! A [`Figure`] is a chart with an ID, a title and a text alternative. [`Figure::html`] returns the figure as an HTML
//! element with two drawings: one for large screens and one for phones. A page with such figures needs the
//! style sheet [`STYLE`]. [`Figure::svg`] returns a file of its own.
//!
//! ```
//! use std::time::Duration;
//!
//! use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};
//!
//! const DONE: Series = Series::new("finished", Colour::Blue);
//!
//! let end = Duration::from_millis(50);
//! let chart = Waterfall::new("ms since the start")
//!     .group(Group::new("one page").row(Row::new("page 1").bar(Duration::ZERO, end, DONE)));
//! let figure = Figure::new("page", "A page", "One bar, from 0 to 50 ms.", chart);
//! assert!(figure.svg().contains("One bar, from 0 to 50 ms."));
//! ```

mod canvas;
mod dot_plot;
mod element;
mod figure;
mod heat_map;
mod line_chart;
mod marker;
mod scale;
mod waterfall;

pub use dot_plot::{AxisKind, DotGroup, DotPlot, DotRow, ReferenceLine};
pub use element::Element;
pub use figure::{Chart, Figure, STYLE};
pub use heat_map::{HeatMap, HeatMapCell};
pub use line_chart::{LineChart, LineSeries, SeriesPoint};
pub use marker::{Colour, Marker, MarkerShape};
pub use scale::{format_count, group_digits};
pub use waterfall::{Group, Row, Series, Waterfall};

/// A value and its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The value, such as a median.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}
