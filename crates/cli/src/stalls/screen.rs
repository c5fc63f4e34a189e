//! The screen: its state, how keys change it, and how it is drawn.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::iter;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, RenderDirection, Sparkline, SparklineBar, Wrap};

use super::FRAME_INTERVAL;
use super::fetch_loop::{FetchMode, ModeStats, Snapshot};
use crate::probe::Millis;

/// The smallest scale of the chart, in nanoseconds. Timers and schedulers always cause small delays, which
/// should not fill the chart.
const MIN_SCALE: u64 = 20_000_000;

/// The width of the table with the names of the clients.
const FULL_TABLE_WIDTH: u16 = 75;

/// The maximum number of columns of the chart that are kept. A terminal is hardly ever wider.
const MAX_COLUMNS: usize = 1000;

/// The action that a key triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyAction {
    None,
    SwitchTo(FetchMode),
    Reset,
    Quit,
    Interrupt,
}

/// The state that the screen shows.
pub(super) struct Screen {
    title: String,
    /// The mode that the user selected last. The task may not have switched to it yet.
    selected: FetchMode,
    /// For each column of the chart, how late the loop was, in nanoseconds, and in which mode. The newest
    /// column is the first.
    columns: VecDeque<(u64, FetchMode)>,
    /// The lateness at the top of the chart, in nanoseconds. It never shrinks before a reset, so that the
    /// chart does not jump when a high column leaves it.
    scale: u64,
    /// The scale after a reset.
    first_scale: u64,
    snapshot: Snapshot,
}

impl Screen {
    /// Returns the first screen. The scale of the chart is large enough for an event loop that is late by
    /// `expected`.
    pub(super) fn new(title: String, expected: Duration, first: Snapshot) -> Self {
        let scale = scale_for(u64::try_from(expected.as_nanos()).unwrap_or(u64::MAX));
        Self {
            title,
            selected: first.mode,
            columns: VecDeque::new(),
            scale,
            first_scale: scale,
            snapshot: first,
        }
    }

