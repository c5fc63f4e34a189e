//! Jobs and their results, with one server.

use std::collections::BTreeMap;
use std::time::Duration;

use inflight_queue::{Connect, ErrorKind, Finished, Server, Settings, WorkerOptions};

use crate::support::nats::NatsServer;
use crate::support::{collect, connect, host, name, push, settings, started, work};

#[tokio::test(flavor = "multi_thread")]
async fn each_job_ends_with_one_result() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    push(&queue, 1000).await;
    let status = queue.status().await.unwrap();
    assert_eq!(
        (status.total, status.remaining, status.done),
        (Some(1000), 1000, 0)
    );
    assert_eq!(work(&queue).await, 1000);
    let results = collect(&queue).await;
    assert_eq!(results.len(), 1000);
    for (index, texts) in results {
        assert_eq!(texts, [format!("result of job {index}")]);
    }
    let status = queue.status().await.unwrap();
    assert_eq!(
        (status.remaining, status.in_flight, status.done),
        (0, 0, 1000)
    );
    queue.delete().await.unwrap();
    let error = server.open(&name("q")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_push_adds_nothing_twice() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let queue = connect(&nats)
        .await
        .create(&name("q"), settings())
        .await
        .unwrap();
    // This push ends without storing how far it is.
    let mut killed = queue.pusher().await.unwrap();
    for index in 0..300 {
        killed.push(&host(index), "job".into()).await.unwrap();
    }
    let mut again = queue.pusher().await.unwrap();
    assert_eq!(again.resumed_at(), 0);
    for index in 0..300 {
        again.push(&host(index), "job".into()).await.unwrap();
    }
    assert_eq!(again.finish(false).await.unwrap(), 300);
    assert_eq!(queue.status().await.unwrap().remaining, 300);
    // A longer list continues.
    let mut longer = queue.pusher().await.unwrap();
    assert_eq!(longer.resumed_at(), 300);
    for index in 0..301 {
        longer.push(&host(index), "job".into()).await.unwrap();
    }
    assert_eq!(longer.finish(true).await.unwrap(), 301);
    assert_eq!(work(&queue).await, 301);
    assert_eq!(collect(&queue).await.len(), 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_list_is_an_error() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    let mut first = queue.pusher().await.unwrap();
    for index in 0..3 {
        first.push(&host(index), "job".into()).await.unwrap();
    }
    first.finish(false).await.unwrap();
    let conflict = |error: inflight_queue::Error| {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        error.to_string()
    };

    let mut shorter = queue.pusher().await.unwrap();
    shorter.push(&host(0), "job".into()).await.unwrap();
    conflict(shorter.finish(true).await.unwrap_err());

    let mut other = queue.pusher().await.unwrap();
    other.push(&host(0), "other".into()).await.unwrap();
    other.push(&host(1), "job".into()).await.unwrap();
    conflict(other.push(&host(2), "job".into()).await.unwrap_err());

    let mut sealing = queue.pusher().await.unwrap();
    for index in 0..3 {
        sealing.push(&host(index), "job".into()).await.unwrap();
    }
    sealing.finish(true).await.unwrap();
    let mut longer = queue.pusher().await.unwrap();
    for index in 0..3 {
        longer.push(&host(index), "job".into()).await.unwrap();
    }
    let message = conflict(longer.push(&host(3), "job".into()).await.unwrap_err());
    assert!(message.contains("sealed"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_list_is_an_error_even_if_the_earlier_push_was_killed() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    // With so many, the two hosts have different ones.
    let many_partitions = Settings {
        partitions: 1000,
        ..settings()
    };
    let queue = server.create(&name("q"), many_partitions).await.unwrap();
    // This push ends without storing how far it is.
    let mut killed = queue.pusher().await.unwrap();
    for index in 0..300 {
        killed.push(&host(index), "job".into()).await.unwrap();
    }
    while queue.status().await.unwrap().remaining < 300 {
        tokio::task::yield_now().await;
    }
    for (other_host, job) in [("http://other.test:80", "job"), (&*host(7), "other job")] {
        let mut other = queue.pusher().await.unwrap();
        for index in 0..7 {
            other.push(&host(index), "job".into()).await.unwrap();
        }
        other.push(other_host, job.into()).await.unwrap();
        let error = other.finish(true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("another job 7"), "{error}");
    }
    assert_eq!(queue.status().await.unwrap().remaining, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_push_at_the_same_time_is_an_error() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    let mut first = queue.pusher().await.unwrap();
    first.push(&host(0), "job".into()).await.unwrap();
    let mut second = queue.pusher().await.unwrap();
    second.push(&host(0), "job".into()).await.unwrap();
    let error = first.finish(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("another push"), "{error}");
    assert_eq!(queue.status().await.unwrap().total, None);
    assert_eq!(second.finish(true).await.unwrap(), 1);
    assert_eq!(queue.status().await.unwrap().remaining, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_list_is_an_error_even_if_the_earlier_push_was_killed() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    // This push ends without storing how far it is.
    let mut killed = queue.pusher().await.unwrap();
    for index in 0..20 {
        killed.push(&host(index), "job".into()).await.unwrap();
    }
    while queue.status().await.unwrap().remaining < 20 {
        tokio::task::yield_now().await;
    }
    // The last job has a result, so it is no longer in the stream of jobs.
    let mut worker = queue.worker(WorkerOptions::default()).await.unwrap();
    loop {
        let job = started(&mut worker).await;
        if job.index() == 19 {
            job.finish("done".into(), None).await.unwrap();
            break;
        }
        drop(job);
    }
    worker.close().await.unwrap();
    for shorter in [5, 19] {
        let mut pusher = queue.pusher().await.unwrap();
        for index in 0..shorter {
            pusher.push(&host(index), "job".into()).await.unwrap();
        }
        let error = pusher.finish(true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("longer list"), "{error}");
    }
    let mut whole = queue.pusher().await.unwrap();
    for index in 0..20 {
        whole.push(&host(index), "job".into()).await.unwrap();
    }
    assert_eq!(whole.finish(true).await.unwrap(), 20);
    assert_eq!(work(&queue).await, 19);
    assert_eq!(collect(&queue).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_complete_queue_can_still_be_started() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    push(&queue, 1).await;
    let mut worker = queue.worker(WorkerOptions::default()).await.unwrap();
    let job = worker.next().await.unwrap().unwrap();
    // Another worker does the job.
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stored = context.publish("inflight.q.r.0", "first".into()).await;
    stored.unwrap().await.unwrap();
    assert!(worker.next().await.is_none());
    // Longer than the entry of the worker would be valid.
    tokio::time::sleep(settings().lease / 2).await;
    assert!(job.start().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_larger_than_the_queue_is_an_error() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let small = Settings {
        max_bytes: Some(1000),
        ..settings()
    };
    let queue = server.create(&name("q"), small).await.unwrap();
    let mut pusher = queue.pusher().await.unwrap();
    pusher.push(&host(0), vec![0; 1000].into()).await.unwrap();
    let error = pusher.finish(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_waits_while_the_queue_is_full() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let small = Settings {
        max_bytes: Some(20_000),
        ..settings()
    };
    let queue = connect(&nats)
        .await
        .create(&name("q"), small)
        .await
        .unwrap();
    let pushing = tokio::spawn({
        let queue = queue.clone();
        async move { push(&queue, 1000).await }
    });
    while queue.status().await.unwrap().remaining == 0 {
        tokio::task::yield_now().await;
    }
    // The stream has no space for all jobs.
    assert!(!pushing.is_finished());
    assert_eq!(work(&queue).await, 1000);
    pushing.await.unwrap();
    assert_eq!(collect(&queue).await.len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_share_the_results() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    push(&queue, 3000).await;
    assert_eq!(work(&queue).await, 3000);
    let (mut first, second) = tokio::join!(collect(&queue), collect(&queue));
    for (index, mut texts) in second {
        first.entry(index).or_default().append(&mut texts);
    }
    assert_eq!(first.len(), 3000);
    assert!(first.values().all(|texts| texts.len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes 90 s; `just queue-oldest` runs it"]
async fn a_worker_of_a_deleted_queue_gets_an_error() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    let mut worker = queue.worker(WorkerOptions::default()).await.unwrap();
    queue.delete().await.unwrap();
    let error = worker.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_result_wins() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let queue = connect(&nats)
        .await
        .create(&name("q"), settings())
        .await
        .unwrap();
    push(&queue, 1).await;
    let mut worker = queue.worker(WorkerOptions::default()).await.unwrap();
    let job = started(&mut worker).await;
    job.retry(Duration::ZERO).await.unwrap();
    let again = started(&mut worker).await;
    assert_eq!(again.attempt(), 2);
    // Another worker stores a result meanwhile, as if the lease had ended.
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stored = context.publish("inflight.q.r.0", "first".into()).await;
    stored.unwrap().await.unwrap();
    let finished = again.finish("second".into(), None).await.unwrap();
    assert_eq!(finished, Finished::HadResult);
    assert_eq!(
        collect(&queue).await,
        BTreeMap::from([(0, vec!["first".to_owned()])])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_started_too_often_is_lost() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let queue = connect(&nats)
        .await
        .create(&name("q"), settings())
        .await
        .unwrap();
    push(&queue, 1).await;
    let mut worker = queue
        .worker(WorkerOptions::default().max_starts(2))
        .await
        .unwrap();
    // The first start is not counted if the worker then ends.
    for _ in 0..3 {
        let job = started(&mut worker).await;
        assert!(!job.is_lost());
        // As if the worker had ended.
        drop(job);
    }
    let job = started(&mut worker).await;
    assert!(job.is_lost());
    let result = job.finish("lost".into(), Some("lost")).await.unwrap();
    assert_eq!(result, Finished::Recorded);
    let failed = queue.status().await.unwrap().failed;
    assert_eq!(failed, BTreeMap::from([("lost".to_owned(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_stored_under_a_name_of_its_own() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    push(&queue, 1).await;
    let mut worker = queue.worker(WorkerOptions::default()).await.unwrap();
    let job = started(&mut worker).await;
    let names = [job.new_body_name(), job.new_body_name()];
    assert!(
        names[0] != names[1] && names[0].starts_with("0."),
        "{names:?}"
    );
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let body: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    std::fs::write(&from, &body).unwrap();
    let bodies = queue.bodies().await.unwrap();
    bodies.store("0.1", &from).await.unwrap();
    bodies.read("0.1", &to).await.unwrap();
    assert!(std::fs::read(&to).unwrap() == body);
    let error = bodies.read("0.2", &to).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = bodies.store("0.2", &directory.path().join("none")).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::File);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_when_workers_start_and_end() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    let partitions = async || {
        let mut workers = queue.status().await.unwrap().workers;
        workers.sort_by(|a, b| a.name.cmp(&b.name));
        workers
    };
    let first = queue.worker(WorkerOptions::default()).await.unwrap();
    assert_eq!(partitions().await[0].partitions, 4);
    let second = queue.worker(WorkerOptions::default()).await.unwrap();
    let workers = partitions().await;
    assert_eq!(workers.len(), 2);
    assert_eq!(
        workers
            .iter()
            .map(|worker| worker.partitions)
            .sum::<usize>(),
        4
    );
    first.close().await.unwrap();
    let workers = partitions().await;
    assert_eq!(workers.len(), 1);
    assert_eq!(
        (&*workers[0].name, workers[0].partitions),
        (second.name(), 4)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_if_the_server_is_killed() {
    let Some(mut nats) = NatsServer::start(&[]) else {
        return;
    };
    let queue = connect(&nats)
        .await
        .create(&name("q"), settings())
        .await
        .unwrap();
    push(&queue, 500).await;
    let working = tokio::spawn({
        let queue = queue.clone();
        async move { work(&queue).await }
    });
    while queue.status().await.unwrap().done < 100 {
        tokio::task::yield_now().await;
    }
    nats.restart();
    working.await.unwrap();
    let results = collect(&queue).await;
    assert_eq!(results.len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_created_once() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    server.create(&name("q"), settings()).await.unwrap();
    server.create(&name("q"), settings()).await.unwrap();
    let error = server
        .create(&name("q"), Settings::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stream_with_the_name_of_a_queue_is_a_conflict() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let other = async_nats::jetstream::stream::Config {
        name: "inflight_q_jobs".to_owned(),
        subjects: vec!["orders.>".to_owned()],
        ..Default::default()
    };
    let context = async_nats::jetstream::new(client);
    context.create_stream(other).await.unwrap();
    let error = server.create(&name("q"), settings()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    // The other stream is unchanged.
    let stream = context.get_stream("inflight_q_jobs").await.unwrap();
    assert_eq!(stream.cached_info().config.subjects, ["orders.>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_deletion_left_is_not_used_again() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    push(&queue, 3).await;
    // The deletion ends after its first step.
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    context.delete_stream("KV_inflight_q_state").await.unwrap();
    let error = server.create(&name("q"), settings()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    server.delete(&name("q")).await.unwrap();
    let queue = server.create(&name("q"), settings()).await.unwrap();
    assert_eq!(queue.status().await.unwrap().remaining, 0);
    queue.delete().await.unwrap();
    let error = server.delete(&name("q")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_wait_while_the_server_is_away() {
    let Some(mut nats) = NatsServer::start(&[]) else {
        return;
    };
    let server = connect(&nats).await;
    let queue = server.create(&name("q"), settings()).await.unwrap();
    nats.stop();
    let pushing = tokio::spawn({
        let queue = queue.clone();
        async move { push(&queue, 100).await }
    });
    let asking = tokio::spawn({
        let queue = queue.clone();
        async move { queue.status().await.unwrap() }
    });
    // Longer than a request to the server may take.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(!pushing.is_finished() && !asking.is_finished());
    nats.restart();
    pushing.await.unwrap();
    asking.await.unwrap();
    assert_eq!(work(&queue).await, 100);
    assert_eq!(collect(&queue).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_cause() {
    let Some(nats) = NatsServer::start(&["--user=u", "--pass=p@ss"]) else {
        return;
    };
    let connect = |url: String| Connect {
        servers: vec![url],
        ..Connect::default()
    };
    let refused = Server::connect(connect("nats://127.0.0.1:1".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Connect, "{refused}");
    let with_password = nats.url().replace("//", "//u:p%40ss@");
    while Server::connect(connect(with_password.clone()))
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = Server::connect(connect(nats.url().replace("//", "//u:wrong@")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials, "{error}");
    let message = error.to_string();
    assert!(!message.contains("wrong"), "{message}");
}
