//! One session for all requests, compared with a new session for each request.

use inflight::{Backend, Session, SessionBuilder};
use inflight_origin::tls::{Authority, CertificateKind};
use inflight_origin::{CpuScope, Options, Origin};

use super::contenders::owned_names;
use crate::experiment::{Effort, Execution, Experiment, Metric, Plan};
use crate::worker::fetch::{fetch_page, on_worker, page_path};
use crate::worker::measure::Meter;
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig, start_backend};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "session",
    title: "One session, or a new session for each request",
    question: "How much more does a request cost with a new session, over TCP and over TLS?",
    variable: None,
    metrics: &[
        Metric::new("wall", "time for each of sequential requests", "us"),
        Metric::new("cpu", "CPU time of the client for each request", "us"),
        Metric::new("connections", "connections for each request", ""),
    ],
    verification: "every page, byte for byte; the pages come from a server in the worker's process, and the shared server counts one page per turn",
    programs: || {
        owned_names(&[
            "tokio/hyper: one session, http",
            "tokio/hyper: a session each, http",
            "tokio/hyper: one session, https",
            "tokio/hyper: a session each, https",
            "smol/isahc: one session, http",
            "smol/isahc: a session each, http",
            "smol/isahc: one session, https",
            "smol/isahc: a session each, https",
            "async-std/surf: one session, http",
            "async-std/surf: a session each, http",
            "async-std/surf: one session, https",
            "async-std/surf: a session each, https",
            "threads/ureq: one session, http",
            "threads/ureq: a session each, http",
            "threads/ureq: one session, https",
            "threads/ureq: a session each, https",
        ])
    },
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 30,
        },
    },
    execution: Execution {
        // An iteration is a request. With fewer iterations, a single delayed request would dominate the result.
        iterations: |_, _| 300,
        includes: |effort, program, _| {
            effort == Effort::Full || program.starts_with("tokio/hyper: ")
        },
        ..Execution::new(worker)
    },
};

/// A server in the worker's process. It is needed because the test server that all workers share has no TLS.
struct Server {
    origin: Origin,
    authority: Option<Authority>,
}

impl Server {
    fn start(scheme: &str) -> Result<Self, Failure> {
        let (options, authority) = match scheme {
            "http" => (Options::default(), None),
            "https" => {
                let authority = Authority::new()?;
                let tls = authority.server(CertificateKind::Valid)?;
                let options = Options {
                    tls: Some(tls),
                    ..Options::default()
                };
                (options, Some(authority))
            }
            _ => return Err(format!("unknown scheme {scheme:?}").into()),
        };
        Ok(Self {
            origin: Origin::bind(options)?,
            authority,
        })
    }

    /// Builds a session that trusts the server's certificate.
    fn build_session(&self, builder: SessionBuilder) -> Result<Session, Failure> {
        let builder = match &self.authority {
            Some(authority) => builder.add_root_certificate(authority.pem()),
            None => builder,
        };
        Ok(builder.build()?)
    }

    /// Returns the CPU time of the server's threads in milliseconds, or 0 if it cannot be measured. The CPU
    /// time of this process includes that of the server.
    fn cpu_ms(&self) -> f64 {
        let stats = self.origin.stats();
        match stats.cpu_scope {
            CpuScope::Threads => stats.cpu.as_secs_f64() * 1e3,
            _ => 0.0,
        }
    }
}

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let unknown = || format!("unknown contender {:?}", config.contender);
    let (cell, rest) = config.contender.split_once(": ").ok_or_else(unknown)?;
    let (reuse, scheme) = rest.split_once(", ").ok_or_else(unknown)?;
    let new_session_each = match reuse {
        "one session" => false,
        "a session each" => true,
        _ => return Err(unknown().into()),
    };
    let backend = start_backend(cell.parse()?, 1)?;
    let server = Server::start(scheme)?;
    let origin = config.origin.clone();
    Ok(Box::new(move |params| {
        // One request goes to the shared test server, because the runner checks the statistics of this server.
        let shared = format!("{origin}{}", page_path(0, 0));
        on_worker(&backend, fetch_page(backend.session()?, shared, 0))?;
        server.origin.reset_stats();
        let meter = Meter::start();
        send_requests(&backend, &server, params.iterations, new_session_each)?;
        let (wall, cpu) = (meter.wall_ms(), meter.cpu_ms() - server.cpu_ms());
        let connections = server.origin.stats().connections_accepted as f64;
        let requests = params.iterations.max(1) as f64;
        let metrics = [
            ("wall", wall * 1e3 / requests),
            ("cpu", cpu.max(0.0) * 1e3 / requests),
            ("connections", connections / requests),
        ];
        Ok(Measurement::new(1, metrics))
    }))
}

/// Sends `n` sequential requests, each with a new session or all with the same session.
fn send_requests(
    backend: &Backend,
    server: &Server,
    n: u64,
    new_session_each: bool,
) -> Result<(), Failure> {
    let mut reused = None;
    for number in 0..n {
        let session = match reused.take().filter(|_| !new_session_each) {
            Some(session) => session,
            None => server.build_session(backend.builder())?,
        };
        let url = server.origin.url(&page_path(number, 0));
        on_worker(backend, fetch_page(session.clone(), url, number))?;
        reused = Some(session);
    }
    Ok(())
}
