//! Whole runs, of experiments made small.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;

use inflight_lab::experiment::{Effort, Experiment};
use inflight_lab::experiments;
use inflight_lab::process::Programs;
use inflight_lab::record::{self, Run};
use inflight_lab::runner::{self, Bounds, Event, Order, Outcome, REPEATS, Records, ResumeError};

fn programs() -> Programs {
    let line = |command: &str| {
        let own = OsString::from(env!("CARGO_BIN_EXE_inflight-lab-process"));
        vec![own, command.into()]
    };
    Programs {
        origin: line("origin"),
        worker: line("worker"),
        counting: None,
    }
}

/// The machine of a test has other work: nothing that it does to the origin counts.
const PATIENT: Bounds = Bounds {
    late_us: 3_600_000_000,
    late_us_each: 0,
    busy: f64::MAX,
};

fn order(name: &str, rounds: u32) -> Order {
    let experiment: &'static Experiment = experiments::find(name).unwrap();
    let mut order = Order::of(vec![experiment], Effort::Quick);
    order.rounds = Some(rounds);
    order.bounds = PATIENT;
    order
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

fn run(order: Order, records: &Records, interrupted: &dyn Fn() -> bool) -> Outcome {
    runner::run(order, &programs(), records, interrupted, &mut |_| {}).unwrap()
}

/// Who had a turn in which round, in the order of the turns.
fn turns(run: &Run) -> BTreeMap<u32, Vec<String>> {
    let mut turns: BTreeMap<u32, BTreeMap<u32, String>> = BTreeMap::new();
    for row in &run.rows {
        let round = turns.entry(row.round).or_default();
        let who = round
            .entry(row.turn)
            .or_insert_with(|| row.contender.clone());
        assert_eq!(*who, row.contender, "one turn, one contender");
    }
    let in_order = |round: BTreeMap<u32, String>| round.into_values().collect();
    turns
        .into_iter()
        .map(|(n, round)| (n, in_order(round)))
        .collect()
}

#[test]
fn contenders_alternate_and_everyone_has_one_turn_in_each_round() {
    let folder = Folder::new();
    let mut told = 0;
    let mut last = 0.0;
    let outcome = runner::run(
        order("heartbeat", 3),
        &programs(),
        &folder.records(),
        &|| false,
        &mut |event| {
            if let Event::Turn(progress) = event {
                told += 1;
                assert!(progress.done > last && progress.done <= 1.0);
                last = progress.done;
            }
        },
    )
    .unwrap();
    assert_eq!((outcome.turns, told, outcome.thrown), (12, 12, 0));
    assert!(last > 0.999, "{last}");
    let runs = read(&folder.records().path);
    let turns = turns(&runs[0]);
    assert_eq!(turns.len(), 3);
    assert!(turns[&0].iter().rev().eq(&turns[&1]), "{turns:?}");
    assert_eq!(turns[&0], turns[&2]);
    let everyone = BTreeSet::from(["idle", "inline", "offloaded", "async"]);
    assert_eq!(
        turns[&0]
            .iter()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        everyone
    );
    assert!(runs[0].rows.iter().all(|row| row.thrown.is_empty()));
}

#[test]
fn a_round_with_a_late_origin_is_counted_kept_apart_and_repeated() {
    let folder = Folder::new();
    let mut order = order("heartbeat", 2);
    // Every delay is later than this, as nothing happens in no time.
    order.bounds.late_us = 0;
    let mut told = Vec::new();
    let outcome = runner::run(
        order,
        &programs(),
        &folder.records(),
        &|| false,
        &mut |event| {
            if let Event::Thrown { repeated, .. } = event {
                told.push(*repeated);
            }
        },
    )
    .unwrap();
    let attempts = u64::from(REPEATS + 1);
    // Of the last attempts the turns count in which the origin had no delay to be late with.
    assert_eq!((outcome.turns, outcome.thrown), (2, 2 * attempts));
    assert_eq!(told, [true, true, false, true, true, false]);
    let runs = read(&folder.records().path);
    let kept = runs[0].rows.iter().filter(|row| row.thrown.is_empty());
    let kept: BTreeSet<_> = kept.map(|row| (&*row.contender, row.round)).collect();
    assert_eq!(kept, BTreeSet::from([("idle", 0), ("idle", 1)]));
    // All of it was done, if not well: there is nothing to resume.
    let again = runner::resume(&folder.records(), &programs(), &|| false, &mut |_| {});
    assert!(matches!(again, Err(ResumeError::Finished)), "{again:?}");
}

#[test]
fn what_an_interruption_left_is_resumed_and_nothing_is_done_twice() {
    let folder = Folder::new();
    let records = folder.records();
    let asked = Cell::new(0);
    let outcome = runner::run(
        order("heartbeat", 3),
        &programs(),
        &records,
        // In the middle of the second round.
        &|| asked.get() == 6,
        &mut |event| {
            if let Event::Turn(_) = event {
                asked.set(asked.get() + 1);
            }
        },
    )
    .unwrap();
    assert!(outcome.interrupted);
    assert_eq!(outcome.turns, 6);
    let before = read(&records.path);
    assert_eq!(turns(&before[0]).values().map(Vec::len).sum::<usize>(), 6);

    // Killed while it wrote: half a line.
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(&records.path)
        .unwrap();
    file.write_all(b"2026-11-25T02:10:00Z,heartb").unwrap();
    let outcome = runner::resume(&records, &programs(), &|| false, &mut |_| {}).unwrap();
    assert!(!outcome.interrupted);
    assert_eq!(outcome.turns, 6);
    let after = read(&records.path);
    assert_eq!(after.len(), 1);
    let (kept, new) = after[0].rows.split_at(before[0].rows.len());
    assert_eq!(kept, before[0].rows);
    let turns_of = |rows: &[record::Row]| -> BTreeSet<(String, String, u32)> {
        rows.iter()
            .map(|row| (row.experiment.clone(), row.contender.clone(), row.round))
            .collect()
    };
    let (kept, new) = (turns_of(kept), turns_of(new));
    assert_eq!((kept.len(), new.len()), (6, 6));
    assert!(kept.is_disjoint(&new));

    let again = runner::resume(&records, &programs(), &|| false, &mut |_| {});
    assert!(matches!(again, Err(ResumeError::Finished)), "{again:?}");
}

#[test]
fn figures_of_another_machine_are_not_mixed_with_ours() {
    let folder = Folder::new();
    let records = folder.records();
    let none = runner::resume(&records, &programs(), &|| false, &mut |_| {});
    assert!(matches!(none, Err(ResumeError::Nothing)), "{none:?}");
    assert!(run(order("heartbeat", 2), &records, &|| true).interrupted);
    let text = fs::read_to_string(&records.path).unwrap();
    let text = text.replace("# kernel: ", "# kernel: another ");
    fs::write(&records.path, text).unwrap();
    let elsewhere = runner::resume(&records, &programs(), &|| false, &mut |_| {});
    assert!(
        matches!(elsewhere, Err(ResumeError::Elsewhere)),
        "{elsewhere:?}"
    );
}

#[test]
fn a_contender_that_fails_is_left_out_and_the_others_go_on() {
    let folder = Folder::new();
    let heartbeat = experiments::find("heartbeat").unwrap();
    let experiment = Box::leak(Box::new(Experiment {
        contenders: || {
            let mut contenders = (experiments::find("heartbeat").unwrap().contenders)();
            contenders.truncate(1);
            contenders.push(inflight_lab::experiment::Contender::of("nobody"));
            contenders
        },
        ..*heartbeat
    }));
    let mut order = order("heartbeat", 2);
    order.experiments = vec![experiment];
    let outcome = run(order, &folder.records(), &|| false);
    assert_eq!((outcome.turns, outcome.failed.len()), (2, 1));
    assert!(outcome.failed[0].reason.contains("nobody"), "{outcome:?}");
}

#[test]
fn what_nobody_can_take_part_in_is_told_once_and_left_out() {
    let folder = Folder::new();
    // It needs a program that these are without.
    let mut told = Vec::new();
    let outcome = runner::run(
        order("allocations", 1),
        &programs(),
        &folder.records(),
        &|| false,
        &mut |event| {
            if let Event::Absent { who, .. } = event {
                told.push((*who).to_owned());
            }
        },
    )
    .unwrap();
    assert_eq!((outcome.turns, told), (0, vec!["allocations".to_owned()]));
}
