//! `inflight stalls`: shows a live chart of how late an event loop is. Meanwhile, a task fetches pages in ways
//! that stall the loop and in ways that do not.
//!
//! `fetch_loop` fetches the pages and measures the event loop. `screen` draws the chart.

mod fetch_loop;
mod screen;

use std::io::{self, IsTerminal};
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
    let mut screen = Screen::new(title, task.snapshot());

    // `try_init` also installs a panic hook that restores the terminal before the message is printed.
    let shown = match ratatui::try_init() {
        Ok(mut terminal) => show(&mut terminal, &mut screen, &task),
        Err(error) => Err(CliError::usage(format_args!(
            "cannot set up the terminal: {error}"
        ))),
    };
    let restored = ratatui::try_restore();
    let status = shown?;
    restored.map_err(|error| CliError::stdout(&error))?;
    print_output(&screen.summary())?;
    Ok(status)
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

/// Draws the screen and handles keys until the user quits.
fn show(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    task: &FetchTask,
) -> Result<ExitStatus, CliError> {
    let failed = |error: io::Error| CliError::stdout(&error);
    loop {
        if task.is_finished() {
            return Err(CliError::failed("the task that fetches pages has panicked"));
        }
        screen.update(task.snapshot());
        terminal.draw(|frame| screen.draw(frame)).map_err(failed)?;
        let next = Instant::now() + FRAME_INTERVAL;
        while event::poll(next.saturating_duration_since(Instant::now())).map_err(failed)? {
            if let Event::Key(key) = event::read().map_err(failed)?
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
