//! Runs many seeds, or replays one: `just simulate --seeds 10000`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use inflight_core::bugs::{Bug, plant};
use inflight_simulation::{Client, Plan, Violation, check, run, shrink};

/// Simulates gathers under faults, and checks what the contract promises
#[derive(Debug, Parser)]
struct Options {
    /// The number of seeds for each client
    #[arg(long, default_value_t = 100, conflicts_with = "seed")]
    seeds: u64,

    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,

    /// Replay this seed only, and print a smaller plan that fails in the same way
    #[arg(long)]
    seed: Option<u64>,

    /// Find each planted bug with up to this number of seeds; only in a build with `--cfg inflight_bugs`
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    bugs: Option<u64>,

    /// Simulate this cell only: virtual/hyper or virtual/surf
    #[arg(long, value_parser = parse_client)]
    cell: Option<Client>,
}

fn parse_client(name: &str) -> Result<Client, String> {
    let mut clients = Client::ALL.into_iter();
    let found = clients.find(|client| client.cell() == name);
    found.ok_or_else(|| {
        format!(
            "the simulated cells are {}",
            Client::ALL.map(Client::cell).join(" and ")
        )
    })
}

fn main() -> ExitCode {
    let options = Options::parse();
    // The report contains the messages of panics.
    std::panic::set_hook(Box::new(|_| {}));
    let clients = match options.cell {
        Some(client) => vec![client],
        None => Client::ALL.to_vec(),
    };
    if let Some(seeds) = options.bugs {
        return find_bugs(options.from, seeds, &clients);
    }
    let failures: u64 = clients
        .into_iter()
        .map(|client| match options.seed {
            Some(seed) => replay(seed, client),
            None => run_seeds(options.from, options.seeds, client),
        })
        .sum();
    match failures {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Plants each bug, and prints the first seed that finds it.
fn find_bugs(from: u64, seeds: u64, clients: &[Client]) -> ExitCode {
    if !cfg!(inflight_bugs) {
        println!("this build contains no bugs: run `just simulate-bugs`");
        return ExitCode::FAILURE;
    }
    let mut missed = 0;
    for bug in Bug::ALL {
        plant(Some(bug));
        let mut is_found = false;
        for client in clients {
            let found = (from..from + seeds).find_map(|seed| {
                let plan = Plan::from_seed(seed, *client);
                let violation = check(&plan, &run(&plan)).into_iter().next();
                violation.map(|violation| (seed - from + 1, violation))
            });
            let name = format!("{bug:?}");
            match found {
                Some((count, violation)) => {
                    is_found = true;
                    println!("{name:20} {client:14} {count:5} seeds  {violation}");
                }
                None => println!("{name:20} {client:14} not found by {seeds} seeds"),
            }
        }
        // A client may be safe from a bug: hyper itself refuses a connection with unread bytes.
        missed += usize::from(!is_found);
    }
    plant(None);
    match missed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Returns the number of seeds that failed.
fn run_seeds(from: u64, count: u64, client: Client) -> u64 {
    let start = Instant::now();
    let (mut failed, mut requests) = (0, 0);
    for seed in from..from + count {
        let plan = Plan::from_seed(seed, client);
        let report = run(&plan);
        requests += report.arrivals.len();
        let violations = check(&plan, &report);
        if !violations.is_empty() {
            failed += 1;
            print_violations(seed, client, &violations);
        }
    }
    let took = start.elapsed();
    println!(
        "{client}: {count} seeds, {failed} failed; {requests} requests in {:.1} s, {:.2} ms per seed",
        took.as_secs_f64(),
        took.as_secs_f64() * 1000.0 / count as f64
    );
    failed
}

/// Returns 1 if the seed fails.
fn replay(seed: u64, client: Client) -> u64 {
    let plan = Plan::from_seed(seed, client);
    let violations = check(&plan, &run(&plan));
    print_violations(seed, client, &violations);
    let Some(first) = violations.first() else {
        println!("{client}: seed {seed} passes");
        return 0;
    };
    let smallest = shrink(&plan, |plan| {
        let violations = check(plan, &run(plan));
        let mut properties = violations.iter().map(|violation| violation.property);
        properties.any(|property| property == first.property)
    });
    let report = run(&smallest);
    println!("\nA smaller plan fails in the same way:\n{smallest:#?}");
    for violation in check(&smallest, &report) {
        println!("{violation}");
    }
    1
}

fn print_violations(seed: u64, client: Client, violations: &[Violation]) {
    const MOST: usize = 5;
    for violation in violations.iter().take(MOST) {
        println!("{client}: seed {seed}: {violation}");
    }
    if let Some(rest) = violations.len().checked_sub(MOST + 1) {
        println!("{client}: seed {seed}: and {} more", rest + 1);
    }
}
