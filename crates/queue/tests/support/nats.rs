//! Starts a `nats-server` of its own for each test.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server, which is killed at the end of the test.
pub(crate) struct NatsServer {
    child: Child,
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
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut all = vec![
            "--jetstream".to_owned(),
            "--addr=127.0.0.1".to_owned(),
            format!("--port={port}"),
            format!("--store_dir={}", directory.path().display()),
        ];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut child = spawn(&all)?;
        wait_until_listening(port);
        // Otherwise another process took the port, and the test would talk to it.
        assert!(child.try_wait().unwrap().is_none(), "nats-server ended");
        Some(Self {
            child,
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
        self.child = spawn(&self.arguments).unwrap();
        wait_until_listening(self.port);
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[String]) -> Option<Child> {
    let program = program();
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Some(child),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}: run `just nats`", program.display());
            None
        }
    }
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("NATS_SERVER") {
        return program.into();
    }
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(default, PathBuf::from);
    let installed = target.join("nats/bin/nats-server");
    match installed.exists() {
        true => installed,
        false => "nats-server".into(),
    }
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