    /// Updates the state for a key and returns what the caller has to do.
    pub(super) fn handle_key(&mut self, key: KeyEvent) -> KeyAction {
        let offset = |by: usize| {
            let index = self.selected as usize;
            FetchMode::ALL[(index + by) % FetchMode::ALL.len()]
        };
        let mode = match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return KeyAction::Interrupt;
            }
            KeyCode::Char('q') | KeyCode::Esc => return KeyAction::Quit,
            KeyCode::Char('r') => {
                self.columns.clear();
                self.scale = self.first_scale;
                return KeyAction::Reset;
            }
            KeyCode::Char('i') => FetchMode::Inline,
            KeyCode::Char('o') => FetchMode::Offloaded,
            KeyCode::Char('a') => FetchMode::Async,
            KeyCode::Char('n') => FetchMode::Off,
            KeyCode::Tab | KeyCode::Down | KeyCode::Right => offset(1),
            KeyCode::BackTab | KeyCode::Up | KeyCode::Left => offset(FetchMode::ALL.len() - 1),
            _ => return KeyAction::None,
        };
        self.selected = mode;
        KeyAction::SwitchTo(mode)
    }

    /// Adds a column and replaces the snapshot.
    pub(super) fn update(&mut self, snapshot: Snapshot) {
        self.columns.push_front((snapshot.lateness, snapshot.mode));
        self.columns.truncate(MAX_COLUMNS);
        self.scale = self.scale.max(scale_for(snapshot.lateness));
        self.snapshot = snapshot;
    }

    /// Draws as much as fits. A small screen shows only the chart and the keys.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let status_line = self.status_line();
        let status_lines = 2;
        let if_height = |lines: u16| u16::from(area.height >= lines);
        let [title, chart, table, control, status, keys] = Layout::vertical([
            Constraint::Length(if_height(4)),
            Constraint::Fill(1),
            Constraint::Length(if_height(10) * (1 + FetchMode::ALL.len() as u16)),
            Constraint::Length(if_height(14)),
            Constraint::Length(if_height(12) * status_lines),
            Constraint::Length(if_height(2)),
        ])
        .areas(area);
        frame.render_widget(Line::from(&*self.title).bold(), title);
        self.draw_chart(frame, chart);
        let rows: Vec<Line<'_>> = self
            .table(table.width >= FULL_TABLE_WIDTH)
            .into_iter()
            .map(Line::from)
            .collect();
        let styles = iter::once(Style::new().dim()).chain(FetchMode::ALL.map(|mode| {
            let style = Style::new().fg(color(mode));
            if mode == self.selected {
                style.bold()
            } else {
                style
            }
        }));
        let rows: Vec<_> = iter::zip(rows, styles)
            .map(|(row, style)| row.style(style))
            .collect();
        frame.render_widget(Paragraph::new(rows), table);
        frame.render_widget(Line::from(self.control_line()).dim(), control);
        frame.render_widget(
            Paragraph::new(status_line).wrap(Wrap { trim: true }),
            status,
        );
        frame.render_widget(keys_help(), keys);
    }

    fn draw_chart(&self, frame: &mut Frame<'_>, area: Rect) {
        // A border needs two lines, which a small chart does not have.
        let has_border = area.height >= 4;
        let inside = area.width.saturating_sub(2 * u16::from(has_border));
        let shown = self.columns.iter().take(usize::from(inside));
        let bars = shown.map(|(lateness, mode)| {
            SparklineBar::from(*lateness).style(Some(Style::new().fg(color(*mode))))
        });
        let mut chart = Sparkline::default()
            .data(bars.collect::<Vec<_>>())
            .max(self.scale)
            .direction(RenderDirection::RightToLeft);
        if has_border {
            let column = FRAME_INTERVAL.as_millis();
            let seconds = FRAME_INTERVAL.as_secs_f64() * f64::from(inside);
            chart = chart.block(
                Block::bordered()
                    .title(format!(
                        " how late the loop is, from 0 to {} ",
                        Millis(self.scale)
                    ))
                    .title_bottom(
                        Line::from(format!(" {seconds:.0} s, {column} ms a column "))
                            .right_aligned(),
                    ),
            );
        }
        frame.render_widget(chart, area);
    }

    /// Returns a header and a row for each mode. A wide table also names the client.
    fn table(&self, wide: bool) -> Vec<String> {
        let width = if wide { 29 } else { 11 };
        let head = format!(
            "  {:<width$}{:>6}{:>8}{:>10}{:>10}{:>10}",
            "", "pages", "stalls", "median", "99 %", "at most"
        );
        let rows = FetchMode::ALL.into_iter().zip(&self.snapshot.by_mode);
        let rows = rows.map(|(mode, mode_stats)| {
            let marker = match mode {
                _ if mode == self.snapshot.mode => '>',
                _ if mode == self.selected => '?',
                _ => ' ',
            };
            let client = if wide { mode.client() } else { "" };
            let name = format!("{:<11}{client}", mode.name());
            let mut row = format!("{marker} {name:<width$}");
            row += &match mode {
                FetchMode::Off => format!("{:>14}", ""),
                _ => format!("{:>6}{:>8}", mode_stats.pages, mode_stats.stalls),
            };
            for lateness in format_lateness(mode_stats) {
                let _ = write!(row, "{lateness:>10}");
            }
            row
        });
        iter::once(head).chain(rows).collect()
    }

    /// Returns a line to compare with the table. It shows the maximum lateness of the heartbeat's socket
    /// ticks (a task that a socket wakes) and of its ticks on a thread without an event loop.
    fn control_line(&self) -> String {
        let mode_stats = &self.snapshot.by_mode[self.snapshot.mode as usize];
        format!(
            "  maximum lateness: socket ticks {}, thread without a loop {}",
            Millis(mode_stats.socket),
            Millis(self.snapshot.control)
        )
    }

    /// Returns the last error. If there is none, returns the last stall.
    fn status_line(&self) -> Line<'_> {
        let failed: u64 = self
            .snapshot
            .by_mode
            .iter()
            .map(|mode_stats| mode_stats.failed)
            .sum();
        match (&self.snapshot.error, &self.snapshot.stall) {
            (Some(error), _) => {
                Line::from(format!("{failed} pages failed; the last error: {error}")).red()
            }
            (None, Some(stall)) => Line::from(vec![
                Span::from("the last stall: ").dim(),
                Span::from(&**stall),
            ]),
            (None, None) => Line::from("no stall so far").dim(),
        }
    }

    /// Returns the text to print after the terminal has been restored.
    pub(super) fn summary(&self) -> String {
        let mut lines = self.table(true);
        lines.push(self.control_line());
        if let Some(stall) = &self.snapshot.stall {
            lines.push(format!("  the last stall: {stall}"));
        }
        lines.join("\n") + "\n"
    }
}

