//! The lab: experiments that say what a runtime costs, what a client costs, and what a blocking
//! call costs, each with the physical limit beside it.
//!
//! In reading order: `experiment` is what is asked and how the answer is judged, `experiments` are
//! those there are, `worker` is the process that a measurement has to itself, `process` starts it
//! and the origin, `peers` are contenders that are not ours, `runner` has them take turns,
//! `environment` is what they ran on, and `record` what was seen.

pub mod environment;
pub mod experiment;
pub mod experiments;
pub mod peers;
pub mod process;
pub mod record;
pub mod runner;
pub mod worker;
