//! The limits that `gather` and `queue work` share.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::parse::{HostInterval, parse_count, parse_host_rate, parse_rate};

/// The limits of `--polite`.
const POLITE_PER_HOST: Option<NonZeroUsize> = NonZeroUsize::new(6);
const POLITE_HOST_RATE: HostInterval = HostInterval(Duration::from_millis(500));

/// The limits on the requests of a run.
#[derive(Debug, clap::Args)]
pub(crate) struct Limits {
    /// The maximum number of requests in flight at once
    #[arg(long, value_name = "N", default_value = "100", value_parser = parse_count, allow_negative_numbers = true)]
    pub(crate) limit: NonZeroUsize,

    /// The maximum number of requests in flight to one scheme, host and port [default: no limit]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub(crate) per_host: Option<NonZeroUsize>,

    /// The maximum number of requests that start per second, such as 20 or 20/s [default: no limit]
    #[arg(long, value_name = "N[/s]", value_parser = parse_rate, allow_negative_numbers = true)]
    pub(crate) rate: Option<NonZeroU32>,

    /// The maximum number of requests to one scheme, host and port that start per second or minute, such as
    /// 20/s, 0.2/s or 6/m [default: no limit]
    #[arg(long, value_name = "N[/s|/m]", value_parser = parse_host_rate, allow_negative_numbers = true)]
    pub(crate) host_rate: Option<HostInterval>,

    /// Obey the robots.txt of each host: fetch no URL that it disallows, and wait for its Crawl-delay between two
    /// requests
    ///
    /// A URL fails with the kind disallowed if robots.txt disallows it, if robots.txt has a status of 500 or
    /// above, or if its Crawl-delay is longer than --timeout. The program obeys the rules for the first word of
    /// the User-Agent of all requests or, if robots.txt has no such rules, the rules for *.
    #[arg(long)]
    pub(crate) robots: bool,

    /// The same as --robots --per-host 6 --host-rate 2/s; these two options replace the numbers
    #[arg(long)]
    pub(crate) polite: bool,

    /// How many URLs may wait because of --per-host, --host-rate and --robots while URLs of other hosts start
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_count, allow_negative_numbers = true)]
    pub(crate) look_ahead: NonZeroUsize,
}

impl Limits {
    /// Applies `--polite` to the options that it sets.
    pub(crate) fn with_politeness(mut self) -> Self {
        if self.polite {
            self.robots = true;
            self.per_host = self.per_host.or(POLITE_PER_HOST);
            self.host_rate = self.host_rate.or(Some(POLITE_HOST_RATE));
        }
        self
    }
}
