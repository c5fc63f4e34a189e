//! Fetches one page: `just run get`.
#![allow(clippy::print_stdout, reason = "a program")]

use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // A local server, so that the program runs without a network.
    let origin = Origin::start()?;
    let url = std::env::args()
        .nth(1)
        .unwrap_or_else(|| origin.url("/page/1"));
    inflight::block_on(get(&url))
}

// ANCHOR: get
async fn get(url: &str) -> Result<(), Failure> {
    let session = inflight::session()?;
    let response = session.get(url).send().await?.error_for_status()?;
    println!(
        "{} {}",
        response.status(),
        response.url().map_or("", |url| url.path())
    );
    println!("content-type: {:?}", response.headers()["content-type"]);
    let text = response.text().await?;
    println!("{} characters", text.chars().count());
    Ok(())
}
// ANCHOR_END: get
