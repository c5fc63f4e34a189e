//! Content codings (RFC 9110, 8.4): which are accepted, and how bodies are decoded while they are
//! read.
//!
//! A body with several codings is refused: servers do not send them, and each layer multiplies the
//! size to which a few bytes can expand. An unknown coding is not an error. The body and its
//! headers are then returned unchanged, as reqwest and aiohttp do.
//!
//! A coded body that is corrupt, truncated, or followed by other data, is an error of kind
//! [`Decode`](ErrorKind::Decode). A transfer that ends early is
//! [`Incomplete`](ErrorKind::Incomplete), with or without a coding.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::futures::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::zstd::DParameter;
use bytes::{Buf, Bytes, BytesMut};
use futures_io::{AsyncBufRead, AsyncRead};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, RANGE,
};
use http::{Request, Response, StatusCode};
use http_body::Frame;

use crate::error::{Error, ErrorKind};
use crate::message::body::Body;

/// The codings that [`response`] decodes.
const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

/// The smallest and the largest buffer for decoded bytes.
const ROOM: (usize, usize) = (4 * 1024, 64 * 1024);

/// The largest window of the content coding `zstd`, 8 MiB (RFC 9659). It limits the decoder's
/// memory.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A request extension that overrides the session's setting.
#[derive(Clone, Copy)]
pub(crate) struct Decompress(pub(crate) bool);

/// Returns whether the session decodes the response.
pub(crate) fn is_wanted(request: &mut Request<Body>, default: bool) -> bool {
    let own = request.extensions_mut().remove::<Decompress>();
    own.map_or(default, |own| own.0)
}

/// Adds `Accept-Encoding`, unless the request has one, or has a `Range`, which counts coded bytes.
pub(crate) fn accept(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) && !headers.contains_key(RANGE) {
        headers.insert(ACCEPT_ENCODING, ACCEPTED);
    }
}

/// Decodes the response's body if it has a coding. The body's length is then unknown, and the
/// headers that describe the coded body are removed.
///
/// The function skips a body that is known to be empty, as after HEAD or with 204 and 304. It also
/// skips a partial body (206), which is a range of the coded bytes.
pub(crate) fn response(response: &mut Response<Body>) -> Result<(), Error> {
    if !response.headers().contains_key(CONTENT_ENCODING)
        || http_body::Body::is_end_stream(response.body())
        || response.status() == StatusCode::PARTIAL_CONTENT
    {
        return Ok(());
    }
    let Some(coding) = Coding::of(response.headers())? else {
        return Ok(());
    };
    let headers = response.headers_mut();
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    let body = mem::take(response.body_mut());
    *response.body_mut() = Body::wrap(DecodedBody::new(body, coding));
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// Returns the coding of a body with these headers: `None` if there is none, or an unknown one.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let mut codings = values
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
        let Some(name) = codings.next() else {
            return Ok(None);
        };
        if codings.next().is_some() {
            return Err(Error::new(ErrorKind::Decode).with_context("more than one content coding"));
        }
        let known: [(&[u8], Self); 5] = [
            (b"gzip", Self::Gzip),
            (b"x-gzip", Self::Gzip),
            (b"deflate", Self::Deflate),
            (b"br", Self::Brotli),
            (b"zstd", Self::Zstd),
        ];
        let found = known
            .into_iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known));
        Ok(found.map(|(_, coding)| coding))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The number of first bytes that [`decoder`](Self::decoder) examines.
    fn sniffs(self) -> usize {
        match self {
            Self::Gzip | Self::Zstd => 0,
            Self::Brotli => 1,
            Self::Deflate => 2,
        }
    }

    fn decoder(self, coded: EncodedReader) -> io::Result<Box<dyn Decoder>> {
        Ok(match self {
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(coded);
                // RFC 1952, 2.2: a file is a series of members.
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Self::Deflate if is_zlib(&coded.chunk) => Box::new(ZlibDecoder::new(coded)),
            Self::Deflate => Box::new(DeflateDecoder::new(coded)),
            Self::Brotli if wants_large_window(&coded.chunk) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the window is larger than RFC 7932 allows",
                ));
            }
            Self::Brotli => Box::new(BrotliDecoder::new(coded)),
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let mut decoder = ZstdDecoder::with_params(coded, &[window]);
                // RFC 8878, 3: a series of frames, as with gzip.
                decoder.multiple_members(true);
                Box::new(decoder)
            }
        })
    }
}

/// Returns whether these are the first bytes of the zlib format (RFC 1950, 2.2), which `deflate`
/// should have. Some servers send raw deflate. It never begins with these bytes, because its
/// padding bits are zero.
fn is_zlib(start: &[u8]) -> bool {
    let [method, flags, ..] = *start else {
        return false;
    };
    method & 0x8f == 0x08 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
}

/// Returns whether a brotli stream begins with an extension that the library supports: windows of
/// up to 1 GiB. RFC 7932, 9.1 allows at most 16 MiB.
fn wants_large_window(start: &[u8]) -> bool {
    start.first().is_some_and(|first| first & 0x7f == 0x11)
}

/// A body that is decoded while it is read.
struct DecodedBody {
    coding: Coding,
    state: State,
    buffer: BytesMut,
    /// The number of bytes that were decoded last.
    last: usize,
}

enum State {
    Start(EncodedReader),
    Decoding(Box<dyn Decoder>),
    /// The coding has ended, and the body must end too.
    Trailing(EncodedReader),
    Ended,
}

