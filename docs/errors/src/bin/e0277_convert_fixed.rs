//! A return type that can hold both errors.

use std::error::Error;

use inflight::Session;

// ANCHOR: code
async fn fetch_number(session: &Session, url: &str) -> Result<u32, Box<dyn Error>> {
    let text = session.get(url).text().await?;
    let number = text.trim().parse()?;
    Ok(number)
}
// ANCHOR_END: code

fn main() {
    inflight::block_on(async {
        let session = inflight::session().unwrap();
        println!(
            "{:?}",
            fetch_number(&session, "http://127.0.0.1:8080/page/1").await
        );
    });
}
