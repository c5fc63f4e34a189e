//! A closure that would move the session away at its first call.

use inflight::{Error, Session, gather};

// ANCHOR: code
async fn fetch_sizes(session: Session, urls: Vec<String>) -> Result<Vec<usize>, Error> {
    let sizes = urls.into_iter().map(|url| async move {
        let text = session.get(url).text().await?;
        Ok(text.chars().count())
    });
    Ok(gather(sizes).all().await?)
}
// ANCHOR_END: code

fn main() -> Result<(), Error> {
    inflight::block_on(async {
        let session = inflight::session()?;
        let urls = vec!["http://127.0.0.1:8080/page/1".to_owned()];
        println!("{:?} characters", fetch_sizes(session, urls).await?);
        Ok(())
    })
}
