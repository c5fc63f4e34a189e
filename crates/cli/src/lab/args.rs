//! The command line of `inflight lab`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use inflight_lab::experiment::{Effort, Experiment};
use inflight_lab::worker::WorkerConfig;

use crate::format::When;

/// Measure the cost of runtimes, clients and blocking calls on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight lab list
  inflight lab run gather blocking --effort quick
  inflight lab run --effort full
  inflight lab summary
  inflight lab report
  inflight lab cmp before.csv after.csv")]
pub(crate) struct Lab {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// List the experiments: the question, the measurements and the rounds of each
    List,
    Run(Run),
    Summary(SummaryArgs),
    Report(Report),
    Cmp(Cmp),
    /// Run the worker process of a measurement
    #[command(hide = true)]
    Worker(Worker),
    /// Run the server of a measurement until standard input is closed
    #[command(hide = true)]
    Origin,
}

/// Run experiments and record the measurements
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight lab run
  inflight lab run gather overhead --effort full
  inflight lab run gather --rounds 3 --records /tmp/gather.csv
  inflight lab run --resume

An experiment compares contenders, such as runtimes or clients. Each contender runs in its own
process. In each round, every contender has one turn, in which it is measured. The seed determines
one random order of the turns for all rounds. Every other round uses the reverse of this order.
Every response of the server is verified. A round in which the server was late or busy is discarded
and repeated, up to two times. The measurements of each turn are appended to FILE as CSV, below
lines that describe this machine and the versions of the compiler, the runtimes and the clients.

On the first Ctrl-C, the program keeps the finished turns and exits with status 130. To run the
remaining turns, use --resume. Run nothing else on the machine during the measurements.")]
pub(crate) struct Run {
    /// The experiments to run [default: all]
    #[arg(value_name = "NAME", value_parser = find_experiment)]
    pub(crate) names: Vec<&'static Experiment>,

    /// How much of each experiment to run: quick gives rough results, full gives narrow
    /// confidence intervals [default: quick]
    #[arg(long, value_enum, value_name = "EFFORT")]
    pub(crate) effort: Option<EffortArg>,

    /// The number of rounds [default: depends on the effort]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true)]
    pub(crate) rounds: Option<u32>,

    /// Append the measurements to FILE [default: target/lab/DATE-MACHINE.csv]
    #[arg(long, value_name = "FILE")]
    pub(crate) records: Option<PathBuf>,

    /// Run the remaining turns of the last run in the file of records
    #[arg(long, conflicts_with_all = ["names", "effort", "rounds", "seed"])]
    pub(crate) resume: bool,

    /// The seed for the random order of the turns [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Whether to show progress on standard error; auto shows it if standard error is a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub(crate) progress: When,
}

/// Print what a run answers and its tables
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight lab summary
  inflight lab summary --records target/lab/2026-11-25-amd-epyc-2-cores.csv@2026-11-25T02

The summary starts with three sentences: what a blocking call cost, which cell cost least and by
how much, and what the run cannot tell. A cell is a runtime with a client, such as tokio/hyper. The
tables mark the best figures, the figures that the run cannot tell from the best ones, and the
figures that were measured while the machine was busy. OUT receives all figures as Markdown. In a FILE
of --markdown, the text between `<!-- bench:begin NAME -->` and `<!-- bench:end NAME -->` is replaced
with the part NAME: answer, stalls, costs, cells, ratios or everything.")]
pub(crate) struct SummaryArgs {
    /// The file of records, and the run whose ID starts with RUN [default: the newest file in
    /// target/lab, and the last run of each experiment]
    #[arg(long, value_name = "FILE[@RUN]")]
    pub(crate) records: Option<String>,

    /// Use only the last run in the file
    #[arg(long)]
    pub(crate) last_run: bool,

    /// Write all figures to OUT [default: target/lab/NAME-OF-RECORDS.md, or nothing with --markdown]
    #[arg(long, value_name = "OUT")]
    pub(crate) out: Option<PathBuf>,

    /// Replace the tables in this Markdown file; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Vec<PathBuf>,
}

/// The default path of a report.
pub(crate) const DEFAULT_REPORT_PATH: &str = "lab-report.html";

/// Write a report of the measurements, as an HTML page with charts or as tables in Markdown files
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight lab report
  inflight lab report --records monday.csv --records tuesday.csv --out report.html
  inflight lab report --markdown docs/src/figures.md --figures docs/output

The page is one HTML file that loads no other files. It shows the last run of each experiment, and
lists the experiments that were not measured. In a FILE of --markdown, the text between
`<!-- lab:begin NAME -->` and `<!-- lab:end NAME -->` is replaced with tables or text for NAME. NAME is
an experiment, or `findings`, `effects` (how much the runtime and the client matter) or `noise` (the
smallest difference that can be measured). `gather:titles` stands for the titles of the charts of
gather. --figures writes the first chart of each experiment to DIR/chart-NAME.html, as an HTML
element for a page with the style sheet of the charts.")]
pub(crate) struct Report {
    /// A file of records; may be repeated [default: every .csv file in target/lab]
    #[arg(long, value_name = "FILE")]
    pub(crate) records: Vec<PathBuf>,

    /// Write the page to FILE [default: lab-report.html, or no page with --markdown or --figures]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Replace the tables in this Markdown file; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Vec<PathBuf>,

    /// Write the first chart of each experiment to DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) figures: Option<PathBuf>,
}

/// Compare two files of records and show what became slower or faster
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight lab cmp before.csv after.csv
  inflight lab cmp records.csv@2026-11-25T02 records.csv@2026-11-25T09

FILE@RUN selects, from FILE, the run whose ID starts with RUN. An ID is the time at which the run
started. Without @RUN, the last run of each experiment is used. Each ratio is the value in the
second file divided by the value in the first file. Each ratio has an interval. With a probability
of at least 95 %, all intervals together contain their true ratios.

Each experiment contains its first contender twice, under two names, and each of the two has its own
turn in every round. The two are an A/A pair: the difference between them is noise. A contender is
marked WORSE or BETTER if all these conditions hold:
  - The interval of its ratio does not contain 1.
  - The change is larger than a factor of 1.02 in either direction, and larger than the noise of
    both files.
  - Both conditions still hold for the ratio divided by the common change, which is the median of
    the ratios of all contenders.
If only the last condition does not hold, the contender is marked `with all`.

The exit status is 0 whether or not there are differences, and 2 if a file cannot be read.")]
pub(crate) struct Cmp {
    /// The records before the change
    #[arg(value_name = "FILE[@RUN]")]
    pub(crate) before: String,

    /// The records after the change
    #[arg(value_name = "FILE[@RUN]")]
    pub(crate) after: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EffortArg {
    /// Takes minutes
    Quick,
    /// Takes an hour or more
    Full,
}

impl From<EffortArg> for Effort {
    fn from(effort: EffortArg) -> Self {
        match effort {
            EffortArg::Quick => Self::Quick,
            EffortArg::Full => Self::Full,
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

impl From<Worker> for WorkerConfig {
    fn from(worker: Worker) -> Self {
        Self {
            experiment: worker.experiment,
            contender: worker.contender,
            origin: worker.origin,
        }
    }
}

fn find_experiment(name: &str) -> Result<&'static Experiment, String> {
    inflight_lab::experiments::find(name).ok_or_else(|| {
        let known: Vec<_> = inflight_lab::experiments::all()
            .iter()
            .map(|experiment| experiment.name)
            .collect();
        format!(
            "no such experiment; the experiments are {}",
            known.join(", ")
        )
    })
}
