//! `inflight stalls`: a live picture of an event loop, while pages are fetched in ways that stall
//! it and in ways that do not.
//!
//! `fetching` is the loop that is looked at, `picture` what is on the screen.

mod fetching;
mod picture;

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use inflight::Cell;
use inflight_origin::Origin;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use self::fetching::{Fetching, How, Plan};
use self::picture::{Asked, Picture};
use crate::args::{self, EventLoop};
use crate::exit::{Exit, Stop};
use crate::output::describe;

/// How often the picture moves on.
const FRAME: Duration = Duration::from_millis(50);

pub(crate) fn run(args: args::Stalls) -> Result<Exit, Stop> {
    if !io::stdout().is_terminal() {
        return Err(Stop::usage(
            "stalls draws on a terminal, and standard output is none; `inflight gather --probe` says in words how late the loop was",
        ));
    }
    let cell = cell(args.runtime)?;
    let unable = |error| Stop::usage(describe(&error));
    let backend = cell.start(Some(args.workers)).map_err(unable)?;
    // A server on a thread of its own, unless another is asked for.
    let origin = match &args.url {
        Some(_) => None,
        None => Some(Origin::start().map_err(|error| {
            Stop::usage(format_args!("the local server cannot start: {error}"))
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
    let plan = Plan {
        url,
        every: args.every,
        threshold: threshold(args.delay),
        how: How::Inline,
    };
    let fetching = Fetching::start(&backend, plan).map_err(unable)?;
    let mut picture = Picture::new(title, fetching.look());

    // From here on a panic puts the terminal back before it says anything.
    let shown = match ratatui::try_init() {
        Ok(mut terminal) => show(&mut terminal, &mut picture, &fetching),
        Err(error) => Err(Stop::usage(format_args!(
            "cannot take the terminal: {error}"
        ))),
    };
    let restored = ratatui::try_restore();
    let exit = shown?;
    let mut stdout = io::stdout();
    restored
        .and_then(|()| stdout.write_all(picture.summary().as_bytes()))
        .and_then(|()| stdout.flush())
        .map_err(|error| Stop::stdout(&error))?;
    Ok(exit)
}

/// hyper on the runtime that is asked for, or on the first that is compiled in.
fn cell(asked: Option<EventLoop>) -> Result<Cell, Stop> {
    let all = [EventLoop::Tokio, EventLoop::Smol, EventLoop::AsyncStd];
    let first = all
        .into_iter()
        .find(|event_loop| event_loop.cell().is_compiled());
    let chosen = asked.or(first).ok_or_else(|| {
        Stop::usage(
            "no event loop is compiled in: build with one of the features tokio, smol, async-std",
        )
    })?;
    Ok(chosen.cell())
}

/// Half of what the page takes, so that each fetch in the task is told; but a poll of more than
/// 100 ms always is, and one of 10 ms may be the machine's doing.
fn threshold(delay: Duration) -> Duration {
    (delay / 2).clamp(Duration::from_millis(10), Duration::from_millis(100))
}

fn show(
    terminal: &mut DefaultTerminal,
    picture: &mut Picture,
    fetching: &Fetching,
) -> Result<Exit, Stop> {
    let failed = |error: io::Error| Stop::stdout(&error);
    loop {
        if fetching.is_over() {
            return Err(Stop::failed("the task that fetches has panicked"));
        }
        picture.see(fetching.look());
        terminal.draw(|frame| picture.draw(frame)).map_err(failed)?;
        let next = Instant::now() + FRAME;
        while event::poll(next.saturating_duration_since(Instant::now())).map_err(failed)? {
            if let Event::Key(key) = event::read().map_err(failed)?
                && key.kind == KeyEventKind::Press
            {
                match picture.press(key) {
                    Asked::Nothing => {}
                    Asked::TurnTo(how) => fetching.turn_to(how),
                    Asked::Reset => fetching.reset(),
                    Asked::Leave => return Ok(Exit::Success),
                    Asked::Interrupt => return Ok(Exit::Interrupted),
                }
            }
            // Another size, or another wish.
            terminal.draw(|frame| picture.draw(frame)).map_err(failed)?;
        }
    }
}
