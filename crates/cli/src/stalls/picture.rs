//! What is on the screen: the state that keys and looks change, and how it is drawn.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::iter;

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, RenderDirection, Sparkline, SparklineBar, Wrap};

use super::FRAME;
use super::fetching::{Account, How, Look};
use crate::probe::Millis;

/// The chart reaches at least this high: below is what timers and schedulers do all the time.
const LOWEST_TOP: u64 = 20_000_000;

/// So wide is the table in full.
const WIDE: u16 = 75;

/// More columns than this no terminal has.
const MOST_COLUMNS: usize = 1000;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    TurnTo(How),
    Reset,
    Leave,
    Interrupt,
}

pub(super) struct Picture {
    title: String,
    wish: How,
    /// How late the loop was, the newest first.
    columns: VecDeque<(u64, How)>,
    look: Look,
}

impl Picture {
    pub(super) fn new(title: String, first: Look) -> Self {
        Self {
            title,
            wish: first.how,
            columns: VecDeque::new(),
            look: first,
        }
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Asked {
        let turn = |by: usize| {
            let at = self.wish as usize;
            How::ALL[(at + by) % How::ALL.len()]
        };
        let how = match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Asked::Interrupt;
            }
            KeyCode::Char('q') | KeyCode::Esc => return Asked::Leave,
            KeyCode::Char('r') => {
                self.columns.clear();
                return Asked::Reset;
            }
            KeyCode::Char('i') => How::Inline,
            KeyCode::Char('o') => How::Offloaded,
            KeyCode::Char('a') => How::Async,
            KeyCode::Char('n') => How::Nothing,
            KeyCode::Tab | KeyCode::Down | KeyCode::Right => turn(1),
            KeyCode::BackTab | KeyCode::Up | KeyCode::Left => turn(How::ALL.len() - 1),
            _ => return Asked::Nothing,
        };
        self.wish = how;
        Asked::TurnTo(how)
    }

    /// The next column.
    pub(super) fn see(&mut self, look: Look) {
        self.columns.push_front((look.late, look.how));
        self.columns.truncate(MOST_COLUMNS);
        self.look = look;
    }

    /// As much as there is room for, the chart and the keys last to go.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let told = self.told();
        let told_lines = 2;
        let room = |lines: u16| u16::from(area.height >= lines);
        let [title, chart, table, control, stall, keys] = Layout::vertical([
            Constraint::Length(room(4)),
            Constraint::Fill(1),
            Constraint::Length(room(10) * (1 + How::ALL.len() as u16)),
            Constraint::Length(room(14)),
            Constraint::Length(room(12) * told_lines),
            Constraint::Length(room(2)),
        ])
        .areas(area);
        frame.render_widget(Line::from(&*self.title).bold(), title);
        self.draw_chart(frame, chart);
        let rows: Vec<Line<'_>> = self
            .table(table.width >= WIDE)
            .into_iter()
            .map(Line::from)
            .collect();
        let styles = iter::once(Style::new().dim()).chain(How::ALL.map(|how| {
            let style = Style::new().fg(color(how));
            if how == self.wish {
                style.bold()
            } else {
                style
            }
        }));
        let rows: Vec<_> = iter::zip(rows, styles)
            .map(|(row, style)| row.style(style))
            .collect();
        frame.render_widget(Paragraph::new(rows), table);
        frame.render_widget(Line::from(self.control()).dim(), control);
        frame.render_widget(Paragraph::new(told).wrap(Wrap { trim: true }), stall);
        frame.render_widget(keys_help(), keys);
    }

    fn draw_chart(&self, frame: &mut Frame<'_>, area: Rect) {
        // A frame around a single line would leave nothing of it.
        let framed = area.height >= 4;
        let inside = area.width.saturating_sub(2 * u16::from(framed));
        let shown = || self.columns.iter().take(usize::from(inside));
        let highest = shown().map(|(late, _)| *late).max().unwrap_or(0);
        let top = highest.max(LOWEST_TOP);
        let bars = shown()
            .map(|(late, how)| SparklineBar::from(*late).style(Some(Style::new().fg(color(*how)))));
        let mut chart = Sparkline::default()
            .data(bars.collect::<Vec<_>>())
            .max(top)
            .direction(RenderDirection::RightToLeft);
        if framed {
            let column = FRAME.as_millis();
            let seconds = FRAME.as_secs_f64() * f64::from(inside);
            chart = chart.block(
                Block::bordered()
                    .title(format!(
                        " how late the loop is; the top is {} ",
                        Millis(top)
                    ))
                    .title_bottom(
                        Line::from(format!(" {seconds:.0} s, {column} ms a column "))
                            .right_aligned(),
                    ),
            );
        }
        frame.render_widget(chart, area);
    }

    /// A row for each way, under a head; with who it is that fetches, where that has room.
    fn table(&self, wide: bool) -> Vec<String> {
        let width = if wide { 29 } else { 11 };
        let head = format!(
            "  {:<width$}{:>6}{:>8}{:>10}{:>10}{:>10}",
            "", "pages", "stalls", "median", "99 %", "at most"
        );
        let rows = How::ALL.into_iter().zip(&self.look.accounts);
        let rows = rows.map(|(how, account)| {
            let now = match how {
                _ if how == self.look.how => '>',
                _ if how == self.wish => '?',
                _ => ' ',
            };
            let by = if wide { how.by() } else { "" };
            let what = format!("{:<11}{by}", how.name());
            let mut row = format!("{now} {what:<width$}");
            row += &match how {
                How::Nothing => format!("{:>14}", ""),
                _ => format!("{:>6}{:>8}", account.pages, account.stalls),
            };
            for late in latenesses(account) {
                let _ = write!(row, "{late:>10}");
            }
            row
        });
        iter::once(head).chain(rows).collect()
    }

    /// What the figures are to be held against.
    fn control(&self) -> String {
        let account = &self.look.accounts[self.look.how as usize];
        format!(
            "  at most through a socket {}, on a plain thread {}",
            Millis(account.socket),
            Millis(self.look.control)
        )
    }

    fn told(&self) -> Line<'_> {
        let failed: u64 = self
            .look
            .accounts
            .iter()
            .map(|account| account.failed)
            .sum();
        match (&self.look.error, &self.look.stall) {
            (Some(error), _) => Line::from(format!("{failed} failed; the last: {error}")).red(),
            (None, Some(stall)) => Line::from(vec![
                Span::from("the last stall: ").dim(),
                Span::from(&**stall),
            ]),
            (None, None) => Line::from("no stall so far").dim(),
        }
    }

    /// What is left to read when the screen is as it was before.
    pub(super) fn summary(&self) -> String {
        let mut lines = self.table(true);
        lines.push(self.control());
        if let Some(stall) = &self.look.stall {
            lines.push(format!("  the last stall: {stall}"));
        }
        lines.join("\n") + "\n"
    }
}

