//! Fetches the URLs in its arguments concurrently. The project's README shows this program:
//! `cargo run -p inflight-examples --bin gather -- URL..`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

// ANCHOR: gather
use inflight::{Error, gather_with};

fn main() -> Result<(), Error> {
    inflight::block_on(async {
        let session = inflight::session()?;
        let urls: Vec<String> = std::env::args().skip(1).collect();
        let pages = gather_with(urls, |url| session.get(url).text()).limit(100);
        for (url, page) in pages.settled().await.results {
            match page {
                Ok(text) => println!("{url}: {} bytes", text.len()),
                Err(error) => eprintln!("{url}: {}", Error::from(error)),
            }
        }
        Ok(())
    })
}
// ANCHOR_END: gather
