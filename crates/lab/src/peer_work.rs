//! The work of the peers: the arguments that correspond to an experiment.

use crate::experiments::{self, blocking, gather, overhead, sequential};

/// Returns the arguments with which a peer does the work of an experiment. `x` stands for the
/// variable's value.
pub fn arguments(experiment: &str) -> Option<Vec<String>> {
    let pages = |pages: &dyn std::fmt::Display, limit: &dyn std::fmt::Display, delay_ms| {
        format!("--work pages --pages {pages} --limit {limit} --delay-ms {delay_ms}")
    };
    let work = match experiment {
        "gather" => pages(&"x", &"x", gather::DELAY_MS),
        "sequential" => pages(&sequential::PAGES, &1, sequential::DELAY_MS),
        "overhead" => format!("--work requests --limit {}", overhead::IN_FLIGHT),
        "blocking" => format!("--work heart --delay-ms {}", blocking::DELAY_MS),
        _ => return None,
    };
    let metrics = experiments::find(experiment)?.worker_metrics();
    let metrics: Vec<_> = metrics.map(|metric| metric.name).collect();
    let mut arguments: Vec<_> = work.split(' ').map(str::to_owned).collect();
    arguments.extend(["--metrics".to_owned(), metrics.join(",")]);
    Some(arguments)
}
