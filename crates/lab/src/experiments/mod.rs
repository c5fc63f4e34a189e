//! The experiments: one file each, which says what it is and what its worker does.

mod allocations;
mod blockers;
pub(crate) mod blocking;
mod bounded;
mod cancel;
mod dose;
pub(crate) mod gather;
mod heartbeat;
mod large;
mod lookup;
mod offload;
pub(crate) mod overhead;
mod rate;
pub(crate) mod sequential;
mod session;
mod straggler;
mod syscalls;
mod threads;
mod timeline;

use inflight::Cell;

use crate::experiment::{Contender, Experiment};
use crate::peers;

static ALL: &[Experiment] = &[
    gather::EXPERIMENT,
    sequential::EXPERIMENT,
    bounded::EXPERIMENT,
    blocking::EXPERIMENT,
    blockers::EXPERIMENT,
    dose::EXPERIMENT,
    offload::EXPERIMENT,
    threads::EXPERIMENT,
    overhead::EXPERIMENT,
    allocations::EXPERIMENT,
    syscalls::EXPERIMENT,
    rate::EXPERIMENT,
    straggler::EXPERIMENT,
    cancel::EXPERIMENT,
    session::EXPERIMENT,
    large::EXPERIMENT,
    lookup::EXPERIMENT,
    timeline::EXPERIMENT,
    heartbeat::EXPERIMENT,
];

/// All of them, in the order in which they are told.
pub fn all() -> &'static [Experiment] {
    ALL
}

/// The one with this name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    ALL.iter().find(|experiment| experiment.name == name)
}

/// The contenders, the peers of the experiment, and the first once more: the A/A pair, from which
/// the smallest difference that can be claimed is computed.
pub(crate) fn with_peers(experiment: &str, mut contenders: Vec<Contender>) -> Vec<Contender> {
    contenders.extend(peers::of(experiment).map(Contender::of));
    with_again(contenders)
}

/// The contenders, and the first once more.
pub(crate) fn with_again(mut contenders: Vec<Contender>) -> Vec<Contender> {
    contenders.extend(contenders.first().map(Contender::again));
    contenders
}

/// Contenders by name.
pub(crate) fn named(names: &[&str]) -> Vec<Contender> {
    names.iter().copied().map(Contender::of).collect()
}

/// The cells whose client is asynchronous.
pub(crate) fn async_cells() -> Vec<Contender> {
    Cell::compiled()
        .filter(|cell| cell.client() != "ureq")
        .map(|cell| Contender::of(cell.to_string()))
        .collect()
}

/// Every cell, and some more.
pub(crate) fn cells(more: &[&str]) -> Vec<Contender> {
    let mut contenders: Vec<_> = Cell::compiled()
        .map(|cell| Contender::of(cell.to_string()))
        .collect();
    contenders.extend(named(more));
    contenders
}
