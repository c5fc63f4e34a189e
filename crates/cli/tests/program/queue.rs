//! Tests of `inflight queue` with a real nats-server.
#![allow(clippy::print_stderr, reason = "reports a missing server")]

#[path = "../../../queue/tests/queue/support/nats.rs"]
mod nats;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use inflight_origin::Origin;
use inflight_origin::script::{Script, ScriptedServer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::program::{
    ProgramOutput, TIMEOUT, backends, finish, kinds, program, records, run, wait_for,
};
use nats::NatsServer;

/// Runs `inflight queue` with these arguments.
fn queue(nats: &NatsServer, args: &[&str]) -> ProgramOutput {
    finish(start(nats, args))
}

fn start(nats: &NatsServer, args: &[&str]) -> Child {
    let mut command = program(["queue"]);
    command.args(args).args(["--server", &nats.url()]);
    command.stdin(std::process::Stdio::null()).spawn().unwrap()
}

fn succeed(nats: &NatsServer, args: &[&str]) -> ProgramOutput {
    let ran = queue(nats, args);
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
    ran
}

/// Creates the queue `q` with a short lease, and pushes these lines.
fn push(nats: &NatsServer, directory: &Path, lines: &[String]) {
    succeed(nats, &["create", "q", "--partitions", "8", "--lease", "3s"]);
    let file = directory.join("urls.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    succeed(
        nats,
        &["push", "q", "--input", file.to_str().unwrap(), "--seal"],
    );
}

fn input_line(url: &str) -> String {
    json!({ "url": url }).to_string()
}

fn status(nats: &NatsServer) -> Value {
    let ran = succeed(nats, &["status", "q"]);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn collect(nats: &NatsServer, code: i32) -> Vec<Value> {
    let ran = queue(nats, &["collect", "q"]);
    assert_eq!(ran.code, Some(code), "{ran:?}");
    ran.records()
}

#[test]
fn workers_share_a_list_and_each_url_has_one_result() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut lines: Vec<_> = (0..60)
        .map(|n| input_line(&origin.url(&format!("/page/{n}"))))
        .collect();
    let post = json!({"url": origin.url("/post"), "body": {"n": 1}, "id": "a"});
    lines.extend([post.to_string(), input_line("not a url"), "{}".to_owned()]);
    push(&nats, directory.path(), &lines);
    let before = status(&nats);
    assert_eq!((&before["total"], &before["done"]), (&json!(63), &json!(0)));

    let workers: Vec<_> = backends()
        .into_iter()
        .map(|backend| start(&nats, &["work", "q", "--backend", backend, "--digest"]))
        .collect();
    for worker in workers {
        let ran = finish(worker);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let after = status(&nats);
    assert_eq!(
        (&after["remaining"], &after["done"]),
        (&json!(0), &json!(63))
    );
    assert_eq!(
        after["failed"],
        json!({"invalid_request": 1, "invalid_url": 1})
    );

    let table = queue(&nats, &["collect", "q", "--format", "table"]);
    assert!(table.stdout.contains("63 URLs: 61 ok"), "{table:?}");
    let file = directory.path().join("results.jsonl");
    let arguments = ["collect", "q", "--output", file.to_str().unwrap()];
    assert_eq!(queue(&nats, &arguments).code, Some(1));
    let text = fs::read_to_string(&file).unwrap();
    let mut results = records(&text);
    results.sort_by_key(|record| record["index"].as_u64());
    let indexes = results.iter().map(|record| record["index"].clone());
    assert!(indexes.eq((0..63).map(Value::from)));
    let mut expected = vec!["ok"; 61];
    expected.extend(["invalid_url", "invalid_request"]);
    assert_eq!(kinds(&results), expected);
    assert_eq!(
        (&results[60]["id"], &results[60]["status"]),
        (&json!("a"), &json!(200))
    );
    // The file has all results, so nothing is added.
    assert_eq!(queue(&nats, &arguments).code, Some(1));
    let again = [
        "collect",
        "q",
        "--restart",
        "--output",
        file.to_str().unwrap(),
    ];
    assert_eq!(queue(&nats, &again).code, Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert_eq!(origin.stats().requests, 61);

    succeed(&nats, &["drop", "q"]);
    let gone = queue(&nats, &["status", "q"]);
    assert_eq!(gone.code, Some(2));
    assert!(gone.stderr.contains("there is no queue q"), "{gone:?}");
}

#[test]
fn an_interrupted_worker_returns_its_urls() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<_> = (0..20).map(|_| input_line(&origin.url("/hang"))).collect();
    push(&nats, directory.path(), &lines);
    let worker = start(&nats, &["work", "q", "--limit", "4", "--grace", "100ms"]);
    origin
        .wait_for(TIMEOUT, |stats| stats.in_flight == 4)
        .unwrap();
    kill_process(Pid::from_child(&worker), Signal::INT).unwrap();
    let ran = finish(worker);
    assert_eq!(ran.code, Some(130), "{ran:?}");
    let after = status(&nats);
    assert_eq!(
        (&after["remaining"], &after["done"], &after["in_flight"]),
        (&json!(20), &json!(0), &json!(0))
    );
    assert_eq!(after["workers"], json!([]));
    assert_eq!(origin.stats().requests, 4);
}

#[test]
fn a_worker_ends_at_a_signal_while_the_server_is_away() {
    let Some(mut nats) = NatsServer::start(&[]) else {
        return;
    };
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    push(&nats, directory.path(), &[input_line(&origin.url("/hang"))]);
    let worker = start(&nats, &["work", "q", "--grace", "100ms"]);
    origin
        .wait_for(TIMEOUT, |stats| stats.in_flight == 1)
        .unwrap();
    nats.stop();
    // As soon as the worker notices this, it connects again.
    let port = TcpListener::bind(nats.url().replace("nats://", "")).unwrap();
    port.accept().unwrap();
    kill_process(Pid::from_child(&worker), Signal::TERM).unwrap();
    assert_eq!(finish(worker).code, Some(130));
}

#[test]
fn the_urls_of_a_killed_worker_are_fetched_by_another_one() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<_> = (0..200)
        .map(|n| input_line(&origin.url(&format!("/page/{n}?delay_ms=10"))))
        .collect();
    push(&nats, directory.path(), &lines);
    let limit = 4;
    let killed = start(&nats, &["work", "q", "--limit", "4"]);
    wait_for(|| (origin.stats().requests > 20).then_some(()));
    kill_process(Pid::from_child(&killed), Signal::KILL).unwrap();
    finish(killed);
    let done = status(&nats)["done"].as_u64().unwrap();
    assert!(done < 200, "{done}");
    succeed(&nats, &["work", "q", "--limit", "4"]);
    assert_eq!(kinds(&collect(&nats, 0)), ["ok"; 200]);
    let requests = origin.stats().requests;
    assert!(requests <= 200 + limit, "{requests}");
}

/// The size of the test with kills. `just queue-killed` sets it.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Starts a worker, which is killed and replaced at random moments.
fn start_worker(nats: &NatsServer, limit: &str, extra: &[&str]) -> Child {
    let fixed = [
        "work",
        "q",
        "--digest",
        "--limit",
        limit,
        "--summary",
        "none",
    ];
    start(nats, &[&fixed[..], extra].concat())
}

/// Kills workers and the server while they work, and checks that each URL has exactly one result.
fn kill_workers_and_server(extra: &[&str]) -> Option<(Vec<Value>, tempfile::TempDir, NatsServer)> {
    let mut nats = NatsServer::start(&[])?;
    let urls = setting("QUEUE_URLS", 2_000);
    let (kills, server_kills) = (setting("QUEUE_KILLS", 3), setting("QUEUE_SERVER_KILLS", 1));
    let (workers, limit) = (3, 20);
    let origins: Vec<_> = (0..8).map(|_| Origin::start().unwrap()).collect();
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<_> = (0..urls)
        .map(|n| {
            let origin = &origins[n as usize % origins.len()];
            input_line(&origin.url(&format!("/page/{n}?delay_ms=5")))
        })
        .collect();
    push(&nats, directory.path(), &lines);
    let start_one = |nats: &NatsServer| start_worker(nats, &limit.to_string(), extra);
    let mut running: Vec<_> = (0..workers).map(|_| start_one(&nats)).collect();
    let requests = || {
        origins
            .iter()
            .map(|origin| origin.stats().requests)
            .sum::<u64>()
    };
    // One kill in each section of the list but the first. The kills of the server are spread evenly.
    let all_kills = kills + server_kills;
    let (mut killed_workers, mut killed_servers) = (0, 0);
    let mut random = fastrand::Rng::new();
    for kill in 1..=all_kills {
        let section = urls / (all_kills + 1);
        let at = section * kill + random.u64(..section / 2);
        let seen = wait_long(|| {
            for worker in &mut running {
                let ended = worker.try_wait().unwrap();
                assert!(ended.is_none(), "a worker ended before the list: {ended:?}");
            }
            Some(requests()).filter(|requests| *requests >= at)
        });
        if kill * server_kills / all_kills > killed_servers {
            nats.restart();
            killed_servers += 1;
        } else {
            let victim = random.usize(..running.len());
            let killed = std::mem::replace(&mut running[victim], start_one(&nats));
            kill_process(Pid::from_child(&killed), Signal::KILL).unwrap();
            finish(killed);
            killed_workers += 1;
        }
        eprintln!("kill {kill} at {seen} requests");
    }
    assert_eq!((killed_workers, killed_servers), (kills, server_kills));
    for worker in running {
        let pid = Pid::from_child(&worker);
        let ran = wait_with_output(worker);
        assert_eq!(ran.code, Some(0), "{pid:?}: {ran:?}");
    }
    let results = collect_all(&nats, &[]);
    let mut indexes: Vec<_> = results
        .iter()
        .map(|r| r["index"].as_u64().unwrap())
        .collect();
    indexes.sort_unstable();
    assert!(indexes.into_iter().eq(0..urls));
    assert!(results.iter().all(|record| record["status"] == 200));
    let most = urls + kills * limit + server_kills * workers * limit;
    let requests = requests();
    eprintln!("{requests} requests for {urls} URLs, at most {most}");
    assert!(requests <= most, "{requests} > {most}");
    assert_eq!(status(&nats)["remaining"], 0);
    Some((results, directory, nats))
}

/// Waits without a limit, for tests whose size can be set.
fn wait_long<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = poll() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Collects the results of a test whose size can be set.
fn collect_all(nats: &NatsServer, extra: &[&str]) -> Vec<Value> {
    let ran = wait_with_output(start(nats, &[&["collect", "q"], extra].concat()));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    records(&ran.stdout)
}

fn wait_with_output(child: Child) -> ProgramOutput {
    ProgramOutput::from(child.wait_with_output().unwrap())
}

#[test]
fn no_url_is_lost_if_workers_and_the_server_are_killed() {
    kill_workers_and_server(&[]);
}

#[test]
fn no_body_is_lost_if_workers_and_the_server_are_killed() {
    let Some((results, directory, nats)) = kill_workers_and_server(&["--store"]) else {
        return;
    };
    let bodies = directory.path().join("bodies");
    collect_all(&nats, &["--restart", "--bodies", bodies.to_str().unwrap()]);
    for record in results {
        let index = record["index"].as_u64().unwrap();
        let body = fs::read(bodies.join(format!("{index:06}"))).unwrap();
        assert_eq!(inflight_origin::payload::page(index).as_bytes(), body);
        assert_eq!(record["sha256"], format!("{:x}", Sha256::digest(&body)));
    }
}

#[test]
fn limits_for_a_host_apply_to_all_workers_together() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let urls = 300;
    let lines: Vec<_> = (0..urls)
        .map(|n| input_line(&origin.url(&format!("/page/{n}?delay_ms=5"))))
        .collect();
    push(&nats, directory.path(), &lines);
    let arguments = ["work", "q", "--per-host", "2", "--host-rate", "50/s"];
    let started = Instant::now();
    let mut workers: Vec<_> = (0..4).map(|_| start(&nats, &arguments)).collect();
    wait_for(|| (origin.stats().requests >= 60).then_some(()));
    // The worker of the host moves to another machine.
    let busy = wait_for(|| busy_worker(&nats, &workers));
    let killed = workers.remove(busy);
    kill_process(Pid::from_child(&killed), Signal::KILL).unwrap();
    finish(killed);
    for worker in workers {
        assert_eq!(finish(worker).code, Some(0));
    }
    assert_eq!(kinds(&collect(&nats, 0)), vec!["ok"; urls]);
    let stats = origin.stats();
    assert!(stats.peak_in_flight <= 2, "{}", stats.peak_in_flight);
    // The two workers each have a first request without a wait.
    let most = 50.0 * started.elapsed().as_secs_f64() + 2.0;
    assert!(
        (stats.requests as f64) <= most,
        "{} > {most}",
        stats.requests
    );
}

