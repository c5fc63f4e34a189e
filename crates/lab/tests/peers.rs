//! Tests that each installed peer, which is a worker in another language, follows the protocol and verifies
//! responses.
#![allow(clippy::print_stderr, reason = "reports peers that are not installed")]

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use inflight_lab::experiments;
use inflight_lab::peers::{self, Peer};
use inflight_lab::process::{MeasureError, Worker};
use inflight_lab::worker::{Measurement, Parameters};
use inflight_origin::Origin;

/// The timeout of a turn. No turn of these tests takes this long.
const TIMEOUT: Duration = Duration::from_secs(60);

const SMALL: Parameters = Parameters {
    x: 3.0,
    iterations: 2,
};

/// Calls `check` with the command line of each installed peer in each of its experiments.
fn for_each_command(origin: &str, check: impl Fn(&Peer, &str, &[OsString])) {
    for peer in peers::all() {
        if let Err(reason) = peer.version() {
            eprintln!("SKIPPED: peer {}: {reason}", peer.name);
            continue;
        }
        for experiment in experiments::all() {
            if let Some(work) = experiment.peer_arguments(peer.name) {
                let line = peer.worker_command(&work, origin).unwrap();
                check(peer, experiment.name, &line);
            }
        }
    }
}

fn for_each_worker(origin: &str, check: impl Fn(&Peer, &str, Worker)) {
    for_each_command(origin, |peer, experiment, line| {
        check(peer, experiment, Worker::start(line).unwrap());
    });
}

fn run_turn(worker: &mut Worker) -> Result<Measurement, MeasureError> {
    worker.measure(SMALL, TIMEOUT, &|| false)
}

#[test]
fn a_peer_reports_every_metric_of_its_experiment() {
    let origin = Origin::start().unwrap();
    for_each_worker(&origin.url(""), |peer, experiment, mut worker| {
        let context = format!("{} in {experiment}", peer.name);
        for _ in 0..2 {
            origin.reset_stats();
            let measurement =
                run_turn(&mut worker).unwrap_or_else(|error| panic!("{context}: {error:?}"));
            let metrics = experiments::find(experiment).unwrap().worker_metrics();
            let expected: Vec<_> = metrics.map(|metric| metric.name).collect();
            let mut reported: Vec<_> = measurement.metrics.keys().map(String::as_str).collect();
            reported.sort_by_key(|name| expected.iter().position(|metric| metric == name));
            assert_eq!(reported, expected, "{context}");
            assert!(
                measurement.metrics.values().all(|value| *value > 0.0),
                "{context}: {measurement:?}"
            );
            assert!(measurement.answered >= 2, "{context}: {measurement:?}");
            // The origin can receive more requests than the peer reports: the script `wrk_ceiling` sends one
            // request of its own, and wrk stops before its last requests are complete.
            assert!(
                origin.stats().requests >= measurement.answered,
                "{context}: {measurement:?}"
            );
        }
    });
}

/// The path `/anything` responds with status 200 and a wrong body, and `/not-there` with an error status.
#[test]
fn a_peer_exits_with_a_reason_on_a_wrong_response() {
    let origin = Origin::start().unwrap();
    for wrong in ["/anything", "/not-there"] {
        for_each_worker(&origin.url(wrong), |peer, experiment, mut worker| {
            let context = format!("{} in {experiment} of {wrong}", peer.name);
            match run_turn(&mut worker) {
                Err(MeasureError::Failed(reason)) => {
                    assert!(!reason.contains("without an answer"), "{context}: {reason}");
                }
                other => panic!("{context}: {other:?}"),
            }
        });
    }
}

/// A peer that prints warnings on exit could block on a full pipe.
#[test]
fn a_peer_exits_silently_when_its_input_ends() {
    let origin = Origin::start().unwrap();
    for_each_command(&origin.url(""), |peer, experiment, line| {
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{}", serde_json::to_string(&SMALL).unwrap()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let context = format!("{} in {experiment}", peer.name);
        assert!(output.status.success(), "{context}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{context}");
        assert_eq!(
            output.stdout.iter().filter(|byte| **byte == b'\n').count(),
            1,
            "{context}"
        );
    });
}

#[test]
fn the_environment_has_the_version_of_each_peer_or_absent() {
    let entries: Vec<_> = peers::environment().collect();
    assert_eq!(entries.len(), peers::all().len());
    for ((key, value), peer) in entries.iter().zip(peers::all()) {
        assert_eq!(*key, format!("peer.{}", peer.name));
        match peer.version() {
            Ok(version) => assert_eq!(*value, version),
            Err(reason) => {
                assert_eq!(value, "absent");
                assert!(
                    reason.contains("not on the PATH") || reason.contains("`just peers`"),
                    "{reason}"
                );
            }
        }
    }
}
