//! The experiments. Each file has the definition of one experiment and its worker.

mod allocations;
mod blockers;
pub(crate) mod blocking;
mod cancel;
mod contenders;
pub(crate) mod gather;
mod large;
mod lookup;
mod offload;
pub(crate) mod overhead;
mod rate;
pub(crate) mod sequential;
mod session;
mod syscalls;
mod threads;

use crate::experiment::Experiment;

static ALL: &[Experiment] = &[
    gather::EXPERIMENT,
    sequential::EXPERIMENT,
    blocking::EXPERIMENT,
    blockers::EXPERIMENT,
    offload::EXPERIMENT,
    threads::EXPERIMENT,
    overhead::EXPERIMENT,
    allocations::EXPERIMENT,
    syscalls::EXPERIMENT,
    rate::EXPERIMENT,
    cancel::EXPERIMENT,
    session::EXPERIMENT,
    large::EXPERIMENT,
    lookup::EXPERIMENT,
];

/// Returns all experiments.
pub fn all() -> &'static [Experiment] {
    ALL
}

/// Returns the experiment with this name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    ALL.iter().find(|experiment| experiment.name == name)
}
