//! The lab: experiments that measure the cost of a runtime, of a client and of a blocking call. The report
//! shows each result beside its physical limit.
//!
//! In reading order:
//!
//! - `experiment` defines what an experiment is, and `experiments` contains all of them.
//! - A worker is the process that measures one contender. `worker` has its code, and `worker_loop` its main
//!   loop. `process` starts workers and the origin. `peers` are contenders in other languages.
//! - `runner` runs the contenders in turns, `environment` describes the machine, and `record` reads
//!   and writes the results.
//! - `data` groups records, `stats` and `factors` evaluate them, and `cmp` compares two runs.
//! - `report` renders the report. `text` formats numbers, and `markdown` formats tables.

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