/// Returns which of these workers has requests in flight.
fn busy_worker(nats: &NatsServer, workers: &[Child]) -> Option<usize> {
    let status = status(nats);
    let busy = status["workers"]
        .as_array()?
        .iter()
        .find(|worker| worker["in_flight"] != 0)?;
    let name = busy["name"].as_str()?;
    workers
        .iter()
        .position(|worker| name.contains(&format!("-{}-", worker.id())))
}

#[test]
fn a_transient_failure_is_fetched_again_after_the_required_pause() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    push(
        &nats,
        directory.path(),
        &[input_line(&origin.url("/status/503"))],
    );
    succeed(&nats, &["work", "q", "--attempts", "2"]);
    let results = collect(&nats, 0);
    assert_eq!(results[0]["status"], 503);
    assert_eq!(origin.stats().requests, 2);
}

#[test]
fn bodies_can_be_stored_on_the_server() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<_> = (0..30)
        .map(|n| input_line(&origin.url(&format!("/page/{n}"))))
        .collect();
    push(&nats, directory.path(), &lines);
    succeed(&nats, &["work", "q", "--store", "--digest"]);
    let bodies = directory.path().join("bodies");
    let ran = succeed(
        &nats,
        &["collect", "q", "--bodies", bodies.to_str().unwrap()],
    );
    for record in ran.records() {
        let index = record["index"].as_u64().unwrap();
        let body = fs::read_to_string(bodies.join(format!("{index:06}"))).unwrap();
        assert_eq!(body, inflight_origin::payload::page(index));
        let file = record["file"].as_str().unwrap();
        assert!(file.starts_with(&format!("{index}.")), "{file}");
    }
}

