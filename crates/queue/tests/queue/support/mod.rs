//! What the tests share.

pub(crate) mod nats;

use std::collections::BTreeMap;
use std::time::Duration;

use inflight_queue::{
    CollectFrom, Connect, Job, Queue, QueueName, ResultLine, Server, Settings, Worker,
    WorkerOptions,
};

use nats::NatsServer;

/// Connects as soon as the server has started.
pub(crate) async fn connect(nats: &NatsServer) -> Server {
    connect_with(|| Connect {
        servers: vec![nats.url()],
        ..Connect::default()
    })
    .await
}

/// Connects as soon as a server of these accepts the connection.
pub(crate) async fn connect_with(connect: impl Fn() -> Connect) -> Server {
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

pub(crate) fn settings() -> Settings {
    Settings {
        partitions: 4,
        lease: Duration::from_secs(3),
        ..Settings::default()
    }
}

pub(crate) fn host(index: u64) -> String {
    format!("http://host{}.test:80", index % 10)
}

pub(crate) async fn push(queue: &Queue, count: u64) {
    let mut pusher = queue.pusher().await.unwrap();
    for index in 0..count {
        pusher
            .push(&host(index), format!("job {index}").into())
            .await
            .unwrap();
    }
    pusher.finish(true).await.unwrap();
}

/// Returns the next job, started.
pub(crate) async fn started(worker: &mut Worker) -> Job {
    let job = worker.next().await.unwrap().unwrap();
    job.start().await.unwrap().unwrap()
}

/// Does all jobs.
pub(crate) async fn work(queue: &Queue) -> usize {
    let mut worker = queue.worker(WorkerOptions::default()).await.unwrap();
    let mut done = 0;
    while let Some(job) = worker.next().await {
        let Some(job) = job.unwrap().start().await.unwrap() else {
            continue;
        };
        let result = format!("result of {}", String::from_utf8_lossy(job.payload()));
        // If the server is killed, the result may be stored and its acknowledgement lost.
        job.finish(result.into(), None).await.unwrap();
        done += 1;
    }
    // Fails if a server of a cluster has just ended, and the others have not yet replaced it.
    let _ = worker.close().await;
    done
}

/// Returns how often each result was returned.
pub(crate) async fn collect(queue: &Queue) -> BTreeMap<u64, Vec<String>> {
    let mut collector = queue.collector(CollectFrom::Unread).await.unwrap();
    let mut results: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    while let Some(batch) = collector.next().await.unwrap() {
        for ResultLine { index, payload } in &batch.results {
            let text = String::from_utf8_lossy(payload).into_owned();
            results.entry(*index).or_default().push(text);
        }
        batch.acknowledge().await.unwrap();
    }
    results
}
