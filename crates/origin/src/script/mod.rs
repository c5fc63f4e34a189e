//! Servers that do what no well-behaved server does.
//!
//! A [`Script`] is what happens on one connection, step by step; a [`Scripted`] server plays one on each. It knows
//! nothing of HTTP but where a request ends, so it can break any rule.
//!
//! ```
//! use inflight_origin::script::{Script, Scripted};
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
//! let server = Scripted::same(Script::new().read_request().send(short).close())?;
//!
//! let mut connection = TcpStream::connect(server.addr())?;
//! connection.write_all(b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n")?;
//! let mut answer = String::new();
//! connection.read_to_string(&mut answer)?;
//!
//! assert_eq!(answer, short);
//! assert_eq!(server.requests()[0].target, "/page");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! For connections that do not come about there are [`refused`] and [`Scripted::unaccepting`].

mod play;
mod request;
mod server;
mod unreachable;

use bytes::Bytes;
use std::time::Duration;

pub use request::Recorded;
pub use server::Scripted;
pub use unreachable::{Unaccepting, refused};

/// What a [`Scripted`] server does on a connection. After the last step it closes.
///
/// Made by its methods, one per [`Step`], in the order they are to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub Vec<Step>);

/// A step of a [`Script`].
///
/// A script ends early when the peer closes while a step reads or writes, and when a request has no form that would
/// tell where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Reads a request with its body, by `Content-Length` or chunks, and records it.
    ReadRequest,
    /// Reads the head of a request and records it, with no body so far.
    ReadHead,
    /// Reads the body of the last head and adds it to the record.
    ReadBody,
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes some at a time.
    SendSlowly {
        /// The bytes.
        bytes: Bytes,
        /// How many at a time; at least one.
        each: usize,
        /// How long to wait after each time.
        pause: Duration,
    },
    /// Waits, and reads nothing meanwhile: a peer that sends enough is held up.
    Pause(Duration),
    /// Ends the connection with a reset (RST).
    ///
    /// A reset overtakes: what was sent just before may never be read. If it must be, let the peer answer it first.
    Reset,
    /// Ends the connection in order (FIN).
    ///
    /// What has arrived by now is read first, for the kernel sends a reset if something is left. It also does when
    /// something arrives later.
    Close,
    /// Sends the end of the stream (FIN) and stays open for reading.
    ShutdownWrite,
    /// Reads and discards until the peer closes, which ends the script.
    Hang,
    /// The same for at most this long; then the script goes on, and what was read is there for its next step.
    AwaitClose(Duration),
}

impl Script {
    /// A script of no steps: it closes at once.
    #[must_use]
    pub fn new() -> Script {
        Script::default()
    }

    /// Adds a step.
    #[must_use]
    pub fn then(mut self, step: Step) -> Script {
        self.0.push(step);
        self
    }

    /// Adds [`Step::ReadRequest`].
    #[must_use]
    pub fn read_request(self) -> Script {
        self.then(Step::ReadRequest)
    }

    /// Adds [`Step::ReadHead`].
    #[must_use]
    pub fn read_head(self) -> Script {
        self.then(Step::ReadHead)
    }

    /// Adds [`Step::ReadBody`].
    #[must_use]
    pub fn read_body(self) -> Script {
        self.then(Step::ReadBody)
    }

    /// Adds [`Step::Send`].
    #[must_use]
    pub fn send(self, bytes: impl Into<Bytes>) -> Script {
        self.then(Step::Send(bytes.into()))
    }

    /// Adds [`Step::SendSlowly`].
    #[must_use]
    pub fn send_slowly(self, bytes: impl Into<Bytes>, each: usize, pause: Duration) -> Script {
        self.then(Step::SendSlowly {
            bytes: bytes.into(),
            each,
            pause,
        })
    }

    /// Adds [`Step::Pause`].
    #[must_use]
    pub fn pause(self, pause: Duration) -> Script {
        self.then(Step::Pause(pause))
    }

    /// Adds [`Step::Reset`].
    #[must_use]
    pub fn reset(self) -> Script {
        self.then(Step::Reset)
    }

    /// Adds [`Step::Close`].
    #[must_use]
    pub fn close(self) -> Script {
        self.then(Step::Close)
    }

    /// Adds [`Step::ShutdownWrite`].
    #[must_use]
    pub fn shutdown_write(self) -> Script {
        self.then(Step::ShutdownWrite)
    }

    /// Adds [`Step::Hang`].
    #[must_use]
    pub fn hang(self) -> Script {
        self.then(Step::Hang)
    }

    /// Adds [`Step::AwaitClose`].
    #[must_use]
    pub fn await_close(self, at_most: Duration) -> Script {
        self.then(Step::AwaitClose(at_most))
    }
}
