//! Each page needs the same two waits: one for the head of the response, and one for its text. `?` returns the error of
//! any of them. Both requests use the same session.

use inflight::{Error, Session};

/// Returns the number of characters of each page, in the order of `urls`. `urls` contains two.
pub async fn fetch_sizes(session: &Session, urls: &[String]) -> Result<Vec<usize>, Error> {
    let mut sizes = Vec::new();
    for url in urls {
        let response = session.get(url).send().await?;
        let text = response.text().await?;
        sizes.push(text.chars().count());
    }
    Ok(sizes)
}
