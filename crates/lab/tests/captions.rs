//! Compares every title and every caption of a report with the table of the same figure. The test reads the page as a
//! reader does: it parses the sentences, and fails on a sentence that it does not know.

mod synthetic;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use inflight_lab::data::{ExperimentResults, latest_results};
use inflight_lab::experiment::{Better, DUPLICATE_SUFFIX};
use inflight_lab::experiments;
use inflight_lab::factors::{CLIENTS, RUNTIMES, format_factor};
use inflight_lab::record::{self, Run};
use inflight_lab::report::{ExperimentInfo, MetricInfo, Report};
use inflight_lab::stats::may_claim;
use inflight_lab::text::{format_count, format_figure};
use proptest::prelude::*;
use roxmltree::{Document, Node};

/// A cell of a figure's table.
#[derive(Clone, Debug)]
struct Cell {
    contender: String,
    x: f64,
    value: f64,
    text: String,
}

/// A figure on the page, with the table of its metric.
struct Figure<'a> {
    info: &'a ExperimentInfo,
    metric: MetricInfo,
    results: &'a ExperimentResults,
    title: String,
    caption: String,
    is_heat_map: bool,
    cells: Vec<Cell>,
    /// The text of the limit and of the target at each point.
    limits: BTreeMap<u64, f64>,
    targets: BTreeMap<u64, f64>,
    /// The labels of the marks in the wide drawing.
    marks: Vec<String>,
    /// The factors beside a heat map.
    factors: Vec<String>,
}

type Checked = Result<(), String>;

fn check(holds: bool, problem: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(problem()) }
}

fn has_class(node: &Node<'_, '_>, class: &str) -> bool {
    let classes = node.attribute("class").unwrap_or_default();
    classes.split(' ').any(|one| one == class)
}

fn text_of(node: Node<'_, '_>) -> String {
    let texts = node.descendants().filter(Node::is_text);
    texts.filter_map(|one| one.text()).collect()
}

fn child_text(figure: &Node<'_, '_>, name: &str) -> String {
    let child = figure.children().find(|node| node.has_tag_name(name));
    child.map(text_of).unwrap_or_default()
}

/// Reads the first number of a text: `100 ms`, `4,000/s`.
fn first_number(text: &str) -> Option<f64> {
    let digits: String = text
        .chars()
        .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | '-'))
        .filter(|c| *c != ',')
        .collect();
    digits.parse().ok()
}

/// Formats a ratio as titles do.
fn times(ratio: f64) -> String {
    match ratio {
        9.95.. => format!("{ratio:.0}"),
        1.995.. => format!("{ratio:.1}"),
        _ => format!("{ratio:.2}"),
    }
}

fn range(low: &str, high: &str) -> String {
    if low == high {
        low.to_owned()
    } else {
        format!("{low} to {high}")
    }
}

fn lowest(cells: &[Cell]) -> &Cell {
    cells
        .iter()
        .min_by(|a, b| a.value.total_cmp(&b.value))
        .unwrap()
}

fn highest(cells: &[Cell]) -> &Cell {
    cells
        .iter()
        .max_by(|a, b| a.value.total_cmp(&b.value))
        .unwrap()
}

/// Returns whether the factor between two cells may be claimed.
fn is_claimable(figure: &Figure<'_>, low: &Cell, high: &Cell) -> bool {
    let metric = &figure.metric.name;
    let noise = figure.results.smallest_difference(metric);
    let ratio = figure
        .results
        .ratio(metric, &high.contender, &low.contender, low.x);
    ratio.is_some_and(|ratio| ratio.low > 1.0 && may_claim(&ratio, noise))
        && noise.is_some_and(|noise| high.value > noise * low.value)
}

