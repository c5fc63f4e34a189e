//! Tests complete runs of small experiments.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;

use inflight_lab::experiment::{Effort, Execution, Experiment};
use inflight_lab::experiments;
use inflight_lab::process::CommandLines;
use inflight_lab::record::{self, Run};
use inflight_lab::runner::{
    self, Event, OriginBounds, Outcome, REPEATS, Records, ResumeError, RunConfig,
};

fn command_lines() -> CommandLines {
    let line = |command: &str| {
        let program = OsString::from(env!("CARGO_BIN_EXE_inflight-lab-process"));
        vec![program, command.into()]
    };
    CommandLines {
        origin: line("origin"),
        worker: line("worker"),
        counting: None,
    }
}

/// Bounds that the origin never violates. With other bounds, a busy machine could make a test fail.
const NO_BOUNDS: OriginBounds = OriginBounds {
    late_us: 3_600_000_000,
    late_us_each: 0,
    busy: f64::MAX,
};

fn config(name: &str, rounds: u32) -> RunConfig {
    let experiment: &'static Experiment = experiments::find(name).unwrap();
    let mut config = RunConfig::new(vec![experiment], Effort::Quick);
    config.rounds = Some(rounds);
    config.bounds = NO_BOUNDS;
    config
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn records(&self) -> Records {
        Records {
            path: self.0.path().join("folder").join("records.csv"),
        }
    }
}

fn read(path: &Path) -> Vec<Run> {
    record::read(fs::File::open(path).unwrap()).unwrap()
}

fn run(config: RunConfig, records: &Records, interrupted: &dyn Fn() -> bool) -> Outcome {
    runner::run(config, &command_lines(), records, interrupted, &mut |_| {}).unwrap()
}

/// Returns the contenders of each round, in the order of their turns.
fn turns(run: &Run) -> BTreeMap<u32, Vec<String>> {
    let mut turns: BTreeMap<u32, BTreeMap<u32, String>> = BTreeMap::new();
    for row in &run.rows {
        let round = turns.entry(row.round).or_default();
        let contender = round
            .entry(row.turn)
            .or_insert_with(|| row.contender.clone());
        assert_eq!(*contender, row.contender, "a turn has one contender");
    }
    let in_order = |round: BTreeMap<u32, String>| round.into_values().collect();
    turns
        .into_iter()
        .map(|(n, round)| (n, in_order(round)))
        .collect()
}

#[test]
fn the_order_alternates_and_each_contender_has_one_turn_per_round() {
    let folder = Folder::new();
    let mut events = 0;
    let mut last = 0.0;
    let outcome = runner::run(
        config("blockers", 3),
        &command_lines(),
        &folder.records(),
        &|| false,
        &mut |event| {
            if let Event::Turn(progress) = event {
                events += 1;
                assert!(progress.done > last && progress.done <= 1.0);
                assert_eq!(
                    progress.remaining.is_zero(),
                    progress.done >= 1.0,
                    "{progress:?}"
                );
                last = progress.done;
            }
        },
    )
    .unwrap();
    // Four contenders have three rounds at each of three points.
    assert_eq!(
        (outcome.turns, events, outcome.discarded_rounds),
        (36, 36, 0)
    );
    assert!(last > 0.999, "{last}");
    let runs = read(&folder.records().path);
    let turns = turns(&runs[0]);
    assert_eq!(turns.len(), 3);
    assert!(turns[&0].iter().rev().eq(&turns[&1]), "{turns:?}");
    assert_eq!(turns[&0], turns[&2]);
    let everyone = BTreeSet::from(["tokio", "smol", "async-std", "tokio (again)"]);
    assert_eq!(
        turns[&0]
            .iter()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        everyone
    );
    assert!(runs[0].rows.iter().all(|row| row.discard_reason.is_empty()));
}

#[test]
fn a_round_with_a_late_origin_is_discarded_and_repeated() {
    let folder = Folder::new();
    let mut config = config("blocking", 1);
    // Every delay exceeds this bound.
    config.bounds.late_us = 0;
    let mut events = Vec::new();
    let outcome = runner::run(
        config,
        &command_lines(),
        &folder.records(),
        &|| false,
        &mut |event| {
            if let Event::Discarded { repeated, .. } = event {
                events.push(*repeated);
            }
        },
    )
    .unwrap();
    let attempts = u64::from(REPEATS + 1);
    // In the last attempt, turns without delays at the origin are not discarded.
    assert_eq!((outcome.turns, outcome.discarded_rounds), (4, attempts));
    assert_eq!(events, [true, true, false]);
    let runs = read(&folder.records().path);
    let kept = runs[0]
        .rows
        .iter()
        .filter(|row| row.discard_reason.is_empty());
    let kept: BTreeSet<_> = kept.map(|row| &*row.contender).collect();
    let idle = [
        "tokio: idle",
        "smol: idle",
        "async-std: idle",
        "tokio: idle (again)",
    ];
    assert_eq!(kept, BTreeSet::from(idle));
    // All attempts are used up, so there is nothing to resume.
    let again = runner::resume(&folder.records(), &command_lines(), &|| false, &mut |_| {});
    assert!(matches!(again, Err(ResumeError::Finished)), "{again:?}");
}

