//! Contenders written in other languages, or with other programs: who they are, and what starts
//! them where their tools are present.
//!
//! Their source is in `peers` beside that of this crate. `just peers` gets them ready in the folder
//! `peers` of the target folder, where they are looked for: beside the program that runs, or where
//! the variable `INFLIGHT_PEERS` says.
//!
//! A peer does the work that our own worker does, with as many pages at once, and checks the same
//! answers, within the same time. It keeps its connections from turn to turn and has one thread
//! that runs its tasks. Where one cannot be like that, it favours or harms it:
//!
//! | peer | how it is used | what differs |
//! |---|---|---|
//! | `aiohttp` | one `ClientSession`, `asyncio.gather`, `TCPConnector(limit=N)` | a task for each page at once, which wait for the connector; ours are begun when there is room |
//! | `requests in async def` | `requests.get` in `async def`, gathered: the mistake itself | a connection for each page, as without a `Session` |
//! | `go` | net/http, a goroutine for each page, at most N; `GOMAXPROCS(1)` | the idle connections that it keeps for a host are N in place of 2 |
//! | `curl --parallel` | curl's own program with N URLs | its start and its connections are in each turn; at most 300 at once |
//! | `wrk` | the ceiling: one thread, for a second | it looks at no answer's content, but the number of bytes and the statuses are checked |

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::experiments::{self, blocking, gather, overhead, sequential};
use crate::worker::Setup;

/// A contender that is not ours.
#[derive(Debug)]
pub struct Peer {
    /// The contender's name.
    pub name: &'static str,
    /// Where its program is in the folder of the peers.
    program: Program,
    /// What to do to have it.
    get: &'static str,
    /// In which experiments it takes part.
    experiments: &'static [&'static str],
}

#[derive(Debug)]
enum Program {
    /// A module, for the Python of the virtual environment.
    Python(&'static str),
    /// Something that can be started.
    Binary(&'static str),
}

/// aiohttp with `asyncio.gather` and one `ClientSession`.
pub const AIOHTTP: &str = "aiohttp";
/// The mistake: a blocking client inside `async def`.
pub const REQUESTS: &str = "requests in async def";
/// Go's net/http, a goroutine for each page.
pub const GO: &str = "go";
/// A curl for each turn, which is within its time.
pub const CURL: &str = "curl --parallel";
/// wrk, which looks at no answer.
pub const WRK: &str = "wrk";

/// The most transfers that curl has at once, whatever it is asked for.
pub const CURL_LIMIT: f64 = 300.0;

static PEERS: [Peer; 5] = [
    Peer {
        name: AIOHTTP,
        program: Program::Python("aiohttp_gather"),
        get: "install Python 3, then `just peers`",
        experiments: &["gather", "sequential", "overhead", "blocking"],
    },
    Peer {
        name: REQUESTS,
        program: Program::Python("requests_in_async"),
        get: "install Python 3, then `just peers`",
        experiments: &["gather", "sequential", "blocking"],
    },
    Peer {
        name: GO,
        program: Program::Binary("go-net-http"),
        get: "install Go, then `just peers`",
        experiments: &["gather", "sequential", "overhead"],
    },
    Peer {
        name: CURL,
        program: Program::Python("curl_parallel"),
        get: "install Python 3 and curl, then `just peers`",
        experiments: &["gather", "sequential"],
    },
    Peer {
        name: WRK,
        program: Program::Python("wrk_ceiling"),
        get: "install Python 3 and wrk, then `just peers`",
        experiments: &["overhead"],
    },
];

/// All of them.
pub fn all() -> &'static [Peer] {
    &PEERS
}

/// The peers that take part in an experiment, by name, whether they are there or not.
pub fn of(experiment: &str) -> impl Iterator<Item = &'static str> {
    let takes = move |peer: &&Peer| peer.experiments.contains(&experiment);
    PEERS.iter().filter(takes).map(|peer| peer.name)
}

/// The command line of a peer's worker: `None` for a contender that is our own, and the reason
/// where its tool is not there.
pub fn command(setup: &Setup) -> Option<Result<Vec<OsString>, String>> {
    let peer = PEERS.iter().find(|peer| peer.name == setup.contender)?;
    Some(peer.version().and_then(|_| {
        let mut line = peer.line().ok_or_else(|| peer.missing())?;
        let work = work(&setup.experiment)
            .ok_or_else(|| format!("{} takes no part in {}", peer.name, setup.experiment))?;
        line.extend(work.iter().map(OsString::from));
        line.extend(["--origin".into(), setup.origin.clone().into()]);
        Ok(line)
    }))
}

/// What a record says of the peers: `peer.go` is its version, or `absent`.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    PEERS.iter().map(|peer| {
        let version = peer.version().unwrap_or_else(|_| "absent".to_owned());
        (format!("peer.{}", peer.name), version)
    })
}

impl Peer {
    /// What it says it is.
    ///
    /// # Errors
    ///
    /// Where it is not there, or does not run: what to do to have it.
    pub fn version(&self) -> Result<String, String> {
        static VERSIONS: OnceLock<Vec<Option<String>>> = OnceLock::new();
        // They take a while to start, and stay what they are as long as this process lives.
        let versions = VERSIONS.get_or_init(|| PEERS.iter().map(Self::ask).collect());
        let mut asked = PEERS.iter().zip(versions);
        asked
            .find(|(peer, _)| peer.name == self.name)
            .and_then(|(_, version)| version.clone())
            .ok_or_else(|| self.missing())
    }

    fn missing(&self) -> String {
        format!("not present: {}", self.get)
    }

    fn ask(&self) -> Option<String> {
        let line = self.line()?;
        let (program, args) = line.split_first()?;
        let said = Command::new(program)
            .args(args)
            .arg("--version")
            .output()
            .ok()
            .filter(|said| said.status.success())?;
        Some(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    fn line(&self) -> Option<Vec<OsString>> {
        let folder = folder()?;
        Some(match self.program {
            Program::Binary(name) => vec![folder.join("bin").join(name).into()],
            Program::Python(module) => vec![
                folder.join("venv/bin/python").into(),
                // Nothing is written beside the source.
                "-B".into(),
                folder.join(format!("src/python/{module}.py")).into(),
            ],
        })
    }
}

/// Where `just peers` put them.
fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        if let Some(given) = std::env::var_os("INFLIGHT_PEERS") {
            return Some(PathBuf::from(given));
        }
        let here = std::env::current_exe().ok()?;
        let mut folders = here.ancestors().map(|above| above.join("peers"));
        folders.find(|folder| folder.join("src/setup.sh").exists())
    };
    FOLDER.get_or_init(find).as_deref()
}

/// What a peer is told to do in an experiment: the same as our own worker does there. `x` stands
/// for the variable's value.
fn work(experiment: &str) -> Option<Vec<String>> {
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
    let metrics = experiments::find(experiment)?.of_worker();
    let metrics: Vec<_> = metrics.map(|metric| metric.name).collect();
    let mut words: Vec<_> = work.split(' ').map(str::to_owned).collect();
    words.extend(["--metrics".to_owned(), metrics.join(",")]);
    Some(words)
}
