//! `await` in a function that is not async.

use inflight::{Error, Session};

// ANCHOR: code
fn fetch_size(session: &Session, url: &str) -> Result<usize, Error> {
    let text = session.get(url).text().await?;
    Ok(text.chars().count())
}
// ANCHOR_END: code

fn main() -> Result<(), Error> {
    let session = inflight::session()?;
    let size = fetch_size(&session, "http://127.0.0.1:8080/page/1")?;
    println!("{size} characters");
    Ok(())
}
