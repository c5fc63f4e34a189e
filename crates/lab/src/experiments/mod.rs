//! The experiments. Each file has the definition of one experiment and the code of its worker.

mod allocations;
mod blockers;
mod blocking;
mod cancel;
mod contenders;
mod gather;
mod large;
mod lookup;
mod offload;
mod overhead;
mod queue;
mod rate;
mod sequential;
mod session;
mod syscalls;
mod threads;

use crate::experiment::Experiment;

/// A blocking call on one worker thread: the metric `gap`, with contenders such as `tokio: inline`.
pub(crate) const BLOCKING: &Experiment = &blocking::EXPERIMENT;
/// The delay of the page that [`BLOCKING`] fetches, in milliseconds.
pub(crate) const BLOCKING_DELAY_MS: u64 = blocking::DELAY_MS;
/// Many pages at once: the metric `wall`.
pub(crate) const GATHER: &Experiment = &gather::EXPERIMENT;
/// The cost of a request: the metrics `cpu` and [`REQUEST_RATE`].
pub(crate) const OVERHEAD: &Experiment = &overhead::EXPERIMENT;
/// The metric of [`OVERHEAD`] for the throughput.
pub(crate) const REQUEST_RATE: &str = overhead::RATE;
/// Thousands of pages in flight: the metrics `wall` and `memory`.
pub(crate) const THREADS: &Experiment = &threads::EXPERIMENT;

/// The experiments, in the order in which they run and in which the report shows them.
static ALL: &[Experiment] = &[
    gather::EXPERIMENT,
    sequential::EXPERIMENT,
    blocking::EXPERIMENT,
    blockers::EXPERIMENT,
    offload::EXPERIMENT,
    lookup::EXPERIMENT,
    overhead::EXPERIMENT,
    allocations::EXPERIMENT,
    syscalls::EXPERIMENT,
    rate::EXPERIMENT,
    threads::EXPERIMENT,
    session::EXPERIMENT,
    cancel::EXPERIMENT,
    large::EXPERIMENT,
    queue::EXPERIMENT,
];

/// Returns all experiments.
pub fn all() -> &'static [Experiment] {
    ALL
}

/// Returns the experiment with this name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    ALL.iter().find(|experiment| experiment.name == name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Returns the source files outside this folder, without `worker` and `environment`. These two contain
    /// names of runtimes and packages, and the runtime `threads` has the name of an experiment.
    fn other_sources(folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_skipped = |name: &str| path.file_stem().is_some_and(|stem| stem == name);
            if ["experiments", "worker", "environment"]
                .into_iter()
                .any(is_skipped)
            {
                continue;
            }
            match path.is_dir() {
                true => files.extend(other_sources(&path)),
                false => files.push(path),
            }
        }
        files
    }

    #[test]
    fn only_this_folder_names_an_experiment() {
        let files = other_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        assert!(files.len() > 20, "{files:?}");
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for experiment in all() {
                let literal = format!("\"{}\"", experiment.name);
                assert!(!code.contains(&literal), "{}: {literal}", path.display());
            }
        }
    }
}