impl Figure<'_> {
    fn point_text(&self, x: f64) -> String {
        let unit = self.info.variable.as_ref().map_or("", |one| &one.unit);
        match (format_count(x), unit) {
            (text, "") => text,
            (text, "1/s") => format!("{text}/s"),
            (text, unit) => format!("{text} {unit}"),
        }
    }

    fn points(&self) -> Vec<f64> {
        self.results.points(&self.metric.name)
    }

    /// Returns the point with this text.
    fn point(&self, text: &str) -> Result<f64, String> {
        let found = self
            .points()
            .into_iter()
            .find(|x| self.point_text(*x) == text);
        found.ok_or_else(|| format!("there is no point {text:?}"))
    }

    /// Returns the cells at a point that the chart shows.
    fn at(&self, x: f64) -> Vec<Cell> {
        let cells = self.cells.iter().filter(|cell| cell.x == x);
        cells.cloned().collect()
    }

    fn check(&self) -> Checked {
        let shown = self.check_title()?;
        let marks: usize = shown.iter().map(|x| self.heat_cells(*x).len()).sum();
        check(self.marks.len() == marks, || {
            format!("{} marks for {marks} cells of the table", self.marks.len())
        })?;
        self.check_limit()?;
        self.check_caption()?;
        self.check_factors(&shown)
    }

    /// Returns the cells that the chart shows at a point: nine in a heat map.
    fn heat_cells(&self, x: f64) -> Vec<Cell> {
        let mut cells = self.at(x);
        if self.is_heat_map {
            cells.retain(|cell| {
                let parts = cell.contender.split_once('/');
                parts.is_some_and(|(runtime, client)| {
                    RUNTIMES.contains(&runtime) && CLIENTS.contains(&client)
                })
            });
        }
        cells
    }

    /// Checks the title. Returns the points that the chart shows.
    fn check_title(&self) -> Result<Vec<f64>, String> {
        let mut label: String = self
            .metric
            .label
            .chars()
            .take(1)
            .flat_map(char::to_uppercase)
            .collect();
        label.extend(self.metric.label.chars().skip(1));
        let rest = self
            .title
            .strip_prefix(&*label)
            .ok_or("the title does not name the metric")?;
        let Some(variable) = &self.info.variable else {
            let statements = rest.strip_prefix(": ").ok_or("the title states nothing")?;
            self.check_statements(statements, 0.0)?;
            return Ok(vec![0.0]);
        };
        if let Some(rest) = rest.strip_prefix(&format!(" ({}: ", variable.name)) {
            let (point, statements) = rest.split_once("): ").ok_or("the title has no statement")?;
            let x = self.point(point)?;
            self.check_statements(statements, x)?;
            return Ok(vec![x]);
        }
        let rest = rest
            .strip_prefix(&format!(", by {}", variable.name))
            .ok_or_else(|| format!("unknown form of a title: {rest:?}"))?;
        let (about_all, rest) = rest.split_once(". At ").ok_or("the title has no point")?;
        if let Some(about_all) = about_all.strip_prefix(": ") {
            for statement in about_all.split("; ") {
                self.check_statement_about_all(statement)?;
            }
        }
        let mut described = Vec::new();
        for part in rest.split(". At ") {
            let (point, statements) = part.split_once(": ").ok_or("a point without statements")?;
            let x = self.point(point)?;
            self.check_statements(statements, x)?;
            described.push(x);
        }
        let points = self.points();
        let ends = [points[0], points[points.len() - 1]];
        check(described == ends, || {
            format!("describes {described:?} instead of {ends:?}")
        })?;
        Ok(points)
    }

    fn check_statements(&self, statements: &str, x: f64) -> Checked {
        let all = self.heat_cells(x);
        let timeout = self.metric.timeout;
        let is_timeout = |cell: &Cell| timeout.is_some_and(|timeout| cell.value >= 0.9 * timeout);
        let (ended, compared): (Vec<_>, Vec<_>) = all.into_iter().partition(is_timeout);
        check(!self.is_heat_map || ended.is_empty(), || {
            "a heat map compares a value with the timeout".to_owned()
        })?;
        let mut named_timeouts = String::new();
        let mut kinds = BTreeSet::new();
        let has_groups = compared.iter().any(|cell| cell.contender.contains(": "));
        let (of_kinds, plain): (Vec<_>, Vec<_>) = compared
            .into_iter()
            .partition(|cell| has_groups || kind(&cell.contender) != cell.contender);
        let mut ranges = 0;
        for statement in statements.split("; ") {
            if let Some((names, after)) =
                statement.split_once(": only at the request's timeout of ")
            {
                check(first_number(after) == timeout, || {
                    format!("wrong timeout: {statement}")
                })?;
                names.clone_into(&mut named_timeouts);
            } else if let Some(rest) = statement.strip_prefix("changing the ") {
                self.check_changing(rest, x)?;
            } else if ranges == 0 && !plain.is_empty() {
                self.check_range(statement, &plain, x)?;
                ranges += 1;
            } else {
                kinds.insert(self.check_kind(statement, &of_kinds)?);
            }
        }
        let ended: Vec<String> = ended.into_iter().map(|cell| cell.contender).collect();
        check(named_timeouts == ended.join(", "), || {
            format!("at the timeout are {ended:?}, but the title names {named_timeouts:?}")
        })?;
        let expected: BTreeSet<&str> = of_kinds.iter().map(|cell| kind(&cell.contender)).collect();
        check(
            kinds
                .iter()
                .map(String::as_str)
                .eq(expected.iter().copied()),
            || format!("the title describes the kinds {kinds:?} instead of {expected:?}"),
        )?;
        check((ranges == 0) == plain.is_empty(), || {
            format!("no range: {statements}")
        })
    }

    /// Checks a range: its ends are the lowest and the highest cell, and its factor may be claimed.
    fn check_range(&self, statement: &str, cells: &[Cell], x: f64) -> Checked {
        let (low, high) = (lowest(cells), highest(cells));
        let mut expected = if cells.len() == 1 {
            format!("{} ({})", low.text, low.contender)
        } else if low.text == high.text {
            format!("{} for all {}", low.text, cells.len())
        } else {
            let ends = [low, high].map(|end| {
                let same = cells.iter().filter(|cell| cell.text == end.text).count();
                format!("{} ({}{})", end.text, end.contender, and_others(same - 1))
            });
            let factor = high.value / low.value;
            let is_measured = self
                .results
                .smallest_difference(&self.metric.name)
                .is_some();
            ends.join(" to ")
                + &match is_claimable(self, low, high) {
                    false if is_measured => ", which may be noise".to_owned(),
                    true if factor <= 100.0 => format!(", a factor of {}", times(factor)),
                    _ => String::new(),
                }
        };
        let limit = self.limits.get(&x.to_bits()).filter(|limit| **limit > 0.0);
        if let Some(limit) = limit.filter(|_| self.metric.better != Some(Better::Higher)) {
            let [low, high] = [low, high].map(|cell| times(cell.value / limit));
            let unit = &self.metric.unit;
            let limit = match limit.fract() == 0.0 {
                true => format_figure(*limit, "1") + &format_figure(0.0, unit)[1..],
                false => format_figure(*limit, unit),
            };
            expected += &format!(" ({} times the limit of {limit})", range(&low, &high));
        }
        check(statement == expected, || {
            format!("{statement:?} should be {expected:?}")
        })
    }

    /// Checks the statement about a kind. Returns the name of the kind.
    fn check_kind(&self, statement: &str, cells: &[Cell]) -> Result<String, String> {
        let (name, rest) = statement
            .split_once(": ")
            .ok_or_else(|| format!("no kind: {statement}"))?;
        let of_kind: Vec<Cell> = cells
            .iter()
            .filter(|cell| kind(&cell.contender) == name)
            .cloned()
            .collect();
        check(!of_kind.is_empty(), || {
            format!("there is no kind {name:?}: {statement}")
        })?;
        let (values, baseline) = match rest.split_once(" (") {
            Some((values, baseline)) => (values, Some(baseline.trim_end_matches(')'))),
            None => (rest, None),
        };
        let expected = range(&lowest(&of_kind).text, &highest(&of_kind).text);
        check(values == expected, || {
            format!("{statement:?} should have {expected:?}")
        })?;
        let Some((claimed, other)) =
            baseline.map(|text| text.split_once(" times ").unwrap_or((text, "")))
        else {
            return Ok(name.to_owned());
        };
        // Only variants in the same setting may be compared, such as two kinds of sessions over https.
        let setting = |name: &str| name.split_once(", ").map(|(_, setting)| setting.to_owned());
        check(
            setting(name).is_some() && setting(name) == setting(other),
            || format!("compares {name:?} with {other:?}"),
        )?;
        let mut ratios = Vec::new();
        for cell in &of_kind {
            let first = cell
                .contender
                .split_once(": ")
                .map_or("", |(first, _)| first);
            let baseline = cells
                .iter()
                .find(|one| one.contender == format!("{first}: {other}"));
            let baseline = baseline.ok_or_else(|| format!("{} has no baseline", cell.contender))?;
            check(is_claimable(self, baseline, cell), || {
                format!("{statement}: may be noise")
            })?;
            ratios.push(cell.value / baseline.value);
        }
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        let expected = range(&times(low), &times(high));
        check(claimed == expected, || {
            format!("{statement:?} should have {expected:?}")
        })?;
        Ok(name.to_owned())
    }

    /// Returns the pair of cells with the largest factor that differ only in the runtime, or only in the client.
    fn largest_change(&self, part: &str, x: f64) -> Option<(Cell, Cell)> {
        let cells = self.heat_cells(x);
        let kept = |cell: &Cell| {
            let (runtime, client) = cell.contender.split_once('/').unwrap();
            if part == "runtime" {
                client.to_owned()
            } else {
                runtime.to_owned()
            }
        };
        let mut pairs = Vec::new();
        for low in &cells {
            for high in &cells {
                if kept(low) == kept(high)
                    && low.contender != high.contender
                    && low.value <= high.value
                {
                    pairs.push((low.clone(), high.clone()));
                }
            }
        }
        pairs
            .into_iter()
            .max_by(|a, b| (a.1.value / a.0.value).total_cmp(&(b.1.value / b.0.value)))
    }

    fn check_changing(&self, statement: &str, x: f64) -> Checked {
        let (part, claim) = statement
            .split_once(": a factor of up to ")
            .ok_or("no factor")?;
        let (low, high) = self.largest_change(part, x).ok_or("no cells")?;
        let noise = if is_claimable(self, &low, &high) {
            ""
        } else {
            ", which may be noise"
        };
        let expected = times(high.value / low.value) + noise;
        // Two pairs can have the same factor, and only one of them may be claimed.
        let is_same = |text: &str| {
            text.trim_end_matches(", which may be noise") == times(high.value / low.value)
        };
        let tie = self.ties(part, x, high.value / low.value) > 1;
        check(claim == expected || (tie && is_same(claim)), || {
            format!("changing the {statement}: should be {expected:?}")
        })
    }

    fn ties(&self, part: &str, x: f64, factor: f64) -> usize {
        let cells = self.heat_cells(x);
        let kept = |cell: &Cell| {
            let (runtime, client) = cell.contender.split_once('/').unwrap();
            if part == "runtime" {
                client.to_owned()
            } else {
                runtime.to_owned()
            }
        };
        let pairs = cells
            .iter()
            .flat_map(|low| cells.iter().map(move |high| (low, high)));
        let same = pairs.filter(|(low, high)| kept(low) == kept(high));
        same.filter(|(low, high)| (high.value / low.value / factor - 1.0).abs() < 1e-12)
            .count()
    }

    /// Returns the values of the contenders that have a value at each point.
    fn lines(&self) -> BTreeMap<String, Vec<Cell>> {
        let mut lines: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
        for x in self.points() {
            for cell in self.at(x) {
                lines.entry(cell.contender.clone()).or_default().push(cell);
            }
        }
        lines.retain(|_, cells| cells.len() == self.points().len());
        lines
    }

    fn check_statement_about_all(&self, statement: &str) -> Checked {
        let lines = self.lines();
        let misses = |cell: &Cell, _: f64| {
            self.targets
                .get(&cell.x.to_bits())
                .is_some_and(|target| cell.value < 0.99 * target)
        };
        let doubles = |cell: &Cell, base: f64| cell.value > 2.0 * base;
        let first_failing = |fails: &dyn Fn(&Cell, f64) -> bool| {
            let failing = lines
                .values()
                .filter_map(|line| line.iter().find(|cell| fails(cell, line[0].value)));
            failing.map(|cell| cell.x).min_by(f64::total_cmp)
        };
        let check_first = |claim: &str, fails: &dyn Fn(&Cell, f64) -> bool| {
            let (claim, point) = claim.rsplit_once(", at ").ok_or("no point")?;
            let x = self.point(point)?;
            check(first_failing(fails) == Some(x), || {
                format!("{statement:?}: the first is at {:?}", first_failing(fails))
            })?;
            let first = |line: &&Vec<Cell>| {
                line.iter()
                    .find(|cell| fails(cell, line[0].value))
                    .is_some_and(|cell| cell.x == x)
            };
            let here: Vec<&Vec<Cell>> = lines.values().filter(first).collect();
            let is_named = here.iter().flat_map(|line| line.iter()).any(|cell| {
                let others = and_others(here.len() - 1);
                cell.x == x && claim == format!("{} ({}){others}", cell.contender, cell.text)
            });
            check(is_named, || format!("{statement:?} is wrong"))
        };
        let check_share = |share: &str, fails: &dyn Fn(&Cell, f64) -> bool| {
            let holds = |line: &&Vec<Cell>| !line.iter().any(|cell| fails(cell, line[0].value));
            let count = lines.values().filter(holds).count();
            let expected = match count {
                0 => format!("none of {}", lines.len()),
                _ if count == lines.len() => format!("all {count}"),
                _ => format!("{count} of {}", lines.len()),
            };
            check(share == expected, || {
                format!("{statement:?} should have {expected:?}")
            })
        };
        let check_last = |point: &str| {
            let last = self.points().last().copied();
            check(Some(self.point(point)?) == last, || {
                format!("{statement:?}: not the last point")
            })
        };
        let check_base = |point: &str| {
            let first = self.points().first().copied();
            check(Some(self.point(point)?) == first, || {
                format!("{statement:?}: not the first point")
            })
        };
        if let Some(claim) = statement.strip_prefix("first to level off: ") {
            return check_first(claim, &misses);
        }
        if let Some(rest) = statement.strip_prefix("first above twice the value at ") {
            let (base, claim) = rest.split_once(": ").ok_or("no value")?;
            check_base(base)?;
            return check_first(claim, &doubles);
        }
        if let Some((share, rest)) = statement.split_once(" reach 99 % of ") {
            let (_, point) = rest.rsplit_once(" up to ").ok_or("no point")?;
            check_last(point)?;
            return check_share(share, &misses);
        }
        if let Some((share, rest)) = statement.split_once(" stay within twice their value at ") {
            let (base, point) = rest.split_once(" up to ").ok_or("no point")?;
            check_base(base)?;
            check_last(point)?;
            return check_share(share, &doubles);
        }
        Err(format!("unknown statement: {statement:?}"))
    }

    /// A value that beats a limit shows that it is not a limit.
    fn check_limit(&self) -> Checked {
        let all = self.results.of_metric(&self.metric.name);
        for sample in all {
            let (Some(estimate), Some(limit)) =
                (sample.estimate(), self.limits.get(&sample.x.to_bits()))
            else {
                continue;
            };
            let beats = match self.metric.better {
                Some(Better::Higher) => estimate.value > *limit,
                _ => estimate.value < *limit,
            };
            check(!beats, || {
                format!(
                    "{} at {}: {} beats the limit {limit}",
                    sample.contender, sample.x, estimate.value
                )
            })?;
        }
        Ok(())
    }

    fn check_caption(&self) -> Checked {
        let caption = self
            .caption
            .strip_suffix('.')
            .ok_or("the caption has no full stop")?;
        let variable = self.info.variable.as_ref().map_or("", |one| &one.name);
        for sentence in caption.split(". ") {
            let known = [
                "Below each value: the ratio to the best cell",
                "Factor: the highest value of a row or a column, divided by the lowest",
                "A stronger colour means a higher cost",
                "The table has its values",
                "Dashed: the timeout of the requests",
            ];
            if known.contains(&sentence) || sentence.starts_with("Dashed: the physical limit, ") {
                check(
                    !sentence.contains("limit") || !self.limits.is_empty(),
                    || "the caption describes a limit, but the table has none".to_owned(),
                )?;
            } else if let Some(rest) = sentence.strip_prefix("Dashed: ") {
                let target = self.metric.target.as_ref().map(|target| target.description);
                check(target == Some(rest), || format!("unknown line: {rest}"))?;
            } else if let Some(noise) =
                sentence.strip_prefix("Noise, from one program measured twice: ")
            {
                let expected = self
                    .results
                    .smallest_difference(&self.metric.name)
                    .map(format_factor);
                check(expected.as_deref() == Some(noise), || {
                    format!("noise {noise}: {expected:?}")
                })?;
            } else if sentence == "The noise was not measured, so the title claims no factor" {
                check(
                    self.results
                        .smallest_difference(&self.metric.name)
                        .is_none(),
                    || sentence.to_owned(),
                )?;
            } else if let Some(rest) = sentence.strip_prefix("Not shown: ") {
                let name = rest.trim_end_matches(", a deliberate mistake");
                let is_shown = self.marks.iter().any(|mark| mark.starts_with(name));
                check(
                    !is_shown && self.info.mistake.as_deref() == Some(name),
                    || rest.to_owned(),
                )?;
            } else if sentence.starts_with("Mark: ") || sentence.starts_with("Bar: ") {
                self.check_rounds(&sentence[sentence.find(": ").unwrap_or(0) + 2..])?;
            } else {
                check(
                    sentence == format!("{}: {}", capitalize(variable), self.only_point()?),
                    || format!("unknown sentence in a caption: {sentence:?}"),
                )?;
            }
        }
        Ok(())
    }

    /// Returns the text of the point in the title of a chart with one point.
    fn only_point(&self) -> Result<&str, String> {
        let found = self
            .title
            .split_once(": ")
            .and_then(|(_, rest)| rest.split_once("): "));
        found
            .map(|(point, _)| point)
            .ok_or_else(|| "the title has no point".to_owned())
    }

    fn check_rounds(&self, sentence: &str) -> Checked {
        let rounds = self.marks.iter().map(|mark| {
            let number = mark
                .split(" rounds")
                .next()
                .and_then(|text| text.rsplit(' ').next());
            number
                .filter(|_| mark.contains(" rounds"))
                .and_then(|text| text.parse().ok())
                .unwrap_or(1)
        });
        let rounds: Vec<usize> = rounds.collect();
        let (least, most) = (
            *rounds.iter().min().unwrap_or(&0),
            *rounds.iter().max().unwrap_or(&0),
        );
        let expected = if most < 2 {
            "the value of one round".to_owned()
        } else {
            let line = match (least >= 6, most >= 6) {
                (true, _) => "95 % interval",
                (false, false) => "lowest to highest round",
                (false, true) => "95 % interval, or lowest to highest of fewer than six rounds",
            };
            let number = range(&least.to_string(), &most.to_string());
            format!("median of {number} rounds; line: {line}")
        };
        check(sentence == expected, || {
            format!("{sentence:?} should be {expected:?}")
        })
    }

    /// Checks the factors at the right of and below a heat map.
    fn check_factors(&self, shown: &[f64]) -> Checked {
        if !self.is_heat_map {
            return Ok(());
        }
        let cells = self.heat_cells(shown[0]);
        let value = |runtime: &str, client: &str| {
            let name = format!("{runtime}/{client}");
            cells
                .iter()
                .find(|cell| cell.contender == name)
                .map_or(f64::NAN, |cell| cell.value)
        };
        let factor = |values: [f64; 3]| {
            let most = values.iter().copied().fold(0.0, f64::max);
            format!(
                "{:.2} x",
                most / values.iter().copied().fold(f64::INFINITY, f64::min)
            )
        };
        let rows = RUNTIMES.map(|runtime| factor(CLIENTS.map(|client| value(runtime, client))));
        let columns = CLIENTS.map(|client| factor(RUNTIMES.map(|runtime| value(runtime, client))));
        let expected: Vec<String> = rows.into_iter().chain(columns).collect();
        check(self.factors == expected, || {
            format!("{:?} should be {expected:?}", self.factors)
        })
    }
}