fn latenesses(account: &Account) -> [String; 3] {
    match &account.late {
        None => ["-".to_owned(), "-".to_owned(), "-".to_owned()],
        Some(late) => [0.5, 0.99, 1.0].map(|q| Millis(late.value_at_quantile(q)).to_string()),
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

fn color(how: How) -> Color {
    match how {
        How::Inline => Color::Red,
        How::Offloaded => Color::Yellow,
        How::Async => Color::Green,
        How::Nothing => Color::Gray,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEventKind;

    use super::*;

    fn look(how: How, late: u64) -> Look {
        Look {
            how,
            late,
            accounts: Default::default(),
            control: 400_000,
            stall: None,
            error: None,
        }
    }

    fn picture() -> Picture {
        Picture::new(
            "tokio, 1 worker: http://pages.test/".to_owned(),
            look(How::Inline, 0),
        )
    }

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new_with_kind(code, KeyModifiers::NONE, KeyEventKind::Press)
    }

    fn drawn(picture: &Picture, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| picture.draw(frame)).unwrap();
        let cells = terminal.backend().buffer().content();
        let lines = cells.chunks(usize::from(width).max(1));
        lines
            .map(|line| line.iter().map(|cell| cell.symbol()).collect())
            .collect()
    }

    #[test]
    fn keys_choose_and_end() {
        let mut picture = picture();
        for (code, asked) in [
            (KeyCode::Char('o'), Asked::TurnTo(How::Offloaded)),
            (KeyCode::Right, Asked::TurnTo(How::Async)),
            (KeyCode::Tab, Asked::TurnTo(How::Nothing)),
            (KeyCode::Down, Asked::TurnTo(How::Inline)),
            (KeyCode::Left, Asked::TurnTo(How::Nothing)),
            (KeyCode::Char('a'), Asked::TurnTo(How::Async)),
            (KeyCode::Char('c'), Asked::Nothing),
            (KeyCode::Char('r'), Asked::Reset),
            (KeyCode::Char('q'), Asked::Leave),
            (KeyCode::Esc, Asked::Leave),
        ] {
            assert_eq!(picture.press(key(code)), asked, "{code:?}");
        }
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(picture.press(interrupt), Asked::Interrupt);
    }

    #[test]
    fn the_newest_column_is_on_the_right_and_its_height_is_the_lateness() {
        let mut picture = picture();
        picture.see(look(How::Inline, 0));
        picture.see(look(How::Inline, 50_000_000));
        picture.see(look(How::Inline, 100_000_000));
        let lines = drawn(&picture, 80, 24);
        assert!(lines[1].contains("the top is 100.0 ms"), "{lines:#?}");
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
    fn each_way_has_a_row_and_what_is_wished_for_is_marked_until_it_comes() {
        let mut picture = picture();
        picture.look.accounts[0].pages = 12;
        picture.look.stall = Some("inline (here) waited for 100 ms".to_owned());
        picture.press(key(KeyCode::Char('a')));
        let lines = drawn(&picture, 80, 24);
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
        picture.see(look(How::Async, 0));
        let lines = drawn(&picture, 80, 24);
        assert!(
            lines.iter().any(|line| line.starts_with("> async")),
            "{lines:#?}"
        );
    }

    #[test]
    fn every_size_of_terminal_can_be_drawn_on() {
        let mut picture = picture();
        for late in 0..200 {
            picture.see(look(How::Inline, late * 1_000_000));
        }
        picture.look.stall = Some("a long word ".repeat(50));
        for width in (0..30).chain([79, 80, 300]) {
            for height in (0..26).chain([100]) {
                drawn(&picture, width, height);
            }
        }
        // The keys are there as long as there are two lines, and the figures where it is narrow.
        assert!(drawn(&picture, 60, 2)[1].starts_with("inline  offloaded"));
        let lines = drawn(&picture, 60, 10);
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("> inline          0       0         -")),
            "{lines:#?}"
        );
    }

    #[test]
    fn what_is_left_to_read_has_the_table() {
        let mut picture = picture();
        picture.look.stall = Some("inline (here) waited for 100 ms".to_owned());
        let summary = picture.summary();
        for how in How::ALL {
            assert!(summary.contains(how.name()), "{summary}");
        }
        assert!(summary.ends_with("the last stall: inline (here) waited for 100 ms\n"));
    }
}
