//! Dropped servers leave no thread behind. The only test of its process, because it counts all threads.
#![cfg(target_os = "linux")]

mod common;

use std::fs;

use common::{Client, LONG};
use inflight_origin::Origin;
use inflight_origin::script::{Script, Scripted};

#[test]
fn dropped_servers_leave_no_thread() {
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();

    let origin = Origin::start().unwrap();
    let server = Scripted::same(Script::new().hang()).unwrap();
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(origin.addr());
        client.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
        clients.push(client);
        clients.push(Client::connect(server.addr()));
    }
    origin
        .wait_for(LONG, |stats| stats.in_flight == 10)
        .unwrap();
    assert!(server.wait_for_connections(10, LONG));
    assert!(threads() > before);

    drop(origin);
    drop(server);
    assert_eq!(threads(), before);
}