fn kind(contender: &str) -> &str {
    let second = contender.split_once(": ").or(contender.rsplit_once(", "));
    second.map_or(contender, |(_, kind)| kind)
}

fn and_others(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => " and 1 other".to_owned(),
        _ => format!(" and {others} others"),
    }
}

fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.collect::<String>() + letters.as_str()
}

/// Checks all figures of a report. Returns their number.
fn check_report(runs: &[Run], infos: &[ExperimentInfo]) -> Result<usize, String> {
    let html = Report::new(runs, infos.to_vec()).html();
    let document = Document::parse(html.strip_prefix("<!DOCTYPE html>").unwrap()).unwrap();
    let mut figures = 0;
    for results in latest_results(runs) {
        let info = infos.iter().find(|info| info.name == results.experiment);
        let info = info
            .cloned()
            .unwrap_or_else(|| ExperimentInfo::from_records(&results));
        let section = document
            .descendants()
            .find(|node| node.attribute("id") == Some(&format!("of-{}", info.name)))
            .ok_or_else(|| format!("no section of {}", info.name))?;
        for node in section
            .children()
            .filter(|node| node.has_tag_name("figure"))
        {
            let figure = read_figure(node, &info, &results);
            let id = node.attribute("id").unwrap_or_default();
            figure.check().map_err(|problem| {
                format!("{id}: {problem}\n{}\n{}", figure.title, figure.caption)
            })?;
            check_lines(node).map_err(|problem| format!("{id}: {problem}"))?;
            figures += 1;
        }
    }
    Ok(figures)
}

