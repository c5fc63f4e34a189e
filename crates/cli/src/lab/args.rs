//! What the lab can be asked for.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use inflight_lab::experiment::{Effort, Experiment};
use inflight_lab::worker::Setup;

use crate::args::When;

/// Measure what runtimes, clients and blocking calls cost on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight lab list
  inflight lab run gather blocking --effort quick
  inflight lab run --effort full
  inflight lab report
  inflight lab cmp before.csv after.csv")]
pub(crate) struct Lab {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the experiments: what each asks, how much is run and how long that takes
    List,
    Run(Run),
    Report(Report),
    Cmp(Cmp),
    /// A measurement's own process
    #[command(hide = true)]
    Worker(Worker),
    /// The server of a measurement: serves until its input ends
    #[command(hide = true)]
    Origin,
}

/// Run experiments and keep what is seen
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight lab run
  inflight lab run gather overhead --effort full
  inflight lab run gather --rounds 3 --records /tmp/gather.csv
  inflight lab run --resume

Every contender runs in a process of its own and has its turn in each round; the order is turned
round in every other one. Each answer of the server is verified, and a round in which the server
was late or busy is thrown away and repeated. Each turn's figures are appended to FILE as CSV,
below lines that describe this machine and the versions.

The first Ctrl-C keeps the turns that are finished and exits with status 130; --resume then does
the rest. Nothing else should run on the machine meanwhile.")]
pub(crate) struct Run {
    /// The experiments to run [default: all]
    #[arg(value_name = "NAME", value_parser = experiment)]
    pub(crate) names: Vec<&'static Experiment>,

    /// How much of each: enough for a first look, or for narrow intervals [default: quick]
    #[arg(long, value_enum, value_name = "EFFORT")]
    pub(crate) effort: Option<HowMuch>,

    /// How many rounds, whatever the effort says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true)]
    pub(crate) rounds: Option<u32>,

    /// Append to FILE [default: docs/records/DATE-MACHINE.csv]
    #[arg(long, value_name = "FILE")]
    pub(crate) records: Option<PathBuf>,

    /// Do what is left of the last run in the file
    #[arg(long, conflicts_with_all = ["names", "effort", "rounds", "seed"])]
    pub(crate) resume: bool,

    /// Decides the order of the contenders in a round [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Whether to show progress on standard error: auto is when that is a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub(crate) progress: When,
}

/// Where a report goes unless a file is named.
pub(crate) const REPORT: &str = "lab-report.html";

/// Tell what was measured: as a page with pictures, and as tables in pages of one's own
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight lab report
  inflight lab report --records monday.csv --records tuesday.csv --out report.html
  inflight lab report --markdown docs/src/figures.md

The page is one file of HTML that loads nothing. Of each experiment it tells the last run that has
it; what was not measured is told too. In a FILE of --markdown, what stands between
`<!-- lab:begin NAME -->` and `<!-- lab:end NAME -->` is made anew: NAME is an experiment, or
`findings`, `effects` (what a runtime and what a client costs) or `noise` (what can be seen at all).")]
pub(crate) struct Report {
    /// Records to tell of, any number of times [default: every .csv in docs/records]
    #[arg(long, value_name = "FILE")]
    pub(crate) records: Vec<PathBuf>,

    /// Write the page to FILE [default: lab-report.html, unless there is --markdown]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Make the tables of FILE anew, any number of times
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Vec<PathBuf>,
}

/// Compare two records: what became slower or faster
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight lab cmp before.csv after.csv
  inflight lab cmp records.csv@2026-11-25T02 records.csv@2026-11-25T09

FILE@RUN is one run of a file, by the beginning of its name; of a file alone, the last run that has
an experiment counts. Ratios are of the second to the first, with an interval of 95 % over all that
is compared. A contender is marked WORSE or BETTER if its interval leaves out 1, the ratio exceeds
1.02 and what the A/A pairs of both records show, and all of it still holds when what all contenders
share is taken out; `with all` if only that does not.

The exit status is 0 whatever is found, and 2 if a file cannot be read.")]
pub(crate) struct Cmp {
    /// The records to compare with
    #[arg(value_name = "FILE[@RUN]")]
    pub(crate) before: String,

    /// The records that are compared
    #[arg(value_name = "FILE[@RUN]")]
    pub(crate) after: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HowMuch {
    /// Minutes
    Quick,
    /// An hour or more
    Full,
}

impl From<HowMuch> for Effort {
    fn from(how_much: HowMuch) -> Self {
        match how_much {
            HowMuch::Quick => Self::Quick,
            HowMuch::Full => Self::Full,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    #[arg(long)]
    experiment: String,
    #[arg(long)]
    contender: String,
    #[arg(long)]
    origin: String,
}

impl From<Worker> for Setup {
    fn from(worker: Worker) -> Self {
        Self {
            experiment: worker.experiment,
            contender: worker.contender,
            origin: worker.origin,
        }
    }
}

fn experiment(name: &str) -> Result<&'static Experiment, String> {
    inflight_lab::experiments::find(name).ok_or_else(|| {
        let known: Vec<_> = inflight_lab::experiments::all()
            .iter()
            .map(|experiment| experiment.name)
            .collect();
        format!(
            "there is no such experiment; there are {}",
            known.join(", ")
        )
    })
}
