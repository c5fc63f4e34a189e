//! Contenders written in other languages, or with other programs: who they are, and what starts
//! them where their tools are present.

use std::ffi::OsString;

use crate::worker::Setup;

/// The peers that take part in an experiment, by name.
pub fn of(_experiment: &str) -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}

/// The command line of a peer's worker: `None` for a contender that is our own, and the reason
/// where its tool is not there.
pub fn command(_setup: &Setup) -> Option<Result<Vec<OsString>, String>> {
    None
}
