use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;

use super::request::{Framing, RecordedRequest};
use super::server::SharedState;
use super::{Script, Step};

/// The longest head of a request, and the longest line in a chunked body, in bytes.
const MAX_HEAD: usize = 1 << 20;

/// Runs `script` on a connection, and closes the connection.
pub(super) fn play(
    script: Script,
    stream: Arc<TcpStream>,
    connection: usize,
    shared: &SharedState,
) {
    let mut player = Player {
        stream,
        connection,
        shared,
        unread: BytesMut::new(),
        last_head: None,
    };
    let ended = script
        .0
        .into_iter()
        .try_for_each(|step| player.run_step(step));
    match ended {
        Ok(()) => player.discard_received(),
        Err(StopReason::PeerClosed) => shared.record_close(connection),
        Err(StopReason::Finished) => {}
    }
}

struct Player<'a> {
    stream: Arc<TcpStream>,
    connection: usize,
    shared: &'a SharedState,
    /// Bytes that were received and that no step has used yet.
    unread: BytesMut,
    /// The request of the last `ReadHead`: its index among the recorded requests, and its framing.
    last_head: Option<(usize, Framing)>,
}

/// Why a script ends before its last step.
enum StopReason {
    /// The peer closed or reset the connection.
    PeerClosed,
    /// The script ended the connection, or cannot continue, or the server stops.
    Finished,
}

impl From<io::Error> for StopReason {
    fn from(_: io::Error) -> StopReason {
        StopReason::PeerClosed
    }
}

impl Player<'_> {
    fn run_step(&mut self, step: Step) -> Result<(), StopReason> {
        match step {
            Step::ReadRequest => {
                let (mut request, framing) = self.read_head()?;
                request.body = self.read_body(framing)?;
                self.shared.record(request);
                self.last_head = None;
            }
            Step::ReadHead => {
                let (request, framing) = self.read_head()?;
                self.last_head = Some((self.shared.record(request), framing));
            }
            Step::ReadBody => {
                if let Some((index, framing)) = self.last_head.take() {
                    let body = self.read_body(framing)?;
                    self.shared.add_body(index, body);
                }
            }
            Step::Send(bytes) => (&*self.stream).write_all(&bytes)?,
            Step::SendSlowly { bytes, each, pause } => {
                for chunk in bytes.chunks(each.max(1)) {
                    (&*self.stream).write_all(chunk)?;
                    self.pause(pause)?;
                }
            }
            Step::Pause(pause) => self.pause(pause)?,
            Step::Reset => {
                // Closing a socket with a linger time of zero sends a reset.
                SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO))?;
                return Err(StopReason::Finished);
            }
            Step::Close => {
                self.discard_received();
                return Err(StopReason::Finished);
            }
            Step::ShutdownWrite => self.stream.shutdown(Shutdown::Write)?,
            Step::Hang => loop {
                self.unread.clear();
                self.fill()?;
            },
            Step::AwaitClose(at_most) => self.await_close(at_most)?,
        }
        Ok(())
    }

    fn pause(&self, pause: Duration) -> Result<(), StopReason> {
        let stopping = self.shared.sleep(pause);
        if stopping {
            Err(StopReason::Finished)
        } else {
            Ok(())
        }
    }

    fn await_close(&mut self, at_most: Duration) -> Result<(), StopReason> {
        let start = Instant::now();
        let result = loop {
            let left = at_most.saturating_sub(start.elapsed());
            if left.is_zero() {
                break Ok(());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.receive() {
                // `WouldBlock` on Unix, `TimedOut` on Windows.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(0) | Err(_) => break Err(StopReason::PeerClosed),
                Ok(_) => {}
            }
        };
        self.stream.set_read_timeout(None)?;
        result
    }

    /// Reads and discards the bytes that have arrived, so that closing sends no reset.
    fn discard_received(&mut self) {
        if self.stream.set_nonblocking(true).is_ok() {
            while matches!(self.receive(), Ok(n) if n > 0) {
                self.unread.clear();
            }
        }
    }

    fn read_head(&mut self) -> Result<(RecordedRequest, Framing), StopReason> {
        let head = self.read_until(b"\r\n\r\n")?;
        let request = RecordedRequest::parse(self.connection, head);
        let framing = request.framing().ok_or(StopReason::Finished)?;
        Ok((request, framing))
    }

    fn read_body(&mut self, framing: Framing) -> Result<Bytes, StopReason> {
        match framing {
            Framing::Length(len) => self.read_exact(len),
            Framing::Chunked => {
                let mut body = BytesMut::new();
                loop {
                    let line = self.read_until(b"\r\n")?;
                    let size = chunk_size(&line).ok_or(StopReason::Finished)?;
                    if size == 0 {
                        // Skips the trailers up to the empty line.
                        while self.read_until(b"\r\n")?.len() > 2 {}
                        return Ok(body.freeze());
                    }
                    body.extend_from_slice(&self.read_exact(size)?);
                    self.read_exact(2)?;
                }
            }
        }
    }

    /// Reads up to and including `end`.
    fn read_until(&mut self, end: &[u8]) -> Result<Bytes, StopReason> {
        let mut searched = 0;
        loop {
            let found = self.unread[searched..]
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.unread.split_to(searched + at + end.len()).freeze());
            }
            if self.unread.len() > MAX_HEAD {
                return Err(StopReason::Finished);
            }
            searched = self.unread.len().saturating_sub(end.len() - 1);
            self.fill()?;
        }
    }

    fn read_exact(&mut self, len: usize) -> Result<Bytes, StopReason> {
        while self.unread.len() < len {
            self.fill()?;
        }
        Ok(self.unread.split_to(len).freeze())
    }

    fn fill(&mut self) -> Result<(), StopReason> {
        match self.receive()? {
            0 => Err(StopReason::PeerClosed),
            _ => Ok(()),
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let n = loop {
            match (&*self.stream).read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.unread.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

/// Parses the size in a chunk's first line, and ignores extensions.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|&byte| byte == b';').next()?;
    usize::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 16).ok()
}
