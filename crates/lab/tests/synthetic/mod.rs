//! Deterministic synthetic records of contenders with known costs. In each round, the machine is slower by up
//! to 5 %. Each value also has noise of at most 1 % in either direction.

use inflight_lab::experiment::{Better, ChartStyle, DUPLICATE_SUFFIX, Limit, Target};
use inflight_lab::record::{Environment, Row, Run};
use inflight_lab::report::{ExperimentInfo, MetricInfo, VariableInfo};

pub(crate) const RUN: &str = "2026-11-25T02:10:00Z";

const CELLS: [&str; 13] = [
    "tokio/hyper",
    "tokio/isahc",
    "tokio/surf",
    "tokio/ureq",
    "smol/hyper",
    "smol/isahc",
    "smol/surf",
    "smol/ureq",
    "async-std/hyper",
    "async-std/isahc",
    "async-std/surf",
    "async-std/ureq",
    "threads/ureq",
];

fn metric(name: &str, label: &str, unit: &str, limit: Option<Limit>) -> MetricInfo {
    MetricInfo {
        name: name.into(),
        label: label.into(),
        unit: unit.into(),
        better: Some(match unit {
            "1/s" => Better::Higher,
            _ => Better::Lower,
        }),
        limit,
        target: (name == "throughput").then_some(Target {
            at: |x| x,
            description: "the request rate",
        }),
        timeout: None,
        chart_style: match name {
            "gap" => ChartStyle::BarsFromZero,
            "p99" => ChartStyle::MarkedKnees,
            _ => ChartStyle::Default,
        },
    }
}

fn limit(description: &'static str, at: fn(f64) -> f64) -> Option<Limit> {
    Some(Limit { at, description })
}

fn info(
    name: &str,
    title: &str,
    question: &str,
    variable: Option<(&str, &str)>,
    metrics: Vec<MetricInfo>,
) -> ExperimentInfo {
    ExperimentInfo {
        name: name.into(),
        title: title.into(),
        question: question.into(),
        verification: "every page, byte for byte".into(),
        variable: variable.map(|(name, unit)| VariableInfo {
            name: name.into(),
            unit: unit.into(),
        }),
        metrics,
        contenders: CELLS.map(str::to_owned).to_vec(),
        mistake: Some("requests in async def".into()),
    }
}

/// Returns the descriptions of the experiments that have records.
pub(crate) fn experiments() -> Vec<ExperimentInfo> {
    let wall = |limit| metric("wall", "time until the last page", "ms", limit);
    let gap = |limit| metric("gap", "largest gap of the heartbeat", "ms", limit);
    vec![
        info(
            "gather",
            "Many pages at once",
            "How much longer than one page do n pages take, fetched at once?",
            Some(("pages at once", "")),
            vec![
                wall(limit("the page's delay", |_| 100.0)),
                metric("cpu", "CPU time of the client", "ms", None),
            ],
        ),
        info(
            "sequential",
            "One after another",
            "How long do ten sequential pages take?",
            None,
            vec![wall(limit("the sum of the delays", |_| 200.0))],
        ),
        info(
            "blocking",
            "A blocking call on the only worker",
            "How long does the loop stall while a page with a delay of 100 ms is fetched?",
            None,
            vec![gap(None)],
        ),
        info(
            "blockers",
            "Blocking calls on two workers",
            "How many blocking calls does it take to stop two workers?",
            Some(("blocking calls", "")),
            vec![gap(None)],
        ),
        info(
            "offload",
            "Blocking calls on the blocking pool",
            "How many blocking calls does a pool take at once?",
            Some(("calls at once", "")),
            vec![wall(limit(
                "the page's delay, once for each batch of 500 calls (the size of the pool)",
                |x| (x / 500.0).ceil() * 100.0,
            ))],
        ),
        info(
            "threads",
            "Threads against tasks",
            "What does each request in flight cost in memory?",
            Some(("in flight", "")),
            vec![
                metric("memory", "memory for each request in flight", "KB", None),
                wall(limit("the page's delay", |_| 2000.0)),
            ],
        ),
        info(
            "overhead",
            "What a request costs",
            "What does a request cost when there is nothing to wait for?",
            None,
            vec![
                metric("cpu", "CPU for each request", "us", None),
                metric("wall", "time for each request", "us", None),
                metric("allocations", "allocations for each request", "1", None),
            ],
        ),
        info(
            "rate",
            "Latency at a fixed rate",
            "Up to which rate does the latency stay low?",
            Some(("requests a second", "1/s")),
            vec![
                metric(
                    "p99",
                    "latency at the 99th percentile",
                    "ms",
                    limit("the page's delay", |_| 10.0),
                ),
                metric(
                    "p50",
                    "median latency",
                    "ms",
                    limit("the page's delay", |_| 10.0),
                ),
                metric("throughput", "answers a second", "1/s", None),
            ],
        ),
        info(
            "cancel",
            "Cancelled requests",
            "How long until the server sees the close?",
            None,
            vec![
                metric("seen", "time until the server sees the close", "ms", None),
                metric("left", "descriptors left open", "1", limit("none", |_| 0.0)),
            ],
        ),
        info(
            "lookup",
            "A slow name look-up",
            "Does a slow look-up stall the loop?",
            Some(("look-up's delay", "ms")),
            vec![gap(None)],
        ),
    ]
}

