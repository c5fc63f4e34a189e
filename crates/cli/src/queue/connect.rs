//! Connects to the server, and converts its errors.

use std::path::Path;

use inflight_queue::{Connect, ErrorKind, Queue, QueueName, Server};

use crate::args::Connection;
use crate::exit::CliError;
use crate::output::describe;

pub(super) async fn connect(connection: &Connection) -> Result<Server, CliError> {
    let connect = Connect {
        servers: connection.server.clone(),
        credentials: connection.credentials.clone(),
        authorities: connection.server_cacert.clone(),
    };
    Server::connect(connect).await.map_err(start_error)
}

pub(super) async fn open(connection: &Connection, name: &QueueName) -> Result<Queue, CliError> {
    let server = connect(connection).await?;
    server.open(name).await.map_err(start_error)
}

/// Returns the error of a command that cannot start.
pub(super) fn start_error(error: inflight_queue::Error) -> CliError {
    CliError::usage(describe(&error))
}

/// Returns the error of a command that cannot continue. If the arguments are wrong, the command could not start.
pub(super) fn failed(error: inflight_queue::Error) -> CliError {
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::NotFound => start_error(error),
        _ => CliError::failed(describe(&error)),
    }
}

pub(super) fn file_error(operation: &str, path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format_args!("{operation} {}: {error}", path.display()))
}
