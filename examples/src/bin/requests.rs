//! Sends queries, headers, forms and JSON, and reads responses in several ways: `just run requests`.
//!
//! `just picture requests` draws when the parts of a response arrive.
#![allow(clippy::print_stdout, reason = "a program")]

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use inflight::observe::{Event, Step};
use inflight::{CookieJar, Error, RequestBuilder, Session};
use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};
use inflight_examples::{picture_format, print_picture};
use inflight_origin::Origin;
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    inflight::block_on(async {
        let session = inflight::session()?;
        // The head arrives after 100 ms. From then on, one byte of the body arrives every 50 ms.
        let url = origin.url("/drip?delay=0.1&numbytes=8&duration=0.4");
        let chunks = read_chunks(&session, &url).await?;
        let text = read_text(&session, &url).await?;
        if picture_format().is_some() {
            print_picture(&draw(&chunks, &text));
            return Ok(());
        }
        send_query(&session, &origin.url("/anything")).await?;
        send_form(&session, &origin.url("/anything")).await?;
        send_json(&session, &origin.url("/anything")).await?;
        read_statuses(&session, &origin.url("/status/404")).await?;
        read_wrong_type(&session, &origin.url("/anything")).await;
        read_text_and_bytes(&session, &origin).await?;
        share_session(&origin).await?;
        count_connections(&origin).await?;
        print_reading(&chunks);
        print_reading(&text);
        Ok(())
    })
}

// ANCHOR: types
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    item: String,
    quantity: u32,
}

/// The fields of the server's response that the program needs.
#[derive(Debug, Deserialize)]
struct Echo {
    args: BTreeMap<String, String>,
    form: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    json: Option<Order>,
}
// ANCHOR_END: types

// ANCHOR: query
async fn send_query(session: &Session, url: &str) -> Result<(), Error> {
    let request = session
        .get(url)
        .query(&[("page", "2"), ("tag", "rød grød")])
        .header("x-client", "tutorial");
    let echo: Echo = request.json().await?;
    println!("GET with a query and a header:");
    println!("  {:?}", echo.args);
    println!("  {}", echo.headers["X-Client"]);
    Ok(())
}
// ANCHOR_END: query

// ANCHOR: form
async fn send_form(session: &Session, url: &str) -> Result<(), Error> {
    let fields = [("name", "Ada"), ("drink", "tea & milk")];
    let echo: Echo = session.post(url).form(&fields).json().await?;
    println!("POST of a form:");
    println!("  {}", echo.headers["Content-Type"]);
    println!("  {:?}", echo.form);
    Ok(())
}
// ANCHOR_END: form

// ANCHOR: json
async fn send_json(session: &Session, url: &str) -> Result<(), Error> {
    let order = Order {
        item: "cable".to_owned(),
        quantity: 2,
    };
    let response = session.post(url).json_body(&order).send().await?;
    let echo: Echo = response.error_for_status()?.json().await?;
    println!("POST of JSON:");
    println!("  {}", echo.headers["Content-Type"]);
    println!("  {:?}", echo.json);
    Ok(())
}
// ANCHOR_END: json

// ANCHOR: statuses
async fn read_statuses(session: &Session, url: &str) -> Result<(), Error> {
    let response = session.get(url).send().await?;
    println!("a response with the status {}", response.status());
    if let Err(error) = response.error_for_status() {
        println!("error_for_status: {error}");
    }
    Ok(())
}
// ANCHOR_END: statuses

// ANCHOR: wrong_type
async fn read_wrong_type(session: &Session, url: &str) {
    if let Err(error) = session.get(url).json::<Order>().await {
        println!("json: {error}");
        if let Some(cause) = error.source() {
            println!("  cause: {cause}");
        }
    }
}
// ANCHOR_END: wrong_type

// ANCHOR: text_and_bytes
async fn read_text_and_bytes(session: &Session, origin: &Origin) -> Result<(), Error> {
    let page = origin.url("/encoding/utf8");
    let text = session.get(&page).text().await?;
    let bytes = session.get(&page).bytes().await?;
    println!("{} characters, {} bytes", text.chars().count(), bytes.len());
    // These bytes are no text.
    if let Err(error) = session.get(origin.url("/bytes/1000")).text().await {
        println!("text: {error}");
    }
    Ok(())
}
// ANCHOR_END: text_and_bytes

/// How a program read a response: what it awaited, and when the chunks of the body arrived. All times are since the
/// start of the request.
struct Reading {
    name: &'static str,
    awaits: Vec<Await>,
    chunks: Vec<Duration>,
}

/// A call that the program awaited, what the call returned, and when.
struct Await {
    call: &'static str,
    value: String,
    returned: Duration,
}

impl Reading {
    /// Returns the time at which the program had the whole body.
    fn end(&self) -> Duration {
        self.awaits
            .last()
            .map_or(Duration::ZERO, |last| last.returned)
    }
}

