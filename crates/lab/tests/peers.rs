//! Each peer that is present keeps to the protocol, and checks what it gets.
#![allow(clippy::print_stderr, reason = "a peer that is not there is told")]

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use inflight_lab::experiments;
use inflight_lab::peers::{self, Peer};
use inflight_lab::process::{NoAnswer, Worker};
use inflight_lab::worker::{Answer, Ask, Setup};
use inflight_origin::Origin;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const LITTLE: Ask = Ask {
    x: 3.0,
    iterations: 2,
};

/// The command line of each peer that is present, in each experiment it takes part in.
fn every_line(origin: &str, check: impl Fn(&Peer, &str, &[OsString])) {
    for peer in peers::all() {
        if let Err(reason) = peer.version() {
            eprintln!("SKIPPED: peer {}: {reason}", peer.name);
            continue;
        }
        for experiment in experiments::all() {
            if !peers::of(experiment.name).any(|name| name == peer.name) {
                continue;
            }
            let setup = Setup {
                experiment: experiment.name.to_owned(),
                contender: peer.name.to_owned(),
                origin: origin.to_owned(),
            };
            let line = peers::command(&setup).unwrap().unwrap();
            check(peer, experiment.name, &line);
        }
    }
}

fn every_worker(origin: &str, check: impl Fn(&Peer, &str, Worker)) {
    every_line(origin, |peer, experiment, line| {
        check(peer, experiment, Worker::start(line).unwrap());
    });
}

fn turn(worker: &mut Worker) -> Result<Answer, NoAnswer> {
    worker.turn(LITTLE, PATIENCE, &|| false)
}

#[test]
fn a_peer_answers_every_turn_with_every_metric_of_its_experiment() {
    let origin = Origin::start().unwrap();
    every_worker(&origin.url(""), |peer, experiment, mut worker| {
        let who = format!("{} in {experiment}", peer.name);
        for _ in 0..2 {
            origin.reset_stats();
            let answer = turn(&mut worker).unwrap_or_else(|error| panic!("{who}: {error:?}"));
            let metrics = experiments::find(experiment).unwrap().of_worker();
            let expected: Vec<_> = metrics.map(|metric| metric.name).collect();
            let mut told: Vec<_> = answer.metrics.keys().map(String::as_str).collect();
            told.sort_by_key(|name| expected.iter().position(|metric| metric == name));
            assert_eq!(told, expected, "{who}");
            assert!(
                answer.metrics.values().all(|value| *value > 0.0),
                "{who}: {answer:?}"
            );
            assert!(answer.answered >= 2, "{who}: {answer:?}");
            // wrk looks at one answer beside those it counts, and is cut off in the last of them.
            assert!(
                origin.stats().requests >= answer.answered,
                "{who}: {answer:?}"
            );
        }
    });
}

/// A path that answers every request with 200 and something else, and one that has no page at all.
#[test]
fn a_wrong_answer_ends_a_peer_and_is_told() {
    let origin = Origin::start().unwrap();
    for wrong in ["/anything", "/not-there"] {
        every_worker(&origin.url(wrong), |peer, experiment, mut worker| {
            let who = format!("{} in {experiment} of {wrong}", peer.name);
            match turn(&mut worker) {
                Err(NoAnswer::Failed(reason)) => {
                    assert!(!reason.contains("without an answer"), "{who}: {reason}");
                }
                other => panic!("{who}: {other:?}"),
            }
        });
    }
}

/// What complains of each connection that it leaves open would wait for somebody to read it all.
#[test]
fn a_peer_ends_with_its_input_and_without_a_word() {
    let origin = Origin::start().unwrap();
    every_line(&origin.url(""), |peer, experiment, line| {
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{}", serde_json::to_string(&LITTLE).unwrap()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let who = format!("{} in {experiment}", peer.name);
        assert!(output.status.success(), "{who}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{who}");
        assert_eq!(
            output.stdout.iter().filter(|byte| **byte == b'\n').count(),
            1,
            "{who}"
        );
    });
}

#[test]
fn what_a_record_says_of_the_peers_is_their_version_or_that_they_are_absent() {
    let said: Vec<_> = peers::environment().collect();
    assert_eq!(said.len(), peers::all().len());
    for ((key, value), peer) in said.iter().zip(peers::all()) {
        assert_eq!(*key, format!("peer.{}", peer.name));
        match peer.version() {
            Ok(version) => assert_eq!(*value, version),
            Err(reason) => {
                assert_eq!(value, "absent");
                assert!(reason.starts_with("not present: "), "{reason}");
            }
        }
    }
}
