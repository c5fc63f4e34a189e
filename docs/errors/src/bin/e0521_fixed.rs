//! A task that owns a clone of the argument.

use inflight::{Error, Session, Task};

// ANCHOR: code
fn start_fetch(session: &Session) -> Task<Result<usize, Error>> {
    // ANCHOR: fix
    let client = session.clone();
    Task::spawn(session.runtime(), async move {
        let text = client.get("http://127.0.0.1:8080/page/1").text().await?;
        // ANCHOR_END: fix
        Ok(text.chars().count())
    })
}
// ANCHOR_END: code

fn main() -> Result<(), Box<dyn std::error::Error>> {
    inflight::block_on(async {
        let session = inflight::session()?;
        let size = start_fetch(&session).await??;
        println!("{size} characters");
        Ok(())
    })
}
