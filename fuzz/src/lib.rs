//! What the fuzz targets share: a session over a function, exchanges on the network in memory, and a reference
//! decoder of chunked bodies.

mod exchange;
mod reference;
mod responder;

pub use exchange::{Exchanges, NEXT, Outcome, Received};
pub use reference::{Trailers, decode_chunked};
pub use responder::session;

use bytes::Bytes;

/// Splits the bytes into chunks of `len` bytes. Does not split them if `len` is 0.
pub fn split(data: &[u8], len: u8) -> Vec<Bytes> {
    let len = match len {
        0 => data.len().max(1),
        len => usize::from(len),
    };
    data.chunks(len).map(Bytes::copy_from_slice).collect()
}
