//! The processes of a measurement: the origin, which is the test server, and the workers, each of which
//! measures one contender. A process exits when its standard input closes, so it does not outlive the
//! process that started it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use inflight::blocking;
use inflight_origin::{Options, Origin, Stats};

use crate::experiment::Requirement;
use crate::worker::{Failure, Measurement, Parameters, WorkerConfig};
use crate::{experiments, peers, worker_loop};

/// The command lines of the processes.
#[derive(Clone, Debug)]
pub struct CommandLines {
    /// The origin, a program that calls [`serve_origin`].
    pub origin: Vec<OsString>,
    /// The worker, without the arguments of [`WorkerConfig::to_args`].
    pub worker: Vec<OsString>,
    /// A worker with a counting allocator, if there is one.
    pub counting: Option<Vec<OsString>>,
}

/// The name of the program with a counting allocator. It is in the same folder as the main program.
pub const COUNTING_WORKER: &str = "inflight-lab-process";

impl CommandLines {
    /// Returns the command line of a contender's worker. The contender may be a peer, which is a worker in
    /// another language.
    ///
    /// # Errors
    ///
    /// Returns the reason if there is no such experiment, or if a peer or a requirement is missing.
    pub fn worker_command(&self, config: &WorkerConfig) -> Result<Vec<OsString>, String> {
        let experiment = experiments::find(&config.experiment)
            .ok_or_else(|| format!("there is no experiment {:?}", config.experiment))?;
        if let Some(peer) = peers::find(&config.contender) {
            let work = experiment
                .peer_arguments(peer.name)
                .ok_or_else(|| format!("{} takes no part in {}", peer.name, experiment.name))?;
            return peer.worker_command(&work, &config.origin);
        }
        if let Some(reason) = experiment.missing_requirement() {
            return Err(reason);
        }
        let mut line = match experiment.execution.requires {
            Some(Requirement::CountingAllocator) => {
                let missing = format!(
                    "there is no {COUNTING_WORKER} in the folder of this program: run `cargo build --release -p inflight-lab`"
                );
                self.counting.clone().ok_or(missing)?
            }
            _ => self.worker.clone(),
        };
        line.extend(config.to_args().map(OsString::from));
        Ok(line)
    }
}

/// Runs the origin on a free port until the input ends. Writes the origin's URL to the output.
///
/// # Errors
///
/// If listening or writing fails.
pub fn serve_origin(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    inflight_origin::raise_file_limit()?;
    let origin = Origin::bind(Options::default())?;
    writeln!(output, "{LISTENING}{}", origin.url(""))?;
    output.flush()?;
    io::copy(&mut input, &mut io::sink())?;
    Ok(())
}

/// Runs the origin or a worker on standard input and output. The first argument is `origin`, or
/// `worker` followed by the arguments of [`WorkerConfig::from_args`].
///
/// # Errors
///
/// The errors of [`serve_origin`] and [`worker_loop::serve`]. Also if the first argument is neither `origin`
/// nor `worker`.
pub fn main(args: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let (input, output) = (io::stdin().lock(), io::stdout().lock());
    let mut args = args.into_iter();
    match args.next().as_deref() {
        Some("origin") => Ok(serve_origin(input, output)?),
        Some("worker") => worker_loop::serve(&WorkerConfig::from_args(args)?, input, output),
        _ => Err("the first argument must be `origin` or `worker`".into()),
    }
}

const LISTENING: &str = "listening on ";

/// The origin in its own process, so that its CPU time is not counted as the client's.
pub struct OriginProcess {
    process: Process,
    base: String,
    session: blocking::Session,
}

impl OriginProcess {
    /// Starts the origin and waits until it listens.
    ///
    /// # Errors
    ///
    /// If the process does not start, or does not print its URL.
    pub fn start(command_line: &[OsString]) -> io::Result<Self> {
        let process = Process::start(command_line)?;
        let first_line = process.read_line(Duration::from_secs(30), &|| false)?;
        let base = first_line
            .strip_prefix(LISTENING)
            .ok_or_else(|| io::Error::other(format!("the origin printed {first_line:?}")))?
            .to_owned();
        Ok(Self {
            process,
            base,
            session: blocking::Session::new().map_err(io::Error::other)?,
        })
    }

