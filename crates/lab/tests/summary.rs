//! Tests that the sentences of a summary agree with its tables, for the records in `docs/records` and for synthetic
//! records.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use inflight::Cell;
use inflight_lab::data::latest_results;
use inflight_lab::experiment::DUPLICATE_SUFFIX;
use inflight_lab::record::{self, Environment, Row, Run};
use inflight_lab::stats::{may_claim, median};
use inflight_lab::summary::{Summary, WIDTH};
use proptest::prelude::*;

const RUNTIMES: [&str; 3] = ["tokio", "smol", "async-std"];

fn recorded(machine: &str) -> Vec<Run> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/records");
    record::read(File::open(folder.join(format!("{machine}.csv"))).unwrap()).unwrap()
}

/// The rows of a table in the text of a summary: for each name, the figures and marks as one string.
fn table(text: &str, title: &str) -> BTreeMap<String, String> {
    let begin = text
        .find(title)
        .unwrap_or_else(|| panic!("no table {title:?} in {text}"));
    let block = text[begin..].split("\n\n").next().unwrap();
    let rows = block.lines().filter_map(|line| line.split_once("  "));
    rows.map(|(name, figures)| (name.to_owned(), figures.trim().to_owned()))
        .collect()
}

/// Returns the number at the beginning of a text, such as 11.4 of `11.4 µs`.
fn number(text: &str) -> f64 {
    let digits: String = text
        .trim_start()
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.' || *c == ',')
        .filter(|c| *c != ',')
        .collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no number at the beginning of {text:?}"))
}

fn part_after<'a>(text: &'a str, before: &str) -> &'a str {
    text.split_once(before)
        .unwrap_or_else(|| panic!("no {before:?} in {text:?}"))
        .1
}

/// Checks the sentences against the tables, and the claims against the records.
fn check(runs: &[Run]) {
    let summary = Summary::new(runs).unwrap();
    let text = summary.text();
    check_widths(&text, &summary.everything());
    check_blocking_call(runs, &summary, &text);
    check_cheapest(runs, &summary, &text);
}

fn check_widths(text: &str, everything: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}");
    }
    let rows = everything.lines().filter(|line| line.starts_with('|'));
    for line in rows {
        assert!(line.chars().count() <= WIDTH, "{line}");
    }
}

fn check_blocking_call(runs: &[Run], summary: &Summary, text: &str) {
    let results = latest_results(runs);
    let blocking = results
        .iter()
        .find(|one| one.experiment == "blocking")
        .unwrap();
    let rows = table(text, "Largest gap of the heartbeat");
    let sentence = &summary.answer().blocking_call;
    for runtime in RUNTIMES {
        let ratio = blocking
            .ratio(
                "gap",
                &format!("{runtime}: inline"),
                &format!("{runtime}: async"),
                0.0,
            )
            .unwrap();
        let is_claimed =
            ratio.value > 1.0 && may_claim(&ratio, blocking.smallest_difference("gap"));
        let stalled = format!("on {runtime}, ");
        let is_named = sentence.contains("stopped the event loop") && sentence.contains(&stalled);
        assert_eq!(is_named, is_claimed, "{sentence}");
        let is_unknown = summary.answer().unknown.split("; ").any(|part| {
            part.contains("whether a blocking call stalls")
                && part.split([' ', ',']).any(|word| word == runtime)
        });
        assert_eq!(is_unknown, !is_claimed, "{}", summary.answer().unknown);
        let row = &rows[runtime];
        if is_claimed {
            // The sentence has the ratio and its interval as the table has them, without the mark of a tie.
            let clause = part_after(sentence, &stalled);
            let shown = clause.split(" times").next().unwrap();
            assert!(row.ends_with(shown), "{row:?} does not end with {shown:?}");
            let gap = sentence
                .split(&stalled)
                .next()
                .unwrap()
                .rsplit("for ")
                .next()
                .unwrap()
                .trim();
            assert!(row.contains(gap), "{row:?} does not contain {gap:?}");
        } else if !may_claim(&ratio, blocking.smallest_difference("gap")) {
            assert!(row.ends_with('='), "{row}");
        }
    }
}