/// Returns the smallest scale that is at least `lateness`, in nanoseconds. The scales are 20 ms, 50 ms, 100 ms,
/// 200 ms and so on.
fn scale_for(lateness: u64) -> u64 {
    let decades = iter::successors(Some(MIN_SCALE / 2), |decade| decade.checked_mul(10));
    let mut scales = decades.flat_map(|decade| [2, 5, 10].map(|n| decade.saturating_mul(n)));
    scales.find(|&scale| scale >= lateness).unwrap_or(u64::MAX)
}

/// Formats the median, the 99th percentile and the maximum of the lateness.
fn format_lateness(mode_stats: &ModeStats) -> [String; 3] {
    match &mode_stats.lateness {
        None => ["-".to_owned(), "-".to_owned(), "-".to_owned()],
        Some(lateness) => {
            [0.5, 0.99, 1.0].map(|q| Millis(lateness.value_at_quantile(q)).to_string())
        }
    }
}

fn keys_help() -> Line<'static> {
    let keys = [
        ("i", "nline  "),
        ("o", "ffloaded  "),
        ("a", "sync  "),
        ("n", "othing  "),
        ("r", "eset  "),
        ("q", "uit"),
    ];
    let spans = keys.map(|(key, rest)| [Span::from(key).bold().underlined(), Span::from(rest)]);
    Line::from(spans.concat())
}

