//! Checks that a backend is chosen only if the records of every machine show that it needs the least.

use std::process::ExitCode;

use inflight_exercises::{Reason, Verdict, require, run};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "the values of tokio/hyper reach from 10 to 30, and those of smol/hyper from 20 to 24: the \
    intervals overlap, so the records cannot tell, and the function chose tokio/hyper";

/// What a program needs.
#[derive(Debug)]
pub struct Requirements {
    /// The backends that have every feature that the program needs.
    pub candidates: &'static [&'static str],
    /// The metric to compare. Less is better.
    pub metric: &'static str,
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This backend needs less than each other candidate on every machine.
    Backend(String),
    /// The records do not show that one backend needs the least.
    CannotTell,
}

/// A turn: a backend, a metric, a value, and why the turn was discarded.
type Turn = (&'static str, &'static str, f64, &'static str);

/// Records, and what they show.
struct Case {
    candidates: &'static [&'static str],
    machines: Vec<Vec<Turn>>,
    expected: Option<&'static str>,
    /// Why this choice is correct.
    explanation: &'static str,
}

const HYPER: &str = "tokio/hyper";
const SMOL: &str = "smol/hyper";
const UREQ: &str = "threads/ureq";

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::choose),
        || check(solution::choose),
    )
}

fn check(choose: fn(&Requirements, &[String]) -> Choice) -> Verdict {
    cases()
        .iter()
        .try_for_each(|case| check_case(choose, case))?;
    Ok(
        "the function returned a backend where the records show one, and `CannotTell` where they do not"
            .to_owned(),
    )
}

fn check_case(choose: fn(&Requirements, &[String]) -> Choice, case: &Case) -> Result<(), Reason> {
    let requirements = Requirements {
        candidates: case.candidates,
        metric: "cpu",
    };
    let records: Vec<String> = case.machines.iter().map(|turns| csv(turns)).collect();
    let chosen = choose(&requirements, &records);
    let actual = match &chosen {
        Choice::Backend(name) => format!("chose {name}"),
        Choice::CannotTell => "returned `CannotTell`".to_owned(),
    };
    let expected = match case.expected {
        Some(name) => Choice::Backend(name.to_owned()),
        None => Choice::CannotTell,
    };
    require(
        chosen == expected,
        format_args!("{}, and the function {actual}", case.explanation),
    )
}

fn csv(turns: &[Turn]) -> String {
    let rows = turns.iter().enumerate().map(|(round, turn)| {
        let (backend, metric, value, thrown) = turn;
        format!("{backend},{round},{metric},{value},us,{thrown}\n")
    });
    format!(
        "contender,round,metric,value,unit,thrown\n{}",
        rows.collect::<String>()
    )
}

/// Returns the turns of one backend.
fn turns<const N: usize>(backend: &'static str, values: [f64; N]) -> Vec<Turn> {
    values.map(|value| (backend, "cpu", value, "")).into()
}

fn machine<const N: usize>(backends: [Vec<Turn>; N]) -> Vec<Turn> {
    backends.concat()
}

fn cases() -> [Case; 10] {
    [
        overlap(),
        outlier(),
        clear(),
        discarded(),
        other_metric(),
        two_machines(),
        slow_machine(),
        one_round(),
        not_measured(),
        tie_behind_the_best(),
    ]
}

/// The means differ by a third, and one interval contains the other.
fn overlap() -> Case {
    Case {
        candidates: &[SMOL, HYPER],
        machines: vec![machine([
            turns(HYPER, [10.0, 11.0, 12.0, 30.0]),
            turns(SMOL, [20.0, 22.0, 24.0, 23.0]),
        ])],
        expected: None,
        explanation: "the values of tokio/hyper reach from 10 to 30, and those of smol/hyper from 20 to 24: the \
            intervals overlap, so the records cannot tell",
    }
}

/// The smaller mean belongs to the backend whose values vary more.
fn outlier() -> Case {
    Case {
        candidates: &[HYPER, SMOL],
        machines: vec![machine([
            turns(HYPER, [14.0, 14.2, 14.1, 14.3]),
            turns(SMOL, [4.0, 4.2, 4.1, 40.0]),
        ])],
        expected: None,
        explanation: "three of four values of smol/hyper are below those of tokio/hyper, and one is far above: the \
            intervals overlap, so the records cannot tell",
    }
}

