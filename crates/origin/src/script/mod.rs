//! Servers that send given bytes and simulate faults.
//!
//! A [`Script`] is a list of steps for one connection. A [`ScriptedServer`] runs a script on each
//! connection. It parses a request only to find its end, so a script can break any rule of HTTP.
//!
//! ```
//! use inflight_origin::script::{Script, ScriptedServer};
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
//! let server = ScriptedServer::with_script(Script::new().read_request().send(short).close())?;
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
//! For connections that fail or hang, see [`refused_address`] and [`ScriptedServer::unaccepting_address`].

mod play;
mod request;
mod server;
mod unreachable;

use bytes::Bytes;
use std::time::Duration;

pub use request::RecordedRequest;
pub use server::ScriptedServer;
pub use unreachable::{UnacceptingAddress, refused_address};

/// The steps of a [`ScriptedServer`] on a connection. After the last step the server closes the
/// connection.
///
/// There is one method for each [`Step`]. Call the methods in the order of the steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub Vec<Step>);

/// A step of a [`Script`].
///
/// A script ends early if the peer closes the connection while a step reads or writes, or if the
/// head of a request does not determine where the request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Reads a request with its body, by `Content-Length` or chunks, and records it.
    ReadRequest,
    /// Reads the head of a request and records it without a body.
    ReadHead,
    /// Reads the body of the last recorded head and adds it to the record.
    ReadBody,
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes a few at a time.
    SendSlowly {
        /// The bytes.
        bytes: Bytes,
        /// How many bytes at a time, at least one.
        each: usize,
        /// How long to wait after each write.
        pause: Duration,
    },
    /// Waits without reading. A peer is blocked once it has sent as much as the sockets' buffers
    /// hold.
    Pause(Duration),
    /// Ends the connection with a reset (RST).
    ///
    /// The peer may not receive bytes that were sent just before the reset. To make sure that the
    /// peer receives them, read the peer's next request before the reset.
    Reset,
    /// Closes the connection (FIN).
    ///
    /// The step first reads the bytes that have arrived, because the kernel sends a reset if a
    /// connection is closed with unread bytes. The kernel also sends a reset if more bytes arrive
    /// later.
    Close,
    /// Closes the writing half (FIN). Later steps can still read.
    ShutdownWrite,
    /// Reads and discards bytes until the peer closes the connection, which ends the script.
    Hang,
    /// Waits until the peer closes the connection, at most this long. If the peer closes the
    /// connection, the script ends. Otherwise the next step follows. If it reads, it gets the bytes
    /// that have arrived meanwhile.
    AwaitClose(Duration),
}

impl Script {
    /// Creates a script without steps, which closes the connection at once.
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
