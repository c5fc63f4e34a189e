#![doc = include_str!("../README.md")]
//!
//! In reading order:
//!
//! - `experiment` defines what an experiment is, and `experiments` contains all of them.
//! - An experiment compares contenders, such as the combinations of a runtime and a client. A worker is a
//!   process that measures one contender. `worker` has the code of workers, and `worker_loop` their main
//!   loop. `peers` are contenders in other languages. `process` starts workers and the origin, which is the
//!   test server.
//! - `runner` measures one contender after the other, `environment` describes the machine, `machine_load`
//!   measures the load by other programs, and `record` reads and writes the results.
//! - `data` groups records, `stats` and `factors` evaluate them, and `cmp` compares two runs.
//! - `report` renders the report, and `summary` the sentences and the tables in which `just bench` ends. `text`
//!   formats numbers, and `markdown` formats tables.

pub mod cmp;
pub mod data;
pub mod environment;
pub mod experiment;
pub mod experiments;
pub mod factors;
pub mod machine_load;
pub mod markdown;
pub mod peers;
pub mod process;
pub mod record;
pub mod report;
pub mod runner;
pub mod stats;
pub mod summary;
pub mod text;
pub mod worker;
pub mod worker_loop;
