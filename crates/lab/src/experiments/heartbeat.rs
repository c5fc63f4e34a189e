//! A trace for a picture: a heartbeat with a hole in it.

use std::time::Duration;

use super::blocking::GAP;
use super::named;
use crate::experiment::{Experiment, Plan, Variable, Work};
use crate::worker::measure::ms;
use crate::worker::stall::Patient;
use crate::worker::{self, Answer, Failure, Point, Setup, Turn};

const DELAY_MS: u64 = 100;

/// How long the heart is seen to beat before and after.
const REST: Duration = Duration::from_millis(50);

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "heartbeat",
    title: "A heartbeat while a page is fetched",
    question: "What does a heart on the event loop do while a page of 100 ms is fetched?",
    variable: Some(Variable {
        name: "time",
        unit: "ms",
        logarithmic: false,
    }),
    metrics: &[GAP],
    verified: "the page, byte for byte",
    contenders: || named(&["idle", "inline", "offloaded", "async"]),
    plan: |_| Plan {
        points: vec![0.0],
        rounds: 1,
    },
    work: Work {
        about: |_, _| 2.0 * ms(REST) + DELAY_MS as f64,
        trace: true,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let patient = Patient::on_tokio(setup)?;
    Ok(Box::new(move |_| {
        let (beats, answered) = patient.beats(1, DELAY_MS, REST)?;
        let point = |beat: worker::heart::Beat| Point {
            x: ms(beat.at),
            metrics: worker::named([("gap", ms(beat.gap))]),
        };
        Ok(Answer {
            answered,
            trace: beats.into_iter().map(point).collect(),
            ..Answer::default()
        })
    }))
}
