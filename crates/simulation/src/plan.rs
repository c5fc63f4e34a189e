//! What a seed determines.

use std::time::Duration;

use http::Method;

use crate::client::Client;
use crate::random::Random;

/// A run: its network, its session, its requests and its disturbances.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The seed of the run. It also determines the order in which tasks run, and the faults of the network.
    pub seed: u64,
    /// The client below the session.
    pub client: Client,
    /// The servers.
    pub hosts: Vec<Host>,
    /// The settings of the session.
    pub session: SessionPlan,
    /// How many requests the gather runs at once.
    pub limit: usize,
    /// Whether the gather runs each request in a task of its own.
    pub on_runtime: bool,
    /// When the gather ends early.
    pub until: Option<Duration>,
    /// When the session is closed while requests are in flight, and the grace period.
    pub close: Option<(Duration, Duration)>,
    /// The requests.
    pub requests: Vec<Request>,
    /// What happens to the network and the clock, and when.
    pub disturbances: Vec<(Duration, Disturbance)>,
}

/// A server and the link to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// How long a packet travels.
    pub latency: Duration,
    /// How many bytes per second a connection transmits.
    pub bandwidth: Option<u64>,
    /// The longest random delay of a connect.
    pub connect_jitter: Duration,
    /// How many of a million segments reset their connection.
    pub resets_per_million: u64,
    /// Whether URLs contain the server's name instead of its address.
    pub has_name: bool,
}

/// The settings of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionPlan {
    /// The timeout of each request without its wait for a permit.
    pub timeout: Duration,
    /// The timeout of a connect.
    pub connect_timeout: Duration,
    /// The timeout of the wait for a permit.
    pub queue_timeout: Option<Duration>,
    /// The timeout of the wait for a head.
    pub head_timeout: Option<Duration>,
    /// The timeout of the wait for a part of the body.
    pub read_timeout: Option<Duration>,
    /// How many requests may be in flight.
    pub max_in_flight: Option<usize>,
    /// How many requests to one host may be in flight.
    pub max_per_host: Option<usize>,
    /// How many requests may start per second.
    pub max_rate: Option<Rate>,
    /// The shortest time between the starts of two requests to one host.
    pub host_interval: Option<Duration>,
    /// How many redirects the session follows.
    pub max_redirects: usize,
    /// How many retries each request may have.
    pub retries: usize,
}

/// A limit of starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many requests may start per second.
    pub per_second: u32,
    /// How many requests may start at once after a pause.
    pub burst: u32,
}

/// A request, and what its servers do.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The number of the request, which its URL contains.
    pub id: usize,
    /// The index of the first host.
    pub host: usize,
    /// The method.
    pub method: Method,
    /// The number of bytes that the request sends.
    pub upload: usize,
    /// Whether the caller declares that the request may be sent again, whatever its method.
    pub is_repeatable: bool,
    /// Whether the request carries credentials for its first host.
    pub has_credentials: bool,
    /// When the caller drops the request, after its start.
    pub cancel_after: Option<Duration>,
    /// The deadline of the request, after its start.
    pub deadline: Option<Duration>,
    /// How long the caller pauses between the parts of the body.
    pub pause_between_chunks: Option<Duration>,
    /// What the servers do when they receive the request for the first time, the second time, and so on. Afterwards,
    /// they repeat the last answer.
    pub answers: Vec<Answer>,
}

/// What a server does with a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How long the server works before it sends the first byte.
    pub delay: Duration,
    /// The status of the response.
    pub status: u16,
    /// The number of bytes of the body.
    pub len: usize,
    /// Whether the body is sent in chunks, without a `Content-Length`.
    pub is_chunked: bool,
    /// The host to which the response redirects.
    pub redirect: Option<usize>,
    /// The seconds in the header `Retry-After`.
    pub retry_after: Option<u64>,
    /// How long the server pauses in the middle of the body.
    pub pause: Duration,
    /// Whether the server reads the upload slowly.
    pub reads_slowly: bool,
    /// What the server does wrong.
    pub fault: Option<Fault>,
}

