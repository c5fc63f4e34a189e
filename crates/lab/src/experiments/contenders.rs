//! Lists of programs that several experiments have.

use inflight::Cell;

/// Returns programs with these names.
pub(crate) fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the cells with an asynchronous client.
pub(crate) fn async_cells() -> Vec<String> {
    let cells = Cell::compiled().filter(|cell| cell.client() != "ureq");
    cells.map(|cell| cell.to_string()).collect()
}

/// Returns all cells, and programs with these names.
pub(crate) fn cells(more: &[&str]) -> Vec<String> {
    let cells = Cell::compiled().map(|cell| cell.to_string());
    cells.chain(named(more)).collect()
}
