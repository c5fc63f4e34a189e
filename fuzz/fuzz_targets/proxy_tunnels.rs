//! The bytes of a proxy during a handshake: a tunnel opens exactly when `httparse` or a plain reading of SOCKS5
//! says so.
#![no_main]

use http::Uri;
use inflight_core::{ErrorKind, Proxy};
use inflight_net::TunnelHandshake;
use libfuzzer_sys::fuzz_target;

/// Below the limits of the handshake.
const MAX_LEN: usize = 4000;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, received) = input;
    if received.len() > MAX_LEN {
        return;
    }
    match kind % 3 {
        0 => assert_eq!(
            opened_after("http://proxy.test", received),
            connected_after(received)
        ),
        1 => assert_eq!(
            opened_after("socks5h://proxy.test", received),
            socks_after(received, false)
        ),
        _ => {
            let opened = opened_after("socks5h://me:secret@proxy.test", received);
            assert_eq!(opened, socks_after(received, true));
        }
    }
});

/// The number of bytes after which the tunnel is open, or `None` if it does not open.
fn opened_after(proxy: &str, received: &[u8]) -> Option<usize> {
    let proxy = Proxy::new(proxy).expect("the URL is valid");
    let uri = Uri::from_static("https://pages.test/");
    let mut handshake = TunnelHandshake::new(&proxy, &uri, None).expect("the target is valid");
    assert!(!handshake.take_output().is_empty());
    for (index, byte) in received.iter().enumerate() {
        match handshake.receive(*byte) {
            Ok(true) => return Some(index + 1),
            Ok(false) => drop(handshake.take_output()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Proxy);
                return None;
            }
        }
    }
    None
}

fn connected_after(received: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(len) = response.parse(&received[start..]).ok()? else {
            return None;
        };
        start += len;
        match response.code? {
            100..=199 => {}
            200..=299 => return Some(start),
            _ => return None,
        }
    }
}

fn socks_after(received: &[u8], has_password: bool) -> Option<usize> {
    let (method, mut rest) = received.split_first_chunk::<2>()?;
    match method {
        [5, 0] => {}
        [5, 2] if has_password => {
            let (verdict, after) = rest.split_first_chunk::<2>()?;
            rest = after;
            (verdict[1] == 0).then_some(())?;
        }
        _ => return None,
    }
    let (reply, address) = rest.split_first_chunk::<4>()?;
    let len = match reply {
        [5, 0, _, 1] => 4,
        [5, 0, _, 3] => 1 + usize::from(*address.first()?),
        [5, 0, _, 4] => 16,
        _ => return None,
    };
    let port = address.get(len..len + 2)?;
    let unread = address.len() - len - port.len();
    Some(received.len() - unread)
}
