//! The lab: experiments that measure the cost of a runtime, of a client and of a blocking call. Each
//! result is shown beside its physical limit.
//!
//! In reading order:
//!
//! - `experiment` defines what an experiment is, and `experiments` contains all of them.
//! - `worker` has the parts of the process in which one contender is measured, and `worker_loop` is its
//!   loop. `process` starts workers and the origin. `peers` are contenders in other languages.
//! - `runner` runs the contenders in turns, `environment` describes the machine, and `record` reads
//!   and writes the results.
//! - `data` groups records, `stats` and `factors` evaluate them, and `cmp` compares two runs.
//! - `report` renders everything. `text` formats figures, and `markdown` tables.

pub mod cmp;
pub mod data;
pub mod environment;
pub mod experiment;
pub mod experiments;
pub mod factors;
pub mod markdown;
pub mod peers;
pub mod process;
pub mod record;
pub mod report;
pub mod runner;
pub mod stats;
pub mod text;
pub mod worker;
pub mod worker_loop;
