//! A session that the first turn of a loop moves away.

use inflight::{Error, Session, Task};

// ANCHOR: code
fn start_all(session: Session, urls: Vec<String>) -> Vec<Task<Result<usize, Error>>> {
    let runtime = session.runtime().clone();
    let mut tasks = Vec::new();
    for url in urls {
        tasks.push(Task::spawn(&runtime, async move {
            let text = session.get(url).text().await?;
            Ok(text.chars().count())
        }));
    }
    tasks
}
// ANCHOR_END: code

fn main() -> Result<(), Box<dyn std::error::Error>> {
    inflight::block_on(async {
        let session = inflight::session()?;
        let urls = vec!["http://127.0.0.1:8080/page/1".to_owned()];
        for task in start_all(session, urls) {
            println!("{} characters", task.await??);
        }
        Ok(())
    })
}
