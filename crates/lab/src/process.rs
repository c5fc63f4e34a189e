//! The processes of a measurement: the origin and the workers. None outlives who started it: each
//! ends with its standard input.

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

use crate::experiment::{Experiment, Need};
use crate::worker::{self, Answer, Ask, Failure, Setup};
use crate::{experiments, peers};

/// What the processes are, as command lines.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Serves as [`serve_origin`] does.
    pub origin: Vec<OsString>,
    /// Our own worker; [`Setup::to_args`] comes after it.
    pub worker: Vec<OsString>,
    /// The same with an allocator that counts, where there is one.
    pub counting: Option<Vec<OsString>>,
}

/// The program with an allocator that counts, to be found beside the others.
pub const COUNTING: &str = "inflight-lab-process";

impl Programs {
    /// The command line of a contender's worker, ours or a peer's.
    ///
    /// # Errors
    ///
    /// Why a peer is not there.
    pub fn of(&self, setup: &Setup) -> Result<Vec<OsString>, String> {
        peers::command(setup).unwrap_or_else(|| {
            let experiment = experiments::find(&setup.experiment);
            if let Some(reason) = experiment.and_then(Experiment::absent) {
                return Err(reason.to_owned());
            }
            let needs = experiment.and_then(|experiment| experiment.work.needs);
            let mut line = if needs == Some(Need::Allocator) {
                let none = format!("needs {COUNTING} beside this program");
                self.counting.clone().ok_or(none)?
            } else {
                self.worker.clone()
            };
            line.extend(setup.to_args().map(OsString::from));
            Ok(line)
        })
    }
}

/// Serves on a free port until the input ends; says where on the output.
///
/// # Errors
///
/// When it cannot listen or write.
pub fn serve_origin(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    inflight_origin::raise_file_limit()?;
    let origin = Origin::bind(Options::default())?;
    writeln!(output, "{LISTENING}{}", origin.url(""))?;
    output.flush()?;
    io::copy(&mut input, &mut io::sink())?;
    Ok(())
}

/// A program that is nothing but the processes of a measurement: `origin`, or `worker` with the
/// arguments of [`Setup::from_args`], on standard input and output.
///
/// # Errors
///
/// As those two, and for any other argument.
pub fn main(args: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let (input, output) = (io::stdin().lock(), io::stdout().lock());
    let mut args = args.into_iter();
    match args.next().as_deref() {
        Some("origin") => Ok(serve_origin(input, output)?),
        Some("worker") => worker::serve(&Setup::from_args(args)?, input, output),
        _ => Err("either `origin` or `worker`".into()),
    }
}

const LISTENING: &str = "listening on ";

/// The origin in a process of its own, so that its work is not counted as the client's.
pub struct OriginProcess {
    process: Process,
    base: String,
    session: blocking::Session,
}

impl OriginProcess {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it does not start, or says something else than where it listens.
    pub fn start(line: &[OsString]) -> io::Result<Self> {
        let process = Process::start(line)?;
        let said = process.read(Duration::from_secs(30), &|| false)?;
        let base = said
            .strip_prefix(LISTENING)
            .ok_or_else(|| io::Error::other(format!("the origin said {said:?}")))?
            .to_owned();
        Ok(Self {
            process,
            base,
            session: blocking::Session::new().map_err(io::Error::other)?,
        })
    }

    /// Its URL, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Begins to count anew.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn reset(&self) -> io::Result<()> {
        let request = self.session.post(format!("{}/stats/reset", self.base));
        self.answered(request).map(drop)
    }

    /// What it has counted.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn stats(&self) -> io::Result<Stats> {
        self.answered(self.session.get(format!("{}/stats", self.base)))
    }

    fn answered(&self, request: blocking::RequestBuilder) -> io::Result<Stats> {
        let stats = request.send().and_then(|response| response.json());
        stats.map_err(|error| {
            let said = self.process.complaint();
            io::Error::other(format!("the origin does not answer: {error} {said}"))
        })
    }
}

/// A worker.
pub struct Worker(Process);

/// Why there is no answer to a turn.
#[derive(Debug)]
pub enum NoAnswer {
    /// The worker failed; a wrong answer of the server ends it, and this says so.
    Failed(String),
    /// The caller did not want to wait for it.
    Interrupted,
}

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(line: &[OsString]) -> io::Result<Self> {
        Process::start(line).map(Self)
    }

    /// Has a turn done.
    ///
    /// # Errors
    ///
    /// When it ended, answered something else, took longer than `patience`, or `interrupted`
    /// said so, which is asked now and then.
    pub fn turn(
        &mut self,
        ask: Ask,
        patience: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Answer, NoAnswer> {
        let failed = |process: &Process, error: &dyn std::fmt::Display| {
            NoAnswer::Failed(process.complaint_or(error))
        };
        let line = serde_json::to_string(&ask).map_err(|error| failed(&self.0, &error))?;
        // One that has ended is told by what it said on its way.
        let _ = self.0.write(&line);
        match self.0.read(patience, interrupted) {
            Ok(line) => serde_json::from_str(&line)
                .map_err(|error| failed(&self.0, &format_args!("{error}: {line}"))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(NoAnswer::Interrupted),
            Err(error) => Err(failed(&self.0, &error)),
        }
    }
}

/// How much of what a process says on standard error is kept: its end.
const LINES: usize = 20;

/// How often one looks whether to go on waiting.
const LOOK: Duration = Duration::from_millis(50);

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<io::Result<String>>,
    errors: Arc<Mutex<VecDeque<String>>>,
    complained: Receiver<()>,
}

impl Process {
    fn start(line: &[OsString]) -> io::Result<Self> {
        let (program, args) = line
            .split_first()
            .ok_or_else(|| io::Error::other("no program to start"))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A Ctrl-C in the terminal is for who started it, who ends it in order.
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
        let (over, complained) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            let errors = errors.clone();
            thread::spawn(move || {
                let _over: mpsc::Sender<()> = over;
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
                    errors.push_back(line);
                    if errors.len() > LINES {
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
            complained,
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        match &mut self.input {
            // In one call, so that no half of a line wakes the worker.
            Some(input) => input.write_all(format!("{line}\n").as_bytes()),
            None => Ok(()),
        }
    }

    fn read(&self, patience: Duration, interrupted: &dyn Fn() -> bool) -> io::Result<String> {
        let until = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => return line,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("it ended without an answer"));
                }
                Err(RecvTimeoutError::Timeout) if interrupted() => {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= until => {
                    return Err(io::Error::other(format!("no answer within {patience:?}")));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// What it said on standard error: all of it, if it has ended.
    fn complaint(&self) -> String {
        let _ = self.complained.recv_timeout(LOOK);
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn complaint_or(&self, error: &dyn std::fmt::Display) -> String {
        let said = self.complaint();
        if said.is_empty() {
            error.to_string()
        } else {
            said
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
