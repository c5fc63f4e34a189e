//! Builds a crate twice, and prints how long Cargo took for each crate: `just run build_times`.
//!
//! The argument is the folder of a crate. Without an argument, the program builds a copy of the first crate of the book.
//! Cargo starts this program instead of the compiler (`RUSTC_WRAPPER`). The program then starts the compiler and notes the
//! time of its start and of its end.
#![allow(clippy::print_stdout, reason = "a program")]

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};
use tempfile::TempDir;

/// The environment variable with the path of the file to which the calls of the compiler are written.
const LOG: &str = "INFLIGHT_BUILD_LOG";
/// The path of inflight in the manifest of the book's first crate.
const PATH_IN_BOOK: &str = "../inflight/crates/inflight";
const SLOWEST: usize = 5;

const LIBRARIES: Series = Series::new("a library", Colour::Blue);
const INFLIGHT: Series = Series::new("a crate of inflight", Colour::Green);
const YOURS: Series = Series::new("your crate", Colour::Vermillion);

type Failure = Box<dyn std::error::Error>;

/// A call of the compiler. The times are those since the start of the build.
struct Compilation {
    name: String,
    started: Duration,
    ended: Duration,
}

struct Build {
    took: Duration,
    /// In the order of their starts.
    compilations: Vec<Compilation>,
}

fn main() -> Result<ExitCode, Failure> {
    if let Some(log) = env::var_os(LOG) {
        return compile(Path::new(&log));
    }
    let temporary = tempfile::tempdir()?;
    let folder = match env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => copy_first_crate(&temporary)?,
    };
    let first = build(&folder, &temporary)?;
    // For Cargo, this is a change of the file.
    File::options()
        .append(true)
        .open(folder.join("src/main.rs"))?
        .set_modified(SystemTime::now())?;
    let second = build(&folder, &temporary)?;
    match inflight_examples::picture_format() {
        Some(_) => inflight_examples::print_picture(&draw(&first, &second)),
        None => print(&first, &second),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the compiler with the arguments of this program, and adds a line to the log.
fn compile(log: &Path) -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let (compiler, rest) = arguments
        .split_first()
        .ok_or("Cargo should pass the path of the compiler")?;
    let started = SystemTime::now();
    let status = Command::new(compiler).args(rest).status()?;
    let name = rest
        .iter()
        .skip_while(|argument| *argument != "--crate-name")
        .nth(1);
    // Cargo also asks the compiler for its version and its targets.
    if let Some(name) = name.and_then(|name| name.to_str())
        && name != "___"
    {
        let mut log = OpenOptions::new().append(true).create(true).open(log)?;
        let [started, ended] = [started, SystemTime::now()].map(since_epoch);
        // One write, because several compilers run at the same time.
        let line = format!("{name} {} {}\n", started.as_nanos(), ended.as_nanos());
        log.write_all(line.as_bytes())?;
    }
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Copies the book's first crate into a new folder, and corrects its path of inflight.
fn copy_first_crate(temporary: &TempDir) -> Result<PathBuf, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let source = root.join("docs/first_page");
    let folder = temporary.path().join("first_page");
    fs::create_dir_all(folder.join("src"))?;
    let inflight = root.join("crates/inflight").canonicalize()?;
    let inflight = inflight.to_str().ok_or("the path should be UTF-8")?;
    let manifest = fs::read_to_string(source.join("Cargo.toml"))?;
    fs::write(
        folder.join("Cargo.toml"),
        manifest.replace(PATH_IN_BOOK, inflight),
    )?;
    fs::copy(source.join("src/main.rs"), folder.join("src/main.rs"))?;
    // The same versions of the libraries as in the workspace.
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(folder)
}

/// Builds the crate. The libraries are in the temporary folder, so that the first build compiles all of them.
fn build(folder: &Path, temporary: &TempDir) -> Result<Build, Failure> {
    let log = temporary.path().join("log");
    File::create(&log)?;
    let started = SystemTime::now();
    let output = Command::new("cargo")
        .arg("build")
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", temporary.path().join("target"))
        .env("RUSTC_WRAPPER", env::current_exe()?)
        .env(LOG, &log)
        .stdin(Stdio::null())
        .output()?;
    let took = started.elapsed()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("cargo build failed\n{error}").into());
    }
    let mut compilations: Vec<Compilation> = fs::read_to_string(&log)?
        .lines()
        .map(|line| Compilation::parse(line, since_epoch(started)))
        .collect::<Option<_>>()
        .ok_or("the log should contain a name and two times on each line")?;
    compilations.sort_by_key(|compilation| compilation.started);
    Ok(Build { took, compilations })
}

impl Compilation {
    fn parse(line: &str, build_started: Duration) -> Option<Self> {
        let mut fields = line.split(' ');
        let name = fields.next()?.to_owned();
        let mut time = || {
            let nanos = fields.next()?.parse().ok()?;
            Some(Duration::from_nanos(nanos).saturating_sub(build_started))
        };
        Some(Self {
            name,
            started: time()?,
            ended: time()?,
        })
    }

    fn took(&self) -> Duration {
        self.ended.saturating_sub(self.started)
    }
}

impl Build {
    fn describe(&self) -> String {
        let calls = match self.compilations.len() {
            1 => "1 call".to_owned(),
            count => format!("{count} calls"),
        };
        format!(
            "{calls} of the compiler in {:.1} s",
            self.took.as_secs_f64()
        )
    }

    fn slowest(&self) -> Vec<&Compilation> {
        let mut slowest: Vec<&Compilation> = self.compilations.iter().collect();
        slowest.sort_by_key(|compilation| std::cmp::Reverse(compilation.took()));
        slowest.truncate(SLOWEST);
        slowest
    }

    fn group(&self, name: &str, own: &str) -> Group {
        let rows = self.compilations.iter().map(|compilation| {
            let series = match &compilation.name {
                name if name == own => YOURS,
                name if name.starts_with("inflight") => INFLIGHT,
                _ => LIBRARIES,
            };
            Row::new("").bar(compilation.started, compilation.ended, series)
        });
        Group::new(format!("{name}: {}", self.describe())).rows(rows)
    }
}

fn print(first: &Build, second: &Build) {
    println!("first build: {}", first.describe());
    println!("second build: {}", second.describe());
    println!("\nthe slowest of the first build");
    for compilation in first.slowest() {
        println!(
            "{:24}{:6.1} s",
            compilation.name,
            compilation.took().as_secs_f64()
        );
    }
}

fn draw(first: &Build, second: &Build) -> Figure {
    // Only the crate itself is compiled again.
    let own = second.compilations.last();
    let own = own.map_or("", |compilation| &*compilation.name);
    let chart = Waterfall::new("seconds since the start of the build")
        .unit(Duration::from_secs(1))
        .group(first.group("first build", own))
        .group(second.group("second build, after a change of main.rs", own));
    let description = format!(
        "Each bar is a call of the compiler. Above are {} bars, which start later from top to bottom. The lowest one, \
         which ends at {:.0} s, is your crate. Below, on the same time axis, is the second build: {}.",
        first.compilations.len(),
        first.took.as_secs_f64(),
        second.describe()
    );
    Figure::new(
        "build_times",
        "The first build compiles every library, the second one only your crate",
        description,
        chart,
    )
}