fn check_cheapest(runs: &[Run], summary: &Summary, text: &str) {
    let results = latest_results(runs);
    let overhead = results
        .iter()
        .find(|one| one.experiment == "overhead")
        .unwrap();
    let rows = table(text, "CPU time of the client for each request");
    let sentence = &summary.answer().cheapest;
    let best = part_after(sentence, "Of the cells, ")
        .split(' ')
        .next()
        .unwrap();
    assert!(rows[best].contains("best"), "{sentence}");
    let least = rows
        .iter()
        .filter(|(name, _)| name.contains('/'))
        .map(|(_, row)| number(row));
    let least = least.fold(f64::INFINITY, f64::min);
    assert_eq!(number(&rows[best]), least, "{sentence}");
    let mut cheapest_claimed: Option<(f64, String)> = None;
    for cell in Cell::ALL.map(|cell| cell.to_string()) {
        let Some(row) = rows.get(&cell).filter(|_| cell != best) else {
            continue;
        };
        let ratio = overhead.ratio("cpu", &cell, best, 0.0).unwrap();
        let is_claimed =
            ratio.value > 1.0 && may_claim(&ratio, overhead.smallest_difference("cpu"));
        // The table marks exactly the cells that the records cannot tell from the best one.
        assert_eq!(row.contains('='), !is_claimed, "{cell}: {row}");
        let first_part = sentence.split(';').next().unwrap();
        let is_named = first_part.contains(&format!("{cell} ("));
        assert_eq!(is_named, !is_claimed, "{cell}: {sentence}");
        if is_claimed {
            let value = median(&overhead.get("cpu", &cell, 0.0).unwrap().values()).unwrap();
            if cheapest_claimed
                .as_ref()
                .is_none_or(|(least, _)| value < *least)
            {
                cheapest_claimed = Some((value, cell));
            }
        }
    }
    match cheapest_claimed {
        Some((_, next)) => {
            let clause = part_after(sentence, "; ");
            assert!(
                clause.starts_with(&format!("{next} (")),
                "{next}: {sentence}"
            );
            let cost = part_after(clause, "cost ").split(" times").next().unwrap();
            assert!(rows[&next].contains(cost), "{cost}: {:?}", rows[&next]);
        }
        None => assert!(!sentence.contains("the next"), "{sentence}"),
    }
    if let Some(smallest) = overhead.smallest_difference("cpu") {
        let shown = part_after(&summary.answer().unknown, "whose ratio is below ");
        assert!((number(shown) / smallest - 1.0).abs() < 0.01, "{shown}");
    }
}

#[test]
fn the_sentences_of_the_published_records_agree_with_their_tables() {
    for machine in ["amd-epyc-2-cores", "intel-xeon-2-cores"] {
        check(&recorded(machine));
    }
}

