//! The contents that the origin serves, so that a client can check what it received.

use std::ops::Range;

/// Returns the body of `/bytes/{len}?seed={seed}`. Other paths that serve `len` bytes return the
/// same body. Without `seed` in the query, the seed is 0.
///
/// Of two bodies with the same seed, the longer one begins with the shorter one.
///
/// ```
/// use inflight_origin::payload::bytes;
///
/// assert!(bytes(1000, 7).starts_with(&bytes(10, 7)));
/// assert_ne!(bytes(1000, 7), bytes(1000, 8));
/// ```
#[must_use]
pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    bytes_from(0, len, seed)
}

/// Returns the text of `/page/{n}`.
///
/// ```
/// assert!(inflight_origin::payload::page(42).contains("<h1>Page 42</h1>"));
/// ```
#[must_use]
pub fn page(n: u64) -> String {
    let next = n.wrapping_add(1);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Page {n}</title></head>\n\
         <body>\n<h1>Page {n}</h1>\n<p>This page is one of as many as there are numbers.</p>\n\
         <p><a href=\"/page/{next}\">Page {next}</a></p>\n</body>\n</html>\n"
    )
}

/// Returns `len` bytes of the infinite body with this seed, starting at offset `start`.
fn bytes_from(start: u64, len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 16);
    let skipped = (start % 8) as usize;
    for n in start / 8.. {
        if bytes.len() >= skipped + len {
            break;
        }
        bytes.extend_from_slice(&splitmix64(n, seed).to_le_bytes());
    }
    bytes.drain(..skipped);
    bytes.truncate(len);
    bytes
}

/// Returns the `n`th output of the generator SplitMix64 (Steele, Lea, Flood 2014). Its state is a
/// sum, so any output can be computed directly.
fn splitmix64(n: u64, seed: u64) -> u64 {
    let state = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Returns the first `len` bytes of the body with this seed, in chunks of `size` bytes. A `size` of 0
/// counts as 1. The iterator generates each chunk only when it is requested.
pub(crate) fn chunks(len: u64, seed: u64, size: u64) -> impl Iterator<Item = Vec<u8>> {
    chunks_of(0..len, seed, size)
}

/// Returns this range of the body with this seed, as [`chunks`] does.
pub(crate) fn chunks_of(range: Range<u64>, seed: u64, size: u64) -> impl Iterator<Item = Vec<u8>> {
    let size = size.max(1);
    let len = range.end.saturating_sub(range.start);
    (0..len.div_ceil(size)).map(move |n| {
        let start = n * size;
        bytes_from(range.start + start, size.min(len - start) as usize, seed)
    })
}
