//! The loop of a worker process.

use std::io::{BufRead, Write};

use crate::experiments;
#[cfg(doc)]
use crate::worker::Parameters;
use crate::worker::{Failure, WorkerConfig};

/// Runs a turn, which is one measurement, for each line of the input, until the input ends. Writes the
/// measurement of each turn to the output.
///
/// # Errors
///
/// If the experiment or contender is unknown, if a line is not valid [`Parameters`], or if the server
/// sends a wrong response.
pub fn serve(
    config: &WorkerConfig,
    input: impl BufRead,
    mut output: impl Write,
) -> Result<(), Failure> {
    let experiment = experiments::find(&config.experiment)
        .ok_or_else(|| format!("there is no experiment {:?}", config.experiment))?;
    // If the system refuses a higher limit, connections that exceed the limit fail with an error.
    let _ = inflight_origin::raise_file_limit();
    let mut benchmark = (experiment.execution.worker)(config)?;
    for line in input.lines() {
        let measurement = benchmark(serde_json::from_str(&line?)?)?;
        writeln!(output, "{}", serde_json::to_string(&measurement)?)?;
        output.flush()?;
    }
    Ok(())
}
