//! A task that locks after the wait.

use std::sync::{Arc, Mutex};

use inflight::{Error, Session, Task};

// ANCHOR: code
fn start_fetch(session: &Session, total: Arc<Mutex<usize>>) -> Task<Result<(), Error>> {
    let client = session.clone();
    Task::spawn(session.runtime(), async move {
        // ANCHOR: fix
        let text = client.get("http://127.0.0.1:8080/page/1").text().await?;
        let mut total = total.lock().unwrap();
        *total += text.chars().count();
        // ANCHOR_END: fix
        Ok(())
    })
}
// ANCHOR_END: code

fn main() -> Result<(), Box<dyn std::error::Error>> {
    inflight::block_on(async {
        let session = inflight::session()?;
        let total = Arc::new(Mutex::new(0));
        start_fetch(&session, total.clone()).await??;
        println!("{} characters", total.lock().unwrap());
        Ok(())
    })
}
