//! Tests of [`Cell`], the name of a backend: parsing, starting the backend, and a request on each backend.

use std::time::{Duration, Instant};

use inflight::{BlockOn, Cell, ErrorKind, gather};

#[test]
fn every_name_can_be_parsed() {
    for cell in Cell::ALL {
        assert_eq!(cell.to_string().parse(), Ok(cell));
        if let Some(short) = cell.short_name() {
            assert_eq!(short.parse(), Ok(cell));
        }
    }
}

#[test]
fn the_error_for_an_unknown_name_lists_all_cells() {
    let message = "curl".parse::<Cell>().unwrap_err().to_string();
    assert!(message.contains("smol/hyper") && message.contains("ureq (threads/ureq)"));
}

#[test]
fn the_error_for_a_cell_that_is_not_compiled_in_names_its_features() {
    for cell in Cell::ALL.into_iter().filter(|cell| !cell.is_compiled()) {
        let error = cell.start(None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let expected = cell.short_name().unwrap_or(cell.features()[1]);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn every_compiled_cell_sends_requests() {
    let origin = inflight_origin::Origin::start().unwrap();
    for cell in Cell::compiled() {
        let backend = cell.start(None).unwrap();
        let session = backend.session().unwrap();
        let text = backend.block_on(session.get(origin.url("/page/3")).text());
        assert!(text.unwrap().contains('3'), "{cell}");
    }
}

// ANCHOR: several
/// Fetches ten pages with each of these backends. Returns how long each took.
fn compare(names: &[&str], url: &str) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let mut times = Vec::new();
    for name in names {
        let backend = name.parse::<Cell>()?.start(None)?;
        let session = backend.session()?;
        let pages = (0..10).map(|n| session.get(format!("{url}/page/{n}")).text());
        let started = Instant::now();
        backend.block_on(gather(pages).all())?;
        times.push(started.elapsed());
    }
    Ok(times)
}
// ANCHOR_END: several

#[test]
fn one_program_can_use_several_backends() {
    let origin = inflight_origin::Origin::start().unwrap();
    let names: Vec<_> = Cell::compiled().map(|cell| cell.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(compare(&names, &origin.url("")).unwrap().len(), names.len());
    assert_eq!(origin.stats().requests, 10 * names.len() as u64);
}

#[cfg(feature = "probe")]
#[test]
fn a_heartbeat_uses_a_socket_if_the_runtime_has_sockets() {
    for cell in Cell::compiled() {
        let backend = cell.start(None).unwrap();
        let interval = Duration::from_millis(2);
        let heartbeat = backend.block_on(backend.heartbeat(interval)).unwrap();
        assert_eq!(
            heartbeat.lateness().socket.is_some(),
            cell.runtime() != "threads",
            "{cell}"
        );
        while heartbeat
            .lateness()
            .socket
            .is_some_and(|lateness| lateness.is_empty())
        {
            backend.block_on(backend.runtime().sleep(interval));
        }
    }
}
