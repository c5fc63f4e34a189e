//! The state of the network, and the effects of arriving packets.
//!
//! The model is TCP without packet loss. A connection has two ends, and packets travel between them. A
//! packet arrives after the latency of its direction. Bytes and the end of the stream arrive in the order in
//! which they were sent, but a reset may overtake them. During a partition, the network holds packets that
//! arrive.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::ReadBuf;

use super::link::{LinkOptions, Side};
use crate::timer::Timers;

/// The maximum number of bytes in a segment, as in TCP over Ethernet.
const SEGMENT_SIZE: usize = 1460;

/// The ports of clients. They do not overlap with [`LISTENER_PORTS`].
const CLIENT_PORTS: Range<u16> = 32_768..49_152;

/// The ports from which a listener at port 0 gets a free port.
const LISTENER_PORTS: Range<u16> = 49_152..u16::MAX;

/// The network of one runtime.
pub(crate) struct NetworkState {
    pub(super) default_link: LinkOptions,
    pub(super) links: HashMap<SocketAddr, LinkOptions>,
    listeners: HashMap<SocketAddr, ListenerState>,
    // The key is the id of the connection. Ids are not reused, because packets may still be on the way
    // to an old connection. The map is sorted, so that faults affect connections in a fixed order.
    connections: BTreeMap<u64, Connection>,
    last_id: u64,
    pub(super) partitions: Partitions,
    /// The packets that arrived during a partition, in the order of their arrival.
    held: Vec<Packet>,
    random: Rng,
}

#[derive(Default)]
struct ListenerState {
    /// The server's ends of the connections that were not accepted yet.
    backlog: VecDeque<EndId>,
    /// The tasks that wait for a connection.
    acceptors: Vec<Waker>,
}

#[derive(Default)]
pub(super) struct Partitions {
    pub(super) is_everywhere: bool,
    pub(super) addresses: HashSet<SocketAddr>,
}

struct Connection {
    client: SocketAddr,
    server: SocketAddr,
    link: LinkOptions,
    phase: Phase,
    ends: [End; 2],
}

/// The state of the client's connect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Refused,
    Established,
}

#[derive(Default)]
struct End {
    /// The bytes that have arrived and that the end has not read.
    received: VecDeque<u8>,
    /// The number of bytes that the peer has sent and this end has not read, including bytes on the way.
    unread: usize,
    /// When the link will have transmitted all bytes that this end has sent.
    transmits_until: Duration,
    has_sent_fin: bool,
    has_received_fin: bool,
    is_reset: bool,
    is_dropped: bool,
    /// The task that waits for bytes or, during the connect, for the connection.
    reader: Option<Waker>,
    /// The task that waits for space in the peer's buffer.
    writer: Option<Waker>,
}

/// Identifies one end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndId {
    connection: u64,
    side: Side,
}

impl EndId {
    fn peer(self) -> Self {
        Self {
            side: self.side.peer(),
            ..self
        }
    }
}

/// A packet from one end of a connection to the other.
pub(crate) struct Packet {
    to: EndId,
    content: Content,
}

/// The content of a packet, named after the flags of TCP.
enum Content {
    Syn,
    SynAck,
    /// The last step of the handshake. Other acknowledgements are not modelled.
    Ack,
    Data(Vec<u8>),
    Fin,
    Rst,
}

