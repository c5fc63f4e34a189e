//! Content codings (RFC 9110, 8.4): the codings that a session accepts, and the decoding of bodies
//! while they are read.
//!
//! A body with several codings is refused: servers do not send such bodies, and each coding multiplies
//! the size to which a few bytes can expand. An unknown coding is not an error. The session then
//! returns the body and the headers unchanged, as reqwest and aiohttp do.
//!
//! A coded body that is corrupt, truncated, or followed by other data is an error of kind
//! [`Decode`](ErrorKind::Decode). A transfer that ends early is an error of kind
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
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};

use crate::error::{Error, ErrorKind};
use crate::message::body::{Body, BodySource, PolledFrame};

/// The codings that [`decode_response`] decodes.
const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

/// The smallest and the largest size of the buffer for decoded bytes, in bytes.
const BUFFER_SIZES: (usize, usize) = (4 * 1024, 64 * 1024);

/// The binary logarithm of the largest window of the content coding `zstd`, which is 8 MiB (RFC 9659).
/// The window determines how much memory the decoder needs.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Adds `Accept-Encoding`, unless the request has this header or a `Range`. The response to a range
/// request would be a part of the coded body, and such a part cannot be decoded.
pub(crate) fn add_accept_encoding(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) && !headers.contains_key(RANGE) {
        headers.insert(ACCEPT_ENCODING, ACCEPTED);
    }
}

/// Decodes the response's body if it has a coding. The body's length is then unknown, and the
/// headers that describe the coded body are removed.
///
/// Leaves two kinds of bodies unchanged: an empty body (after HEAD, or with the status 204 or 304), and
/// a partial body (206), which is a range of the coded bytes.
///
/// Returns whether the body has a coding.
pub(crate) fn decode_response(response: &mut Response<Body>) -> Result<bool, Error> {
    if !response.headers().contains_key(CONTENT_ENCODING)
        || http_body::Body::is_end_stream(response.body())
        || response.status() == StatusCode::PARTIAL_CONTENT
    {
        return Ok(false);
    }
    let Some(coding) = Coding::of(response.headers())? else {
        return Ok(false);
    };
    let headers = response.headers_mut();
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    let body = mem::take(response.body_mut());
    *response.body_mut() = Body::from_source(DecodedBody::new(body, coding));
    Ok(true)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// Returns the coding of a body with these headers, or `None` if there is no coding or an
    /// unknown one.
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

    /// Returns the number of bytes that [`decoder`](Self::decoder) examines, from the beginning of the
    /// body.
    fn sniff_len(self) -> usize {
        match self {
            Self::Gzip | Self::Zstd => 0,
            Self::Brotli => 1,
            Self::Deflate => 2,
        }
    }

    /// Returns whether a body with this coding may have several parts that are coded separately: the
    /// members of gzip (RFC 1952, 2.2) or the frames of zstd (RFC 8878, 3).
    fn is_series(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd)
    }

    /// Returns a decoder for one part: see [`is_series`](Self::is_series).
    fn decoder(self, coded: EncodedReader) -> io::Result<Box<dyn Decoder>> {
        Ok(match self {
            Self::Gzip => Box::new(GzipDecoder::new(coded)),
            Self::Deflate if is_zlib(&coded.chunk) => Box::new(ZlibDecoder::new(coded)),
            Self::Deflate => Box::new(DeflateDecoder::new(coded)),
            Self::Brotli if has_large_window(&coded.chunk) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the window is larger than RFC 7932 allows",
                ));
            }
            Self::Brotli => Box::new(BrotliDecoder::new(coded)),
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                Box::new(ZstdDecoder::with_params(coded, &[window]))
            }
        })
    }
}

/// Returns whether the bytes begin with the header of the zlib format (RFC 1950, 2.2). The coding
/// `deflate` requires this format, but some servers send raw deflate. As raw deflate, the bytes of a
/// zlib header would begin a stored block with padding that is not zero. Encoders write only zeros as
/// padding, so the bytes determine the format.
fn is_zlib(start: &[u8]) -> bool {
    let [method, flags, ..] = *start else {
        return false;
    };
    method & 0x8f == 0x08 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
}

/// Returns whether a brotli stream declares a large window: up to 1 GiB. RFC 7932, 9.1 allows at most
/// 16 MiB, but the decoder also accepts large windows, as an extension.
fn has_large_window(start: &[u8]) -> bool {
    start.first().is_some_and(|first| first & 0x7f == 0x11)
}

/// The largest number of zero bytes after a gzip body. The limit on decoded bytes does not count these
/// zeros.
const MAX_PADDING: usize = 64 << 10;

/// A body that is decoded while it is read.
struct DecodedBody {
    coding: Coding,
    state: State,
    buffer: BytesMut,
    /// The length of the last decoded chunk, from which the size of the next buffer is chosen.
    last_len: usize,
}

enum State {
    Start(EncodedReader),
    Decoding(Box<dyn Decoder>),
    /// A part has ended. Another part may follow.
    Trailing(EncodedReader),
    /// The last part of a gzip body has ended, and this number of zero bytes has followed. Some programs
    /// pad gzip files with zeros. Only more zeros may follow.
    Padding(EncodedReader, usize),
    Ended,
}

