//! The exit status, and errors that end the program.

use std::fmt;
use std::io::{self, Write};

/// The exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Everything succeeded, or the reader of the output closed the pipe.
    Success = 0,
    /// A request failed, or its result could not be saved.
    Failed = 1,
    /// The command line is invalid, or the command cannot start.
    Usage = 2,
    /// Interrupted with Ctrl-C, SIGTERM or SIGHUP.
    Interrupted = 130,
}

/// An error that ends the program, and the exit status of the program.
#[derive(Debug)]
pub(crate) struct CliError {
    status: ExitStatus,
    message: Option<String>,
}

impl CliError {
    /// Returns an error for a command that is invalid or cannot start.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self {
            status: ExitStatus::Usage,
            message: Some(message.to_string()),
        }
    }

    /// Returns an error for a command that started and cannot continue.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self {
            status: ExitStatus::Failed,
            message: Some(message.to_string()),
        }
    }

    /// Returns an error for a failed write to standard output.
    ///
    /// If the reader has closed the pipe, the error has no message and its status is
    /// [`ExitStatus::Success`].
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                status: ExitStatus::Success,
                message: None,
            };
        }
        Self::failed(format_args!("writing to standard output: {error}"))
    }

    /// Prints the message, if there is one, and returns the exit status.
    pub(crate) fn report(self) -> ExitStatus {
        if let Some(message) = self.message {
            print_error(message);
        }
        self.status
    }
}

/// Writes text to standard output.
pub(crate) fn print_output(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| CliError::stdout(&error))
}

/// Prints an error to standard error. Ignores write errors, because there is no other place to
/// report them.
pub(crate) fn print_error(message: impl fmt::Display) {
    print_to_stderr(format_args!("error: {message}"));
}

/// Prints a line to standard error, without the prefix `error:`.
pub(crate) fn print_to_stderr(message: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{message}");
}
