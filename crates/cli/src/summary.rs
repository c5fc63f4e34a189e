//! The summary of a gather: the number of each result, the times, and the slowest hosts.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use inflight::ErrorKind;
use inflight::url::Url;
use serde::Serialize;

use crate::args::SummaryFormat;
use crate::exit::{print_error, print_to_stderr};
use crate::output::{host_of, printable};

/// How many hosts a summary shows.
const MAX_SHOWN_HOSTS: usize = 5;

/// How many hosts a summary counts separately. The limit bounds the memory.
const MAX_HOSTS: usize = 10_000;

/// The name of all hosts that are not counted separately.
const OTHER_HOSTS: &str = "other hosts";

/// The longest time that a histogram distinguishes, in microseconds.
const MAX_MICROS: u64 = 24 * 3600 * 1_000_000;

/// The lowest status that is an error.
const FIRST_ERROR_STATUS: u16 = 400;

/// Counts and times of results. The memory that it needs does not depend on the number of results.
pub(crate) struct Summary {
    urls: u64,
    ok: u64,
    error_statuses: u64,
    failed: u64,
    /// The number of URLs that were cancelled or exceeded the deadline.
    unfinished: u64,
    requested: u64,
    bytes: u64,
    statuses: BTreeMap<String, u64>,
    /// The number of failures by their kind and phase.
    errors: BTreeMap<String, u64>,
    elapsed: Histogram<u32>,
    queued: Histogram<u32>,
    hosts: HashMap<String, HostCounts>,
}

/// The result of one URL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UrlResult<'a> {
    pub(crate) url: &'a str,
    pub(crate) status: Option<u16>,
    pub(crate) bytes: u64,
    pub(crate) elapsed_ms: f64,
    pub(crate) queued_ms: f64,
    pub(crate) attempts: u32,
    /// The kind and the phase of the error.
    pub(crate) error: Option<(&'a str, Option<&'a str>)>,
}

#[derive(Default)]
struct HostCounts {
    urls: u64,
    failed: u64,
    requested: u64,
    total_ms: f64,
    max_ms: f64,
}

/// A summary as `--summary json` prints it.
#[derive(Serialize)]
struct SummaryRecord<'a> {
    urls: u64,
    ok: u64,
    error_statuses: u64,
    failed: u64,
    unfinished: u64,
    skipped: usize,
    skipped_failures: usize,
    statuses: &'a BTreeMap<String, u64>,
    errors: &'a BTreeMap<String, u64>,
    requested: u64,
    bytes: u64,
    seconds: f64,
    requests_per_second: f64,
    elapsed_ms: Quantiles,
    queued_ms: Quantiles,
    slowest_hosts: Vec<HostRecord<'a>>,
}

#[derive(Serialize)]
struct HostRecord<'a> {
    host: &'a str,
    urls: u64,
    failed: u64,
    mean_ms: f64,
    max_ms: f64,
}

/// Quantiles of times, in milliseconds.
#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

impl UrlResult<'_> {
    pub(crate) fn has_error_status(&self) -> bool {
        self.status
            .is_some_and(|status| status >= FIRST_ERROR_STATUS)
    }

    /// Returns whether the URL has an error or an error status.
    pub(crate) fn is_failure(&self) -> bool {
        self.error.is_some() || self.has_error_status()
    }
}

impl Default for Summary {
    fn default() -> Self {
        // The bounds are valid, and only invalid bounds are an error.
        let histogram = || {
            Histogram::new_with_max(MAX_MICROS, 3).expect("the bounds of the histogram are valid")
        };
        Self {
            urls: 0,
            ok: 0,
            error_statuses: 0,
            failed: 0,
            unfinished: 0,
            requested: 0,
            bytes: 0,
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            elapsed: histogram(),
            queued: histogram(),
            hosts: HashMap::new(),
        }
    }
}