#[test]
fn an_interrupted_run_is_resumed_without_repeating_turns() {
    let folder = Folder::new();
    let records = folder.records();
    let turns_done = Cell::new(0);
    let outcome = runner::run(
        config("blockers", 3),
        &command_lines(),
        &records,
        // Interrupts the run in the middle of the second round.
        &|| turns_done.get() == 6,
        &mut |event| {
            if let Event::Turn(_) = event {
                turns_done.set(turns_done.get() + 1);
            }
        },
    )
    .unwrap();
    assert!(outcome.interrupted);
    assert_eq!(outcome.turns, 6);
    let before = read(&records.path);
    assert_eq!(turns(&before[0]).values().map(Vec::len).sum::<usize>(), 6);

    // Adds half a line, as if the process had been killed while it wrote a record.
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(&records.path)
        .unwrap();
    file.write_all(b"2026-11-25T02:10:00Z,block").unwrap();
    let outcome = runner::resume(&records, &command_lines(), &|| false, &mut |_| {}).unwrap();
    assert!(!outcome.interrupted);
    assert_eq!(outcome.turns, 30);
    let after = read(&records.path);
    assert_eq!(after.len(), 1);
    let (kept, new) = after[0].rows.split_at(before[0].rows.len());
    assert_eq!(kept, before[0].rows);
    let turns_of = |rows: &[record::Row]| -> BTreeSet<(String, u64, u32)> {
        rows.iter()
            .map(|row| (row.contender.clone(), row.x.to_bits(), row.round))
            .collect()
    };
    let (kept, new) = (turns_of(kept), turns_of(new));
    assert_eq!((kept.len(), new.len()), (6, 30));
    assert!(kept.is_disjoint(&new));

    let again = runner::resume(&records, &command_lines(), &|| false, &mut |_| {});
    assert!(matches!(again, Err(ResumeError::Finished)), "{again:?}");
}

#[test]
fn a_run_of_another_machine_is_not_resumed() {
    let folder = Folder::new();
    let records = folder.records();
    let none = runner::resume(&records, &command_lines(), &|| false, &mut |_| {});
    assert!(matches!(none, Err(ResumeError::NoRun)), "{none:?}");
    assert!(run(config("blockers", 2), &records, &|| true).interrupted);
    let text = fs::read_to_string(&records.path).unwrap();
    let text = text.replace("# kernel: ", "# kernel: another ");
    fs::write(&records.path, text).unwrap();
    let result = runner::resume(&records, &command_lines(), &|| false, &mut |_| {});
    assert!(
        matches!(result, Err(ResumeError::DifferentEnvironment)),
        "{result:?}"
    );
}

#[test]
fn a_failed_contender_is_skipped_and_the_others_continue() {
    let folder = Folder::new();
    let blocking = experiments::find("blocking").unwrap();
    let experiment = Box::leak(Box::new(Experiment {
        programs: || vec!["tokio: idle".into(), "nobody".into()],
        execution: Execution {
            peers: None,
            ..blocking.execution
        },
        ..*blocking
    }));
    let mut config = config("blocking", 2);
    config.experiments = vec![experiment];
    let outcome = run(config, &folder.records(), &|| false);
    // Four turns: two rounds of the two contenders of the A/A pair.
    assert_eq!((outcome.turns, outcome.failed.len()), (4, 1));
    assert!(outcome.failed[0].reason.contains("nobody"), "{outcome:?}");
}

#[test]
fn an_experiment_without_contenders_is_reported_once_and_skipped() {
    let folder = Folder::new();
    // The experiment needs a worker with a counting allocator, which these command lines do not have.
    let mut events = Vec::new();
    let outcome = runner::run(
        config("allocations", 1),
        &command_lines(),
        &folder.records(),
        &|| false,
        &mut |event| {
            if let Event::Unavailable { name, .. } = event {
                events.push((*name).to_owned());
            }
        },
    )
    .unwrap();
    assert_eq!((outcome.turns, events), (0, vec!["allocations".to_owned()]));
}