/// What a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It resets the connection before the response.
    ResetBeforeHead,
    /// It closes the connection before the response.
    CloseBeforeHead,
    /// It resets the connection in the middle of the body.
    ResetInBody,
    /// It closes the connection in the middle of the body.
    CloseInBody,
    /// It sends something that is not HTTP.
    Garbage,
    /// It sends another response together with this one, which nobody has requested.
    ExtraResponse,
    /// It sends another response later, if the client has not sent another request by then. This happens only in calm
    /// plans and on links without latency. Otherwise the request may be on the way, and no client can recognize such a
    /// response.
    LateExtraResponse,
    /// It closes the connection after the response, without an announcement.
    CloseAfter,
    /// It closes its sending half after the response, and reads on.
    HalfCloseAfter,
    /// It never responds.
    Hang,
}

/// What happens to the network or the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// No packet from or to a host arrives for this time.
    Partition(usize, Duration),
    /// All connections of a host are reset.
    Reset(usize),
    /// The clock jumps forward, as if the machine had slept.
    Jump(Duration),
}

impl Plan {
    /// Creates the plan of a seed.
    pub fn from_seed(seed: u64, client: Client) -> Self {
        let mut random = Random::new(seed);
        let is_calm = random.chance(50);
        let hosts: Vec<Host> = (0..random.size(1, 5))
            .map(|_| Host::random(&mut random, is_calm))
            .collect();
        let session = SessionPlan::random(&mut random);
        let requests = (0..random.size(100, 300))
            .map(|id| Request::random(&mut random, id, hosts.len()))
            .collect();
        let disturbances = match is_calm {
            true => Vec::new(),
            false => disturbances(&mut random, hosts.len()),
        };
        let mut plan = Self {
            seed,
            client,
            session,
            limit: random.size(1, 200),
            on_runtime: random.chance(30),
            until: random.maybe(15, |random| random.millis(100, 20_000)),
            close: random.maybe(15, |random| {
                (random.millis(100, 20_000), random.millis(0, 3_000))
            }),
            requests,
            disturbances,
            hosts,
        };
        if random.chance(40) {
            plan.align();
        }
        plan
    }

    /// Rounds all times, so that many events happen at the same time.
    fn align(&mut self) {
        for host in &mut self.hosts {
            host.latency = aligned(host.latency);
            host.connect_jitter = Duration::ZERO;
            host.bandwidth = None;
        }
        for request in &mut self.requests {
            request.cancel_after = request.cancel_after.map(aligned);
            request.deadline = request.deadline.map(aligned);
            request.pause_between_chunks = request.pause_between_chunks.map(aligned);
            for answer in &mut request.answers {
                answer.delay = aligned(answer.delay);
                answer.pause = aligned(answer.pause);
            }
        }
        self.until = self.until.map(aligned);
        self.close = self.close.map(|(at, grace)| (aligned(at), aligned(grace)));
        for (at, _) in &mut self.disturbances {
            *at = aligned(*at);
        }
    }

    /// Returns whether only the servers cause faults, and not the network or the clock.
    pub fn is_calm(&self) -> bool {
        self.disturbances.is_empty() && self.hosts.iter().all(|host| host.resets_per_million == 0)
    }

    /// Returns by how much the clock jumps in total.
    pub fn jumps(&self) -> Duration {
        let jumps = self.disturbances.iter().map(|(_, what)| match what {
            Disturbance::Jump(by) => *by,
            _ => Duration::ZERO,
        });
        jumps.sum()
    }
}

/// Rounds a time up to a multiple of 50 ms.
fn aligned(time: Duration) -> Duration {
    const STEP: u128 = 50;
    let steps = time.as_millis().div_ceil(STEP);
    Duration::from_millis(u64::try_from(steps * STEP).unwrap_or(u64::MAX))
}

fn disturbances(random: &mut Random, hosts: usize) -> Vec<(Duration, Disturbance)> {
    let mut disturbances: Vec<_> = (0..random.size(0, 4))
        .map(|_| {
            let host = random.index(hosts);
            let what = match random.index(3) {
                0 => Disturbance::Partition(host, random.millis(10, 10_000)),
                1 => Disturbance::Reset(host),
                _ => Disturbance::Jump(random.millis(100, 3_600_000)),
            };
            (random.millis(0, 10_000), what)
        })
        .collect();
    disturbances.sort_by_key(|(at, _)| *at);
    disturbances
}

impl Host {
    /// Returns whether bytes arrive at once.
    pub fn is_local(&self) -> bool {
        self.latency.is_zero() && self.bandwidth.is_none()
    }