impl Summary {
    pub(crate) fn add(&mut self, result: &UrlResult<'_>) {
        self.urls += 1;
        match result.error {
            Some((kind, phase)) => {
                match is_unfinished(kind) {
                    true => self.unfinished += 1,
                    false => self.failed += 1,
                }
                let error = match (phase, result.status) {
                    (Some(phase), _) => format!("{kind} ({phase})"),
                    (None, Some(status)) if kind == "status" => format!("{kind} ({status})"),
                    (None, _) => kind.to_owned(),
                };
                *self.errors.entry(error).or_default() += 1;
            }
            None => {
                match result.has_error_status() {
                    true => self.error_statuses += 1,
                    false => self.ok += 1,
                }
                let class = result.status.map(|status| format!("{}xx", status / 100));
                let class = class.unwrap_or_else(|| "no status".to_owned());
                *self.statuses.entry(class).or_default() += 1;
            }
        }
        let host = host_name(result.url);
        let is_new = self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&host);
        let host = if is_new { OTHER_HOSTS.to_owned() } else { host };
        let host = self.hosts.entry(host).or_default();
        host.urls += 1;
        let is_unfinished = result.error.is_some_and(|(kind, _)| is_unfinished(kind));
        host.failed += u64::from(result.is_failure() && !is_unfinished);
        if result.attempts > 0 {
            self.requested += 1;
            self.bytes = self.bytes.saturating_add(result.bytes);
            self.elapsed.saturating_record(micros(result.elapsed_ms));
            self.queued.saturating_record(micros(result.queued_ms));
            host.requested += 1;
            host.total_ms += result.elapsed_ms;
            host.max_ms = host.max_ms.max(result.elapsed_ms);
        }
    }

    /// Prints the summary of a run to standard error. `skipped` is the number of URLs that an earlier run has finished,
    /// and how many of them failed.
    pub(crate) fn print(&self, format: SummaryFormat, elapsed: Duration, skipped: (usize, usize)) {
        match format {
            SummaryFormat::None => {}
            SummaryFormat::Json => match self.json(elapsed, skipped) {
                Ok(json) => print_to_stderr(json),
                Err(error) => print_error(error),
            },
            SummaryFormat::Table => {
                print_to_stderr(self.table(Some(elapsed)).trim_end());
                if let (skipped @ 1.., failed) = skipped {
                    print_to_stderr(format_args!(
                        "skipped {skipped} URLs that an earlier run has finished, {failed} of them failed"
                    ));
                }
            }
        }
    }

    /// Returns the number of URLs that failed, without the unfinished URLs.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// Returns whether no URL has an error.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.failed + self.unfinished == 0
    }

    /// Returns one line with the counts and, for a run, its duration and its rate.
    fn headline(&self, elapsed: Option<Duration>) -> String {
        let unit = if self.urls == 1 { "URL" } else { "URLs" };
        let mut text = format!("{} {unit}: {} ok", self.urls, self.ok);
        // Writing to a `String` cannot fail.
        if self.error_statuses > 0 {
            let _ = write!(
                text,
                ", {} with a status of 400 or above",
                self.error_statuses
            );
        }
        let _ = write!(text, ", {} failed", self.failed);
        if self.unfinished > 0 {
            let _ = write!(text, ", {} unfinished", self.unfinished);
        }
        if let Some(elapsed) = elapsed {
            let (seconds, rate) = (elapsed.as_secs_f64(), self.rate(elapsed));
            let _ = write!(text, ", in {seconds:.2} s ({rate:.1} requests/s)");
        }
        text
    }

    fn rate(&self, elapsed: Duration) -> f64 {
        self.requested as f64 / elapsed.as_secs_f64().max(1e-6)
    }

    /// Formats the summary as a table. `elapsed` is the duration of a run.
    pub(crate) fn table(&self, elapsed: Option<Duration>) -> String {
        let mut text = self.headline(elapsed) + "\n";
        let mut results: Vec<_> = self.statuses.iter().chain(&self.errors).collect();
        results.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (result, count) in results {
            let _ = writeln!(text, "{count:>10}  {}", printable(result));
        }
        let _ = writeln!(text, "  bytes    {}", self.bytes);
        if self.requested == 0 {
            return text;
        }
        let _ = writeln!(text, "  elapsed  {}", Quantiles::of(&self.elapsed).text());
        let _ = writeln!(text, "  queued   {}", Quantiles::of(&self.queued).text());
        let hosts = self.slowest_hosts();
        if hosts.len() < 2 {
            return text;
        }
        let _ = writeln!(
            text,
            "{:>10} {:>8} {:>10} {:>10}  slowest hosts",
            "urls", "failed", "mean ms", "max ms"
        );
        for host in &hosts {
            let HostRecord {
                host,
                urls,
                failed,
                mean_ms,
                max_ms,
            } = host;
            let _ = writeln!(
                text,
                "{urls:>10} {failed:>8} {mean_ms:>10.1} {max_ms:>10.1}  {host}"
            );
        }
        let requested = self.hosts.values().filter(|host| host.requested > 0);
        let others = requested.count().saturating_sub(hosts.len());
        if others > 0 {
            let _ = writeln!(text, "{others:>10} more hosts");
        }
        text
    }

    /// Formats the summary of a run as a JSON object.
    ///
    /// `skipped` is the number of URLs that an earlier run has finished, and `skipped_failures` is the number of
    /// those that have failed.
    pub(crate) fn json(
        &self,
        elapsed: Duration,
        (skipped, skipped_failures): (usize, usize),
    ) -> serde_json::Result<String> {
        serde_json::to_string(&SummaryRecord {
            urls: self.urls,
            ok: self.ok,
            error_statuses: self.error_statuses,
            failed: self.failed,
            unfinished: self.unfinished,
            skipped,
            skipped_failures,
            statuses: &self.statuses,
            errors: &self.errors,
            requested: self.requested,
            bytes: self.bytes,
            seconds: elapsed.as_secs_f64(),
            requests_per_second: self.rate(elapsed),
            elapsed_ms: Quantiles::of(&self.elapsed),
            queued_ms: Quantiles::of(&self.queued),
            slowest_hosts: self.slowest_hosts(),
        })
    }

    /// Returns the hosts with the longest mean time of a request.
    fn slowest_hosts(&self) -> Vec<HostRecord<'_>> {
        let hosts = self.hosts.iter().filter(|(_, host)| host.requested > 0);
        let mut hosts: Vec<_> = hosts
            .map(|(name, host)| HostRecord {
                host: name,
                urls: host.urls,
                failed: host.failed,
                mean_ms: host.total_ms / host.requested as f64,
                max_ms: host.max_ms,
            })
            .collect();
        hosts.sort_by(|a, b| {
            b.mean_ms
                .total_cmp(&a.mean_ms)
                .then_with(|| a.host.cmp(b.host))
        });
        hosts.truncate(MAX_SHOWN_HOSTS);
        hosts
    }
}

