//! Each of our own workers, as a process, on work that is as small as can be.
#![allow(
    clippy::print_stderr,
    reason = "an experiment that cannot be done is told"
)]

use std::ffi::OsString;
use std::time::Duration;

use inflight_lab::experiment::Experiment;
use inflight_lab::experiments;
use inflight_lab::peers;
use inflight_lab::process::{NoAnswer, Worker};
use inflight_lab::worker::{Answer, Ask, Setup};
use inflight_origin::Origin;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn turn(
    experiment: &Experiment,
    program: &str,
    origin: &str,
    ask: Ask,
) -> Result<Answer, NoAnswer> {
    let setup = Setup {
        experiment: experiment.name.to_owned(),
        contender: program.to_owned(),
        origin: origin.to_owned(),
    };
    let mut line = vec![
        OsString::from(env!("CARGO_BIN_EXE_inflight-lab-process")),
        "worker".into(),
    ];
    line.extend(setup.to_args().map(OsString::from));
    Worker::start(&line).unwrap().turn(ask, PATIENCE, &|| false)
}

/// The programs of an experiment that are our own.
fn ours(experiment: &Experiment) -> Vec<String> {
    let peers: Vec<_> = peers::of(experiment.name).collect();
    let mut programs: Vec<String> = (experiment.contenders)()
        .into_iter()
        .map(|contender| contender.program)
        .filter(|program| !peers.contains(&&**program))
        .collect();
    programs.sort();
    programs.dedup();
    programs
}

fn little(experiment: &Experiment) -> Ask {
    Ask {
        x: match experiment.name {
            // It is a limit: the least work is without one.
            "bounded" => 512.0,
            _ => 1.0,
        },
        iterations: 1,
    }
}

#[test]
fn every_contender_answers_with_every_metric_of_its_experiment() {
    let origin = Origin::start().unwrap();
    let base = origin.url("");
    std::thread::scope(|scope| {
        for experiment in experiments::all() {
            if let Some(reason) = experiment.absent() {
                eprintln!("SKIPPED: {}: {reason}", experiment.name);
                continue;
            }
            let (origin, base) = (&origin, &base);
            scope.spawn(move || {
                for program in ours(experiment) {
                    let who = format!("{}, {program}", experiment.name);
                    let answer = turn(experiment, &program, base, little(experiment));
                    let answer = answer.unwrap_or_else(|no| panic!("{who}: {no:?}"));
                    let sets = match experiment.work.trace {
                        true => answer
                            .trace
                            .into_iter()
                            .map(|point| point.metrics)
                            .collect(),
                        false => vec![answer.metrics],
                    };
                    assert!(!sets.is_empty(), "{who}");
                    for metrics in sets {
                        let mut names: Vec<_> =
                            experiment.of_worker().map(|metric| metric.name).collect();
                        names.sort_unstable();
                        assert!(metrics.keys().eq(&names), "{who}: {metrics:?}");
                    }
                    assert!(answer.answered <= origin.stats().requests, "{who}");
                }
            });
        }
    });
}

#[test]
fn a_wrong_answer_ends_a_worker_with_its_reason() {
    let origin = Origin::start().unwrap();
    // Below this path every page is another one.
    let base = origin.url("/anything");
    std::thread::scope(|scope| {
        for experiment in experiments::all() {
            let base = &base;
            scope.spawn(move || {
                // Those who fetch nothing cannot be told anything wrong.
                let idle = |program: &String| program.ends_with("idle");
                for program in ours(experiment).into_iter().filter(|one| !idle(one)) {
                    match turn(experiment, &program, base, little(experiment)) {
                        Err(NoAnswer::Failed(reason)) => assert_ne!(reason, "", "{program}"),
                        other => panic!("{}, {program}: {other:?}", experiment.name),
                    }
                }
            });
        }
    });
}

#[test]
fn an_experiment_or_a_contender_that_is_not_there_is_told() {
    let gather = experiments::find("gather").unwrap();
    let nowhere = "http://127.0.0.1:9";
    let unknown = Experiment {
        name: "weather",
        ..*gather
    };
    for (experiment, program, word) in [
        (gather, "tokio/curl", "unknown backend"),
        (&unknown, "tokio/hyper", "no experiment"),
    ] {
        match turn(experiment, program, nowhere, little(experiment)) {
            Err(NoAnswer::Failed(reason)) => assert!(reason.contains(word), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
