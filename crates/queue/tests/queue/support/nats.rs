//! Starts a `nats-server` of its own for each test.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server, which is killed at the end of the test.
pub(crate) struct NatsServer {
    child: Child,
    program: PathBuf,
    port: u16,
    arguments: Vec<String>,
    _directory: tempfile::TempDir,
}

impl NatsServer {
    /// Starts the server that `NATS_SERVER` names, the one that `just nats` has installed, or the one on the PATH, and
    /// waits until it accepts connections.
    ///
    /// Returns `None`, with a message, if there is none.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_program(program(), arguments)
    }

    /// Starts another program than [`start`](Self::start).
    pub(crate) fn start_program(program: PathBuf, arguments: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut all = vec![
            "--jetstream".to_owned(),
            "--addr=127.0.0.1".to_owned(),
            format!("--port={port}"),
            format!("--store_dir={}", directory.path().display()),
        ];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut child = spawn(&program, &all)?;
        wait_until_listening(port);
        // Otherwise another process took the port, and the test would talk to it.
        assert!(child.try_wait().unwrap().is_none(), "nats-server ended");
        Some(Self {
            child,
            program,
            port,
            arguments: all,
            _directory: directory,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills the server.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills the server, unless it is killed, and starts it again with the same files.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = spawn(&self.program, &self.arguments).unwrap();
        wait_until_listening(self.port);
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a port that no process listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a program. Without it, the test is skipped, unless `NATS_REQUIRED` is set.
fn spawn(program: &Path, arguments: &[String]) -> Option<Child> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Some(child),
        Err(error) => {
            let message = format!("{}: {error}: run `just nats`", program.display());
            assert!(std::env::var_os("NATS_REQUIRED").is_none(), "{message}");
            eprintln!("SKIPPED: {message}");
            None
        }
    }
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("NATS_SERVER") {
        return program.into();
    }
    let installed = installed("nats");
    match installed.exists() {
        true => installed,
        false => "nats-server".into(),
    }
}

/// Returns the program that `just nats` installs in a folder of the target folder.
pub(crate) fn installed(folder: &str) -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(default, PathBuf::from);
    target.join(folder).join("bin/nats-server")
}

/// Waits until the server accepts connections. Panics if it does not.
fn wait_until_listening(port: u16) {
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "nats-server does not listen"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
