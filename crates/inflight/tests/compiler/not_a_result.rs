//! A job returns a `Result`.
//! error: expected `Result<_, _>`, found `usize`

use inflight::gather;

pub async fn lengths(texts: Vec<String>) {
    let _ = gather(texts.into_iter().map(|text| async move { text.len() }))
        .settled()
        .await;
}
