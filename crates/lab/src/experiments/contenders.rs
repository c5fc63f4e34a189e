//! Lists of contenders that several experiments have.

use inflight::Cell;

use crate::experiment::Contender;
use crate::peers;

/// Adds the peers of the experiment, and a duplicate of the first contender.
pub(crate) fn with_peers(experiment: &str, mut contenders: Vec<Contender>) -> Vec<Contender> {
    contenders.extend(peers::participants(experiment).map(Contender::new));
    with_duplicate(contenders)
}

/// Adds a duplicate of the first contender. The two are an A/A pair, which shows the smallest difference
/// that can be claimed.
pub(crate) fn with_duplicate(mut contenders: Vec<Contender>) -> Vec<Contender> {
    contenders.extend(contenders.first().map(Contender::duplicate));
    contenders
}

/// Returns contenders with these names.
pub(crate) fn named(names: &[&str]) -> Vec<Contender> {
    names.iter().copied().map(Contender::new).collect()
}

/// Returns the cells with an asynchronous client.
pub(crate) fn async_cells() -> Vec<Contender> {
    Cell::compiled()
        .filter(|cell| cell.client() != "ureq")
        .map(|cell| Contender::new(cell.to_string()))
        .collect()
}

/// Returns all cells, and contenders with these names.
pub(crate) fn cells(more: &[&str]) -> Vec<Contender> {
    let mut contenders: Vec<_> = Cell::compiled()
        .map(|cell| Contender::new(cell.to_string()))
        .collect();
    contenders.extend(named(more));
    contenders
}
