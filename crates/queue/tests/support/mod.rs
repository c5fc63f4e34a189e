//! What the tests of this crate share.

pub(crate) mod nats;

use std::time::Duration;

use inflight_queue::{Connect, QueueName, Server};

use nats::NatsServer;

/// Connects as soon as the server has started.
pub(crate) async fn connect(nats: &NatsServer) -> Server {
    let connect = || Connect {
        servers: vec![nats.url()],
        ..Connect::default()
    };
    loop {
        match Server::connect(connect()).await {
            Ok(server) => return server,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) fn name(text: &str) -> QueueName {
    text.parse().unwrap()
}
