//! `multipart/form-data` (RFC 7578), as browsers send it.

use std::collections::VecDeque;
use std::fmt::Write;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::HeaderValue;
use http_body::{Frame, SizeHint};

use crate::backend::runtime::Runtime;
use crate::error::{Error, ErrorKind};
use crate::message::body::{Body, BodySource, PolledFrame, Reader};

/// A form of several parts (texts, bytes, files and streams), which are sent one after another.
///
/// If the length of every part is known, the request declares the length of the form in
/// `Content-Length`. The form can be sent again if every part can be sent again.
///
/// ```no_run
/// # use inflight_core::{Error, Session};
/// use inflight_core::{Multipart, Part};
///
/// # async fn example(session: Session) -> Result<(), Error> {
/// let form = Multipart::new()
///     .text("title", "A walk")
///     .file("photo", "walk.jpg")
///     .part("notes", Part::new("# Notes").file_name("notes.md").content_type("text/markdown"));
/// session.post("http://photos.test/upload").multipart(form).send().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a form does nothing before it is sent"]
pub struct Multipart {
    boundary: String,
    parts: Vec<(String, Part)>,
}

/// A part of a [`Multipart`] form.
///
/// For an example, see [`Multipart`].
#[derive(Debug)]
pub struct Part {
    content: Content,
    file_name: Option<String>,
    content_type: Option<String>,
}

#[derive(Debug)]
enum Content {
    Body(Body),
    File(PathBuf),
}

impl Default for Multipart {
    fn default() -> Self {
        Self::new()
    }
}

impl Multipart {
    /// Creates a form without parts, and with a random boundary. The boundary must not be predictable,
    /// because a text that contains the boundary could add parts to the form.
    pub fn new() -> Self {
        // `RandomState` takes its keys from the system's random numbers.
        let random = || RandomState::new().build_hasher().finish();
        Self {
            boundary: format!("{:016x}{:016x}", random(), random()),
            parts: Vec::new(),
        }
    }

    /// Adds a text field.
    pub fn text(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.part(name, Part::new(value.into()))
    }

    /// Adds a file as a part with the file's name and the media type `application/octet-stream`.
    pub fn file(self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.part(name, Part::file(path))
    }

    /// Adds a part.
    pub fn part(mut self, name: impl Into<String>, part: Part) -> Self {
        self.parts.push((name.into(), part));
        self
    }

    pub(crate) fn content_type(&self) -> Result<HeaderValue, Error> {
        let value = format!("multipart/form-data; boundary={}", self.boundary);
        HeaderValue::try_from(value)
            .map_err(|error| Error::new(ErrorKind::InvalidRequest).with_source(error))
    }

    /// Returns the form as a body, with the current lengths of its files.
    pub(crate) async fn into_body(self, runtime: &Arc<dyn Runtime>) -> Result<Body, Error> {
        let boundary = self.boundary;
        let mut parts = VecDeque::new();
        let mut before = "";
        for (name, part) in self.parts {
            let head = part.head(&name)?;
            parts.push_back(Body::from(format!("{before}--{boundary}\r\n{head}\r\n")));
            parts.push_back(match part.content {
                Content::Body(body) => body,
                Content::File(path) => Body::from_file(path, runtime.clone()).await?,
            });
            before = "\r\n";
        }
        parts.push_back(Body::from(format!("{before}--{boundary}--\r\n")));
        Ok(Body::from_source(ConcatenatedBody {
            parts,
            has_started: false,
        }))
    }
}

impl Part {
    /// Creates a part from text, bytes, or any other body.
    pub fn new(body: impl Into<Body>) -> Self {
        Self {
            content: Content::Body(body.into()),
            file_name: None,
            content_type: None,
        }
    }

    /// Creates a part from a file, with the file's name. The file is read while it is sent.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().unwrap_or_default();
        Self {
            file_name: Some(name.to_string_lossy().into_owned()),
            content: Content::File(path),
            content_type: None,
        }
    }

    /// Sets the file name of the part.
    #[must_use]
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Sets the part's media type. The default is `application/octet-stream` for a part with a file
    /// name. Other parts have no media type by default, which means text.
    ///
    /// A value that HTTP does not allow is an error when the form is sent.
    #[must_use]
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.content_type = Some(media_type.into());
        self
    }

    fn head(&self, name: &str) -> Result<String, Error> {
        let mut head = format!("Content-Disposition: form-data; name=\"{}\"", escape(name));
        if let Some(file_name) = &self.file_name {
            // Writing to a string does not fail.
            let _ = write!(head, "; filename=\"{}\"", escape(file_name));
        }
        head += "\r\n";
        let default = self.file_name.as_ref().map(|_| "application/octet-stream");
        if let Some(media_type) = self.content_type.as_deref().or(default) {
            HeaderValue::from_str(media_type).map_err(|error| {
                Error::new(ErrorKind::InvalidRequest)
                    .with_context("the media type of a part is invalid")
                    .with_source(error)
            })?;
            let _ = write!(head, "Content-Type: {media_type}\r\n");
        }
        Ok(head)
    }
}

/// Escapes a name as the HTML Standard does in forms (4.10.21.8), so that the name cannot end the
/// quotes or the line.
fn escape(name: &str) -> String {
    let name = name.replace('"', "%22");
    name.replace('\r', "%0D").replace('\n', "%0A")
}

/// Bodies that are sent one after another.
struct ConcatenatedBody {
    parts: VecDeque<Body>,
    has_started: bool,
}

impl BodySource for ConcatenatedBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        self.has_started = true;
        while let Some(part) = self.parts.front_mut() {
            if let Some(chunk) = ready!(part.poll_chunk(cx)).transpose()? {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            self.parts.pop_front();
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        let hints = self.parts.iter().map(http_body::Body::size_hint);
        hints.fold(SizeHint::with_exact(0), |sum, hint| {
            let upper = sum
                .upper()
                .zip(hint.upper())
                .and_then(|(a, b)| a.checked_add(b));
            let mut both = SizeHint::new();
            both.set_lower(sum.lower().saturating_add(hint.lower()));
            if let Some(upper) = upper {
                both.set_upper(upper);
            }
            both
        })
    }

    fn try_clone(&self) -> Option<Body> {
        if self.has_started {
            return None;
        }
        let parts = self.parts.iter().map(Body::try_clone);
        Some(Body::from_source(Self {
            parts: parts.collect::<Option<_>>()?,
            has_started: false,
        }))
    }

    fn reader(&self) -> Option<Reader> {
        if self.has_started {
            return None;
        }
        let readers = self.parts.iter().map(Body::reader);
        Some(Box::new(ConcatenatedReader(
            readers.collect::<Option<_>>()?,
        )))
    }
}

struct ConcatenatedReader(VecDeque<Reader>);

impl Read for ConcatenatedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(reader) = self.0.front_mut() {
            match reader.read(buffer)? {
                0 if !buffer.is_empty() => {
                    self.0.pop_front();
                }
                n => return Ok(n),
            }
        }
        Ok(0)
    }
}
