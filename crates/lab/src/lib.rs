//! The lab: experiments that say what a runtime costs, what a client costs, and what a blocking
//! call costs, each with the physical limit beside it.
//!
//! In reading order: `experiment` is what is asked and how the answer is judged, `experiments` are
//! those there are, `worker` is the process that a measurement has to itself, `process` starts it
//! and the origin, `peers` are contenders that are not ours, `runner` has them take turns,
//! `environment` is what they ran on, and `record` what was seen; `data` sorts records, `stats` and
//! `factors` say what they mean and how surely, `cmp` puts two of them side by side, and `report`
//! tells it all, with figures as `text` writes them.

pub mod cmp;
pub mod data;
pub mod environment;
pub mod experiment;
pub mod experiments;
pub mod factors;
pub mod peers;
pub mod process;
pub mod record;
pub mod report;
pub mod runner;
pub mod stats;
pub mod text;
pub mod worker;