pub(crate) struct RecordBuilder {
    random: fastrand::Rng,
    rows: Vec<Row>,
}

impl RecordBuilder {
    pub(crate) fn new() -> Self {
        Self {
            random: fastrand::Rng::with_seed(7),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(
        &mut self,
        experiment: &str,
        contender: &str,
        x: f64,
        round: u32,
        metric: (&str, &str),
        value: f64,
    ) {
        self.rows.push(Row {
            run: RUN.into(),
            experiment: experiment.into(),
            contender: contender.into(),
            x,
            round,
            turn: 0,
            metric: metric.0.into(),
            value,
            unit: metric.1.into(),
            answered: 1,
            discard_reason: String::new(),
            other_cores: None,
        });
    }

    /// Adds nine rounds of the contenders in `values`, and of a duplicate of the first contender.
    fn rounds(&mut self, experiment: &str, metric: (&str, &str), x: f64, values: &[(String, f64)]) {
        let duplicate = (format!("{}{DUPLICATE_SUFFIX}", values[0].0), values[0].1);
        for round in 0..9 {
            let slow = 1.0 + 0.05 * self.random.f64();
            for (name, value) in values.iter().chain([&duplicate]) {
                let noise = 0.99 + 0.02 * self.random.f64();
                self.row(experiment, name, x, round, metric, value * slow * noise);
            }
        }
    }

    pub(crate) fn run(self) -> Run {
        let environment = [
            ("cpu", "A synthetic processor"),
            ("cores", "2"),
            ("memory", "4 GB"),
            ("system", "linux"),
            ("kernel", "6.1.0"),
            ("rustc", "1.95.0"),
        ];
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Run {
            id: RUN.into(),
            environment: Environment::from(environment),
            rows: self.rows,
        }
    }
}

fn cost_factors(cell: &str) -> (f64, f64) {
    let (runtime, client) = cell.split_once('/').unwrap();
    let runtime = match runtime {
        "tokio" => 1.0,
        "smol" => 1.3,
        "async-std" => 1.5,
        _ => 1.1,
    };
    let client = match client {
        "hyper" => 1.0,
        "isahc" => 2.2,
        "surf" => 5.5,
        _ => 4.5,
    };
    (runtime, client)
}

fn with_owned_names(values: &[(&str, f64)]) -> Vec<(String, f64)> {
    values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
}

/// Returns records of the experiments in [`experiments`], and of an experiment without a description.
pub(crate) fn records() -> Run {
    let mut builder = RecordBuilder::new();
    const MS: &str = "ms";

    for x in [1.0, 10.0, 100.0, 1000.0] {
        let mut walls = Vec::new();
        let mut cpus = Vec::new();
        for cell in CELLS {
            let (runtime, client) = cost_factors(cell);
            if cell.ends_with("ureq") && x > 100.0 {
                continue;
            }
            walls.push((cell.to_owned(), 101.0 + 0.015 * x * runtime * client));
            cpus.push((cell.to_owned(), 0.2 + 0.012 * x * runtime * client));
        }
        for (name, wall, cpu) in [
            ("reqwest", 101.0 + 0.02 * x, 0.014 * x),
            ("aiohttp", 104.0 + 0.25 * x, 0.16 * x),
            ("requests in async def", 100.9 * x, 0.9 * x),
            ("go", 101.0 + 0.06 * x, 0.03 * x),
            ("curl --parallel", 104.0 + 1.5 * x, 0.4 * x),
        ] {
            if name.starts_with("requests") && x > 100.0 {
                continue;
            }
            walls.push((name.to_owned(), wall));
            cpus.push((name.to_owned(), cpu));
        }
        builder.rounds("gather", ("wall", MS), x, &walls);
        builder.rounds("gather", ("cpu", MS), x, &cpus);
    }
    builder.rows[3].discard_reason = "origin late: p99 14.0 ms, bound 10.0 ms".into();
    builder.rows[3].value = 900.0;

    let sequential = [
        ("tokio/hyper", 203.0),
        ("smol/isahc", 204.0),
        ("async-std/surf", 208.0),
        ("threads/ureq", 204.5),
        ("aiohttp", 209.0),
    ];
    builder.rounds(
        "sequential",
        ("wall", MS),
        0.0,
        &with_owned_names(&sequential),
    );

    let mut blocking = Vec::new();
    for (runtime, idle) in [("tokio", 2.3), ("smol", 1.12), ("async-std", 1.14)] {
        for (mode, gap) in [
            ("idle", idle),
            ("inline", 101.0),
            ("offloaded", idle * 1.01),
            ("async", idle * 1.05),
        ] {
            blocking.push((format!("{runtime}: {mode}"), gap));
        }
    }
    builder.rounds("blocking", ("gap", MS), 0.0, &blocking);

    for x in [1.0f64, 2.0, 4.0, 8.0] {
        let gap = |idle: f64| {
            if x < 2.0 {
                idle
            } else {
                100.0 * (x / 2.0).ceil()
            }
        };
        builder.rounds(
            "blockers",
            ("gap", MS),
            x,
            &with_owned_names(&[
                ("tokio", gap(2.3)),
                ("smol", gap(1.2)),
                ("async-std", gap(1.3)),
            ]),
        );
    }
    for x in [100.0, 500.0, 1000.0] {
        let wall = |pool: f64| (x / pool).ceil() * 100.0 + 0.04 * x;
        let values = [
            ("tokio/ureq", wall(512.0)),
            ("smol/ureq", wall(500.0)),
            ("async-std/ureq", wall(500.0)),
            ("threads/ureq", wall(1e9)),
        ];
        builder.rounds("offload", ("wall", MS), x, &with_owned_names(&values));
    }
    for x in [10.0, 30.0, 100.0, 300.0] {
        builder.rounds(
            "lookup",
            ("gap", MS),
            x,
            &with_owned_names(&[
                ("tokio/hyper", 2.3),
                ("smol/isahc", 1.2),
                ("async-std/surf", 1.3),
                ("blocking look-up in a future", x + 0.7),
            ]),
        );
    }
    for x in [100.0, 1000.0, 5000.0] {
        builder.rounds(
            "threads",
            ("memory", "KB"),
            x,
            &with_owned_names(&[
                ("tokio/hyper", 23.0 + 400.0 / x),
                ("threads/ureq", 270.0 + 900.0 / x),
                ("smol/hyper", 27.0 + 400.0 / x),
                ("smol/isahc", 18.5 + 2000.0 / x),
                ("aiohttp", 20.0 + 9000.0 / x),
            ]),
        );
        builder.rounds(
            "threads",
            ("wall", MS),
            x,
            &with_owned_names(&[
                ("tokio/hyper", 2000.0 + 0.08 * x),
                ("threads/ureq", 2000.0 + 0.45 * x),
                ("smol/hyper", 2000.0 + 0.07 * x),
                ("smol/isahc", 2000.0 + 0.13 * x),
                ("aiohttp", 2000.0 + 0.4 * x),
            ]),
        );
    }

    let mut costs: Vec<(String, f64)> = CELLS
        .iter()
        .map(|cell| {
            let (runtime, client) = cost_factors(cell);
            // The value of one cell is not the product of its two factors.
            let outlier = if *cell == "async-std/surf" { 0.8 } else { 1.0 };
            ((*cell).to_owned(), 10.2 * runtime * client * outlier)
        })
        .collect();
    costs.extend(with_owned_names(&[
        ("tokio/hyper, gather.on", 10.6),
        ("hyper-util alone", 9.4),
        ("reqwest", 12.8),
        ("aiohttp", 155.0),
        ("go", 23.8),
        ("wrk", 7.0),
    ]));
    builder.rounds("overhead", ("cpu", "us"), 0.0, &costs);
    let scaled = |factor: f64| {
        costs
            .iter()
            .map(|(name, cost)| (name.clone(), cost * factor))
            .collect::<Vec<_>>()
    };
    builder.rounds("overhead", ("wall", "us"), 0.0, &scaled(1.04));
    builder.rounds("overhead", ("allocations", "1"), 0.0, &scaled(3.0));

    for x in [500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0] {
        let names = [
            "tokio/hyper",
            "smol/hyper",
            "smol/isahc",
            "async-std/surf",
            "threads/ureq",
            "reqwest",
        ];
        // The rate above which a contender does not keep up.
        let capacities = [60_000.0, 45_000.0, 15_000.0, 8_000.0, 12_000.0, 40_000.0];
        let values_of = |f: &dyn Fn(f64) -> f64| {
            names
                .iter()
                .zip(capacities)
                .map(|(name, capacity)| ((*name).to_owned(), f(x / capacity)))
                .collect::<Vec<_>>()
        };
        let latency = |load: f64| {
            if load < 1.0 {
                11.0 + 1.2 / (1.0 - load)
            } else {
                800.0 * load
            }
        };
        builder.rounds("rate", ("p99", MS), x, &values_of(&latency));
        builder.rounds(
            "rate",
            ("p50", MS),
            x,
            &values_of(&|load: f64| if load < 1.0 { 10.4 } else { 400.0 * load }),
        );
        builder.rounds(
            "rate",
            ("throughput", "1/s"),
            x,
            &values_of(&|load: f64| x / load.max(1.0)),
        );
    }

    let close_times: Vec<(String, f64)> = CELLS
        .iter()
        .map(|cell| {
            (
                (*cell).to_owned(),
                if cell.ends_with("isahc") { 4.0 } else { 0.4 },
            )
        })
        .collect();
    builder.rounds("cancel", ("seen", MS), 0.0, &close_times);
    let left: Vec<(String, f64)> = CELLS.iter().map(|cell| ((*cell).to_owned(), 0.0)).collect();
    builder.rounds("cancel", ("left", "1"), 0.0, &left);

    // An experiment without a description.
    for x in [1.0, 2.0, 3.0] {
        builder.rounds(
            "later",
            ("size", "B"),
            x,
            &with_owned_names(&[("one", 10.0 * x), ("other", 12.0 * x)]),
        );
    }
    builder.run()
}

/// Returns the descriptions of experiments without records.
pub(crate) fn unmeasured() -> Vec<ExperimentInfo> {
    ["session", "large"]
        .map(|name| {
            info(
                name,
                name,
                "Not measured yet?",
                None,
                vec![metric("wall", "time", "us", None)],
            )
        })
        .into()
}