/// Returns whether an error of this kind means that the run ended before the URL was finished.
pub(crate) fn is_unfinished(kind: &str) -> bool {
    [ErrorKind::Cancelled, ErrorKind::Deadline]
        .iter()
        .any(|unfinished| unfinished.as_str() == kind)
}

fn micros(millis: f64) -> u64 {
    // The cast turns a negative number into zero.
    (millis * 1000.0).round() as u64
}

/// Returns the scheme, host and port of a URL.
fn host_name(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) if url.has_host() => host_of(&url),
        _ => "no valid URL".to_owned(),
    }
}

impl Quantiles {
    fn of(times: &Histogram<u32>) -> Self {
        let millis = |micros: u64| micros as f64 / 1000.0;
        let at = |quantile| millis(times.value_at_quantile(quantile).min(times.max()));
        Self {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: millis(times.max()),
        }
    }

    fn text(&self) -> String {
        let Self { p50, p95, p99, max } = self;
        format!("p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(url: &str, status: Option<u16>, elapsed_ms: f64) -> UrlResult<'_> {
        UrlResult {
            url,
            status,
            bytes: 10,
            elapsed_ms,
            queued_ms: 1.0,
            attempts: 1,
            error: None,
        }
    }

    fn summary() -> Summary {
        let mut summary = Summary::default();
        for n in 1..=96 {
            summary.add(&result("http://fast/", Some(200), f64::from(n)));
        }
        summary.add(&result("http://fast/", Some(404), 97.0));
        for phase in [Some("connect"), None] {
            summary.add(&UrlResult {
                error: Some(("timeout", phase)),
                ..result("http://slow/", None, 500.0)
            });
        }
        summary.add(&UrlResult {
            error: Some(("invalid_url", None)),
            attempts: 0,
            ..result("nonsense", None, 0.0)
        });
        summary
    }

    #[test]
    fn results_are_counted_by_status_class_and_by_kind_of_error() {
        let table = summary().table(Some(Duration::from_secs(2)));
        let lines: Vec<_> = table.lines().map(str::trim).collect();
        assert_eq!(
            lines[0],
            "100 URLs: 96 ok, 1 with a status of 400 or above, 3 failed, in 2.00 s (49.5 requests/s)"
        );
        for expected in [
            "96  2xx",
            "1  4xx",
            "1  timeout (connect)",
            "1  timeout",
            "1  invalid_url",
        ] {
            assert!(lines.contains(&expected), "{expected} in {table}");
        }
        assert_eq!(
            lines[lines.len() - 2],
            "2        2      500.0      500.0  http://slow"
        );
        assert!(lines[lines.len() - 1].ends_with("http://fast"));
    }

    #[test]
    fn quantiles_have_an_error_of_a_thousandth() {
        let json = summary().json(Duration::from_secs(2), (7, 1)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["skipped"], &json["bytes"]), (&7.into(), &990.into()));
        // 97 times from 1 to 97 ms, and 2 times 500 ms.
        for (quantile, expected) in [("p50", 50.0), ("p95", 95.0), ("p99", 500.0), ("max", 500.0)] {
            let value = json["elapsed_ms"][quantile].as_f64().unwrap();
            assert!((value / expected - 1.0).abs() < 0.001, "{quantile} {value}");
        }
        assert_eq!(json["slowest_hosts"][0]["host"], "http://slow");
    }

    #[test]
    fn the_memory_for_hosts_is_limited() {
        let mut summary = Summary::default();
        for n in 0..MAX_HOSTS + 5 {
            summary.add(&result(&format!("http://host{n}/"), Some(200), 1.0));
        }
        assert_eq!(summary.hosts.len(), MAX_HOSTS + 1);
        assert_eq!(summary.hosts[OTHER_HOSTS].urls, 5);
        assert!(
            Summary::default()
                .table(None)
                .starts_with("0 URLs: 0 ok, 0 failed\n")
        );
    }
}
