//! Contenders written in other languages or based on other programs.
//!
//! Their source is in the folder `peers` of this crate. `just peers` prepares them in the folder
//! `peers` of the target folder. The environment variable `INFLIGHT_PEERS` can name this folder. If the
//! variable is not set, the lab searches the parent folders of the running program.
//!
//! A peer does the same work as a worker in Rust: the same pages, the same concurrency, and the same checks
//! within the measured time. It keeps its connections from turn to turn (from measurement to measurement)
//! and runs its tasks on one thread. The table lists where a peer differs:
//!
//! | peer | how it is used | what differs |
//! |---|---|---|
//! | `aiohttp` | one `ClientSession`, `asyncio.gather`, `TCPConnector(limit=N)` | all tasks start at once and wait for a connection; in Rust, a request starts when the limit allows |
//! | `requests in async def` | `requests.get` in `async def`, gathered: a common mistake | a new connection for each page, because there is no `Session` |
//! | `go` | net/http, a goroutine for each page, at most N; `GOMAXPROCS(1)` | it keeps N idle connections per host instead of the default of 2 |
//! | `curl --parallel` | the curl program with N URLs | each turn includes its start and its connections; at most 300 transfers at once |
//! | `wrk` | an upper bound: one thread, for one second | wrk checks only the statuses; the peer checks one body and the total number of bytes |

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A contender in another language or based on another program.
#[derive(Debug)]
pub struct Peer {
    /// The name of the contender.
    pub name: &'static str,
    /// The program, relative to the folder of the peers.
    program: Program,
    /// How to install the peer, for error messages.
    install_hint: &'static str,
}

#[derive(Debug)]
enum Program {
    /// A module for the Python of the virtual environment.
    Python(&'static str),
    /// An executable.
    Binary(&'static str),
}

/// The peer `aiohttp`: `asyncio.gather` with one `ClientSession`.
pub const AIOHTTP: &str = "aiohttp";
/// The peer `requests`: a blocking client inside `async def`.
pub const REQUESTS: &str = "requests in async def";
/// The peer `go`: net/http with a goroutine for each page.
pub const GO: &str = "go";
/// The peer `curl`: one process for each turn.
pub const CURL: &str = "curl --parallel";
/// The peer `wrk`: an upper bound, because it does not check bodies.
pub const WRK: &str = "wrk";

/// curl's maximum number of parallel transfers.
pub const CURL_LIMIT: f64 = 300.0;

static PEERS: [Peer; 5] = [
    Peer {
        name: AIOHTTP,
        program: Program::Python("aiohttp_gather"),
        install_hint: "install Python 3, then `just peers`",
    },
    Peer {
        name: REQUESTS,
        program: Program::Python("requests_in_async"),
        install_hint: "install Python 3, then `just peers`",
    },
    Peer {
        name: GO,
        program: Program::Binary("go-net-http"),
        install_hint: "install Go, then `just peers`",
    },
    Peer {
        name: CURL,
        program: Program::Python("curl_parallel"),
        install_hint: "install Python 3 and curl, then `just peers`",
    },
    Peer {
        name: WRK,
        program: Program::Python("wrk_ceiling"),
        install_hint: "install Python 3 and wrk, then `just peers`",
    },
];

/// Returns all peers.
pub fn all() -> &'static [Peer] {
    &PEERS
}

/// Returns the peer with this name.
pub fn find(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

/// Returns the environment entries of the peers, such as `peer.go`. Each value is a version or `absent`.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    PEERS.iter().map(|peer| {
        let version = peer.version().unwrap_or_else(|_| "absent".to_owned());
        (format!("peer.{}", peer.name), version)
    })
}

impl Peer {
    /// Returns the command line of a process that does the work that the arguments `work` describe.
    ///
    /// # Errors
    ///
    /// If the peer is not installed. The message explains how to install it.
    pub fn worker_command(&self, work: &[String], origin: &str) -> Result<Vec<OsString>, String> {
        self.version()?;
        let mut line = self.command_line().ok_or_else(|| self.missing())?;
        line.extend(work.iter().map(OsString::from));
        line.extend(["--origin".into(), origin.into()]);
        Ok(line)
    }

    /// Returns the version of the peer.
    ///
    /// # Errors
    ///
    /// If the peer is not installed or does not run. The message explains how to install it.
    pub fn version(&self) -> Result<String, String> {
        static VERSIONS: OnceLock<Vec<Option<String>>> = OnceLock::new();
        // Starting the programs is slow, so the versions are cached.
        let versions = VERSIONS.get_or_init(|| PEERS.iter().map(Self::query_version).collect());
        let mut found = PEERS.iter().zip(versions);
        found
            .find(|(peer, _)| peer.name == self.name)
            .and_then(|(_, version)| version.clone())
            .ok_or_else(|| self.missing())
    }

    fn missing(&self) -> String {
        format!("not present: {}", self.install_hint)
    }

    fn query_version(&self) -> Option<String> {
        let line = self.command_line()?;
        let (program, args) = line.split_first()?;
        let output = Command::new(program)
            .args(args)
            .arg("--version")
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn command_line(&self) -> Option<Vec<OsString>> {
        let folder = folder()?;
        Some(match self.program {
            Program::Binary(name) => vec![folder.join("bin").join(name).into()],
            Program::Python(module) => vec![
                folder.join("venv/bin/python").into(),
                // Write no bytecode into the source folder.
                "-B".into(),
                folder.join(format!("src/python/{module}.py")).into(),
            ],
        })
    }
}

/// Returns the folder that `just peers` created, if it is found.
fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        if let Some(folder) = std::env::var_os("INFLIGHT_PEERS") {
            return Some(PathBuf::from(folder));
        }
        let here = std::env::current_exe().ok()?;
        let mut folders = here.ancestors().map(|folder| folder.join("peers"));
        folders.find(|folder| folder.join("src/setup.sh").exists())
    };
    FOLDER.get_or_init(find).as_deref()
}
