#![doc = include_str!("../README.md")]
//!
//! Chapter [15](../../tutorial/ch15.html) of the book explains how to use this crate.
//!
//! Jobs and results are bytes, which this crate does not interpret. In reading order:
//!
//! - `server` connects to NATS, and creates, opens and deletes queues.
//! - `queue` is an open queue. Its settings are fixed when it is created.
//! - `push` adds jobs, and continues where an earlier push was killed.
//! - `partition` assigns hosts to partitions and partitions to workers.
//! - `member` keeps a worker in the list of workers, and takes the jobs of its partitions.
//! - `pull` requests jobs from the server.
//! - `lookup` looks for the results of jobs.
//! - `worker` starts jobs and records their results.
//! - `bodies` stores bodies.
//! - `collect` reads the results.
//! - `status` counts jobs, results and workers.
//!
//! The NATS client runs on its own tokio runtime with one thread. Any executor can poll the futures of this crate.

mod bodies;
mod collect;
mod error;
mod lookup;
mod member;
mod names;
mod partition;
mod pull;
mod push;
mod queue;
mod server;
mod status;
mod worker;

pub use bodies::Bodies;
pub use collect::{CollectFrom, Collector, ResultBatch, ResultLine};
pub use error::{Error, ErrorKind};
pub use names::QueueName;
pub use push::Pusher;
pub use queue::{Queue, Settings};
pub use server::{Connect, Server};
pub use status::{Progress, Status, WorkerStatus};
pub use worker::{Finished, Job, Worker, WorkerOptions};
