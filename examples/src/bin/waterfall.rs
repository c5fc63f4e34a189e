//! Draws when each of 20 pages was in flight, as an SVG picture: `just run waterfall > waterfall.svg`.
//!
//! The program fetches the pages one after another, then with `gather`, and then with `gather` and a client that blocks.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use inflight::backend::Inline;
use inflight::{Error, Session, gather};
use inflight_examples::ureq_session;
use inflight_origin::Origin;

const PAGES: usize = 20;
const DELAY: Duration = Duration::from_millis(50);

type Failure = Box<dyn std::error::Error>;

/// The start and the end of a request, as times since the start of the first request in its panel.
type Bar = (Duration, Duration);

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    let urls: Vec<String> = (0..PAGES)
        .map(|page| origin.url(&format!("/page/{page}?delay_ms={}", DELAY.as_millis())))
        .collect();
    let panels = inflight::block_on(async {
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
    print!("{}", draw(&panels));
    Ok(())
}

async fn fetch_sequentially(session: &Session, urls: &[String]) -> Result<Vec<Bar>, Failure> {
    let started = Instant::now();
    let mut bars = Vec::new();
    for url in urls {
        bars.push(fetch(session, url, started).await?);
    }
    Ok(bars)
}

async fn fetch_gathered(session: &Session, urls: &[String]) -> Result<Vec<Bar>, Failure> {
    let started = Instant::now();
    let jobs = urls.iter().map(|url| fetch(session, url, started));
    Ok(gather(jobs).all().await?)
}

async fn fetch(session: &Session, url: &str, started: Instant) -> Result<Bar, Error> {
    let begin = started.elapsed();
    session.get(url).text().await?;
    Ok((begin, started.elapsed()))
}

/// Draws a bar for each request, below the name of its panel. All panels have the same scale.
fn draw(panels: &[(&str, Vec<Bar>)]) -> String {
    let [width, left, bar, title_height] = [720.0, 20.0, 7.0, 30.0];
    let ends = panels
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|(_, end)| *end);
    let last = ends.max().unwrap_or_default();
    let x = |at: Duration| left + (width - 2.0 * left) * at.div_duration_f64(last);
    let mut marks = String::new();
    let mut y = 10.0;
    for (name, bars) in panels {
        y += title_height;
        let total = bars.iter().map(|(_, end)| *end).max().unwrap_or_default();
        let title = format!("{name}: {} pages in {} ms", bars.len(), total.as_millis());
        marks += &format!("<text x=\"{left}\" y=\"{:.1}\">{title}</text>\n", y - 8.0);
        for (begin, end) in bars {
            let (from, to) = (x(*begin), x(*end));
            marks += &format!(
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
                to - from,
                bar - 1.5
            );
            y += bar;
        }
    }
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"15\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <g fill=\"#2563a8\">\n{marks}</g>\n</svg>\n"
    )
}
