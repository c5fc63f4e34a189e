//! Connections that wait for another request. A connection comes here when the whole of its
//! exchange is over and not a byte is left on it.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_io::Async;
use inflight_core::{ClientOptions, Error, Runtime, Task};

pub(crate) type Socket = Arc<Async<TcpStream>>;

/// How often idle connections are looked at, at least.
const LOOK: Duration = Duration::from_secs(15);

/// A connection in use.
pub(crate) struct Lease {
    pub(crate) socket: Socket,
    /// Whether it has served others before.
    pub(crate) is_kept: bool,
    pool: Arc<Pool>,
    host: String,
}

impl Lease {
    /// The next request may have the connection.
    pub(crate) fn give_back(&mut self) {
        let host = mem::take(&mut self.host);
        self.pool.put(host, self.socket.clone());
    }
}

pub(crate) struct Pool {
    runtime: Arc<dyn Runtime>,
    max_per_host: usize,
    timeout: Duration,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// By host and port.
    sockets: HashMap<String, Vec<(Socket, Instant)>>,
    /// Closes those that nobody comes for, while there are any.
    closing: Option<Task<()>>,
}

impl Pool {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            max_per_host: options.max_idle_per_host,
            timeout: options.idle_timeout,
            idle: Mutex::default(),
        })
    }

    /// The connection to `host` that was used last and is still good, or what `connect` makes.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        host: &str,
        connect: impl Future<Output = Result<Socket, Error>>,
    ) -> Result<Lease, Error> {
        let kept = self.take(host);
        Ok(Lease {
            is_kept: kept.is_some(),
            socket: match kept {
                Some(socket) => socket,
                None => connect.await?,
            },
            pool: self.clone(),
            host: host.to_owned(),
        })
    }

    fn take(&self, host: &str) -> Option<Socket> {
        let mut idle = self.idle();
        let sockets = idle.sockets.get_mut(host)?;
        while let Some((socket, since)) = sockets.pop() {
            if self.is_young(since) && is_quiet(&socket) {
                return Some(socket);
            }
        }
        None
    }

    fn put(self: &Arc<Self>, host: String, socket: Socket) {
        if self.max_per_host == 0 {
            return;
        }
        let mut idle = self.idle();
        let sockets = idle.sockets.entry(host).or_default();
        if sockets.len() < self.max_per_host {
            sockets.push((socket, self.runtime.now()));
            let closing = || Task::spawn(&*self.runtime, close(Arc::downgrade(self)));
            idle.closing.get_or_insert_with(closing);
        }
    }

    fn is_young(&self, since: Instant) -> bool {
        self.runtime.now().saturating_duration_since(since) < self.timeout
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is nothing to read: neither the end, nor bytes that nobody asked for.
fn is_quiet(socket: &Async<TcpStream>) -> bool {
    let peeked = socket.get_ref().peek(&mut [0]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Closes what has been idle for too long or was closed by the server, until nothing is idle.
async fn close(pool: Weak<Pool>) {
    let pause = |pool: &Pool| pool.runtime.sleep(pool.timeout.min(LOOK));
    while let Some(pause) = pool.upgrade().map(|pool| pause(&pool)) {
        pause.await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let mut idle = pool.idle();
        idle.sockets.retain(|_, sockets| {
            sockets.retain(|(socket, since)| pool.is_young(*since) && is_quiet(socket));
            !sockets.is_empty()
        });
        if idle.sockets.is_empty() {
            idle.closing = None;
            return;
        }
    }
}
