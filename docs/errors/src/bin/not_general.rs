//! A gather over references inside a task.

use inflight::{Error, Session, Task, gather};

// ANCHOR: code
fn start_all(session: &Session, urls: Vec<String>) -> Task<Result<Vec<String>, Error>> {
    let client = session.clone();
    Task::spawn(session.runtime(), async move {
        let pages = urls.iter().map(|url| client.get(url).text());
        Ok(gather(pages).all().await?)
    })
}
// ANCHOR_END: code

fn main() -> Result<(), Box<dyn std::error::Error>> {
    inflight::block_on(async {
        let session = inflight::session()?;
        let urls = vec!["http://127.0.0.1:8080/page/1".to_owned()];
        println!("{} pages", start_all(&session, urls).await??.len());
        Ok(())
    })
}
