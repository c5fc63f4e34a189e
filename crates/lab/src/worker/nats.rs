//! Starts nats-server for the experiment with a queue.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use inflight_queue::{Connect, Server};

use super::Failure;
use crate::peers;

/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server with a folder of its own. It ends with this value, and with this process.
pub(crate) struct NatsServer {
    /// A shell that ends the server when its input ends, also if this process is killed.
    shell: Child,
    folder: PathBuf,
    port: u16,
}

impl NatsServer {
    pub(crate) fn start() -> Result<Self, Failure> {
        let program = program().ok_or_else(missing_message)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = std::env::temp_dir().join(format!("inflight-lab-nats-{port}"));
        fs::create_dir_all(&folder)?;
        let script = "\"$1\" --jetstream --addr 127.0.0.1 --port \"$2\" --store_dir \"$3\" --pid \"$3/pid\" & \
            read -r line; kill $!; wait $!; rm -rf \"$3\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .arg(program)
            .arg(port.to_string())
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self {
            shell: command.spawn()?,
            folder,
            port,
        })
    }

    /// Connects as soon as the server listens.
    pub(crate) async fn connect(&self) -> Result<Server, Failure> {
        let started = Instant::now();
        loop {
            let connect = Connect {
                servers: vec![format!("nats://127.0.0.1:{}", self.port)],
                ..Connect::default()
            };
            match Server::connect(connect).await {
                Ok(server) => return Ok(server),
                Err(error) if started.elapsed() > START_TIMEOUT => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Returns the CPU time of the server so far in milliseconds.
    pub(crate) fn cpu_ms(&self) -> Result<f64, Failure> {
        let pid = fs::read_to_string(self.folder.join("pid"))?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()))?;
        // The name of the program is in parentheses, and may contain spaces. The 12th and the 13th field after it are
        // the times in user and kernel mode (proc_pid_stat(5)).
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse);
        let ticks: f64 = ticks.collect::<Result<Vec<f64>, _>>()?.iter().sum();
        Ok(ticks * 1e3 / ticks_per_second())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell ends when the server has ended.
        let _ = self.shell.wait();
    }
}

#[cfg(unix)]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(not(unix))]
fn ticks_per_second() -> f64 {
    1.0
}

/// Explains that there is no nats-server. Returns `None` if there is one.
pub(crate) fn missing() -> Option<String> {
    program().is_none().then(missing_message)
}

fn missing_message() -> String {
    "nats-server is not on the PATH: run `just nats`".to_owned()
}

/// Returns the server that `just nats` has installed in the target folder, or the name of the one on the PATH.
fn program() -> Option<PathBuf> {
    let here = std::env::current_exe().unwrap_or_default();
    let mut folders = here.ancestors();
    let installed = folders.find_map(|folder: &Path| {
        let program = folder.join("nats/bin/nats-server");
        program.exists().then_some(program)
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    installed
        .or_else(|| peers::is_on_path("nats-server", &path).then(|| PathBuf::from("nats-server")))
}