/// A line through two points suggests a course that nobody measured.
fn check_lines(figure: Node<'_, '_>) -> Checked {
    let lines = figure
        .descendants()
        .filter(|node| has_class(node, "series") && node.has_tag_name("polyline"));
    for line in lines {
        let points = line
            .attribute("points")
            .unwrap_or_default()
            .split(' ')
            .count();
        check(points >= 3, || format!("a line has {points} points"))?;
    }
    Ok(())
}

fn read_figure<'a>(
    node: Node<'_, '_>,
    info: &'a ExperimentInfo,
    results: &'a ExperimentResults,
) -> Figure<'a> {
    let id = node.attribute("id").unwrap_or_default();
    let is_heat_map = id.ends_with("-matrix");
    let measured: Vec<&MetricInfo> = info
        .metrics
        .iter()
        .filter(|metric| results.metrics().contains(&&*metric.name))
        .collect();
    let of_id = |metric: &&&MetricInfo| {
        ["dots", "lines"]
            .iter()
            .any(|suffix| id.ends_with(&format!("-{}-{suffix}", metric.name)))
    };
    let metric = measured.iter().find(of_id).unwrap_or(&measured[0]);
    let caption = child_text(&node, "figcaption");
    let is_left_out = |name: &str| caption.contains(&format!("Not shown: {name},"));
    let cells = node
        .descendants()
        .filter(|td| td.attribute("data-metric") == Some(&metric.name));
    let cells = cells.map(|td| Cell {
        contender: td.attribute("data-contender").unwrap().to_owned(),
        x: td.attribute("data-x").unwrap().parse().unwrap(),
        value: td.attribute("data-value").unwrap().parse().unwrap(),
        text: td.text().unwrap_or_default().to_owned(),
    });
    let cells = cells.filter(|cell| {
        !cell.contender.ends_with(DUPLICATE_SUFFIX) && !is_left_out(&cell.contender)
    });
    let wide = node
        .children()
        .find(|node| has_class(node, "wide"))
        .unwrap();
    let marks = wide.descendants().filter(|node| has_class(node, "datum"));
    let factors = wide
        .descendants()
        .filter(|node| has_class(node, "figure") && node.has_tag_name("text"));
    Figure {
        info,
        metric: (*metric).clone(),
        results,
        title: child_text(&node, "h3"),
        is_heat_map,
        cells: cells.collect(),
        limits: reference_row(node, metric, results, "limit"),
        targets: reference_row(node, metric, results, "target"),
        marks: marks
            .map(|node| node.attribute("aria-label").unwrap().to_owned())
            .collect(),
        factors: factors.map(text_of).collect(),
        caption,
    }
}