fn color(mode: FetchMode) -> Color {
    match mode {
        FetchMode::Inline => Color::Red,
        FetchMode::Offloaded => Color::Yellow,
        FetchMode::Async => Color::Green,
        FetchMode::Off => Color::Gray,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEventKind;

    use super::*;

    fn snapshot(mode: FetchMode, lateness: u64) -> Snapshot {
        Snapshot {
            mode,
            lateness,
            by_mode: Default::default(),
            control: 400_000,
            stall: None,
            error: None,
        }
    }

    fn screen() -> Screen {
        Screen::new(
            "tokio, 1 worker: http://pages.test/".to_owned(),
            Duration::from_millis(100),
            snapshot(FetchMode::Inline, 0),
        )
    }

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new_with_kind(code, KeyModifiers::NONE, KeyEventKind::Press)
    }

    fn draw_lines(screen: &Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let cells = terminal.backend().buffer().content();
        let lines = cells.chunks(usize::from(width).max(1));
        lines
            .map(|line| line.iter().map(|cell| cell.symbol()).collect())
            .collect()
    }

    #[test]
    fn keys_select_a_mode_and_quit() {
        let mut screen = screen();
        for (code, action) in [
            (
                KeyCode::Char('o'),
                KeyAction::SwitchTo(FetchMode::Offloaded),
            ),
            (KeyCode::Right, KeyAction::SwitchTo(FetchMode::Async)),
            (KeyCode::Tab, KeyAction::SwitchTo(FetchMode::Off)),
            (KeyCode::Down, KeyAction::SwitchTo(FetchMode::Inline)),
            (KeyCode::Left, KeyAction::SwitchTo(FetchMode::Off)),
            (KeyCode::Char('a'), KeyAction::SwitchTo(FetchMode::Async)),
            (KeyCode::Char('c'), KeyAction::None),
            (KeyCode::Char('r'), KeyAction::Reset),
            (KeyCode::Char('q'), KeyAction::Quit),
            (KeyCode::Esc, KeyAction::Quit),
        ] {
            assert_eq!(screen.handle_key(key(code)), action, "{code:?}");
        }
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.handle_key(interrupt), KeyAction::Interrupt);
    }

    #[test]
    fn the_newest_column_is_on_the_right_and_its_height_is_the_lateness() {
        let mut screen = screen();
        screen.update(snapshot(FetchMode::Inline, 0));
        screen.update(snapshot(FetchMode::Inline, 50_000_000));
        screen.update(snapshot(FetchMode::Inline, 100_000_000));
        let lines = draw_lines(&screen, 80, 24);
        assert!(lines[1].contains("from 0 to 100.0 ms"), "{lines:#?}");
        let column = |x: usize| -> Vec<char> {
            let chart = lines[2..].iter().take_while(|line| !line.starts_with('└'));
            chart.filter_map(|line| line.chars().nth(x)).collect()
        };
        let full = |x: usize| column(x).iter().filter(|&&c| c == '█').count();
        let height = column(78).len();
        assert_eq!((full(78), full(76)), (height, 0), "{lines:#?}");
        assert_eq!(full(77), height / 2, "{lines:#?}");
    }

    #[test]
    fn the_scale_shrinks_only_after_a_reset() {
        let mut screen = screen();
        let title = |screen: &Screen| draw_lines(screen, 80, 24)[1].clone();
        assert!(title(&screen).contains("from 0 to 100.0 ms"));
        screen.update(snapshot(FetchMode::Inline, 170_000_000));
        assert!(title(&screen).contains("from 0 to 200.0 ms"));
        for _ in 0..MAX_COLUMNS {
            screen.update(snapshot(FetchMode::Async, 0));
        }
        assert!(title(&screen).contains("from 0 to 200.0 ms"));
        assert_eq!(screen.handle_key(key(KeyCode::Char('r'))), KeyAction::Reset);
        assert!(title(&screen).contains("from 0 to 100.0 ms"));
    }

    #[test]
    fn a_scale_is_a_round_number_that_includes_the_lateness() {
        for (millis, scale) in [
            (0, 20),
            (20, 20),
            (21, 50),
            (99, 100),
            (101, 200),
            (1999, 2000),
            (30_000, 50_000),
        ] {
            assert_eq!(scale_for(millis * 1_000_000), scale * 1_000_000);
        }
        assert_eq!(scale_for(u64::MAX), u64::MAX);
    }

    #[test]
    fn each_mode_has_a_row_and_the_selected_mode_is_marked_until_it_is_current() {
        let mut screen = screen();
        screen.snapshot.by_mode[0].pages = 12;
        screen.snapshot.stall = Some("inline (here) waited for 100 ms".to_owned());
        screen.handle_key(key(KeyCode::Char('a')));
        let lines = draw_lines(&screen, 80, 24);
        let line = |start: &str| lines.iter().find(|line| line.starts_with(start));
        assert!(
            line("> inline     ureq in the task")
                .unwrap()
                .contains(" 12 "),
            "{lines:#?}"
        );
        assert!(line("? async      hyper").is_some(), "{lines:#?}");
        assert!(
            line("the last stall: inline (here)").is_some(),
            "{lines:#?}"
        );
        screen.update(snapshot(FetchMode::Async, 0));
        let lines = draw_lines(&screen, 80, 24);
        assert!(
            lines.iter().any(|line| line.starts_with("> async")),
            "{lines:#?}"
        );
    }

    #[test]
    fn every_size_of_terminal_can_be_drawn() {
        let mut screen = screen();
        for late in 0..200 {
            screen.update(snapshot(FetchMode::Inline, late * 1_000_000));
        }
        screen.snapshot.stall = Some("a long word ".repeat(50));
        for width in (0..30).chain([79, 80, 300]) {
            for height in (0..26).chain([100]) {
                draw_lines(&screen, width, height);
            }
        }
        // Two lines are enough for the keys, and a narrow screen still shows the table.
        assert!(draw_lines(&screen, 60, 2)[1].starts_with("inline  offloaded"));
        let lines = draw_lines(&screen, 60, 10);
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("> inline          0       0         -")),
            "{lines:#?}"
        );
    }

    #[test]
    fn the_summary_contains_the_table() {
        let mut screen = screen();
        screen.snapshot.stall = Some("inline (here) waited for 100 ms".to_owned());
        let summary = screen.summary();
        for mode in FetchMode::ALL {
            assert!(summary.contains(mode.name()), "{summary}");
        }
        assert!(summary.ends_with("the last stall: inline (here) waited for 100 ms\n"));
    }
}
