//! Dropped servers leave no thread behind. This file has only one test, because the test counts all
//! threads of its process.
#![cfg(target_os = "linux")]

mod common;

use std::fs;

use common::{Client, TEST_TIMEOUT};
use inflight_origin::Origin;
use inflight_origin::script::{Script, ScriptedServer};

#[test]
fn dropped_servers_leave_no_thread() {
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();

    let origin = Origin::start().unwrap();
    let server = ScriptedServer::with_script(Script::new().hang()).unwrap();
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(origin.addr());
        client.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
        clients.push(client);
        clients.push(Client::connect(server.addr()));
    }
    origin
        .wait_for(TEST_TIMEOUT, |stats| stats.in_flight == 10)
        .unwrap();
    assert!(server.wait_for_connections(10, TEST_TIMEOUT));
    assert!(threads() > before);

    drop(origin);
    drop(server);
    assert_eq!(threads(), before);
}