impl DecodedBody {
    fn new(body: Body, coding: Coding) -> Self {
        Self {
            coding,
            state: State::Start(EncodedReader::new(body)),
            buffer: BytesMut::new(),
            last: 0,
        }
    }

    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            match &mut self.state {
                State::Ended => return Poll::Ready(Ok(None)),
                State::Start(coded) => {
                    ready!(coded.poll_start(cx, self.coding.sniffs().max(1)))?;
                    if coded.chunk.is_empty() {
                        // An empty body decodes to an empty body.
                        self.state = State::Ended;
                        continue;
                    }
                    let decoder = self.coding.decoder(coded.take());
                    let decoder = decoder.map_err(|error| self.corrupt().with_source(error))?;
                    self.state = State::Decoding(decoder);
                }
                State::Decoding(decoder) => {
                    if self.buffer.is_empty() {
                        let room = (self.last * 2).clamp(ROOM.0, ROOM.1);
                        self.buffer = BytesMut::zeroed(room);
                    }
                    match Pin::new(&mut *decoder).poll_read(cx, &mut self.buffer) {
                        Poll::Pending => {
                            let failed = decoder.coded().failed.take();
                            return failed.map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                        }
                        Poll::Ready(Ok(0)) => {
                            let coded = decoder.coded().take();
                            self.buffer = BytesMut::new();
                            self.state = State::Trailing(coded);
                        }
                        Poll::Ready(Ok(n)) => {
                            self.last = n;
                            let chunk = self.buffer.split_to(n).freeze();
                            if self.buffer.len() < ROOM.0 / 2 {
                                self.buffer = BytesMut::new();
                            }
                            return Poll::Ready(Ok(Some(chunk)));
                        }
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(Err(self.corrupt().with_source(error)));
                        }
                    }
                }
                State::Trailing(coded) => {
                    ready!(coded.poll_start(cx, 1))?;
                    if !coded.chunk.is_empty() {
                        let error = self.corrupt();
                        return Poll::Ready(Err(error.with_source("data after the end")));
                    }
                    self.state = State::Ended;
                }
            }
        }
    }

    /// Returns whether coded bytes have arrived since the last call.
    fn has_moved(&mut self) -> bool {
        let coded = match &mut self.state {
            State::Start(coded) | State::Trailing(coded) => coded,
            State::Decoding(decoder) => decoder.coded(),
            State::Ended => return false,
        };
        mem::take(&mut coded.moved)
    }

    fn corrupt(&self) -> Error {
        let name = self.coding.name();
        Error::new(ErrorKind::Decode).with_context(format!("invalid {name} data"))
    }
}

impl http_body::Body for DecodedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let chunk = match self.poll_decoded(cx) {
            Poll::Ready(chunk) => chunk,
            // An empty chunk reports to the reader that bytes have arrived.
            Poll::Pending if self.has_moved() => Ok(Some(Bytes::new())),
            Poll::Pending => return Poll::Pending,
        };
        if chunk.is_err() {
            self.state = State::Ended;
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

/// The coded bytes, from which the decoders read.
struct EncodedReader {
    body: Body,
    chunk: Bytes,
    ended: bool,
    moved: bool,
    /// The error of the transfer. To the decoder it looks like a pause, so that it returns the
    /// bytes that it has decoded. On an error, it would discard them.
    failed: Option<Error>,
}

impl EncodedReader {
    fn new(body: Body) -> Self {
        Self {
            body,
            chunk: Bytes::new(),
            ended: false,
            moved: false,
            failed: None,
        }
    }

    fn take(&mut self) -> Self {
        mem::replace(self, Self::new(Body::empty()))
    }

    /// Reads until `wanted` bytes or the end have arrived.
    fn poll_start(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<(), Error>> {
        while self.chunk.len() < wanted && !self.ended {
            let chunk = ready!(self.body.poll_chunk(cx)).transpose()?;
            self.moved |= chunk.is_some();
            match chunk {
                Some(chunk) if self.chunk.is_empty() => self.chunk = chunk,
                Some(chunk) => self.chunk = [&self.chunk[..], &chunk].concat().into(),
                None => self.ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for EncodedReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.failed.is_none()
            && let Err(error) = ready!(this.poll_start(cx, 1))
        {
            this.failed = Some(error);
        }
        if this.failed.is_some() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(&this.chunk))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.chunk.advance(amount);
    }
}

/// Required by [`AsyncBufRead`]. The decoders read the buffer instead.
impl AsyncRead for EncodedReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let chunk = ready!(self.as_mut().poll_fill_buf(cx))?;
        let n = buffer.len().min(chunk.len());
        buffer[..n].copy_from_slice(&chunk[..n]);
        self.consume(n);
        Poll::Ready(Ok(n))
    }
}

/// A decoder that returns its input.
trait Decoder: AsyncRead + Send + Sync + Unpin {
    fn coded(&mut self) -> &mut EncodedReader;
}

macro_rules! decoders {
    ($($decoder:ident),+) => {$(
        impl Decoder for $decoder<EncodedReader> {
            fn coded(&mut self) -> &mut EncodedReader {
                self.get_mut()
            }
        }
    )+};
}
decoders!(
    GzipDecoder,
    ZlibDecoder,
    DeflateDecoder,
    BrotliDecoder,
    ZstdDecoder
);