/// Reads the row of the limit or of the target from the table: its value at each point.
fn reference_row(
    figure: Node<'_, '_>,
    metric: &MetricInfo,
    results: &ExperimentResults,
    name: &str,
) -> BTreeMap<u64, f64> {
    let rows = figure.descendants().filter(|node| node.has_tag_name("tr"));
    let row_name = |row: &Node<'_, '_>| child_text(row, "th");
    let Some(row) = rows
        .into_iter()
        .find(|row| row_name(row) == name || row_name(row).starts_with(&format!("{name}: ")))
    else {
        return BTreeMap::new();
    };
    let cells: Vec<String> = row
        .children()
        .filter(|node| node.has_tag_name("td"))
        .map(text_of)
        .collect();
    let mut values = BTreeMap::new();
    if row_name(&row) == name {
        // One column for each metric. The cell of a metric is in the column of its label.
        let table = row
            .ancestors()
            .find(|node| node.has_tag_name("table"))
            .unwrap();
        let head = table.descendants().filter(|node| node.has_tag_name("th"));
        let column = head
            .map(text_of)
            .position(|text| text == capitalize(&metric.label));
        let text = column.and_then(|n| cells.get(n - 1));
        values.extend(
            text.and_then(|text| first_number(text))
                .map(|at| (0f64.to_bits(), at)),
        );
        return values;
    }
    for (x, text) in results.points(&metric.name).into_iter().zip(&cells) {
        values.extend(first_number(text).map(|at| (x.to_bits(), at)));
    }
    values
}