/// Returns records with `rounds` rounds. `value` returns the value of a contender in a round.
fn synthetic(rounds: u32, value: impl Fn(&str, &str, u32) -> f64) -> Vec<Run> {
    let modes = ["idle", "inline", "offloaded", "async"];
    let stalls = RUNTIMES
        .iter()
        .flat_map(|runtime| modes.map(|mode| format!("{runtime}: {mode}")));
    let stalls = stalls.chain([format!("tokio: idle{DUPLICATE_SUFFIX}")]);
    let cells = Cell::ALL.iter().map(ToString::to_string);
    let baseline = [
        "hyper-util alone".to_owned(),
        format!("hyper-util alone{DUPLICATE_SUFFIX}"),
    ];
    let cells = cells.chain(baseline);
    let all = stalls
        .map(|name| ("blocking", "gap", "ms", name))
        .chain(cells.map(|name| ("overhead", "cpu", "us", name)));
    let mut rows = Vec::new();
    for (experiment, metric, unit, contender) in all {
        for round in 0..rounds {
            rows.push(Row {
                run: "r".into(),
                experiment: experiment.into(),
                contender: contender.clone(),
                x: 0.0,
                round,
                turn: 0,
                metric: metric.into(),
                value: value(experiment, &contender, round),
                unit: unit.into(),
                answered: 1,
                discard_reason: String::new(),
                other_cores: Some(0.0),
            });
        }
    }
    vec![Run {
        id: "r".into(),
        environment: Environment::from([("experiments".into(), "blocking overhead".into())]),
        rows,
    }]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The noise ranges from none to more than every difference.
    #[test]
    fn the_sentences_of_any_records_agree_with_their_tables(
        seed in any::<u64>(),
        rounds in 1..9u32,
        noise in 0.0..1.5f64,
        spread in 0.0..2.0f64,
    ) {
        let values = std::cell::RefCell::new(fastrand::Rng::with_seed(seed));
        let costs: BTreeMap<String, f64> = Cell::ALL
            .iter()
            .map(|cell| (cell.to_string(), 10.0 * (spread * values.borrow_mut().f64()).exp()))
            .collect();
        let blocking = (3.0 * values.borrow_mut().f64()).exp();
        check(&synthetic(rounds, |experiment, contender, _| {
            let value = match experiment {
                "overhead" => costs.get(contender.trim_end_matches(DUPLICATE_SUFFIX)).copied().unwrap_or(10.0),
                _ if contender.contains("inline") => 2.0 * blocking,
                _ => 2.0,
            };
            value * (noise * (values.borrow_mut().f64() - 0.5)).exp()
        }));
    }
}

#[test]
fn equal_costs_are_not_told_apart() {
    let summary = Summary::new(&synthetic(4, |_, _, _| 5.0)).unwrap();
    let answer = summary.answer();
    assert!(
        answer.cheapest.contains("cannot tell it from"),
        "{answer:?}"
    );
    assert!(
        answer.blocking_call.contains("The noise hides whether"),
        "{answer:?}"
    );
    assert!(
        answer.unknown.contains("which of tokio/hyper"),
        "{answer:?}"
    );
}

#[test]
fn a_run_without_the_experiments_claims_nothing() {
    let mut runs = synthetic(4, |_, _, _| 5.0);
    for row in &mut runs[0].rows {
        row.experiment = "sequential".into();
        row.metric = "wall".into();
    }
    let summary = Summary::new(&runs).unwrap();
    let [blocking, cheapest, unknown] = summary.answer().sentences();
    assert!(blocking.contains("did not measure") && cheapest.contains("did not measure"));
    assert!(
        unknown.contains("anything about blocking and overhead"),
        "{unknown}"
    );
    assert!(Summary::new(&[]).is_none());
}

#[test]
fn figures_of_a_busy_machine_are_marked_and_explained() {
    let mut runs = synthetic(4, |_, _, _| 5.0);
    for row in &mut runs[0].rows {
        row.other_cores = Some(if row.contender == "smol/surf" {
            0.9
        } else {
            0.0
        });
    }
    runs[0]
        .environment
        .insert(record::END.into(), record::INTERRUPTED.into());
    let text = Summary::new(&runs).unwrap().text();
    let rows = table(&text, "CPU time of the client for each request");
    let disturbed: Vec<&str> = rows
        .iter()
        .filter(|(_, row)| row.contains('!'))
        .map(|(name, _)| &**name)
        .collect();
    assert_eq!(disturbed, ["smol/surf"]);
    for part in [
        "Warning: the machine was busy during 1 of",
        "!: the machine was busy",
        "The run was interrupted",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn one_round_claims_nothing() {
    let one_round = synthetic(1, |_, contender, _| {
        if contender.contains("inline") {
            100.0
        } else {
            1.0
        }
    });
    let summary = Summary::new(&one_round).unwrap();
    let sentence = &summary.answer().blocking_call;
    assert!(
        sentence.starts_with("One round cannot tell whether"),
        "{sentence}"
    );
    assert!(
        sentence.contains("100 ms instead of 1.00 ms on tokio"),
        "{sentence}"
    );
}
