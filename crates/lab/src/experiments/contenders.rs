//! Lists of program names that several experiments share.

use inflight::Cell;

/// Converts names to owned program names.
pub(crate) fn owned_names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the names of the cells with an asynchronous client.
pub(crate) fn async_cells() -> Vec<String> {
    let cells = Cell::compiled().filter(|cell| cell.client() != "ureq");
    cells.map(|cell| cell.to_string()).collect()
}

/// Returns the names of all cells, followed by `more`.
pub(crate) fn cells_and(more: &[&str]) -> Vec<String> {
    let cells = Cell::compiled().map(|cell| cell.to_string());
    cells.chain(owned_names(more)).collect()
}
