//! The servers of a run.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::or;
use http::Method;
use inflight_core::{Resolve, Socket, Task};
use inflight_virtual::{LinkOptions, Listener, Virtual};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::plan::{Answer, Fault, Host, Plan, Request};
use crate::report::{Arrival, Log};

const PORT: u16 = 80;
/// The name of a request's credentials.
const CREDENTIALS: &str = "authorization";
/// An answer that nobody has requested.
const EXTRA_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra";

/// Returns the address of a host.
pub(crate) fn address(host: usize) -> SocketAddr {
    let last = u8::try_from(host + 1).expect("a run has few hosts");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), PORT)
}

/// Returns the URL of a request at a host.
pub(crate) fn url(plan: &Plan, host: usize, id: usize) -> String {
    match plan.hosts[host].has_name {
        true => format!("http://host{host}.test/{id}"),
        false => format!("http://{}/{id}", address(host)),
    }
}

/// A resolver of the names of the hosts.
pub(crate) struct Names;

impl Resolve for Names {
    fn resolve(&self, name: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let number = name
            .strip_prefix("host")
            .and_then(|rest| rest.strip_suffix(".test"));
        match number.and_then(|number| number.parse().ok()) {
            Some(host) => Ok(vec![address(host)]),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Returns the body of an answer. Each answer of each request has a body of its own.
pub(crate) fn body(id: usize, earlier: usize, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed((id * 1_000 + earlier) as u64);
    (0..len).map(|_| random.alphanumeric() as u8).collect()
}

/// Returns the body that a request uploads.
pub(crate) fn upload(request: &Request) -> Vec<u8> {
    body(request.id, 999, request.upload)
}

/// How long a server waits before it sends a late response. Nothing else in a run takes this time, so no request is sent
/// at the same time.
const LATE: Duration = Duration::from_nanos(30_000_137);

/// What the tasks of all servers share.
struct Servers {
    plan: Plan,
    runtime: Virtual,
    log: Log,
}

/// Starts the servers. They run until the tasks are dropped.
pub(crate) fn start(plan: &Plan, runtime: &Virtual, log: &Log) -> io::Result<Vec<Task<()>>> {
    let servers = Arc::new(Servers {
        plan: plan.clone(),
        runtime: runtime.clone(),
        log: log.clone(),
    });
    let hosts = plan.hosts.iter().enumerate();
    let tasks = hosts.map(|(host, options)| {
        let network = runtime.network();
        network.set_link(address(host), link(options));
        let listener = runtime.listen(address(host))?;
        let serving = accept(servers.clone(), host, listener);
        Ok(Task::spawn(runtime, serving))
    });
    tasks.collect()
}

fn link(host: &Host) -> LinkOptions {
    let link = LinkOptions::new()
        .latency(host.latency)
        .connect_jitter(host.connect_jitter)
        .reset_probability(host.resets_per_million as f64 / 1e6);
    match host.bandwidth {
        Some(bandwidth) => link.bandwidth(bandwidth),
        None => link,
    }
}

async fn accept(servers: Arc<Servers>, host: usize, listener: Listener) {
    while let Ok((socket, peer)) = listener.accept().await {
        let number = servers.log.change(|report| {
            report.open_connections += 1;
            report.connections += 1;
            report.connections - 1
        });
        let connection = Connection {
            servers: servers.clone(),
            host,
            number,
            peer,
            socket,
            unread: Vec::new(),
        };
        Task::spawn(&servers.runtime, connection.serve()).detach();
    }
}

/// A connection of a client.
struct Connection {
    servers: Arc<Servers>,
    host: usize,
    number: usize,
    peer: SocketAddr,
    socket: Box<dyn Socket>,
    /// The bytes that were received and not used.
    unread: Vec<u8>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.servers
            .log
            .change(|report| report.open_connections -= 1);
    }
}

/// The head of a request.
struct Head {
    id: usize,
    method: Method,
    len: usize,
    has_credentials: bool,
}

impl Connection {
    /// Serves requests until the connection ends. The error says why, and nobody needs to know.
    async fn serve(mut self) {
        let _ended = self.serve_all().await;
    }

    async fn serve_all(&mut self) -> io::Result<()> {
        while let Some(head) = self.read_head().await? {
            let request = self.request(head.id)?.clone();
            let arrival = self.record(&head);
            let earlier = self
                .servers
                .log
                .change(|report| report.arrivals[arrival].earlier);
            let last = request.answers.len() - 1;
            let answer = request.answers[earlier.min(last)].clone();
            let body = self.read_body(head.len, answer.reads_slowly).await?;
            let is_complete = match head.len {
                // A redirect may drop the body.
                0 => true,
                _ => body == upload(&request),
            };
            self.servers
                .log
                .change(|report| report.arrivals[arrival].is_complete = is_complete);
            self.respond(&head, &answer, earlier, arrival).await?;
        }
        Ok(())
    }

    fn request(&self, id: usize) -> io::Result<&Request> {
        let mut requests = self.servers.plan.requests.iter();
        let found = requests.find(|request| request.id == id);
        found.ok_or_else(|| invalid("the plan contains no such request"))
    }

    fn record(&self, head: &Head) -> usize {
        let at = self.servers.log.now();
        self.servers.log.change(|report| {
            let same = report.arrivals.iter().filter(|one| one.id == head.id);
            let earlier = same.count();
            report.arrivals.push(Arrival {
                id: head.id,
                host: self.host,
                connection: self.number,
                at,
                method: head.method.clone(),
                has_credentials: head.has_credentials,
                earlier,
                is_complete: false,
                answered: None,
            });
            report.arrivals.len() - 1
        })
    }

    /// Reads a head, or returns `None` if the client has closed the connection.
    async fn read_head(&mut self) -> io::Result<Option<Head>> {
        loop {
            let end = self
                .unread
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                return parse(&String::from_utf8_lossy(&head)).map(Some);
            }
            if self.fill(16 * 1024).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn read_body(&mut self, len: usize, slowly: bool) -> io::Result<Vec<u8>> {
        while self.unread.len() < len {
            let most = match slowly {
                true => {
                    self.servers.log.sleep(Duration::from_millis(20)).await;
                    4 * 1024
                }
                false => 64 * 1024,
            };
            if self.fill(most).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..len).collect())
    }

    async fn fill(&mut self, most: usize) -> io::Result<usize> {
        let mut buffer = vec![0; most];
        let len = self.socket.read(&mut buffer).await?;
        self.unread.extend_from_slice(&buffer[..len]);
        Ok(len)
    }

    async fn respond(
        &mut self,
        head: &Head,
        answer: &Answer,
        earlier: usize,
        arrival: usize,
    ) -> io::Result<()> {
        self.servers.log.sleep(answer.delay).await;
        match answer.fault {
            Some(Fault::ResetBeforeHead) => return self.reset(),
            Some(Fault::CloseBeforeHead) => return self.close().await,
            Some(Fault::Hang) => return self.hang().await,
            Some(Fault::Garbage) => {
                self.socket
                    .write_all(b"220 mail.test ready\r\n\r\n")
                    .await?;
                return self.close().await;
            }
            _ => {}
        }
        let body = body(head.id, earlier, answer.len);
        let response_head = self.response_head(head.id, answer, earlier);
        let (first, second) = body.split_at(body.len() / 2);
        let mut first = [response_head.into_bytes(), part(answer, first)].concat();
        let mut second = part(answer, second);
        if answer.is_chunked {
            second.extend_from_slice(b"0\r\n\r\n");
        }
        if answer.fault == Some(Fault::ExtraResponse) {
            // In one packet. No client can recognize a response that arrives after the next request was sent.
            first.append(&mut second);
            first.extend_from_slice(EXTRA_RESPONSE);
        }
        self.socket.write_all(&first).await?;
        match answer.fault {
            Some(Fault::ResetInBody) => return self.reset(),
            Some(Fault::CloseInBody) => return self.close().await,
            _ => {}
        }
        if !answer.pause.is_zero() {
            self.servers.log.sleep(answer.pause).await;
        }
        self.socket.write_all(&second).await?;
        self.socket.flush().await?;
        let now = self.servers.log.now();
        self.servers
            .log
            .change(|report| report.arrivals[arrival].answered = Some(now));
        match answer.fault {
            Some(Fault::CloseAfter) => self.close().await,
            Some(Fault::LateExtraResponse) => self.send_late_response().await,
            Some(Fault::HalfCloseAfter) => {
                self.socket.shutdown().await?;
                self.hang().await
            }
            _ => Ok(()),
        }
    }

    fn response_head(&self, id: usize, answer: &Answer, earlier: usize) -> String {
        let mut head = format!(
            "HTTP/1.1 {} Status\r\nX-Answer: {earlier}\r\n",
            answer.status
        );
        if let Some(host) = answer.redirect {
            head += &format!("Location: {}\r\n", url(&self.servers.plan, host, id));
        }
        if let Some(seconds) = answer.retry_after {
            head += &format!("Retry-After: {seconds}\r\n");
        }
        head += &match answer.is_chunked {
            true => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
            false => format!("Content-Length: {}\r\n\r\n", answer.len),
        };
        head
    }

    /// Sends a response that nobody has requested, unless a request arrives first.
    async fn send_late_response(&mut self) -> io::Result<()> {
        let plan = &self.servers.plan;
        if !(plan.is_calm() && plan.hosts[self.host].is_local()) {
            return Ok(());
        }
        let sleep = self.servers.log.sleep(LATE);
        let mut buffer = vec![0; 16 * 1024];
        let received = or(async { Some(self.socket.read(&mut buffer).await) }, async {
            sleep.await;
            None
        });
        match received.await {
            Some(received) => {
                let len = received?;
                self.unread.extend_from_slice(&buffer[..len]);
                match len {
                    0 => Err(io::ErrorKind::ConnectionAborted.into()),
                    _ => Ok(()),
                }
            }
            None => self.socket.write_all(EXTRA_RESPONSE).await,
        }
    }

    fn reset(&self) -> io::Result<()> {
        self.servers.runtime.network().reset(self.peer);
        Err(io::ErrorKind::ConnectionReset.into())
    }

    async fn close(&mut self) -> io::Result<()> {
        self.socket.shutdown().await?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Reads until the client closes the connection.
    async fn hang(&mut self) -> io::Result<()> {
        while self.fill(64 * 1024).await? > 0 {
            self.unread.clear();
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// Returns a part of a body as the server sends it.
fn part(answer: &Answer, bytes: &[u8]) -> Vec<u8> {
    match answer.is_chunked && !bytes.is_empty() {
        true => [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
        false => bytes.to_vec(),
    }
}

fn parse(text: &str) -> io::Result<Head> {
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next().and_then(|word| word.parse().ok());
    let path = words.next().and_then(|path| path.strip_prefix('/'));
    let mut head = Head {
        method: method.ok_or_else(|| invalid("the first line contains no method"))?,
        id: path
            .and_then(|path| path.parse().ok())
            .ok_or_else(|| invalid("the path is not the number of a request"))?,
        len: 0,
        has_credentials: false,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            head.len = value.parse().map_err(io::Error::other)?;
        }
        head.has_credentials |= name.eq_ignore_ascii_case(CREDENTIALS);
    }
    Ok(head)
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
