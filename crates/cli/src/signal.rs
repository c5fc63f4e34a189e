//! Ctrl-C: the first requests a graceful shutdown, the second exits immediately.

use std::convert::Infallible;
use std::process;

use async_channel::Receiver;

use crate::exit::{CliError, ExitStatus};

/// A handle that waits for the first Ctrl-C.
pub(crate) struct Interrupt(Receiver<Infallible>);

impl Interrupt {
    /// Installs a handler. The first Ctrl-C then no longer ends the process.
    pub(crate) fn listen() -> Result<Self, CliError> {
        // The channel carries no messages. Ctrl-C closes it, and any number of tasks can wait until it is
        // closed.
        let (sender, receiver) = async_channel::bounded(1);
        ctrlc::set_handler(move || {
            if !sender.close() {
                process::exit(ExitStatus::Interrupted as i32);
            }
        })
        .map_err(|error| CliError::usage(format_args!("cannot listen for Ctrl-C: {error}")))?;
        Ok(Self(receiver))
    }

    /// Returns whether Ctrl-C has been received.
    #[cfg(feature = "lab")]
    pub(crate) fn is_received(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits for the first Ctrl-C. Returns immediately if it has been received already.
    pub(crate) async fn wait(&self) {
        let Err(async_channel::RecvError) = self.0.recv().await;
    }
}
