//! Optional contenders outside the workspace, called *peers*: programs in Python and Go, command-line tools, and Rust
//! clients that need a newer Rust than the workspace.
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
//! | `aioduct` | one `TokioClient`, a task for each page, as with reqwest | built outside the workspace, with no feature but `tokio`: no TLS and no decoding of bodies |
//! | `trillium-client` | one `Client` on tokio, a task for each page | it keeps at most 16 idle connections, which cannot be changed |
//! | `curl --parallel` | the curl program with N URLs | each turn includes its start and its connections; at most 300 transfers at once |
//! | `wrk` | an upper bound: one thread, for one second | wrk checks only the statuses; the peer checks one body and the total number of bytes |

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A contender that is a program outside the workspace.
#[derive(Debug)]
pub struct Peer {
    /// The name of the contender.
    pub name: &'static str,
    /// The program, relative to the folder of the peers.
    program: Program,
    /// The tools that it needs.
    tools: &'static [Tool],
}

#[derive(Debug)]
enum Program {
    /// A module for the Python of the virtual environment.
    Python(&'static str),
    /// An executable.
    Binary(&'static str),
}

/// A program on the PATH.
#[derive(Debug)]
struct Tool {
    /// The name of the program.
    name: &'static str,
    /// The Debian packages that contain it.
    package: &'static str,
}

const PYTHON: Tool = Tool {
    name: "python3",
    package: "python3 python3-venv",
};

/// The peer `aiohttp`: `asyncio.gather` with one `ClientSession`.
pub const AIOHTTP: &str = "aiohttp";
/// The peer `requests`: a blocking client inside `async def`.
pub const REQUESTS: &str = "requests in async def";
/// The peer `go`: net/http with a goroutine for each page.
pub const GO: &str = "go";
/// The peer `aioduct`: a client on hyper with a pool of its own.
pub const AIODUCT: &str = "aioduct";
/// The peer `trillium-client`: a client with an HTTP implementation of its own.
pub const TRILLIUM: &str = "trillium-client";
/// The peer `curl`: one process for each turn.
pub const CURL: &str = "curl --parallel";
/// The peer `wrk`: an upper bound, because it does not check bodies.
pub const WRK: &str = "wrk";

/// curl's maximum number of parallel transfers.
pub const CURL_LIMIT: f64 = 300.0;

static PEERS: [Peer; 7] = [
    Peer {
        name: AIOHTTP,
        program: Program::Python("aiohttp_gather"),
        tools: &[PYTHON],
    },
    Peer {
        name: REQUESTS,
        program: Program::Python("requests_in_async"),
        tools: &[PYTHON],
    },
    Peer {
        name: GO,
        program: Program::Binary("go-net-http"),
        tools: &[Tool {
            name: "go",
            package: "golang",
        }],
    },
    Peer {
        name: AIODUCT,
        program: Program::Binary("aioduct"),
        tools: &[],
    },
    Peer {
        name: TRILLIUM,
        program: Program::Binary("trillium-client"),
        tools: &[],
    },
    Peer {
        name: CURL,
        program: Program::Python("curl_parallel"),
        tools: &[
            PYTHON,
            Tool {
                name: "curl",
                package: "curl",
            },
        ],
    },
    Peer {
        name: WRK,
        program: Program::Python("wrk_ceiling"),
        tools: &[
            PYTHON,
            Tool {
                name: "wrk",
                package: "wrk",
            },
        ],
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
        let folder = folder().ok_or("it is not prepared: run `just peers`")?;
        let mut line = self.command_line(folder);
        line.extend(work.iter().map(OsString::from));
        line.extend(["--origin".into(), origin.into()]);
        Ok(line)
    }

    /// Returns the version of the peer.
    ///
    /// # Errors
    ///
    /// If the peer is not installed or does not run. The message names what is missing and explains how to install it.
    pub fn version(&self) -> Result<String, String> {
        static VERSIONS: OnceLock<Vec<Result<String, String>>> = OnceLock::new();
        // Starting the programs is slow, so the versions are cached.
        let versions = VERSIONS.get_or_init(|| PEERS.iter().map(Self::query_version).collect());
        let mut found = PEERS.iter().zip(versions);
        match found.find(|(peer, _)| peer.name == self.name) {
            Some((_, version)) => version.clone(),
            None => Err(format!("there is no peer {:?}", self.name)),
        }
    }

    fn query_version(&self) -> Result<String, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let line = folder().map(|folder| self.command_line(folder));
        let program = line.as_deref().and_then(<[OsString]>::split_first);
        let Some((program, args)) = program.filter(|(program, _)| Path::new(program).exists())
        else {
            return Err(self.unprepared(&path));
        };
        let failed = |reason: &str| {
            self.absent_tools(&path)
                .unwrap_or_else(|| format!("it does not run ({reason}): run `just peers` again"))
        };
        let output = Command::new(program).args(args).arg("--version").output();
        let output = output.map_err(|error| failed(&error.to_string()))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(failed(stderr.lines().next_back().unwrap_or("no message")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Explains how to prepare the peer, which `just peers` has not done.
    fn unprepared(&self, path: &OsStr) -> String {
        match self.absent_tools(path) {
            Some(absent) => format!("{absent}; then run `just peers`"),
            None => "it is not prepared: run `just peers`".to_owned(),
        }
    }

    /// Names the tools that are not on the PATH, and their packages. Returns `None` if there are none.
    fn absent_tools(&self, path: &OsStr) -> Option<String> {
        let absent: Vec<&Tool> = self
            .tools
            .iter()
            .filter(|tool| !is_on_path(tool.name, path))
            .collect();
        let join = |parts: Vec<&str>, separator| parts.join(separator);
        let names = join(absent.iter().map(|tool| tool.name).collect(), " and ");
        let packages = join(absent.iter().map(|tool| tool.package).collect(), " ");
        let verb = if absent.len() == 1 { "is" } else { "are" };
        (!absent.is_empty()).then(|| {
            format!("{names} {verb} not on the PATH: on Debian, apt-get install {packages}")
        })
    }

    fn command_line(&self, folder: &Path) -> Vec<OsString> {
        match self.program {
            Program::Binary(name) => vec![folder.join("bin").join(name).into()],
            Program::Python(module) => vec![
                folder.join("venv/bin/python").into(),
                // Write no bytecode into the source folder.
                "-B".into(),
                folder.join(format!("src/python/{module}.py")).into(),
            ],
        }
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

/// Returns whether a folder of `path`, which has the form of the environment variable PATH, contains the program.
pub(crate) fn is_on_path(program: &str, path: &OsStr) -> bool {
    let program = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(path).any(|folder| folder.join(&program).is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn exactly_the_missing_tools_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let tools = ["python3", "go", "curl", "wrk"];
        for missing in tools {
            for tool in tools {
                fs::write(folder.path().join(tool), "").unwrap();
            }
            fs::remove_file(folder.path().join(missing)).unwrap();
            for peer in all() {
                let is_needed = peer.tools.iter().any(|tool| tool.name == missing);
                let message = peer.unprepared(folder.path().as_os_str());
                let named: Vec<&str> = tools
                    .into_iter()
                    .filter(|tool| message.contains(&format!("{tool} is not on the PATH")))
                    .collect();
                let expected = if is_needed { vec![missing] } else { Vec::new() };
                assert_eq!(named, expected, "{}: {message}", peer.name);
                assert_eq!(message.contains("apt-get"), is_needed, "{message}");
                assert!(message.ends_with("run `just peers`"), "{message}");
            }
        }
    }

    #[test]
    fn several_missing_tools_are_named_together() {
        let wrk = find(WRK).unwrap().unprepared(OsStr::new("/nonexistent"));
        assert_eq!(
            wrk,
            "python3 and wrk are not on the PATH: on Debian, apt-get install python3 python3-venv wrk; then run \
             `just peers`"
        );
    }
}
