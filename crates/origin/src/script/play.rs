use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;

use super::request::{Framing, Recorded};
use super::server::Shared;
use super::{Script, Step};

/// A head or a line longer than this is no request.
const MAX_HEAD: usize = 1 << 20;

/// Plays `script` on a connection, and closes it.
pub(super) fn play(script: Script, stream: Arc<TcpStream>, connection: usize, shared: &Shared) {
    let mut player = Player {
        stream,
        connection,
        shared,
        unread: BytesMut::new(),
        last: None,
    };
    let ended = script.0.into_iter().try_for_each(|step| player.step(step));
    match ended {
        Ok(()) => player.take_leave(),
        Err(End::Left) => shared.peer_closed(connection),
        Err(End::Over) => {}
    }
}

struct Player<'a> {
    stream: Arc<TcpStream>,
    connection: usize,
    shared: &'a Shared,
    /// Received, and not yet part of a request.
    unread: BytesMut,
    /// The last request's place among the recorded, and how its body ends.
    last: Option<(usize, Framing)>,
}

/// Why a script ends before its last step.
enum End {
    /// The peer closed or reset the connection.
    Left,
    /// The script ended the connection, or cannot go on, or the server stops.
    Over,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Left
    }
}

impl Player<'_> {
    fn step(&mut self, step: Step) -> Result<(), End> {
        match step {
            Step::ReadRequest => {
                let (mut request, framing) = self.read_head()?;
                request.body = self.read_body(framing)?;
                self.shared.record(request);
                self.last = None;
            }
            Step::ReadHead => {
                let (request, framing) = self.read_head()?;
                self.last = Some((self.shared.record(request), framing));
            }
            Step::ReadBody => {
                if let Some((place, framing)) = self.last.take() {
                    let body = self.read_body(framing)?;
                    self.shared.add_body(place, body);
                }
            }
            Step::Send(bytes) => (&*self.stream).write_all(&bytes)?,
            Step::SendSlowly { bytes, each, pause } => {
                for some in bytes.chunks(each.max(1)) {
                    (&*self.stream).write_all(some)?;
                    self.pause(pause)?;
                }
            }
            Step::Pause(pause) => self.pause(pause)?,
            Step::Reset => {
                // Closing with no time to linger is how a socket is told to reset.
                SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO))?;
                return Err(End::Over);
            }
            Step::Close => {
                self.take_leave();
                return Err(End::Over);
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

    fn pause(&self, pause: Duration) -> Result<(), End> {
        let stopping = self.shared.sleep(pause);
        if stopping { Err(End::Over) } else { Ok(()) }
    }

    fn await_close(&mut self, at_most: Duration) -> Result<(), End> {
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
                Ok(0) | Err(_) => break Err(End::Left),
                Ok(_) => {}
            }
        };
        self.stream.set_read_timeout(None)?;
        result
    }

    /// Reads what has arrived and forgets it, so that closing is no reset.
    fn take_leave(&mut self) {
        if self.stream.set_nonblocking(true).is_ok() {
            while matches!(self.receive(), Ok(n) if n > 0) {
                self.unread.clear();
            }
        }
    }

    fn read_head(&mut self) -> Result<(Recorded, Framing), End> {
        let head = self.read_until(b"\r\n\r\n")?;
        let request = Recorded::parse(self.connection, head);
        let framing = request.framing().ok_or(End::Over)?;
        Ok((request, framing))
    }

    fn read_body(&mut self, framing: Framing) -> Result<Bytes, End> {
        match framing {
            Framing::Length(len) => self.read_exact(len),
            Framing::Chunked => {
                let mut body = BytesMut::new();
                loop {
                    let line = self.read_until(b"\r\n")?;
                    let size = chunk_size(&line).ok_or(End::Over)?;
                    if size == 0 {
                        // Trailers, down to the empty line.
                        while self.read_until(b"\r\n")?.len() > 2 {}
                        return Ok(body.freeze());
                    }
                    body.extend_from_slice(&self.read_exact(size)?);
                    self.read_exact(2)?;
                }
            }
        }
    }

    /// Everything up to and with `end`.
    fn read_until(&mut self, end: &[u8]) -> Result<Bytes, End> {
        let mut searched = 0;
        loop {
            let found = self.unread[searched..]
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.unread.split_to(searched + at + end.len()).freeze());
            }
            if self.unread.len() > MAX_HEAD {
                return Err(End::Over);
            }
            searched = self.unread.len().saturating_sub(end.len() - 1);
            self.fill()?;
        }
    }

    fn read_exact(&mut self, len: usize) -> Result<Bytes, End> {
        while self.unread.len() < len {
            self.fill()?;
        }
        Ok(self.unread.split_to(len).freeze())
    }

    fn fill(&mut self) -> Result<(), End> {
        match self.receive()? {
            0 => Err(End::Left),
            _ => Ok(()),
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut some = [0; 16 * 1024];
        let n = loop {
            match (&*self.stream).read(&mut some) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.unread.extend_from_slice(&some[..n]);
        Ok(n)
    }
}

/// The size in a chunk's first line, extensions apart.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|&byte| byte == b';').next()?;
    usize::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 16).ok()
}
