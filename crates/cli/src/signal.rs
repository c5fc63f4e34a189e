//! Signals that end the program: Ctrl-C and, on Unix, SIGTERM and SIGHUP.
//!
//! The first signal requests a graceful shutdown. A second Ctrl-C or SIGTERM exits immediately. A second SIGHUP
//! does not, because a terminal that closes may send it twice.

use std::convert::Infallible;
use std::io;
use std::process;

use async_channel::{Receiver, Sender};

use crate::exit::{CliError, ExitStatus};

/// A handle that waits for the first signal.
pub(crate) struct Interrupt(Receiver<Infallible>);

impl Interrupt {
    /// Installs a handler. The first signal then no longer ends the process.
    pub(crate) fn listen() -> Result<Self, CliError> {
        // The channel carries no messages. The signal closes it, and any number of tasks can wait until it is
        // closed.
        let (sender, receiver) = async_channel::bounded(1);
        install(sender)
            .map_err(|error| CliError::usage(format_args!("cannot listen for signals: {error}")))?;
        Ok(Self(receiver))
    }

    /// Returns whether a signal has been received.
    #[cfg(any(feature = "lab", feature = "stalls"))]
    pub(crate) fn is_received(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits for the first signal. Returns immediately if it has been received already.
    pub(crate) async fn wait(&self) {
        let Err(async_channel::RecvError) = self.0.recv().await;
    }
}

/// Makes a write beyond the limit of `ulimit -f` fail with an error. By default, the system ends the program.
pub(crate) fn report_file_size_limit() {
    #[cfg(unix)]
    // The signal does nothing. If it cannot be caught, the default remains.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Default::default());
}

/// Closes the channel at the first signal, and exits if the channel is closed already.
fn shut_down(sender: &Sender<Infallible>) {
    if !sender.close() {
        process::exit(ExitStatus::Interrupted as i32);
    }
}

#[cfg(unix)]
fn install(sender: Sender<Infallible>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !is_hangup_ignored() {
        signals.add_signal(SIGHUP)?;
    }
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => drop(sender.close()),
                _ => shut_down(&sender),
            }
        }
    })?;
    Ok(())
}

/// Returns whether the process ignores SIGHUP, as after `nohup`. Only Linux reports this in a file. On other
/// systems, SIGHUP ends the program despite `nohup`.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal_hook::consts::SIGHUP - 1) & 1 == 1)
}

#[cfg(not(unix))]
fn install(sender: Sender<Infallible>) -> io::Result<()> {
    ctrlc::set_handler(move || shut_down(&sender)).map_err(io::Error::other)
}
