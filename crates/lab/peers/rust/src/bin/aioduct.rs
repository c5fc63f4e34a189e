//! A worker of the lab that uses aioduct on tokio.

use std::process::ExitCode;

use aioduct::TokioClient;
use worker::{Client, Failure, IDLE_CONNECTIONS, TIMEOUT};

#[derive(Clone)]
struct Aioduct(TokioClient);

impl Client for Aioduct {
    type Body = bytes::Bytes;

    async fn get(&self, url: String) -> Result<(u16, Self::Body), Failure> {
        let response = self.0.get(&url)?.send().await?;
        Ok((response.status().as_u16(), response.bytes().await?))
    }
}

fn main() -> ExitCode {
    worker::main("aioduct", || {
        let client = TokioClient::builder()
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build()?;
        Ok(Aioduct(client))
    })
}
