//! Runs the suite on the cells of this workspace and prints a table of the results.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program: the table is its output, progress goes to standard error"
)]

mod load;
mod stress;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use inflight::http::Method;
use inflight::{BlockOn, Cell};
use inflight_conformance::{Case, Outcome, Report, Subject, Verdicts, cases, in_memory, run};
use load::Load;

/// Checks that every backend keeps the contract, and prints a table of the results.
#[derive(Parser)]
struct Options {
    /// A backend, as `smol/hyper` or by its short name; may be repeated. Default: all of them
    #[arg(long, value_name = "NAME")]
    cell: Vec<Cell>,
    /// Run only the cases whose group::name contains this text
    #[arg(long, value_name = "SUBSTRING")]
    case: Option<String>,
    /// Run only the cases that work with any server like httpbin, against this server
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// List the cases with their promises, and run none
    #[arg(long)]
    list: bool,
    /// Also write the table to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the page with the rules for server responses to this file, and run no case
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    /// Run no case, but ten rounds of this many requests, one in ten with a fault, and check for
    /// leaked resources
    #[arg(long, value_name = "REQUESTS")]
    stress: Option<usize>,
    #[arg(long, hide = true)]
    stress_servers: Option<String>,
    /// Run no case, but send many requests to URL/0, URL/1 and so on, and print the results
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
    let options = Options::parse();
    let wanted = |case: &Case| match &options.case {
        Some(part) => format!("{}::{}", case.group, case.name).contains(part),
        None => true,
    };
    let wanted = |case: &Case| wanted(case) && (case.anywhere || options.against.is_none());
    if options.list {
        for case in cases().iter().filter(|case| wanted(case)) {
            println!("{}::{}\n    {}", case.group, case.name, case.promise);
        }
        return ExitCode::SUCCESS;
    }

    if let Some(path) = &options.verdicts {
        return match verdicts().and_then(|page| Ok(std::fs::write(path, page)?)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                ExitCode::FAILURE
            }
        };
    }

    let cells = match options.cell.is_empty() {
        true => Cell::compiled().collect(),
        false => options.cell.clone(),
    };
    if let Some(requests) = options.stress {
        let succeeded = match &options.stress_servers {
            None => stress::run(&cells, requests),
            Some(servers) => stress::child(cells[0], requests, servers).map(|()| true),
        };
        return match succeeded {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
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
            match load.run(cell) {
                Ok(line) => println!("{line}"),
                Err(error) => {
                    eprintln!("{cell}: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
        return ExitCode::SUCCESS;
    }
    let mut subjects = Vec::new();
    for cell in cells {
        let backend = match cell.start(None) {
            Ok(backend) => backend,
            Err(error) => {
                eprintln!("cannot start {cell}: {error}");
                return ExitCode::FAILURE;
            }
        };
        let entered = backend.clone();
        let subject = Subject::new(
            cell.to_string(),
            move || backend.builder(),
            move |future| entered.block_on(future),
        );
        let subject = match &options.against {
            Some(url) => subject.against(url),
            None => subject,
        };
        subjects.push(subject);
    }
    if options.cell.is_empty() && options.against.is_none() {
        match in_memory() {
            Ok(subject) => subjects.push(subject),
            Err(error) => {
                eprintln!("cannot start virtual/mock: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let mut report = Report::new();
    for subject in subjects {
        eprintln!("{}", subject.name());
        let verdicts = run(&subject, wanted, |verdict| {
            if verdict.outcome != Outcome::Passed {
                eprintln!("  {verdict}");
            }
        });
        report.add(subject.name(), verdicts);
    }

    print!("{report}");
    if let Some(path) = &options.markdown
        && let Err(error) = std::fs::write(path, report.to_string())
    {
        eprintln!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if report.has_failures() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Returns the page of rules. It has each client once, because the runtime does not affect the results.
fn verdicts() -> Result<String, Box<dyn Error>> {
    let mut page = Verdicts::new();
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
