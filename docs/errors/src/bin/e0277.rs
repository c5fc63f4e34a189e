//! A forgotten `await` before `?`.

use inflight::{Error, Session};

// ANCHOR: code
async fn fetch_size(session: &Session, url: &str) -> Result<usize, Error> {
    let response = session.get(url).send()?;
    let text = response.text().await?;
    Ok(text.chars().count())
}
// ANCHOR_END: code

fn main() -> Result<(), Error> {
    inflight::block_on(async {
        let session = inflight::session()?;
        let size = fetch_size(&session, "http://127.0.0.1:8080/page/1").await?;
        println!("{size} characters");
        Ok(())
    })
}