fn defined() -> Vec<ExperimentInfo> {
    experiments::all()
        .iter()
        .map(ExperimentInfo::from)
        .collect()
}

fn read_runs(path: &Path) -> Vec<Run> {
    record::read(fs::File::open(path).unwrap()).unwrap()
}

/// Returns the records of the book, one file for each machine.
fn record_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/records");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .collect();
    files.sort();
    files
}

#[test]
fn titles_and_captions_agree_with_the_tables_of_the_book() {
    let files = record_files();
    assert!(files.len() >= 2, "{files:?}");
    let mut all = Vec::new();
    for path in &files {
        let runs = read_runs(path);
        let figures = check_report(&runs, &defined());
        let figures = figures.unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
        assert!(figures > 25, "{figures}");
        all.extend(runs);
    }
    check_report(&all, &defined()).unwrap_or_else(|problem| panic!("all records: {problem}"));
}

/// The records of a run with seven request rates. `threads/ureq` levels off above 6,000 requests per second, and its
/// latency grows from there. The noise at the highest rate is larger than this growth.
#[test]
fn the_rate_at_which_a_contender_levels_off_is_found() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records/rate.csv");
    let runs = read_runs(&path);
    check_report(&runs, &defined()).unwrap();
    let report = Report::new(&runs, defined());
    let html = report.html();
    for known in [
        "first to level off: threads/ureq (3,580/s), at 8,000/s; 1 of 3 reach 99 % of the request rate up to 12,000/s",
        "first above twice the value at 500/s: threads/ureq (40.5 ms), at 6,000/s",
    ] {
        assert!(html.contains(known), "{known}");
    }
}

