//! The experiments. Each file has the definition of one experiment and its worker.

mod allocations;
mod blockers;
pub(crate) mod blocking;
mod bounded;
mod cancel;
mod contenders;
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

use crate::experiment::Experiment;

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

/// Returns all experiments.
pub fn all() -> &'static [Experiment] {
    ALL
}

/// Returns the experiment with this name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    ALL.iter().find(|experiment| experiment.name == name)
}
