//! An `await` in the last line of a function.

use inflight::{Error, Session};

// ANCHOR: code
async fn fetch(session: &Session, url: &str) -> Result<String, Error> {
    session.get(url).text().await
}
// ANCHOR_END: code

fn main() -> Result<(), Error> {
    inflight::block_on(async {
        let session = inflight::session()?;
        let text = fetch(&session, "http://127.0.0.1:8080/page/1").await?;
        println!("{} characters", text.chars().count());
        Ok(())
    })
}
