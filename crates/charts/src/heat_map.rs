//! A heat map of runtimes and clients. A stronger colour means a higher cost. The outer column shows the factor
//! between the clients on each runtime, and the outer row shows the factor between the runtimes with each client.

use crate::canvas::{Canvas, datum, label, rect, truncated, wrapped};
use crate::element::Element;

/// A heat map.
#[derive(Clone, Debug)]
pub struct HeatMap {
    /// The names of the rows, which are runtimes.
    pub runtime_names: [&'static str; 3],
    /// The names of the columns, which are clients.
    pub client_names: [&'static str; 3],
    /// The cells. Rows are runtimes, and columns are clients.
    pub cells: [[Option<HeatMapCell>; 3]; 3],
    /// For each runtime, the formatted factor between its highest and its lowest cell.
    pub runtimes: [String; 3],
    /// For each client, the formatted factor between its highest and its lowest cell.
    pub clients: [String; 3],
    /// The label of the values, with the unit.
    pub label: String,
}

/// A cell of a heat map.
#[derive(Clone, Debug)]
pub struct HeatMapCell {
    /// The position of the colour on the colour scale, from 0 (best) to 1.
    pub share: f64,
    /// The formatted value.
    pub figure: String,
    /// The formatted ratio to the best cell.
    pub comparison: String,
    /// The tooltip.
    pub tip: String,
}

impl HeatMap {
    pub(crate) fn draw(&self, width: f64) -> Canvas {
        let mut canvas = Canvas::new(width);
        let narrow = canvas.is_narrow();
        let left = if narrow { 82.0 } else { 110.0 };
        let margin = if narrow { 60.0 } else { 110.0 };
        let column = (width - left - margin) / 3.0;
        let row = if narrow { 54.0 } else { 60.0 };
        let mut top = 4.0;
        for line in wrapped(&self.label, width) {
            top += 15.0;
            canvas.text(0.0, top - 3.0, "name", &line);
        }
        top += 26.0;
        for (m, client) in self.client_names.iter().enumerate() {
            canvas.text(
                left + (m as f64 + 0.5) * column,
                top - 8.0,
                "heading middle",
                client,
            );
        }
        let far = left + 3.0 * column + 10.0;
        canvas.text(far, top - 8.0, "name", "factor");
        for (n, runtime) in self.runtime_names.iter().enumerate() {
            let y = top + n as f64 * row;
            canvas.text(left - 10.0, y + row / 2.0 + 4.0, "heading end", runtime);
            for m in 0..3 {
                let x = left + m as f64 * column;
                match &self.cells[n][m] {
                    Some(cell) => canvas.add(draw_cell(cell, x, y, column, row)),
                    None => canvas.text(
                        x + column / 2.0,
                        y + row / 2.0,
                        "tick middle",
                        "not measured",
                    ),
                }
            }
            let text = truncated(&self.runtimes[n], margin - 6.0);
            canvas.text(far, y + row / 2.0 + 4.0, "figure", &text);
        }
        let below = top + 3.0 * row + 22.0;
        canvas.text(left - 10.0, below, "name end", "factor");
        for (m, client) in self.clients.iter().enumerate() {
            let x = left + (m as f64 + 0.5) * column;
            canvas.text(x, below, "figure middle", &truncated(client, column));
        }
        canvas.height = below + 12.0;
        canvas
    }
}

fn draw_cell(cell: &HeatMapCell, x: f64, y: f64, width: f64, height: f64) -> Element {
    // Seven distinguishable steps, each with a readable text colour.
    let step = (cell.share.clamp(0.0, 1.0) * 6.0).round() as u8;
    let (x, y) = (x + 1.5, y + 1.5);
    let (width, height) = (width - 3.0, height - 3.0);
    let middle = x + width / 2.0;
    let mut g = datum(&format!("heat-{step}"), &cell.tip);
    g.add(rect("heat", x, y, width, height).with("rx", 3));
    g.add(label(
        middle,
        y + height / 2.0 - 1.0,
        "on-heat strong middle",
        &cell.figure,
    ));
    g.add(label(
        middle,
        y + height / 2.0 + 15.0,
        "on-heat middle",
        &cell.comparison,
    ));
    g
}
