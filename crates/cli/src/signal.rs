//! Ctrl-C: the first asks for an orderly end, the second ends at once.

use std::convert::Infallible;
use std::process;

use async_channel::Receiver;

use crate::exit::{Exit, Stop};

/// The first Ctrl-C, to be waited for.
pub(crate) struct Interrupt(Receiver<Infallible>);

impl Interrupt {
    /// From here on Ctrl-C no longer ends the process by itself.
    pub(crate) fn listen() -> Result<Self, Stop> {
        // Nothing is ever sent: closing the channel is the event, and it stays closed however
        // often one asks.
        let (sender, receiver) = async_channel::bounded(1);
        ctrlc::set_handler(move || {
            if !sender.close() {
                process::exit(Exit::Interrupted as i32);
            }
        })
        .map_err(|error| Stop::usage(format_args!("cannot listen for Ctrl-C: {error}")))?;
        Ok(Self(receiver))
    }

    /// Whether there has been one.
    #[cfg(feature = "lab")]
    pub(crate) fn has_come(&self) -> bool {
        self.0.is_closed()
    }

    /// Completes at the first Ctrl-C, at once if it has been.
    pub(crate) async fn wait(&self) {
        let Err(async_channel::RecvError) = self.0.recv().await;
    }
}
