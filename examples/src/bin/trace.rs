//! Draws the timeline of each request: `just run trace`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use inflight::gather;
use inflight::observe::{Event, Step};
use inflight_origin::Origin;

// ANCHOR: timeline
/// When each request was sent, when the head of its response arrived, and when the request ended.
#[derive(Default)]
struct Timeline(Mutex<BTreeMap<u64, [Option<Instant>; 3]>>);

impl Timeline {
    fn record(&self, event: &Event<'_>) {
        let moment = match event.step {
            Step::Sending => 0,
            Step::Head { .. } => 1,
            Step::Done { .. } | Step::Failed { .. } | Step::Cancelled => 2,
            _ => return,
        };
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.entry(event.request).or_default()[moment] = Some(event.at);
    }
}
// ANCHOR_END: timeline

const COLUMN: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let origin = Origin::start()?;
    let started = Instant::now();
    // ANCHOR: observe
    let timeline = Arc::new(Timeline::default());
    let recorder = timeline.clone();
    let session = inflight::builder()
        .max_in_flight(4)
        .observe(move |event: &Event<'_>| recorder.record(event))
        .build()?;
    // ANCHOR_END: observe
    inflight::block_on(async {
        // Each page is slower than the page before. At most four requests are in flight at once.
        let pages = (1..=10).map(|n| origin.url(&format!("/delay-ms/{}", 20 * n)));
        let texts = gather(pages.map(|url| session.get(url).text()));
        texts.all().await
    })?;

    println!(
        "a column is {COLUMN:?}: . waits for a permit, = waits for the head, # reads the body"
    );
    let column = |at: Instant| {
        let passed = at.saturating_duration_since(started);
        passed.div_duration_f64(COLUMN) as usize
    };
    let requests = timeline.0.lock().unwrap_or_else(PoisonError::into_inner);
    for (request, moments) in &*requests {
        let [Some(sent), Some(head), Some(finished)] = moments.map(|at| at.map(column)) else {
            println!("{request:>2} did not finish");
            continue;
        };
        let (waits, reads) = (head - sent, finished - head + 1);
        let bar = format!(
            "{}{}{}",
            ".".repeat(sent),
            "=".repeat(waits),
            "#".repeat(reads)
        );
        println!("{request:>2} {bar}");
    }
    Ok(())
}