    fn random(random: &mut Random, is_calm: bool) -> Self {
        let is_local = random.chance(30);
        Self {
            latency: match is_local {
                true => Duration::ZERO,
                false => random.millis(0, 100),
            },
            bandwidth: random.maybe(30 * u32::from(!is_local), |random| {
                random.between(20_000, 10_000_000)
            }),
            connect_jitter: random.millis(0, 50),
            resets_per_million: match is_calm || random.chance(60) {
                true => 0,
                false => random.between(100, 20_000),
            },
            has_name: random.chance(50),
        }
    }
}

impl SessionPlan {
    fn random(random: &mut Random) -> Self {
        Self {
            timeout: random.millis(5_000, 60_000),
            connect_timeout: random.millis(1_000, 5_000),
            queue_timeout: random.maybe(20, |random| random.millis(500, 20_000)),
            head_timeout: random.maybe(30, |random| random.millis(500, 5_000)),
            read_timeout: random.maybe(30, |random| random.millis(500, 5_000)),
            max_in_flight: random.maybe(60, |random| random.size(1, 50)),
            max_per_host: random.maybe(60, |random| random.size(1, 20)),
            max_rate: random.maybe(30, |random| Rate {
                per_second: random.between(5, 500) as u32,
                burst: random.between(1, 20) as u32,
            }),
            host_interval: random.maybe(30, |random| random.millis(1, 100)),
            max_redirects: random.size(0, 4),
            retries: random.size(0, 3),
        }
    }
}

impl Request {
    fn random(random: &mut Random, id: usize, hosts: usize) -> Self {
        let method = match random.index(10) {
            0..=5 => Method::GET,
            6 | 7 => Method::POST,
            8 => Method::PUT,
            _ => Method::DELETE,
        };
        let has_upload = method == Method::POST || method == Method::PUT;
        Self {
            id,
            host: random.index(hosts),
            upload: match has_upload {
                true => random.size(0, 100_000),
                false => 0,
            },
            is_repeatable: random.chance(20),
            has_credentials: random.chance(30),
            cancel_after: random.maybe(10, |random| random.millis(0, 3_000)),
            deadline: random.maybe(15, |random| random.millis(100, 10_000)),
            pause_between_chunks: random.maybe(10, |random| random.millis(1, 200)),
            answers: (0..random.size(1, 4))
                .map(|_| Answer::random(random, hosts))
                .collect(),
            method,
        }
    }
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 10] = [
        Self::ResetBeforeHead,
        Self::CloseBeforeHead,
        Self::ResetInBody,
        Self::CloseInBody,
        Self::Garbage,
        Self::ExtraResponse,
        Self::LateExtraResponse,
        Self::CloseAfter,
        Self::HalfCloseAfter,
        Self::Hang,
    ];

    fn random(random: &mut Random) -> Self {
        Self::ALL[random.index(Self::ALL.len())]
    }
}

impl Answer {
    fn random(random: &mut Random, hosts: usize) -> Self {
        let redirect = random.maybe(12, |random| random.index(hosts));
        let status = match (redirect, random.index(10)) {
            (Some(_), choice) => [301, 302, 303, 307, 308][choice % 5],
            (None, 0) => 503,
            (None, 1) => 404,
            (None, _) => 200,
        };
        let fault = random.maybe(20, Fault::random);
        Self {
            delay: random.millis(0, 500),
            status,
            len: match fault {
                // The whole response fits into a packet.
                Some(Fault::ExtraResponse) => random.size(0, 1_000),
                _ if random.chance(80) => random.size(0, 2_000),
                _ => random.size(2_000, 200_000),
            },
            is_chunked: random.chance(40),
            redirect,
            retry_after: (status == 503 && random.chance(50)).then(|| random.between(0, 3)),
            pause: match random.chance(20) {
                true => random.millis(1, 1_000),
                false => Duration::ZERO,
            },
            reads_slowly: random.chance(10),
            fault,
        }
    }

    /// A response with the status 200 and a short body.
    pub fn ok() -> Self {
        Self {
            delay: Duration::ZERO,
            status: 200,
            len: 10,
            is_chunked: false,
            redirect: None,
            retry_after: None,
            pause: Duration::ZERO,
            reads_slowly: false,
            fault: None,
        }
    }
}
