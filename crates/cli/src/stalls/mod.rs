//! `inflight stalls`: shows a live chart of how late an event loop is. Meanwhile, a task fetches pages in ways
//! that stall the loop and in ways that do not.
//!
//! `fetch_loop` fetches the pages and measures the event loop. `screen` draws the chart.

mod fetch_loop;
mod screen;

use std::io::{self, IsTerminal};
use std::mem;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use inflight::Cell;
use inflight_origin::Origin;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use self::fetch_loop::{FetchMode, FetchOptions, FetchTask};
use self::screen::{KeyAction, Screen};
use crate::args;
use crate::exit::{CliError, ExitStatus, print_output};
use crate::output::describe;
use crate::signal::Interrupt;

/// The interval at which the chart gets a new column.
const FRAME_INTERVAL: Duration = Duration::from_millis(50);

pub(crate) fn run(args: args::Stalls) -> Result<ExitStatus, CliError> {
    if !io::stdout().is_terminal() {
        return Err(CliError::usage(
            "standard output is not a terminal; use `inflight gather --probe` to print how late the loop was",
        ));
    }
    let cell = cell(args.runtime.as_deref())?;
    let usage_error = |error| CliError::usage(describe(&error));
    let backend = cell.start(Some(args.workers)).map_err(usage_error)?;
    // The local server runs on its own thread.
    let origin = match &args.url {
        Some(_) => None,
        None => Some(Origin::start().map_err(|error| {
            CliError::usage(format_args!("cannot start the local server: {error}"))
        })?),
    };
    let url = match (args.url, &origin) {
        (None, Some(origin)) => origin.url(&format!("/delay-ms/{}", args.delay.as_millis())),
        (url, _) => url.unwrap_or_default(),
    };
    let workers = match args.workers.get() {
        1 => "1 worker".to_owned(),
        n => format!("{n} workers"),
    };
    let title = format!("{}, {workers}: {url}", cell.runtime());
    let options = FetchOptions {
        url,
        every: args.every,
        threshold: threshold(args.delay),
        mode: FetchMode::Inline,
    };
    let task = FetchTask::start(&backend, options).map_err(usage_error)?;
    // A tick can be later than the page, because the loop runs other tasks first.
    let mut screen = Screen::new(title, args.delay * 3 / 2, task.snapshot());

    // Without a handler, SIGTERM and SIGHUP would end the program and leave the terminal in raw mode.
    let interrupt = Interrupt::listen()?;
    // `try_init` also installs a panic hook that restores the terminal before the message is printed.
    let shown = match ratatui::try_init() {
        Ok(mut terminal) => {
            let shown = show(&mut terminal, &mut screen, &task, &interrupt);
            // If the terminal is closed, its destructor cannot show the cursor. It would then panic, because it
            // cannot print the error either.
            if terminal.show_cursor().is_err() {
                mem::forget(terminal);
            }
            shown
        }
        Err(error) => Err(CliError::usage(format_args!(
            "cannot set up the terminal: {error}"
        ))),
    };
    let restored = ratatui::try_restore().map_err(|error| CliError::stdout(&error));
    let finished = shown.and_then(|status| {
        restored?;
        print_output(&screen.summary())?;
        Ok(status)
    });
    match finished {
        // If the terminal has been closed, writing to it can fail before SIGHUP arrives.
        Err(_) if interrupt.is_received() || !io::stdout().is_terminal() => {
            Ok(ExitStatus::Interrupted)
        }
        finished => finished,
    }
}

/// Returns the cell (a runtime and a client) with the client hyper and the requested runtime. If no runtime
/// is requested, returns the first cell with hyper that is compiled in.
fn cell(requested: Option<&str>) -> Result<Cell, CliError> {
    let mut cells = Cell::ALL
        .into_iter()
        .filter(|cell| cell.client() == "hyper");
    let found = cells.find(|cell| match requested {
        Some(runtime) => cell.runtime() == runtime,
        None => cell.is_compiled(),
    });
    found.ok_or_else(|| {
        CliError::usage(
            "no event loop is compiled in: build with one of the features tokio, smol, async-std",
        )
    })
}

/// Returns the threshold above which a poll counts as a stall: half of the page's delay, so that each blocking
/// fetch is a stall.
///
/// The threshold is at most 100 ms. It is at least 10 ms, because a busy machine can cause shorter stalls.
fn threshold(delay: Duration) -> Duration {
    (delay / 2).clamp(Duration::from_millis(10), Duration::from_millis(100))
}

/// Reads the events of the terminal on another thread.
///
/// After the terminal has been closed, crossterm's functions never return. The thread is not joined, so it does
/// not keep the program alive.
fn read_events() -> io::Result<Receiver<io::Result<Event>>> {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("terminal".into());
    thread.spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if sender.send(event).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Draws the screen and handles keys until the user quits or a signal arrives.
fn show(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    task: &FetchTask,
    interrupt: &Interrupt,
) -> Result<ExitStatus, CliError> {
    let failed = |error: io::Error| CliError::stdout(&error);
    let events = read_events().map_err(failed)?;
    loop {
        // In raw mode, Ctrl-C is a key and sends no signal.
        if interrupt.is_received() {
            return Ok(ExitStatus::Interrupted);
        }
        if task.is_finished() {
            return Err(CliError::failed("the task that fetches pages has panicked"));
        }
        screen.update(task.snapshot());
        terminal.draw(|frame| screen.draw(frame)).map_err(failed)?;
        let next = Instant::now() + FRAME_INTERVAL;
        loop {
            let event = match events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => event.map_err(failed)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(CliError::failed("the thread that reads keys has panicked"));
                }
            };
            if let Event::Key(key) = event
                && key.kind == KeyEventKind::Press
            {
                match screen.handle_key(key) {
                    KeyAction::None => {}
                    KeyAction::SwitchTo(mode) => task.switch_to(mode),
                    KeyAction::Reset => task.reset(),
                    KeyAction::Quit => return Ok(ExitStatus::Success),
                    KeyAction::Interrupt => return Ok(ExitStatus::Interrupted),
                }
            }
            // The size of the terminal or the selected mode may have changed.
            terminal.draw(|frame| screen.draw(frame)).map_err(failed)?;
        }
    }
}