    /// Returns the origin's URL, without a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the ID of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.child.id()
    }

    /// Resets the origin's statistics.
    ///
    /// # Errors
    ///
    /// If the origin does not respond.
    pub fn reset(&self) -> io::Result<()> {
        let request = self.session.post(format!("{}/stats/reset", self.base));
        self.request_stats(request).map(drop)
    }

    /// Returns the origin's statistics.
    ///
    /// # Errors
    ///
    /// If the origin does not respond.
    pub fn stats(&self) -> io::Result<Stats> {
        self.request_stats(self.session.get(format!("{}/stats", self.base)))
    }

    fn request_stats(&self, request: blocking::RequestBuilder) -> io::Result<Stats> {
        let stats = request.send().and_then(|response| response.json());
        stats.map_err(|error| {
            let stderr = self.process.stderr();
            io::Error::other(format!("the origin does not respond: {error} {stderr}"))
        })
    }
}

/// A worker process.
pub struct Worker(Process);

/// An error of [`Worker::measure`].
#[derive(Debug)]
pub enum MeasureError {
    /// The worker failed, for example because the server sent a wrong response. Contains the reason.
    Failed(String),
    /// The caller interrupted the turn.
    Interrupted,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    ///
    /// If the process does not start.
    pub fn start(command_line: &[OsString]) -> io::Result<Self> {
        Process::start(command_line).map(Self)
    }

    /// Returns the ID of the process.
    pub(crate) fn id(&self) -> u32 {
        self.0.child.id()
    }

    /// Runs one turn and returns its measurement. Calls `interrupted` regularly.
    ///
    /// # Errors
    ///
    /// If the worker exits, prints no measurement or takes longer than `timeout`, or if `interrupted`
    /// returns `true`.
    pub fn measure(
        &mut self,
        params: Parameters,
        timeout: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Measurement, MeasureError> {
        let failed = |process: &Process, error: &dyn std::fmt::Display| {
            MeasureError::Failed(process.stderr_or(error))
        };
        let line = serde_json::to_string(&params).map_err(|error| failed(&self.0, &error))?;
        // If the worker has exited, `read_line` fails, and the error shows the worker's standard error.
        let _ = self.0.write_line(&line);
        match self.0.read_line(timeout, interrupted) {
            Ok(line) => serde_json::from_str(&line)
                .map_err(|error| failed(&self.0, &format_args!("{error}: {line}"))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                Err(MeasureError::Interrupted)
            }
            Err(error) => Err(failed(&self.0, &error)),
        }
    }
}

/// How many of the last lines of standard error are kept.
const STDERR_LINES: usize = 20;

/// The interval of the checks for an interruption.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<io::Result<String>>,
    errors: Arc<Mutex<VecDeque<String>>>,
    stderr_closed: Receiver<()>,
}

impl Process {
    fn start(command_line: &[OsString]) -> io::Result<Self> {
        let (program, args) = command_line
            .split_first()
            .ok_or_else(|| io::Error::other("no program to start"))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C in the terminal must reach only the parent, which then stops the child.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", program.display()))
        })?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines() {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let (closed, stderr_closed) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            let errors = errors.clone();
            thread::spawn(move || {
                let _closed: mpsc::Sender<()> = closed;
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
                    errors.push_back(line);
                    if errors.len() > STDERR_LINES {
                        errors.pop_front();
                    }
                }
            });
        }
        Ok(Self {
            input: child.stdin.take(),
            child,
            lines,
            errors,
            stderr_closed,
        })
    }

    fn write_line(&mut self, line: &str) -> io::Result<()> {
        match &mut self.input {
            // One call writes the whole line, so that the worker never reads half of it.
            Some(input) => input.write_all(format!("{line}\n").as_bytes()),
            None => Ok(()),
        }
    }

    fn read_line(&self, timeout: Duration, interrupted: &dyn Fn() -> bool) -> io::Result<String> {
        let until = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(POLL_INTERVAL) {
                Ok(line) => return line,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the process exited without an answer"));
                }
                Err(RecvTimeoutError::Timeout) if interrupted() => {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= until => {
                    return Err(io::Error::other(format!("no answer within {timeout:?}")));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Returns the output on standard error. It is complete if the process has exited.
    fn stderr(&self) -> String {
        let _ = self.stderr_closed.recv_timeout(POLL_INTERVAL);
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn stderr_or(&self, error: &dyn std::fmt::Display) -> String {
        let stderr = self.stderr();
        if stderr.is_empty() {
            error.to_string()
        } else {
            stderr
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