#[test]
fn workers_that_start_and_end_in_order_request_no_url_twice() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let origins: Vec<_> = (0..8).map(|_| Origin::start().unwrap()).collect();
    let requests = || {
        origins
            .iter()
            .map(|origin| origin.stats().requests)
            .sum::<u64>()
    };
    let directory = tempfile::tempdir().unwrap();
    let urls = 1_000;
    let lines: Vec<_> = (0..urls)
        .map(|n| input_line(&origins[n % 8].url(&format!("/page/{n}?delay_ms=20"))))
        .collect();
    push(&nats, directory.path(), &lines);
    let arguments = ["work", "q", "--limit", "8"];
    let mut workers = vec![start(&nats, &arguments)];
    // Each new worker takes partitions from the others, and each ended one returns them.
    for done in [100, 250, 400] {
        wait_for(|| (requests() >= done).then_some(()));
        workers.push(start(&nats, &arguments));
        let joined = workers.len() as u64;
        wait_for(|| {
            let listed = status(&nats)["workers"].as_array().map(Vec::len);
            (listed == Some(joined as usize)).then_some(())
        });
        if joined == 3 {
            let ended = workers.remove(0);
            kill_process(Pid::from_child(&ended), Signal::TERM).unwrap();
            assert_eq!(finish(ended).code, Some(130));
        }
    }
    for worker in workers {
        assert_eq!(finish(worker).code, Some(0));
    }
    assert_eq!(kinds(&collect(&nats, 0)), vec!["ok"; urls]);
    assert_eq!(requests(), urls as u64);
}

