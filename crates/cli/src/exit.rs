//! How the program ends.

use std::fmt;
use std::io::{self, Write};

/// The exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything succeeded, or the reader of the output has seen enough.
    Success = 0,
    /// Some request failed, or its result could not be kept.
    Failed = 1,
    /// What was asked for makes no sense or cannot begin.
    Usage = 2,
    /// Ctrl-C.
    Interrupted = 130,
}

/// An early end.
#[derive(Debug)]
pub(crate) struct Stop {
    exit: Exit,
    message: Option<String>,
}

impl Stop {
    /// What was asked for cannot begin.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Usage,
            message: Some(message.to_string()),
        }
    }

    /// It has begun, and cannot go on.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Failed,
            message: Some(message.to_string()),
        }
    }

    /// Standard output could not be written. A reader that went away has seen enough: that is
    /// a quiet end, and no failure.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                exit: Exit::Success,
                message: None,
            };
        }
        Self::failed(format_args!("writing to standard output: {error}"))
    }

    /// Says what there is to say.
    pub(crate) fn report(self) -> Exit {
        if let Some(message) = self.message {
            complain(message);
        }
        self.exit
    }
}

/// A line on standard error. Where that is closed, there is nobody left to tell.
pub(crate) fn complain(message: impl fmt::Display) {
    note(format_args!("error: {message}"));
}

/// A line on standard error that is no error.
pub(crate) fn note(message: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{message}");
}