fn clear() -> Case {
    Case {
        candidates: &[UREQ, HYPER],
        machines: vec![machine([
            turns(HYPER, [10.0, 12.0, 14.0]),
            turns(UREQ, [15.0, 16.0, 15.5]),
        ])],
        expected: Some(HYPER),
        explanation: "the values of tokio/hyper reach from 10 to 14, and those of threads/ureq from 15 to 16: \
            tokio/hyper needs less",
    }
}

fn discarded() -> Case {
    let mut hyper = turns(HYPER, [10.0, 12.0, 90.0]);
    hyper[2].3 = "the origin was late";
    Case {
        candidates: &[UREQ, HYPER],
        machines: vec![machine([hyper, turns(UREQ, [50.0, 52.0, 51.0])])],
        expected: Some(HYPER),
        explanation: "without the discarded turn of 90, the values of tokio/hyper reach from 10 to 12, and those of \
            threads/ureq from 50 to 52: tokio/hyper needs less",
    }
}

fn other_metric() -> Case {
    Case {
        candidates: &[UREQ, HYPER],
        machines: vec![machine([
            turns(HYPER, [50.0, 52.0]),
            vec![(HYPER, "memory", 1.0, ""), (HYPER, "memory", 99.0, "")],
            turns(UREQ, [40.0, 41.0]),
            vec![(UREQ, "memory", 300.0, ""), (UREQ, "memory", 310.0, "")],
        ])],
        expected: Some(UREQ),
        explanation: "in the metric `cpu`, the values of threads/ureq reach from 40 to 41, and those of tokio/hyper \
            from 50 to 52: threads/ureq needs less",
    }
}

/// Over all turns together, the mean of one backend is far smaller.
fn two_machines() -> Case {
    Case {
        candidates: &[HYPER, SMOL],
        machines: vec![
            machine([turns(HYPER, [10.0, 11.0]), turns(SMOL, [60.0, 62.0])]),
            machine([turns(HYPER, [10.0, 16.0]), turns(SMOL, [12.0, 14.0])]),
        ],
        expected: None,
        explanation: "tokio/hyper needs less on the first machine, but the intervals overlap on the second machine, so \
            the records cannot tell",
    }
}

/// Every backend needs three times as long on the second machine.
fn slow_machine() -> Case {
    Case {
        candidates: &[UREQ, HYPER],
        machines: vec![
            machine([turns(HYPER, [10.0, 12.0]), turns(UREQ, [20.0, 22.0])]),
            machine([turns(HYPER, [30.0, 36.0]), turns(UREQ, [60.0, 66.0])]),
        ],
        expected: Some(HYPER),
        explanation: "the second machine is slower, but on each machine, all values of tokio/hyper are below those of \
            threads/ureq: tokio/hyper needs less",
    }
}

fn one_round() -> Case {
    Case {
        candidates: &[HYPER, SMOL],
        machines: vec![machine([turns(HYPER, [10.0]), turns(SMOL, [20.0])])],
        expected: None,
        explanation: "each backend has one value, so there are no intervals, and the records cannot tell",
    }
}

fn not_measured() -> Case {
    Case {
        candidates: &[HYPER, UREQ],
        machines: vec![machine([turns(HYPER, [10.0, 11.0])])],
        expected: None,
        explanation: "threads/ureq was not measured, so the records cannot tell",
    }
}

/// The two other candidates have the same interval.
fn tie_behind_the_best() -> Case {
    Case {
        candidates: &[SMOL, UREQ, HYPER],
        machines: vec![machine([
            turns(HYPER, [10.0, 12.0]),
            turns(SMOL, [20.0, 30.0]),
            turns(UREQ, [20.0, 30.0]),
        ])],
        expected: Some(HYPER),
        explanation: "the intervals of smol/hyper and threads/ureq overlap, but tokio/hyper needs less than both",
    }
}
