//! Any bytes as a response: hyper and surf must return the same response, or both an error.
#![no_main]

use bytes::Bytes;
use inflight_fuzz::{Exchanges, Trailers, decode_chunked, split};
use inflight_net::InterimCounter;
use libfuzzer_sys::{Corpus, fuzz_target};

/// Below the limits on the number of fields, which differ.
const MAX_LINES: usize = 90;

thread_local! {
    static EXCHANGES: Exchanges = Exchanges::default();
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((len, response)) = data.split_first() else {
        return Corpus::Reject;
    };
    if response.iter().filter(|byte| **byte == b'\n').count() > MAX_LINES {
        return Corpus::Reject;
    }
    count_interim(response, *len);
    let chunks = split(response, *len);
    let results = EXCHANGES.with(|exchanges| exchanges.run(&chunks));
    let [(_, hyper), (_, surf)] = &results[..] else {
        panic!("there are two clients");
    };
    match (hyper, surf) {
        // Only hyper accepts LF alone in the trailers.
        (Ok(hyper), Err(_)) if has_bare_line_ends(response, &hyper.body) => {}
        _ => assert_eq!(hyper.as_ref().ok(), surf.as_ref().ok(), "{results:?}"),
    }
    Corpus::Keep
});

/// Returns whether the response ends in this body, in chunks, with LF or CR alone in the trailers.
fn has_bare_line_ends(response: &[u8], body: &Bytes) -> bool {
    let begins_at = |at| {
        let decoded = decode_chunked(&response[at..]);
        decoded.is_some_and(|decoded| {
            decoded.body == body[..] && decoded.trailers == Trailers::BareLineEnds
        })
    };
    (0..response.len()).any(begins_at)
}

/// Checks that the counter of interim responses does not depend on the chunks.
fn count_interim(response: &[u8], len: u8) {
    let mut whole = InterimCounter::default();
    let mut parts = InterimCounter::default();
    let counted = whole.inspect(response).is_ok();
    let mut chunks = split(response, len).into_iter();
    assert_eq!(chunks.all(|chunk| parts.inspect(&chunk).is_ok()), counted);
    assert_eq!(whole.is_refusal(), parts.is_refusal());
}
