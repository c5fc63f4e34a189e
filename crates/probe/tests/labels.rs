//! Tests of labels for the jobs of a gather and for the exchanges of a session.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use futures_lite::future::{block_on, yield_now};
use futures_lite::stream;
use inflight_core::{BlockOn, Inline, Session};
use inflight_probe::{Event, FutureExt, PollStats, Probe, poll_stats};

fn stats(label: &str) -> PollStats {
    let found = poll_stats().into_iter().find(|stats| stats.label == label);
    found.unwrap()
}

async fn twice(n: u64) -> Result<u64, ()> {
    yield_now().await;
    Ok(2 * n)
}

#[test]
fn the_jobs_of_a_gather_share_its_label_and_location() {
    let line = line!() + 1;
    let all = block_on(inflight_probe::gather("jobs", (1..=3).map(twice)).all());
    assert_eq!(all.unwrap(), [2, 4, 6]);
    let stats = stats("jobs");
    assert_eq!(
        (stats.location.file(), stats.location.line()),
        (file!(), line)
    );
    // Each job is polled twice. It waits once, from its yield to the second poll.
    assert_eq!((stats.polls.len(), stats.waits.len()), (6, 3));
}

/// No other test of this file uses owned labels.
#[test]
fn the_number_of_owned_labels_is_limited() {
    let probe = |label: String| block_on(async {}.probed(label));
    let line = line!() - 1;
    for number in 0..300 {
        probe(format!("owned {number}"));
    }
    // A label that the process keeps stays in use, also at other locations.
    probe("owned 0".to_owned());
    block_on(async {}.probed("owned 1"));
    let stats: Vec<_> = poll_stats()
        .into_iter()
        .filter(|stats| (stats.location.file(), stats.location.line()) == (file!(), line))
        .collect();
    assert_eq!(stats.len(), 257);
    let polls = |label| {
        let mut stats = stats.iter();
        let stats = stats.find(|stats| stats.label == label);
        stats.map(|stats| stats.polls.len())
    };
    assert_eq!(polls("owned 0"), Some(2));
    assert_eq!(polls("owned 1"), Some(1));
    assert_eq!(polls("owned 255"), Some(1));
    assert_eq!(polls("owned 256"), None);
    assert_eq!(polls("other"), Some(44));
}

#[test]
fn many_futures_that_start_at_once_are_all_counted_and_partly_timed() {
    const MANY: u64 = 100_000;
    block_on(async {
        for _ in 0..MANY {
            std::future::ready(()).probed("many").await;
        }
    });
    let stats = stats("many");
    assert_eq!(stats.polls.len() + stats.untimed, MANY);
    assert!(
        stats.polls.len() >= MANY / 32,
        "only {} polls were timed",
        stats.polls.len()
    );
    if cfg!(target_os = "linux") {
        assert!(stats.untimed > 0);
    }
}

#[test]
fn hundreds_of_futures_that_start_at_once_are_all_timed() {
    const SOME: u64 = 300;
    // Each thread times the first 512 futures in a quarter of a second. A new thread has started no futures.
    let thread = std::thread::spawn(|| {
        block_on(async {
            for _ in 0..SOME {
                std::future::ready(()).probed("some").await;
            }
        });
    });
    thread.join().unwrap();
    let stats = stats("some");
    assert_eq!((stats.polls.len(), stats.untimed), (SOME, 0));
}

#[test]
fn the_jobs_of_a_stream_share_its_label_if_each_job_is_a_task() {
    let smol = inflight_smol::Smol::global();
    let jobs = inflight_probe::gather_stream("stream", stream::iter((1..=3).map(twice)));
    let all = smol.block_on(jobs.limit(2).on(&smol).all());
    assert_eq!(all.unwrap(), [2, 4, 6]);
    assert_eq!(stats("stream").polls.len(), 6);
}

/// The server sends the head at once, and the body after the stall was reported. So the read of the body
/// blocks.
#[test]
fn a_session_that_blocks_while_it_reads_a_body_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (release, released) = channel::<()>();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
        socket.write_all(head).unwrap();
        released.recv().unwrap();
        socket.write_all(b"ok").unwrap();
    });

    let smol = inflight_smol::Smol::global();
    let runtime = Arc::new(smol.clone());
    // ANCHOR: exchanges
    let session = Session::builder(move |options| {
        let client = inflight_ureq::Ureq::new(options)?;
        Ok((Inline::new(client), runtime))
    });
    let session = session.wrap(inflight_probe::exchanges("exchange"));
    // ANCHOR_END: exchanges
    let line = line!() - 2;
    let session = session.build().unwrap();

    let _probe = Probe::builder()
        .threshold(Duration::from_millis(50))
        .start(move |event| {
            if let Event::Stalled(stall) = event
                && stall.label == "exchange"
            {
                assert_eq!(
                    (stall.location.file(), stall.location.line()),
                    (file!(), line)
                );
                release.send(()).unwrap();
            }
        })
        .unwrap();
    let text = smol.block_on(session.get(url).text());
    assert_eq!(text.unwrap(), "ok");
    server.join().unwrap();
    assert!(stats("exchange").polls.len() >= 2);
}