/// Links and listeners.
impl NetworkState {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            default_link: LinkOptions::new(),
            links: HashMap::new(),
            listeners: HashMap::new(),
            connections: BTreeMap::new(),
            last_id: 0,
            partitions: Partitions::default(),
            held: Vec::new(),
            // The same seed determines the order of tasks. The fork gives the network different random numbers.
            random: Rng::with_seed(seed).fork(),
        }
    }

    /// Adds a listener. Returns the address with the actual port.
    pub(super) fn listen(&mut self, mut address: SocketAddr) -> io::Result<SocketAddr> {
        if address.port() == 0 {
            let is_free = |port: &u16| {
                let candidate = SocketAddr::new(address.ip(), *port);
                !self.listeners.contains_key(&candidate)
            };
            let port = LISTENER_PORTS.into_iter().find(is_free);
            address.set_port(port.ok_or(io::ErrorKind::AddrInUse)?);
        }
        if self.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.listeners.insert(address, ListenerState::default());
        Ok(address)
    }

    pub(super) fn stop_listening(&mut self, address: SocketAddr, timers: &mut Timers) {
        let Some(listener) = self.listeners.remove(&address) else {
            return;
        };
        for waker in listener.acceptors {
            timers.defer_drop(Some(waker));
        }
        for end in listener.backlog {
            self.abort(end, timers);
        }
    }

    /// Returns the server's end of the next connection, and the client's address.
    pub(super) fn poll_accept(
        &mut self,
        address: SocketAddr,
        cx: &mut Context<'_>,
    ) -> Poll<(EndId, SocketAddr)> {
        let listener = self.listeners.get_mut(&address);
        let listener = listener.expect("a listener stays in the map until it is dropped");
        if let Some(end) = listener.backlog.pop_front() {
            return Poll::Ready((end, self.connection(end).client));
        }
        let is_known = |waker: &Waker| waker.will_wake(cx.waker());
        if !listener.acceptors.iter().any(is_known) {
            listener.acceptors.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Operations on the ends of a connection.
impl NetworkState {
    /// Starts a connect. Returns the client's end. Closing this end cancels the connect.
    pub(super) fn connect(&mut self, server: SocketAddr, timers: &mut Timers) -> EndId {
        let link = *self.links.get(&server).unwrap_or(&self.default_link);
        self.last_id += 1;
        let end = EndId {
            connection: self.last_id,
            side: Side::Client,
        };
        let connection = Connection {
            client: client_address(server, self.last_id),
            server,
            link,
            phase: Phase::Connecting,
            ends: Default::default(),
        };
        self.connections.insert(end.connection, connection);
        let jitter = self.jitter(link.connect_jitter);
        let arrival = timers.now.saturating_add(link.latency_to(Side::Server));
        let syn = Packet {
            to: end.peer(),
            content: Content::Syn,
        };
        timers.deliver_at(arrival.saturating_add(jitter), syn);
        end
    }

    pub(super) fn poll_connect(
        &mut self,
        end: EndId,
        cx: &mut Context<'_>,
        timers: &mut Timers,
    ) -> Poll<io::Result<()>> {
        let connection = self.connection(end);
        match connection.phase {
            Phase::Established => Poll::Ready(Ok(())),
            Phase::Refused => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            Phase::Connecting => {
                register(&mut connection.end(end.side).reader, cx, timers);
                Poll::Pending
            }
        }
    }

    /// Reads bytes that have arrived. If there are none, registers the waker of `cx`.
    pub(super) fn poll_read(
        &mut self,
        end: EndId,
        buffer: &mut ReadBuf<'_>,
        cx: Option<&mut Context<'_>>,
        timers: &mut Timers,
    ) -> Poll<io::Result<()>> {
        let connection = self.connection(end);
        let this = connection.end(end.side);
        if this.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.read_into(buffer) > 0 {
            let peer = connection.end(end.side.peer());
            timers.defer_wake(peer.writer.take());
            return Poll::Ready(Ok(()));
        }
        if this.has_received_fin {
            return Poll::Ready(Ok(()));
        }
        if let Some(cx) = cx {
            register(&mut this.reader, cx, timers);
        }
        Poll::Pending
    }

    /// Sends as many bytes as fit into the peer's buffer. If the buffer is full, registers the waker of `cx`.
    pub(super) fn poll_write(
        &mut self,
        end: EndId,
        bytes: &[u8],
        cx: &mut Context<'_>,
        timers: &mut Timers,
    ) -> Poll<io::Result<usize>> {
        let connection = self.connection(end);
        let space = connection.link.buffer_size - connection.end(end.side.peer()).unread;
        let this = connection.end(end.side);
        if this.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if this.has_sent_fin {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if space == 0 {
            register(&mut this.writer, cx, timers);
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(space)];
        connection.end(end.side.peer()).unread += bytes.len();
        self.send_data(end, bytes, timers);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Ends the stream from `end` to its peer.
    pub(super) fn shut_down(&mut self, end: EndId, timers: &mut Timers) -> io::Result<()> {
        if self.connection(end).end(end.side).is_reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.send_fin(end, timers);
        Ok(())
    }

    /// Closes an end whose socket was dropped. If the connect has not succeeded, removes the connection.
    pub(super) fn close(&mut self, end: EndId, timers: &mut Timers) {
        let connection = self.connection(end);
        if connection.phase != Phase::Established {
            let removed = self.connections.remove(&end.connection);
            removed.into_iter().for_each(|c| c.discard_wakers(timers));
            return;
        }
        // As in TCP, unread bytes cause a reset. The peer must not assume that this end has read them.
        if connection.end(end.side).received.is_empty() {
            self.send_fin(end, timers);
            self.drop_end(end, timers);
        } else {
            self.abort(end, timers);
        }
    }

    /// Closes an end and sends a reset to its peer.
    fn abort(&mut self, end: EndId, timers: &mut Timers) {
        self.send(end.peer(), Content::Rst, timers);
        self.drop_end(end, timers);
    }

    /// Marks an end as dropped. If both ends are dropped, removes the connection.
    fn drop_end(&mut self, end: EndId, timers: &mut Timers) {
        let connection = self.connection(end);
        let this = connection.end(end.side);
        this.is_dropped = true;
        this.received = VecDeque::new();
        timers.defer_drop(this.reader.take());
        timers.defer_drop(this.writer.take());
        if connection.end(end.side.peer()).is_dropped {
            self.connections.remove(&end.connection);
        }
    }
}

/// Sending.
impl NetworkState {
    fn send(&mut self, to: EndId, content: Content, timers: &mut Timers) {
        let latency = self.connection(to).link.latency_to(to.side);
        timers.deliver_at(timers.now.saturating_add(latency), Packet { to, content });
    }

    fn send_data(&mut self, from: EndId, bytes: &[u8], timers: &mut Timers) {
        for segment in bytes.chunks(SEGMENT_SIZE) {
            let connection = self.connection(from);
            let probability = connection.link.reset_probability;
            let arrival = connection.transmit(from.side, segment.len(), timers.now);
            if self.random.f64() < probability {
                for to in [from, from.peer()] {
                    let content = Content::Rst;
                    timers.deliver_at(arrival, Packet { to, content });
                }
                return;
            }
            let packet = Packet {
                to: from.peer(),
                content: Content::Data(segment.to_vec()),
            };
            timers.deliver_at(arrival, packet);
        }
    }

    /// Sends the end of the stream, which arrives after all bytes. Does nothing if `from` was reset or has
    /// already sent the end of the stream.
    fn send_fin(&mut self, from: EndId, timers: &mut Timers) {
        let connection = self.connection(from);
        let this = connection.end(from.side);
        if this.is_reset || mem::replace(&mut this.has_sent_fin, true) {
            return;
        }
        let arrival = connection.transmit(from.side, 0, timers.now);
        let packet = Packet {
            to: from.peer(),
            content: Content::Fin,
        };
        timers.deliver_at(arrival, packet);
    }

    fn jitter(&mut self, max: Duration) -> Duration {
        let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.random.u64(..=nanos))
    }
}

/// Arrivals.
impl NetworkState {
    pub(crate) fn deliver(&mut self, packet: Packet, timers: &mut Timers) {
        let to = packet.to;
        // Both ends may have been dropped while the packet was on the way.
        let Some(connection) = self.connections.get_mut(&to.connection) else {
            return;
        };
        if self.partitions.affect(connection) {
            self.held.push(packet);
            return;
        }
        match packet.content {
            Content::Syn => self.receive_syn(to, timers),
            Content::SynAck => {
                connection.phase = Phase::Established;
                timers.defer_wake(connection.end(to.side).reader.take());
                self.send(to.peer(), Content::Ack, timers);
            }
            Content::Ack => self.receive_ack(to, timers),
            Content::Data(bytes) => self.receive_data(to, bytes, timers),
            Content::Fin => {
                let end = connection.end(to.side);
                end.has_received_fin = true;
                timers.defer_wake(end.reader.take());
            }
            Content::Rst => connection.receive_rst(to.side, timers),
        }
    }

    fn receive_syn(&mut self, server: EndId, timers: &mut Timers) {
        let address = self.connection(server).server;
        let response = match self.listeners.contains_key(&address) {
            true => Content::SynAck,
            false => Content::Rst,
        };
        self.send(server.peer(), response, timers);
    }

    fn receive_ack(&mut self, server: EndId, timers: &mut Timers) {
        let connection = self.connection(server);
        let address = connection.server;
        if connection.end(server.side).is_reset {
            self.drop_end(server, timers);
        } else if let Some(listener) = self.listeners.get_mut(&address) {
            listener.backlog.push_back(server);
            for waker in mem::take(&mut listener.acceptors) {
                timers.defer_wake(Some(waker));
            }
        } else {
            self.abort(server, timers);
        }
    }

    fn receive_data(&mut self, to: EndId, bytes: Vec<u8>, timers: &mut Timers) {
        let end = self.connection(to).end(to.side);
        if end.is_reset {
            return;
        }
        if end.is_dropped {
            self.send(to.peer(), Content::Rst, timers);
            return;
        }
        end.received.extend(bytes);
        timers.defer_wake(end.reader.take());
    }
}

/// Faults.
impl NetworkState {
    pub(super) fn heal(&mut self, address: SocketAddr, timers: &mut Timers) {
        self.partitions.addresses.remove(&address);
        self.deliver_held(timers);
    }

    pub(super) fn heal_all(&mut self, timers: &mut Timers) {
        self.partitions = Partitions::default();
        self.deliver_held(timers);
    }

    /// Delivers the held packets. A packet that another partition affects is held again.
    fn deliver_held(&mut self, timers: &mut Timers) {
        for packet in mem::take(&mut self.held) {
            self.deliver(packet, timers);
        }
    }

    /// Returns the number of connections that have an open end.
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Returns the number of packets that partitions hold.
    pub(crate) fn held_packets(&self) -> usize {
        self.held.len()
    }

    /// Resets the established connections of `address`, or all established connections if
    /// `address` is `None`.
    pub(super) fn reset(&mut self, address: Option<SocketAddr>, timers: &mut Timers) {
        for connection in self.connections.values_mut() {
            let is_affected = address.is_none_or(|address| connection.has_address(address));
            if is_affected && connection.phase == Phase::Established {
                connection.receive_rst(Side::Client, timers);
                connection.receive_rst(Side::Server, timers);
            }
        }
    }

    /// Returns the connection of an end. Panics if both ends of the connection were dropped.
    fn connection(&mut self, end: EndId) -> &mut Connection {
        let connection = self.connections.get_mut(&end.connection);
        connection.expect("a connection is kept until both ends are dropped")
    }
}

impl Partitions {
    fn affect(&self, connection: &Connection) -> bool {
        let mut addresses = self.addresses.iter();
        self.is_everywhere || addresses.any(|address| connection.has_address(*address))
    }
}

impl Connection {
    fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    fn has_address(&self, address: SocketAddr) -> bool {
        address == self.client || address == self.server
    }

    /// Transmits `len` bytes that `side` sends now. Returns when the last byte arrives.
    fn transmit(&mut self, side: Side, len: usize, now: Duration) -> Duration {
        let duration = self.link.transmission_time(len);
        let latency = self.link.latency_to(side.peer());
        let end = self.end(side);
        end.transmits_until = end.transmits_until.max(now).saturating_add(duration);
        end.transmits_until.saturating_add(latency)
    }

    fn receive_rst(&mut self, side: Side, timers: &mut Timers) {
        if self.phase == Phase::Connecting {
            self.phase = Phase::Refused;
        }
        let end = self.end(side);
        end.is_reset = true;
        end.received = VecDeque::new();
        timers.defer_wake(end.reader.take());
        timers.defer_wake(end.writer.take());
    }

    fn discard_wakers(self, timers: &mut Timers) {
        for end in self.ends {
            timers.defer_drop(end.reader);
            timers.defer_drop(end.writer);
        }
    }
}

impl End {
    fn read_into(&mut self, buffer: &mut ReadBuf<'_>) -> usize {
        let len = self.received.len().min(buffer.remaining());
        let (front, back) = self.received.as_slices();
        let from_front = front.len().min(len);
        buffer.put_slice(&front[..from_front]);
        buffer.put_slice(&back[..len - from_front]);
        self.received.drain(..len);
        self.unread -= len;
        len
    }
}

/// Returns a client address for the connection. The address has the same IP version as `server`.
fn client_address(server: SocketAddr, connection: u64) -> SocketAddr {
    let index = connection % CLIENT_PORTS.len() as u64;
    let port = CLIENT_PORTS.start + index as u16;
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, port).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, port).into(),
    }
}

/// Stores the waker of `cx`. The previous waker is dropped after the lock is released.
fn register(slot: &mut Option<Waker>, cx: &mut Context<'_>, timers: &mut Timers) {
    timers.defer_drop(slot.replace(cx.waker().clone()));
}

/// Returns the error of a socket or listener after its runtime has ended.
pub(super) fn runtime_ended() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the virtual runtime of this socket has ended",
    )
}