#[test]
fn a_result_that_is_too_large_for_the_server_is_shortened() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("nats.conf");
    fs::write(&config, "max_payload: 20000\n").unwrap();
    let Some(nats) = NatsServer::start(&[&format!("--config={}", config.display())]) else {
        return;
    };
    let origin = Origin::start().unwrap();
    // The result contains the URL twice.
    let long = origin.url(&format!("/page/1?{}", "x".repeat(15_000)));
    push(&nats, directory.path(), &[input_line(&long)]);
    succeed(&nats, &["work", "q"]);
    let results = collect(&nats, 0);
    assert_eq!(results[0]["status"], 200);
    let url = results[0]["url"].as_str().unwrap();
    assert!(url.ends_with("x…") && url.chars().count() == 1_001, "{url}");

    // The job itself is too large.
    succeed(&nats, &["drop", "q"]);
    succeed(&nats, &["create", "q"]);
    let file = directory.path().join("large");
    fs::write(&file, origin.url(&format!("/{}", "x".repeat(30_000)))).unwrap();
    let ran = queue(&nats, &["push", "q", "--input", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("max_payload"), "{ran:?}");
}

#[test]
fn a_server_with_tls_and_an_authority_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let write = |file: &str, text: String| {
        let path = directory.path().join(file);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = write("cert.pem", certified.cert.pem());
    let key = write("key.pem", certified.signing_key.serialize_pem());
    let Some(nats) = NatsServer::start(&[
        "--tls",
        &format!("--tlscert={certificate}"),
        &format!("--tlskey={key}"),
    ]) else {
        return;
    };
    let url = nats.url().replace("nats:", "tls:");
    let create = ["queue", "create", "q", "--server", &url];
    let ran = run([&create[..], &["--server-cacert", &certificate]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let untrusted = run(create);
    assert_eq!(untrusted.code, Some(2), "{untrusted:?}");
    assert!(untrusted.stderr.contains("certificate"), "{untrusted:?}");
}

#[test]
fn a_long_pause_of_one_host_does_not_stop_the_other_hosts_of_its_partition() {
    let Some(nats) = NatsServer::start(&[]) else {
        return;
    };
    let busy =
        "HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let script = Script::new().read_request().send(busy).close();
    let paused = ScriptedServer::with_script(script).unwrap();
    let other = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let urls = 300;
    let lines: Vec<_> = (0..urls)
        .map(|_| input_line(&paused.url("/")))
        .chain([input_line(&other.url("/page/1"))])
        .collect();
    succeed(&nats, &["create", "q", "--partitions", "1"]);
    let file = directory.path().join("urls.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    let file = file.to_str().unwrap();
    succeed(&nats, &["push", "q", "--input", file, "--seal"]);
    let worker = start(&nats, &["work", "q"]);
    wait_for(|| (other.stats().requests > 0).then_some(()));
    wait_for(|| (status(&nats)["done"] == 1).then_some(()));
    kill_process(Pid::from_child(&worker), Signal::TERM).unwrap();
    assert_eq!(finish(worker).code, Some(130));
    assert_eq!(status(&nats)["remaining"], urls);
}

#[test]
fn a_command_that_cannot_start_has_the_status_2_and_names_the_reason() {
    let nowhere = run(["queue", "status", "q", "--server", "nats://127.0.0.1:1"]);
    assert_eq!(nowhere.code, Some(2));
    assert!(
        nowhere.stderr.contains("no server accepted the connection"),
        "{nowhere:?}"
    );
    let Some(nats) = NatsServer::start(&["--user=u", "--pass=p"]) else {
        return;
    };
    let url = nats.url().replace("//", "//u:wrong@");
    let refused = run(["queue", "status", "q", "--server", &url]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("refused the credentials"),
        "{refused:?}"
    );
    assert!(!refused.stderr.contains("wrong"), "{refused:?}");
    let url = nats.url().replace("//", "//u:p@");
    let created = run(["queue", "create", "q", "--server", &url]);
    assert_eq!(created.code, Some(0), "{created:?}");
    let other = run([
        "queue",
        "create",
        "q",
        "--partitions",
        "3",
        "--server",
        &url,
    ]);
    assert_eq!(other.code, Some(2));
    assert!(
        other.stderr.contains("exists with other settings"),
        "{other:?}"
    );
    let name = run(["queue", "create", "a.b", "--server", &url]);
    assert_eq!(name.code, Some(2));
}
