//! One session for all requests, or a new one for each.

use inflight::{Backend, Session, SessionBuilder};
use inflight_origin::tls::{Authority, Shown};
use inflight_origin::{CpuScope, Options, Origin};

use super::{named, with_again};
use crate::experiment::{Better, Effort, Experiment, Metric, Plan, Work};
use crate::worker::fetch::{on_worker, page, page_path};
use crate::worker::measure::Meter;
use crate::worker::{Answer, Failure, Setup, Turn, start};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "session",
    title: "One session, or a new one for each request",
    question: "What does a request cost whose session is made for it alone, over TCP and over TLS?",
    variable: None,
    metrics: &[
        Metric {
            name: "wall",
            what: "time for each request, one after the other",
            unit: "us",
            better: Better::Lower,
            limit: None,
        },
        Metric {
            name: "cpu",
            what: "CPU time of the client for each request",
            unit: "us",
            better: Better::Lower,
            limit: None,
        },
        Metric {
            name: "connections",
            what: "connections for each request",
            unit: "",
            better: Better::Lower,
            limit: None,
        },
    ],
    verified: "every page, byte for byte; they are of a server beside the worker, so that of each turn only the one page of the shared server is counted",
    contenders: || {
        with_again(named(&[
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
        ]))
    },
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 30,
        },
    },
    work: Work {
        // An iteration is a request. With fewer, one that the system delays would decide.
        iterations: |_, _| 300,
        takes: |effort, program, _| effort == Effort::Full || program.starts_with("tokio/hyper: "),
        about: |_, _| 120.0,
        ..Work::of(worker)
    },
};

/// A server of the worker's own, as the one that all share has no TLS.
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
                let tls = authority.server(Shown::Valid)?;
                (Options::default().with_tls(tls), Some(authority))
            }
            _ => return Err(format!("no scheme is named {scheme:?}").into()),
        };
        Ok(Self {
            origin: Origin::bind(options)?,
            authority,
        })
    }

    /// A session that trusts it.
    fn trusted(&self, builder: SessionBuilder) -> Result<Session, Failure> {
        let builder = match &self.authority {
            Some(authority) => builder.add_root_certificate(authority.pem()),
            None => builder,
        };
        Ok(builder.build()?)
    }

    /// The CPU time of its threads, in milliseconds, which are in this process.
    fn cpu_ms(&self) -> f64 {
        let stats = self.origin.stats();
        match stats.cpu_scope {
            CpuScope::Threads => stats.cpu.as_secs_f64() * 1e3,
            _ => 0.0,
        }
    }
}

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let unknown = || format!("session has no {:?}", setup.contender);
    let (cell, rest) = setup.contender.split_once(": ").ok_or_else(unknown)?;
    let (how, scheme) = rest.split_once(", ").ok_or_else(unknown)?;
    let each = match how {
        "one session" => false,
        "a session each" => true,
        _ => return Err(unknown().into()),
    };
    let backend = start(cell.parse()?, 1)?;
    let server = Server::start(scheme)?;
    let origin = setup.origin.clone();
    Ok(Box::new(move |ask| {
        // The server that all share has one request, and counts no other.
        let shared = format!("{origin}{}", page_path(0, 0));
        on_worker(&backend, page(backend.session()?, shared, 0))?;
        server.origin.reset_stats();
        let meter = Meter::start();
        requests(&backend, &server, ask.iterations, each)?;
        let (wall, cpu) = (meter.wall_ms(), meter.cpu_ms() - server.cpu_ms());
        let connections = server.origin.stats().connections_accepted as f64;
        let each = ask.iterations.max(1) as f64;
        let metrics = [
            ("wall", wall * 1e3 / each),
            ("cpu", cpu.max(0.0) * 1e3 / each),
            ("connections", connections / each),
        ];
        Ok(Answer::of(1, metrics))
    }))
}

/// One after the other, each with a session of its own or all with one that is made first.
fn requests(backend: &Backend, server: &Server, n: u64, each: bool) -> Result<(), Failure> {
    let mut one = None;
    for number in 0..n {
        let session = match one.take().filter(|_| !each) {
            Some(session) => session,
            None => server.trusted(backend.builder())?,
        };
        let url = server.origin.url(&page_path(number, 0));
        on_worker(backend, page(session.clone(), url, number))?;
        one = Some(session);
    }
    Ok(())
}
