//! Runs the suite on the cells of this workspace and prints a table of the results. A cell is a
//! runtime with a client, such as `smol/hyper`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program: the table is its output, progress goes to standard error"
)]

mod load;
mod stress;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use inflight::Cell;
use inflight::http::Method;
use inflight_conformance::{
    Case, Outcome, Report, VerdictsPage, cases, run, runs_core_cases, start_backend,
    virtual_backends,
};
use load::Load;

/// Checks every backend against the contract of inflight, and prints a table of the results.
#[derive(Parser)]
struct Options {
    /// A backend, such as `smol/hyper`, or its short name; may be repeated. Default: all backends
    #[arg(long, value_name = "NAME")]
    cell: Vec<Cell>,
    /// Run only the cases whose group::name contains this text
    #[arg(long, value_name = "SUBSTRING")]
    case: Option<String>,
    /// Run only the cases that work with any server like httpbin, and run them against this server
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// List the cases with the guarantee that each one checks, and run no case
    #[arg(long)]
    list: bool,
    /// Also write the table to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the page with the rules for server responses to this file, and run no case
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    /// Instead of the cases, run a stress test: ten rounds of this many requests, one in ten with a
    /// fault. Check the results, and look for leaked resources
    #[arg(long, value_name = "REQUESTS")]
    stress: Option<usize>,
    /// Send the requests of the stress test with this program and a journal: `inflight gather`. Kill it
    /// ten times, and resume it
    #[arg(long, value_name = "PROGRAM", requires = "stress")]
    killed: Option<PathBuf>,
    #[arg(long, hide = true)]
    stress_servers: Option<String>,
    /// Leak a socket per this many requests, which the stress test must find
    #[arg(long, hide = true, value_name = "REQUESTS", requires = "stress")]
    leak_every: Option<usize>,
    /// Instead of running cases, send many requests to URL/0, URL/1 and so on, and print the
    /// results
    #[arg(long, value_name = "URL")]
    load: Option<String>,
    /// The method of the requests
    #[arg(long, default_value = "GET", requires = "load")]
    method: Method,
    /// The number of requests
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "load")]
    requests: usize,
    /// How many requests are in flight at once
    #[arg(long, value_name = "N", default_value = "100", requires = "load")]
    limit: NonZeroUsize,
    /// The proxy for the requests
    #[arg(long, value_name = "URL", requires = "load")]
    proxy: Option<String>,
    /// A certificate authority to trust, as a PEM file
    #[arg(long, value_name = "FILE", requires = "load")]
    root_certificate: Option<PathBuf>,
}

fn main() -> ExitCode {
    match execute(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the action that the options select, and returns whether all checks passed.
fn execute(options: &Options) -> Result<bool, Box<dyn Error>> {
    let is_selected = |case: &Case| {
        let matches_name = |part: &String| case.to_string().contains(part);
        options.case.as_ref().is_none_or(matches_name)
            && (case.anywhere || options.against.is_none())
    };
    if options.list {
        for case in cases().iter().filter(|case| is_selected(case)) {
            println!("{case}\n    {}", case.promise);
        }
        return Ok(true);
    }
    if let Some(path) = &options.verdicts {
        write(path, verdicts()?)?;
        return Ok(true);
    }

    let cells = match options.cell.is_empty() {
        true => Cell::compiled().collect(),
        false => options.cell.clone(),
    };
    if let Some(requests) = options.stress {
        let load = stress::StressLoad {
            requests,
            leak_every: options.leak_every,
        };
        return match (&options.stress_servers, &options.killed) {
            (Some(servers), _) => stress::child(cells[0], load, servers).map(|()| true),
            (None, Some(program)) => stress::killed::run(&cells, requests, program),
            (None, None) => stress::run(&cells, load),
        };
    }
    if let Some(base) = &options.load {
        let load = Load {
            base,
            method: options.method.clone(),
            requests: options.requests,
            limit: options.limit.get(),
            proxy: options.proxy.as_deref(),
            root_certificate: options.root_certificate.as_deref(),
        };
        for cell in cells {
            let line = load.run(cell).map_err(|error| format!("{cell}: {error}"));
            println!("{}", line?);
        }
        return Ok(true);
    }

    let cannot_start = |name: &str, error: &dyn Error| format!("cannot start {name}: {error}");
    let mut backends = Vec::new();
    for cell in cells {
        let backend =
            start_backend(cell).map_err(|error| cannot_start(&cell.to_string(), &error))?;
        let backend = match &options.against {
            Some(url) => backend.against(url),
            None => backend,
        };
        let runs_core_cases = !options.cell.is_empty() || runs_core_cases(cell);
        backends.push((backend, runs_core_cases));
    }
    if options.cell.is_empty() && options.against.is_none() {
        let in_memory =
            virtual_backends().map_err(|error| cannot_start("the virtual runtime", &error))?;
        backends.extend(in_memory.map(|backend| (backend, true)));
    }
    let mut report = Report::new();
    for (backend, runs_core_cases) in backends {
        eprintln!("{}", backend.name());
        let is_selected = |case: &Case| is_selected(case) && (runs_core_cases || !case.tests_core);
        let results = run(&backend, is_selected, |result| {
            if result.outcome != Outcome::Passed {
                eprintln!("  {result}");
            }
        });
        report.add(backend.name(), results);
    }

    print!("{report}");
    if let Some(path) = &options.markdown {
        write(path, report.to_string())?;
    }
    Ok(!report.has_failures())
}

/// Writes a text to a file. The error contains the path.
fn write(path: &Path, text: String) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns the book's page of rules for server responses. The page lists each client once, because
/// the runtime does not affect the results.
fn verdicts() -> Result<String, Box<dyn Error>> {
    let mut page = VerdictsPage::new();
    let mut seen = Vec::new();
    for cell in Cell::compiled() {
        if !seen.contains(&cell.client()) {
            seen.push(cell.client());
            let session = cell.start(None)?.session()?;
            page.add(cell.client(), session.capabilities().clone());
        }
    }
    Ok(page.to_string())
}
