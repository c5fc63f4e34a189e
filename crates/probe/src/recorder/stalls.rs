//! The last stalls of a recorder.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::report::StallNumber;
use crate::slot::{Slot, lock};

/// The maximum number of stalls that a recorder keeps.
const MAX_STALLS: usize = 128;

/// A stall, or another event of the watchdog that takes some time.
#[derive(Debug, Clone)]
pub(crate) struct RecordedStall {
    pub(crate) track: StallTrack,
    pub(crate) name: String,
    pub(crate) started: u64,
    /// When the watchdog detected the stall.
    pub(crate) detected: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) args: Value,
}

impl RecordedStall {
    /// Returns the slot of the stalled thread.
    pub(super) fn slot(&self) -> Option<Arc<Slot>> {
        match &self.track {
            StallTrack::Thread { slot, .. } => Some(slot.clone()),
            StallTrack::Heartbeat(_) | StallTrack::Machine => None,
        }
    }
}

/// Where a trace shows a stall.
#[derive(Debug, Clone)]
pub(crate) enum StallTrack {
    /// On the track of a thread, whose stalled poll began at `poll`.
    Thread { slot: Arc<Slot>, poll: u64 },
    /// On the track of the heartbeat whose counts have this address.
    Heartbeat(usize),
    /// On the track of the machine.
    Machine,
}

/// The last stalls. Only watchdogs and the writers of traces use the lock.
#[derive(Default)]
pub(super) struct RecordedStalls(Mutex<LastStalls>);

#[derive(Default)]
struct LastStalls {
    /// How many stalls have been recorded.
    count: u64,
    last: VecDeque<(StallNumber, RecordedStall)>,
}

impl RecordedStalls {
    /// Records a stall. If there are too many, this replaces the oldest one.
    pub(super) fn push(&self, stall: RecordedStall) -> StallNumber {
        let mut stalls = lock(&self.0);
        let number = StallNumber(stalls.count);
        stalls.count += 1;
        if stalls.last.len() == MAX_STALLS {
            stalls.last.pop_front();
        }
        stalls.last.push_back((number, stall));
        number
    }

    /// Records the end of a stall.
    pub(super) fn end(&self, number: StallNumber, ended: u64, args: Value) {
        let mut stalls = lock(&self.0);
        let stall = stalls.last.iter_mut().find(|(other, _)| *other == number);
        if let Some((_, stall)) = stall {
            stall.ended = Some(ended);
            stall.args = args;
        }
    }

    pub(super) fn all(&self) -> Vec<RecordedStall> {
        let stalls = lock(&self.0);
        stalls.last.iter().map(|(_, stall)| stall.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stalls_are_kept_and_can_end() {
        let stalls = RecordedStalls::default();
        let stall = |started: usize| RecordedStall {
            track: StallTrack::Machine,
            name: String::new(),
            started: started as u64,
            detected: 0,
            ended: None,
            args: Value::Null,
        };
        let numbers: Vec<_> = (0..=MAX_STALLS).map(|n| stalls.push(stall(n))).collect();
        stalls.end(numbers[0], 1000, Value::from("first"));
        stalls.end(numbers[MAX_STALLS], 1001, Value::from("last"));
        let all = stalls.all();
        assert_eq!(all.len(), MAX_STALLS);
        assert_eq!((all[0].started, all[0].ended), (1, None));
        let last = &all[MAX_STALLS - 1];
        assert_eq!((last.ended, &last.args), (Some(1001), &Value::from("last")));
    }
}
