//! Tests of `inflight origin`.

use inflight_origin::payload;

use crate::program::{finish, next_line, program, run};

#[test]
fn the_origin_prints_its_address_and_serves_until_it_is_killed() {
    let mut child = program(["origin"]).spawn().unwrap();
    let line = next_line(&mut child);
    let url = line.strip_prefix("listening on ").unwrap().trim_end();
    assert!(url.starts_with("http://127.0.0.1:"), "{line}");
    for n in 0..2 {
        let page = run(["get", &format!("{url}/page/{n}")]);
        assert_eq!(page.stdout, payload::page(n));
    }
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    assert_eq!(finish(child).stderr, "");
}
