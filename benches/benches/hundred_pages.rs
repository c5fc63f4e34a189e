//! A hundred pages that each take 100 ms: one after another, and gathered.
#![allow(clippy::print_stderr, reason = "a program")]

use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};
use inflight::{BlockOn, Cell, Error, Session, gather};
use inflight_benches::figures::{self, Figure, Limit};
use inflight_benches::{Enter, process::OriginProcess};

const DELAY: Duration = Duration::from_millis(100);
const PAGES: usize = 100;

/// One after another, a hundred pages take ten seconds a sample: these few stand for them.
const FEW: usize = 3;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    inflight_origin::raise_file_limit()?;
    let origin = OriginProcess::start(env!("CARGO_BIN_EXE_inflight-bench-origin"))?;
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(250))
        .measurement_time(Duration::from_millis(1500))
        .without_plots()
        .configure_from_args();
    let delay_ms = DELAY.as_secs_f64() * 1e3;
    let mut rows = Vec::new();

    let sequential = format!("{FEW} of {PAGES} pages one after another");
    for cell in Cell::compiled().filter(|cell| cell.short_name().is_some()) {
        measure(&mut criterion, &sequential, cell, |session| {
            one_after_another(session, &origin)
        })?;
        // Scaled to a hundred, which is exact: nothing of one page overlaps the next.
        let scale = PAGES as f64 / FEW as f64;
        rows.extend(row(
            &sequential,
            format!("{PAGES} pages of 100 ms, one after another (scaled from {FEW})"),
            cell,
            scale,
            Limit {
                value: delay_ms * PAGES as f64,
                what: "the sum of the delays".to_owned(),
            },
        ));
    }
    let gathered = format!("{PAGES} pages gathered");
    for cell in Cell::compiled() {
        measure(&mut criterion, &gathered, cell, |session| {
            all_at_once(session, &origin)
        })?;
        rows.extend(row(
            &gathered,
            format!("{PAGES} pages of 100 ms, gathered"),
            cell,
            1.0,
            Limit {
                value: delay_ms,
                what: "the slowest page's delay".to_owned(),
            },
        ));
    }
    figures::save("hundred_pages", &rows)?;
    criterion.final_summary();
    Ok(())
}

fn measure<'a, W, F>(
    criterion: &mut Criterion,
    group: &str,
    cell: Cell,
    work: W,
) -> Result<(), Failure>
where
    W: Fn(Session) -> F + 'a,
    F: Future<Output = Result<(), Error>>,
{
    let backend = cell.start(None)?;
    let session = backend.session()?;
    // Warms up (connections, threads) and shows a failure as one.
    backend.block_on(work(session.clone()))?;
    let mut group = criterion.benchmark_group(group);
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(cell.to_string(), |bencher| {
        bencher
            .to_async(Enter(&backend))
            .iter_custom(async |iterations| {
                let started = Instant::now();
                for _ in 0..iterations {
                    let result = work(session.clone()).await;
                    assert!(result.is_ok(), "{cell}: {result:?}");
                }
                started.elapsed()
            });
    });
    group.finish();
    Ok(())
}

/// The row of a benchmark, unless a filter on the command line left it out.
fn row(group: &str, what: String, cell: Cell, scale: f64, limit: Limit) -> Option<Figure> {
    let (median, (from, to)) = figures::criterion_median(group, &cell.to_string()).ok()?;
    let ms = |nanoseconds: f64| nanoseconds * scale / 1e6;
    Some(Figure {
        what,
        who: cell.to_string(),
        measured: ms(median),
        from_to: (ms(from), ms(to)),
        unit: "ms".to_owned(),
        limit: Some(limit),
    })
}

async fn page(session: &Session, url: String) -> Result<(), Error> {
    let response = session.get(url).send().await?.error_for_status()?;
    let expected = response.content_length();
    let body = response.bytes().await?;
    assert!(!body.is_empty() && expected.is_none_or(|length| length == body.len() as u64));
    Ok(())
}

fn url(origin: &OriginProcess, number: usize) -> String {
    origin.url(&format!("/page/{number}?delay_ms={}", DELAY.as_millis()))
}

async fn one_after_another(session: Session, origin: &OriginProcess) -> Result<(), Error> {
    for number in 0..FEW {
        page(&session, url(origin, number)).await?;
    }
    Ok(())
}

async fn all_at_once(session: Session, origin: &OriginProcess) -> Result<(), Error> {
    let pages = (0..PAGES).map(|number| page(&session, url(origin, number)));
    let settled = gather(pages).limit(PAGES).settled().await;
    assert_eq!(settled.results.len(), PAGES);
    for result in settled.results {
        if let Err(error) = result {
            match error.into_kind() {
                inflight::JobErrorKind::Failed(error) => return Err(error),
                other => panic!("{other:?}"),
            }
        }
    }
    Ok(())
}