async fn read_chunks(session: &Session, url: &str) -> Result<Reading, Error> {
    let (request, chunks) = record_chunks(session.get(url));
    let started = Instant::now();
    let mut awaits = Vec::new();
    let mut returned = |call, value| {
        let returned = started.elapsed();
        awaits.push(Await {
            call,
            value,
            returned,
        });
    };
    // ANCHOR: chunks
    let mut response = request.send().await?;
    returned("send()", response.status().to_string());
    while let Some(chunk) = response.chunk().await? {
        returned("chunk()", format!("a chunk of length {}", chunk.len()));
    }
    returned("chunk()", "None".to_owned());
    // ANCHOR_END: chunks
    Ok(Reading {
        name: "send() and chunk()",
        awaits,
        chunks: chunks.take(),
    })
}

async fn read_text(session: &Session, url: &str) -> Result<Reading, Error> {
    let (request, chunks) = record_chunks(session.get(url));
    let started = Instant::now();
    let text = request.text().await?;
    let whole = Await {
        call: "text()",
        value: format!("a text of length {}", text.len()),
        returned: started.elapsed(),
    };
    Ok(Reading {
        name: "text()",
        awaits: vec![whole],
        chunks: chunks.take(),
    })
}

/// The times at which the chunks of a body arrived.
#[derive(Clone, Default)]
struct ChunkTimes(Arc<Mutex<Vec<Duration>>>);

impl ChunkTimes {
    fn record(&self, event: &Event<'_>) {
        if let Step::Chunk { .. } = event.step {
            let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            times.push(event.elapsed);
        }
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Lets an observer record when the chunks of the response arrive.
fn record_chunks(request: RequestBuilder) -> (RequestBuilder, ChunkTimes) {
    let times = ChunkTimes::default();
    let recorder = times.clone();
    let request = request.observe(move |event: &Event<'_>| recorder.record(event));
    (request, times)
}

fn print_reading(reading: &Reading) {
    println!("{}:", reading.name);
    for Await {
        call,
        value,
        returned,
    } in &reading.awaits
    {
        println!("{:>6} ms: {call} returned {value}", returned.as_millis());
    }
}

// ANCHOR: shared
async fn share_session(origin: &Origin) -> Result<(), Error> {
    let session = inflight::builder()
        .base_url(origin.url("/"))
        .header("user-agent", "tutorial/1.0")
        .cookies(CookieJar::new())
        .build()?;
    session.get("/cookies/set?user=Ada").text().await?;
    let cookies: BTreeMap<String, BTreeMap<String, String>> =
        session.get("/cookies").json().await?;
    println!("{cookies:?}");
    let agent: BTreeMap<String, String> = session.get("/user-agent").json().await?;
    println!("{agent:?}");
    Ok(())
}
// ANCHOR_END: shared

// ANCHOR: connections
async fn count_connections(origin: &Origin) -> Result<(), Error> {
    let url = origin.url("/page/1");
    origin.reset_stats();
    for _ in 0..5 {
        inflight::session()?.get(&url).text().await?;
    }
    let count = origin.stats().connections_accepted;
    println!("5 sessions with 1 request each: {count} connections");

    let session = inflight::session()?;
    origin.reset_stats();
    for _ in 0..5 {
        session.get(&url).text().await?;
    }
    let count = origin.stats().connections_accepted;
    println!("1 session with 5 requests: {count} connection");
    Ok(())
}
// ANCHOR_END: connections

const HEAD: Series = Series::new("waits for the head", Colour::Green);
const CHUNK: Series = Series::new("waits for a chunk", Colour::Blue);
const WHOLE: Series = Series::new("waits for the whole body", Colour::Purple);
const ARRIVAL: Series = Series::new("a chunk arrives", Colour::Ink);

fn draw(chunks: &Reading, text: &Reading) -> Figure {
    let chart = Waterfall::new("ms since the request was sent")
        .group(draw_reading(chunks))
        .group(draw_reading(text));
    let first = chunks.chunks.first().unwrap_or(&Duration::ZERO).as_millis();
    let end = text.end().as_millis();
    let title = format!(
        "One response: chunk() returns its first byte after {first} ms, text() returns after {end} ms"
    );
    let description = format!(
        "Two groups of bars on one time scale. In the first group, the bar of send() ends after {} ms. Below it, {} \
         bars of chunk() form a staircase, because each bar begins where the bar above it ends. A point marks each \
         chunk that arrives. In the second group, the only bar is that of text(). It contains {} points and ends \
         after {end} ms.",
        chunks.awaits[0].returned.as_millis(),
        chunks.awaits.len() - 1,
        text.chunks.len(),
    );
    Figure::new("requests", title, description, chart)
}

fn draw_reading(reading: &Reading) -> Group {
    let heading = format!("{}: {} ms", reading.name, reading.end().as_millis());
    let starts = reading.awaits.iter().map(|before| before.returned);
    let starts = std::iter::once(Duration::ZERO).chain(starts);
    let rows = starts
        .zip(&reading.awaits)
        .map(|(from, Await { call, returned, .. })| {
            let series = match *call {
                "send()" => HEAD,
                "chunk()" => CHUNK,
                _ => WHOLE,
            };
            let row = Row::new(*call).bar(from, *returned, series);
            // A chunk arrives during the await that returns it.
            let arrivals = reading
                .chunks
                .iter()
                .filter(|at| (from..*returned).contains(*at));
            arrivals.fold(row, |row, at| row.point(*at, ARRIVAL))
        });
    Group::new(heading).rows(rows)
}
