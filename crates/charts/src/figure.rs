//! A chart with its title and its text alternative, as a part of a page or as a file.

use crate::canvas::{Canvas, NARROW, WIDE};
use crate::{DotPlot, Element, HeatMap, LineChart, Waterfall};

/// The style sheet of figures on a page: colours for light and dark pages and for paper. It uses the page's
/// `color-scheme`.
pub const STYLE: &str = include_str!("pictures.css");

/// A chart.
#[derive(Clone, Debug)]
pub enum Chart {
    /// Values of several contenders, one row for each.
    DotPlot(DotPlot),
    /// Values over a variable.
    LineChart(LineChart),
    /// Values of all combinations of two properties.
    HeatMap(Box<HeatMap>),
    /// Events over time.
    Waterfall(Waterfall),
}

impl From<Waterfall> for Chart {
    fn from(waterfall: Waterfall) -> Self {
        Self::Waterfall(waterfall)
    }
}

impl From<LineChart> for Chart {
    fn from(chart: LineChart) -> Self {
        Self::LineChart(chart)
    }
}

impl From<DotPlot> for Chart {
    fn from(plot: DotPlot) -> Self {
        Self::DotPlot(plot)
    }
}

impl Chart {
    fn draw(&self, width: f64) -> Canvas {
        match self {
            Self::DotPlot(plot) => plot.draw(width),
            Self::LineChart(chart) => chart.draw(width),
            Self::HeatMap(map) => map.draw(width),
            Self::Waterfall(waterfall) => waterfall.draw(width),
        }
    }
}

/// A chart with a title and a text alternative. For an example, see the [crate].
#[derive(Clone, Debug)]
pub struct Figure {
    id: String,
    title: String,
    description: String,
    chart: Chart,
}

impl Figure {
    /// Creates a figure. `id` is unique on its page and contains only letters, digits and hyphens. `description`
    /// is the text alternative: it describes what a reader sees in the chart.
    pub fn new(
        id: impl Into<String>,
        title: impl Into<String>,
        description: impl Into<String>,
        chart: impl Into<Chart>,
    ) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            description: description.into(),
            chart: chart.into(),
        }
    }

    /// Returns the wide and the narrow drawing, for pages that use [`STYLE`]. One of them is visible.
    pub fn drawings(&self) -> [Element; 2] {
        [("wide", WIDE), ("narrow", NARROW)].map(|(class, width)| {
            let id = format!("{}-{class}", self.id);
            let svg = self
                .chart
                .draw(width)
                .svg(&id, &self.title, &self.description);
            Element::with_class("div", class).child(svg)
        })
    }

    /// Returns the figure as an HTML element with both drawings and the title as its caption. The text contains
    /// no empty line, so Markdown may include it.
    pub fn html(&self) -> String {
        let figure = Element::with_class("figure", "chart")
            .with("id", &self.id)
            .children(self.drawings())
            .child(Element::new("figcaption").text(&self.title));
        figure.to_string()
    }

    /// Returns the wide drawing as an SVG file, with its own style sheet and background.
    pub fn svg(&self) -> String {
        let canvas = self.chart.draw(WIDE);
        canvas.file(&self.id, &self.title, &self.description, STYLE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Colour, Group, Row, Series};

    const DONE: Series = Series::new("finished <b>", Colour::Blue);

    fn figure() -> Figure {
        let row = Row::new("page & 1").bar(Duration::ZERO, Duration::from_millis(5), DONE);
        let chart = Waterfall::new("ms").group(Group::new("a \"group\"").row(row));
        Figure::new("pages", "Pages", "One bar & a label.", chart)
    }

    #[test]
    fn a_file_is_valid_xml_with_a_text_alternative() {
        let file = figure().svg();
        let document = roxmltree::Document::parse(&file).unwrap();
        let root = document.root_element();
        assert_eq!(root.tag_name().name(), "svg");
        let description = root
            .children()
            .find(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "desc")));
        assert_eq!(description.unwrap().text(), Some("One bar & a label."));
        let labelled = root.attribute("aria-labelledby").unwrap();
        for id in labelled.split(' ') {
            assert!(file.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }

    #[test]
    fn the_element_has_two_drawings_and_no_empty_line() {
        let html = figure().html();
        assert!(!html.trim_end().contains("\n\n"), "{html}");
        let document = roxmltree::Document::parse(&html).unwrap();
        let drawings = document
            .descendants()
            .filter(|node| node.has_tag_name("svg"));
        let ids: Vec<_> = drawings.map(|svg| svg.attribute("id").unwrap()).collect();
        assert_eq!(ids, ["pages-wide", "pages-narrow"]);
    }
}
