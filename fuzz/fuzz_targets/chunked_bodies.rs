//! A chunked body that arrives in chunks of any size: hyper, surf, the client of the book and the reference decoder
//! must agree, and the next response must not begin with bytes of this one.
#![no_main]

use std::io::Read;

use bytes::Bytes;
use inflight_fuzz::{Exchanges, NEXT, Trailers, decode_chunked, split};
use libfuzzer_sys::{Corpus, fuzz_target};

#[path = "../../crates/conformance/tests/minimal/chunks.rs"]
mod chunks;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
/// Below every limit of the parsers, which differ.
const MAX_LEN: usize = 4000;
const MAX_TRAILERS: usize = 90;

thread_local! {
    static EXCHANGES: Exchanges = Exchanges::default();
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((len, body)) = data.split_first().filter(|_| data.len() < MAX_LEN) else {
        return Corpus::Reject;
    };
    let (expected, trailers) = match decode_chunked(body) {
        Some(decoded) => (Some(decoded.body), decoded.trailers),
        None => (None, Trailers::Fields(0)),
    };
    if matches!(trailers, Trailers::Fields(MAX_TRAILERS..)) {
        return Corpus::Reject;
    }
    // The client of the book ignores what the lines contain.
    let has_lines = matches!(trailers, Trailers::Fields(_) | Trailers::Lines);
    let minimal = expected.as_ref().filter(|_| has_lines);
    assert_eq!(read_minimal(body).as_ref(), minimal, "the book");
    let has_fields = matches!(trailers, Trailers::Fields(_));
    let mut response = vec![Bytes::from_static(HEAD)];
    response.extend(split(body, *len));
    for (client, received, next) in EXCHANGES.with(|exchanges| exchanges.run_twice(&response)) {
        let body = received.ok().map(|received| received.body.to_vec());
        // hyper accepts LF alone if a later line ends in CRLF.
        let is_open = client == "hyper" && trailers == Trailers::BareLineEnds;
        if !is_open || body.is_some() {
            let expected = expected.as_ref().filter(|_| has_fields || is_open);
            assert_eq!(body.as_ref(), expected, "{client}");
        }
        let next = next.expect("the server responds to the next request");
        assert_eq!(next.body, NEXT, "{client}");
    }
    Corpus::Keep
});

fn read_minimal(body: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let read = chunks::ChunkedReader::new(body).read_to_end(&mut decoded);
    read.ok().map(|_| decoded)
}