#[test]
fn titles_and_captions_agree_with_synthetic_records() {
    let mut infos = synthetic::experiments();
    infos.extend(synthetic::unmeasured());
    let figures = check_report(&[synthetic::records()], &infos).unwrap();
    assert!(figures > 15, "{figures}");
}

/// Returns records with random values, points and rounds. Some values are equal, zero, or beat a limit.
fn random_records(seed: u64, infos: &[ExperimentInfo]) -> Run {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut builder = synthetic::RecordBuilder::new();
    for info in infos {
        let points = match info.variable {
            Some(_) => random.usize(1..5),
            None => 1,
        };
        let mut names: Vec<String> = info.contenders.clone();
        names.extend(["reqwest", "tokio/hyper, probed"].map(str::to_owned));
        if random.bool() {
            names = ["tokio", "smol"]
                .iter()
                .flat_map(|runtime| {
                    ["one session, http", "each, http", "each, https"]
                        .map(|kind| format!("{runtime}: {kind}"))
                })
                .collect();
        }
        if random.bool() {
            names.truncate(random.usize(1..=names.len()));
        }
        names.push(format!("{}{DUPLICATE_SUFFIX}", names[0]));
        let rounds = random.u32(1..9);
        let noise = 0.5 * random.f64().powi(3);
        for metric in &info.metrics {
            for x in [1.0, 10.0, 100.0, 1000.0].into_iter().take(points) {
                for name in &names {
                    let mut value = 10f64.powf(4.0 * random.f64() - 1.0);
                    if random.u32(..4) == 0 {
                        value = [0.0, 100.0, 1000.0][random.usize(..3)];
                    }
                    for round in 0..rounds {
                        let x = if info.variable.is_some() { x } else { 0.0 };
                        let value = value * (1.0 + noise * random.f64());
                        builder.row(
                            &info.name,
                            name,
                            x,
                            round,
                            (&metric.name, &metric.unit),
                            value,
                        );
                    }
                }
            }
        }
    }
    builder.run()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn titles_and_captions_agree_with_random_records(seed: u64) {
        let infos: Vec<ExperimentInfo> = defined()
            .into_iter()
            .filter(|info| ["gather", "blocking", "offload", "rate", "cancel", "overhead"].contains(&&*info.name))
            .collect();
        let checked = check_report(&[random_records(seed, &infos)], &infos);
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}