impl DecodedBody {
    fn new(body: Body, coding: Coding) -> Self {
        Self {
            coding,
            state: State::Start(EncodedReader::new(body)),
            buffer: BytesMut::new(),
            last_len: 0,
        }
    }

    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            match &mut self.state {
                State::Ended => return Poll::Ready(Ok(None)),
                State::Start(coded) => {
                    ready!(coded.poll_start(cx, self.coding.sniff_len().max(1)))?;
                    if coded.chunk.is_empty() {
                        // An empty body decodes to an empty body.
                        self.state = State::Ended;
                        continue;
                    }
                    let decoder = self.coding.decoder(coded.take());
                    let decoder =
                        decoder.map_err(|error| self.corrupt_error().with_source(error))?;
                    self.state = State::Decoding(decoder);
                }
                State::Decoding(decoder) => {
                    if self.buffer.is_empty() {
                        let size = (self.last_len * 2).clamp(BUFFER_SIZES.0, BUFFER_SIZES.1);
                        self.buffer = BytesMut::zeroed(size);
                    }
                    match Pin::new(&mut *decoder).poll_read(cx, &mut self.buffer) {
                        Poll::Pending => {
                            let error = decoder.reader().error.take();
                            return error.map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                        }
                        Poll::Ready(Ok(0)) => {
                            let coded = decoder.reader().take();
                            self.buffer = BytesMut::new();
                            self.state = State::Trailing(coded);
                        }
                        Poll::Ready(Ok(n)) => {
                            self.last_len = n;
                            let chunk = self.buffer.split_to(n).freeze();
                            if self.buffer.len() < BUFFER_SIZES.0 / 2 {
                                self.buffer = BytesMut::new();
                            }
                            return Poll::Ready(Ok(Some(chunk)));
                        }
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(Err(self.corrupt_error().with_source(error)));
                        }
                    }
                }
                State::Trailing(coded) => {
                    ready!(coded.poll_start(cx, 1))?;
                    let coded = coded.take();
                    self.state = match coded.chunk.first() {
                        None => State::Ended,
                        Some(0) if self.coding == Coding::Gzip => State::Padding(coded, 0),
                        Some(_) if self.coding.is_series() => {
                            let decoder = self.coding.decoder(coded);
                            State::Decoding(
                                decoder.map_err(|error| self.corrupt_error().with_source(error))?,
                            )
                        }
                        Some(_) => return Poll::Ready(Err(self.excess_error())),
                    };
                }
                State::Padding(coded, zeros) => {
                    ready!(coded.poll_start(cx, 1))?;
                    let chunk = mem::take(&mut coded.chunk);
                    *zeros += chunk.len();
                    if chunk.is_empty() {
                        self.state = State::Ended;
                    } else if *zeros > MAX_PADDING || chunk.iter().any(|byte| *byte != 0) {
                        return Poll::Ready(Err(self.excess_error()));
                    }
                }
            }
        }
    }

    /// Returns whether coded bytes have arrived since the last call.
    fn take_received(&mut self) -> bool {
        let coded = match &mut self.state {
            State::Start(coded) | State::Trailing(coded) | State::Padding(coded, _) => coded,
            State::Decoding(decoder) => decoder.reader(),
            State::Ended => return false,
        };
        mem::take(&mut coded.has_received)
    }

    fn excess_error(&self) -> Error {
        self.corrupt_error().with_source("data after the end")
    }

    fn corrupt_error(&self) -> Error {
        let name = self.coding.name();
        Error::new(ErrorKind::Decode).with_context(format!("invalid {name} data"))
    }
}

impl BodySource for DecodedBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let chunk = match self.poll_decoded(cx) {
            Poll::Ready(chunk) => chunk,
            // An empty chunk reports that coded bytes have arrived, so that the read timeout starts again.
            Poll::Pending if self.take_received() => Ok(Some(Bytes::new())),
            Poll::Pending => return Poll::Pending,
        };
        if chunk.is_err() {
            self.state = State::Ended;
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)).transpose())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

/// A reader of the coded bytes, for the decoders.
struct EncodedReader {
    body: Body,
    chunk: Bytes,
    has_ended: bool,
    /// Whether coded bytes have arrived since the last call of `take_received`.
    has_received: bool,
    /// The error of the transfer. The reader returns `Pending` to the decoder instead of the error,
    /// because a decoder discards its decoded bytes on an error.
    error: Option<Error>,
}

impl EncodedReader {
    fn new(body: Body) -> Self {
        Self {
            body,
            chunk: Bytes::new(),
            has_ended: false,
            has_received: false,
            error: None,
        }
    }

    fn take(&mut self) -> Self {
        mem::replace(self, Self::new(Body::empty()))
    }

    /// Reads until `chunk` has at least `min_len` bytes, or until the body ends.
    fn poll_start(&mut self, cx: &mut Context<'_>, min_len: usize) -> Poll<Result<(), Error>> {
        while self.chunk.len() < min_len && !self.has_ended {
            let chunk = ready!(self.body.poll_chunk(cx)).transpose()?;
            self.has_received |= chunk.is_some();
            match chunk {
                Some(chunk) if self.chunk.is_empty() => self.chunk = chunk,
                Some(chunk) => self.chunk = [&self.chunk[..], &chunk].concat().into(),
                None => self.has_ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for EncodedReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.error.is_none()
            && let Err(error) = ready!(this.poll_start(cx, 1))
        {
            this.error = Some(error);
        }
        if this.error.is_some() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(&this.chunk))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.chunk.advance(amount);
    }
}

/// Required by [`AsyncBufRead`]. The decoders do not use it.
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

/// A decoder with access to its input.
trait Decoder: AsyncRead + Send + Sync + Unpin {
    fn reader(&mut self) -> &mut EncodedReader;
}

macro_rules! decoders {
    ($($decoder:ident),+) => {$(
        impl Decoder for $decoder<EncodedReader> {
            fn reader(&mut self) -> &mut EncodedReader {
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
