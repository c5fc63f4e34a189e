//! A worker of the lab that uses trillium-client on tokio.

use std::process::ExitCode;

use trillium_tokio::ClientConfig;
use worker::{Failure, TIMEOUT};

#[derive(Clone)]
struct Trillium(trillium_client::Client);

impl worker::Client for Trillium {
    type Body = Vec<u8>;

    async fn get(&self, url: String) -> Result<(u16, Self::Body), Failure> {
        let mut exchange = self.0.get(&*url).await?;
        let status = exchange.status().ok_or("the response has no status")?;
        let body = exchange.response_body().read_bytes().await?;
        Ok((status as u16, body))
    }
}

fn main() -> ExitCode {
    worker::main("trillium-client", || {
        // The other clients disable Nagle's algorithm by default.
        let config = ClientConfig::new().with_nodelay(true);
        Ok(Trillium(
            trillium_client::Client::new(config).with_timeout(TIMEOUT),
        ))
    })
}
