//! Draws when each of 20 pages was in flight: `just picture waterfall > waterfall.svg`.
//!
//! The program fetches the pages one after another, then with `gather`, and then with `gather` and a client that blocks.

use std::time::{Duration, Instant};

use inflight::backend::Inline;
use inflight::{Session, gather};
use inflight_charts::{Colour, Figure, Series, Waterfall};
use inflight_examples::{Bar, bars_heading, draw_bars, print_picture, time_page, ureq_session};
use inflight_origin::Origin;

const PAGES: usize = 20;
const DELAY: Duration = Duration::from_millis(50);

const IN_FLIGHT: Series = Series::new("in flight", Colour::Blue);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    let urls: Vec<String> = (0..PAGES)
        .map(|page| origin.url(&format!("/page/{page}?delay_ms={}", DELAY.as_millis())))
        .collect();
    let ways = inflight::block_on(async {
        let session = inflight::session()?;
        let blocking = ureq_session(session.runtime(), |ureq, _| Inline::new(ureq))?;
        Ok::<_, Failure>([
            (
                "one page after another",
                fetch_sequentially(&session, &urls).await?,
            ),
            ("gather", fetch_gathered(&session, &urls).await?),
            (
                "gather with a client that blocks",
                fetch_gathered(&blocking, &urls).await?,
            ),
        ])
    })?;
    print_picture(&draw(&ways));
    Ok(())
}

async fn fetch_sequentially(session: &Session, urls: &[String]) -> Result<Vec<Bar>, Failure> {
    let started = Instant::now();
    let mut bars = Vec::new();
    for url in urls {
        bars.push(time_page(session, url, started).await?);
    }
    Ok(bars)
}

async fn fetch_gathered(session: &Session, urls: &[String]) -> Result<Vec<Bar>, Failure> {
    let started = Instant::now();
    let jobs = urls.iter().map(|url| time_page(session, url, started));
    Ok(gather(jobs).all().await?)
}

/// Draws a group for each way, with a bar for each request.
fn draw(ways: &[(&str, Vec<Bar>)]) -> Figure {
    let mut chart = Waterfall::new("ms since the first request");
    let mut descriptions = Vec::new();
    for (name, bars) in ways {
        let last = bars.iter().map(|(from, _)| *from).max().unwrap_or_default();
        let heading = bars_heading(name, bars);
        chart = chart.group(draw_bars(&heading, bars, IN_FLIGHT));
        descriptions.push(format!(
            "{heading}, and the last bar begins at {} ms",
            last.as_millis()
        ));
    }
    let description = format!(
        "A bar for each request, from left to right in time, one below the other. {}.",
        descriptions.join(". ")
    );
    Figure::new(
        "waterfall",
        "When each of 20 requests of 50 ms was in flight",
        description,
        chart,
    )
}
