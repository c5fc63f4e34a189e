//! `inflight queue`: a list of URLs over many machines.

mod collect;
mod connect;
mod job;
mod push;
mod status;
mod work;

use futures_lite::future::block_on;
use inflight_queue::Settings;

use crate::args::{self, QueueCommand};
use crate::exit::{CliError, ExitStatus};
use connect::{connect, failed, start_error};

pub(crate) fn run(command: QueueCommand) -> Result<ExitStatus, CliError> {
    match command {
        QueueCommand::Create(args) => block_on(create(args)),
        QueueCommand::Push(args) => block_on(push::run(args)),
        QueueCommand::Work(args) => work::run(*args),
        QueueCommand::Collect(args) => block_on(collect::run(args)),
        QueueCommand::Status(args) => block_on(status::run(args)),
        QueueCommand::Drop(args) => block_on(drop_queue(args)),
    }
}

async fn create(args: args::Create) -> Result<ExitStatus, CliError> {
    let server = connect(&args.connection).await?;
    let settings = Settings {
        partitions: args.partitions.get(),
        replicas: args.replicas.get(),
        max_bytes: args.max_bytes.map(|bytes| bytes.get()),
        lease: args.lease,
    };
    let created = server.create(&args.name, settings).await;
    created.map_err(start_error)?;
    Ok(ExitStatus::Success)
}

async fn drop_queue(args: args::Drop) -> Result<ExitStatus, CliError> {
    let server = connect(&args.connection).await?;
    server.delete(&args.name).await.map_err(failed)?;
    Ok(ExitStatus::Success)
}
