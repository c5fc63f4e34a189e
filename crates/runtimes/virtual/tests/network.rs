//! Tests of the virtual runtime's network.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::{poll_once, yield_now, zip};
use inflight_core::{BlockOn, ConnectOptions, Runtime, Socket, Task};
use inflight_virtual::{LinkOptions, Listener, Network, Virtual};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

type BoxSocket = Box<dyn Socket>;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 80))
}

/// Returns the options of a link with a latency of 10 ms in each direction.
fn link() -> LinkOptions {
    LinkOptions::new().latency(ms(10))
}

fn runtime(link: LinkOptions) -> Virtual {
    let runtime = Virtual::new().patience(ms(1));
    runtime.network().set_default_link(link);
    runtime
}

async fn connect(runtime: &Virtual, address: SocketAddr) -> io::Result<BoxSocket> {
    runtime.connect(address, ConnectOptions::default()).await
}

/// Connects to `listener`. Returns the client's socket, the server's socket, and the client's address.
async fn open(runtime: &Virtual, listener: &Listener) -> (BoxSocket, BoxSocket, SocketAddr) {
    let client = connect(runtime, listener.local_addr());
    let (client, accepted) = zip(client, listener.accept()).await;
    let (server, peer) = accepted.unwrap();
    (client.unwrap(), server, peer)
}

/// Runs a test with both sockets of a connection to `address(1)`.
fn with_pair<F: Future>(
    link: LinkOptions,
    test: impl FnOnce(Virtual, BoxSocket, BoxSocket) -> F,
) -> F::Output {
    let runtime = runtime(link);
    let listener = runtime.listen(address(1)).unwrap();
    runtime.block_on(async {
        let (client, server, _) = open(&runtime, &listener).await;
        test(runtime.clone(), client, server).await
    })
}

async fn read_exactly(socket: &mut BoxSocket, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    socket.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn read_error(socket: &mut BoxSocket) -> ErrorKind {
    socket.read(&mut [0; 8]).await.unwrap_err().kind()
}

async fn write_error(socket: &mut BoxSocket) -> ErrorKind {
    socket.write(b"bytes").await.unwrap_err().kind()
}

fn try_read(socket: &mut BoxSocket) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = [0; 64];
    let len = socket.try_read(&mut bytes).map_err(|error| error.kind())?;
    Ok(bytes[..len].to_vec())
}

/// A waker that counts how often it is woken.
#[derive(Default)]
struct WakeCounter(AtomicUsize);

impl WakeCounter {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll_read(socket: &mut BoxSocket, waker: &Waker) -> Poll<Vec<u8>> {
    let mut bytes = [0; 64];
    let mut buffer = ReadBuf::new(&mut bytes);
    let polled = Pin::new(socket).poll_read(&mut Context::from_waker(waker), &mut buffer);
    polled.map(|result| {
        result.unwrap();
        buffer.filled().to_vec()
    })
}

fn poll_write(socket: &mut BoxSocket, bytes: &[u8], waker: &Waker) -> Poll<usize> {
    let polled = Pin::new(socket).poll_write(&mut Context::from_waker(waker), bytes);
    polled.map(Result::unwrap)
}

#[test]
fn public_types_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<(Virtual, Listener, Network, LinkOptions, BoxSocket)>();
}

#[test]
fn connect_takes_a_round_trip_and_accept_half_a_round_trip_more() {
    let link = LinkOptions::new()
        .latency_to_server(ms(3))
        .latency_to_client(ms(20));
    let runtime = runtime(link);
    let listener = runtime.listen(address(1)).unwrap();
    let accepted = async {
        listener.accept().await.unwrap();
        runtime.elapsed()
    };
    let connected = async {
        connect(&runtime, address(1)).await.unwrap();
        runtime.elapsed()
    };
    let times = runtime.block_on(zip(connected, accepted));
    assert_eq!(times, (ms(23), ms(26)));
}

#[test]
fn bytes_arrive_after_the_latency_of_their_direction() {
    let link = LinkOptions::new()
        .latency_to_server(ms(3))
        .latency_to_client(ms(20));
    with_pair(link, |runtime, mut client, mut server| async move {
        let start = runtime.elapsed();
        client.write_all(b"ping").await.unwrap();
        assert_eq!(runtime.elapsed(), start);
        assert_eq!(read_exactly(&mut server, 4).await, b"ping");
        assert_eq!(runtime.elapsed() - start, ms(3));
        server.write_all(b"pong").await.unwrap();
        assert_eq!(read_exactly(&mut client, 4).await, b"pong");
        assert_eq!(runtime.elapsed() - start, ms(23));
    });
}

#[test]
fn bandwidth_paces_the_segments_of_a_direction() {
    // The link transmits a segment of 1,460 bytes in 10 ms.
    with_pair(
        link().bandwidth(146_000),
        |runtime, mut client, mut server| async move {
            let start = runtime.elapsed();
            client.write_all(&[1; 14_600]).await.unwrap();
            // The server's bytes do not wait for the client's bytes.
            server.write_all(&[2; 146]).await.unwrap();
            read_exactly(&mut client, 146).await;
            assert_eq!(runtime.elapsed() - start, ms(11));
            read_exactly(&mut server, 1).await;
            assert_eq!(runtime.elapsed() - start, ms(20));
            read_exactly(&mut server, 14_599).await;
            assert_eq!(runtime.elapsed() - start, ms(110));
        },
    );
}

#[test]
fn bandwidth_is_not_saved_up_while_a_connection_is_idle() {
    with_pair(
        link().bandwidth(1000),
        |runtime, mut client, mut server| async move {
            runtime.sleep(ms(60_000)).await;
            let start = runtime.elapsed();
            client.write_all(&[0; 1000]).await.unwrap();
            read_exactly(&mut server, 1000).await;
            assert_eq!(runtime.elapsed() - start, ms(1010));
        },
    );
}

#[test]
fn bytes_arrive_in_the_order_in_which_they_were_sent() {
    with_pair(
        link().bandwidth(50_000).buffer_size(3000),
        |_, mut client, mut server| async move {
            let sent: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
            let write = async {
                for chunk in sent.chunks(777) {
                    client.write_all(chunk).await.unwrap();
                }
                client.shutdown().await.unwrap();
            };
            let mut received = Vec::new();
            zip(write, server.read_to_end(&mut received))
                .await
                .1
                .unwrap();
            assert!(received == sent);
        },
    );
}

#[test]
fn end_of_stream_arrives_after_the_bytes_before_it() {
    for shuts_down in [true, false] {
        with_pair(
            link().bandwidth(1000),
            |runtime, mut client, mut server| async move {
                let start = runtime.elapsed();
                client.write_all(&[7; 100]).await.unwrap();
                let mut client = Some(client);
                if shuts_down {
                    client.as_mut().unwrap().shutdown().await.unwrap();
                } else {
                    client = None;
                }
                let mut received = Vec::new();
                server.read_to_end(&mut received).await.unwrap();
                assert_eq!(received, [7; 100]);
                assert_eq!(runtime.elapsed() - start, ms(110));
                // Later reads also return the end of the stream.
                assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
                drop(client);
            },
        );
    }
}

#[test]
fn shutdown_ends_one_direction_only() {
    with_pair(link(), |_, mut client, mut server| async move {
        client.shutdown().await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        server.write_all(b"response").await.unwrap();
        assert_eq!(read_exactly(&mut client, 8).await, b"response");
        assert_eq!(write_error(&mut client).await, ErrorKind::BrokenPipe);
    });
}

#[test]
fn connect_without_listener_is_refused_after_a_round_trip() {
    let runtime = runtime(link());
    let error = runtime
        .block_on(connect(&runtime, address(1)))
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(runtime.elapsed(), ms(20));
}

#[test]
fn a_connect_succeeds_if_a_listener_exists_when_it_arrives() {
    let runtime = runtime(link());
    let late = async {
        runtime.sleep(ms(9)).await;
        runtime.listen(address(1)).unwrap()
    };
    let (connected, listener) = runtime.block_on(zip(connect(&runtime, address(1)), late));
    connected.unwrap();

    let early = async {
        runtime.sleep(ms(9)).await;
        drop(listener);
    };
    let (refused, ()) = runtime.block_on(zip(connect(&runtime, address(1)), early));
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn address_has_one_listener_at_a_time() {
    let runtime = runtime(link());
    let first = runtime.listen(address(1)).unwrap();
    let error = runtime.listen(address(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let other_port = SocketAddr::new(address(1).ip(), 81);
    runtime.listen(other_port).unwrap();
    drop(first);
    runtime.listen(address(1)).unwrap();
}

#[test]
fn port_zero_selects_a_free_port() {
    let runtime = runtime(link());
    let any = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0));
    let (one, other) = (runtime.listen(any).unwrap(), runtime.listen(any).unwrap());
    assert_ne!(one.local_addr(), other.local_addr());
    assert_ne!(one.local_addr().port(), 0);
    let (.., peer) = runtime.block_on(open(&runtime, &other));
    assert!(peer.is_ipv6() && peer.ip().is_loopback());
}

#[test]
fn each_connection_has_its_own_client_address() {
    let runtime = runtime(link());
    let listener = runtime.listen(address(1)).unwrap();
    runtime.block_on(async {
        let (.., one) = open(&runtime, &listener).await;
        let (.., other) = open(&runtime, &listener).await;
        assert_ne!(one, other);
    });
}

#[test]
fn a_dropped_listener_refuses_connects_and_resets_unaccepted_connections() {
    let runtime = runtime(link());
    let listener = runtime.listen(address(1)).unwrap();
    runtime.block_on(async {
        let (mut accepted, mut server, _) = open(&runtime, &listener).await;
        let mut waiting = connect(&runtime, address(1)).await.unwrap();
        runtime.sleep(ms(10)).await;
        // The server has not received the last packet of this connection's handshake.
        let mut unfinished = connect(&runtime, address(1)).await.unwrap();
        drop(listener);

        assert_eq!(read_error(&mut waiting).await, ErrorKind::ConnectionReset);
        assert_eq!(
            read_error(&mut unfinished).await,
            ErrorKind::ConnectionReset
        );
        let error = connect(&runtime, address(1)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // Accepted connections stay open.
        server.write_all(b"still here").await.unwrap();
        assert_eq!(read_exactly(&mut accepted, 10).await, b"still here");
    });
}

#[test]
fn a_connect_to_a_partitioned_address_never_completes() {
    let runtime = runtime(link());
    let _listener = runtime.listen(address(1)).unwrap();
    runtime.network().partition(address(1));
    runtime.network().partition(address(2));
    for address in [address(1), address(2)] {
        let timeout = async {
            runtime.sleep(ms(3_600_000)).await;
            Err(ErrorKind::TimedOut.into())
        };
        let error = runtime
            .block_on(connect(&runtime, address).or(timeout))
            .err();
        assert_eq!(error.unwrap().kind(), ErrorKind::TimedOut);
    }
    let forever = || runtime.block_on(connect(&runtime, address(1)));
    let panic = catch_unwind(AssertUnwindSafe(forever)).err().unwrap();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.starts_with("deadlock"), "{message}");
    assert!(message.ends_with("partitions hold 3 packets"), "{message}");
}

#[test]
fn partition_holds_connects_until_it_heals() {
    let runtime = runtime(link());
    let _listener = runtime.listen(address(1)).unwrap();
    let network = runtime.network();
    network.partition(address(1));
    let heal = async {
        runtime.sleep(ms(500)).await;
        network.heal(address(1));
    };
    let (connected, ()) = runtime.block_on(zip(connect(&runtime, address(1)), heal));
    connected.unwrap();
    // The connect arrives at 500 ms. Its response takes 10 ms.
    assert_eq!(runtime.elapsed(), ms(510));
}

#[test]
fn partition_holds_bytes_and_the_end_of_the_stream_until_it_heals() {
    with_pair(link(), |runtime, mut client, mut server| async move {
        let network = runtime.network();
        client.write_all(b"on the way, ").await.unwrap();
        network.partition(address(1));
        client.write_all(b"held, ").await.unwrap();
        runtime.sleep(ms(1000)).await;
        assert_eq!(try_read(&mut server), Err(ErrorKind::WouldBlock));

        client.write_all(b"sent before the heal").await.unwrap();
        client.shutdown().await.unwrap();
        network.heal(address(1));
        let healed = runtime.elapsed();
        assert_eq!(try_read(&mut server).unwrap(), b"on the way, held, ");
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "sent before the heal");
        assert_eq!(runtime.elapsed() - healed, ms(10));
    });
}

#[test]
fn held_bytes_arrive_before_bytes_that_are_sent_after_the_heal() {
    with_pair(
        LinkOptions::new(),
        |runtime, mut client, mut server| async move {
            runtime.network().partition_all();
            client.write_all(b"1").await.unwrap();
            runtime.sleep(ms(1)).await;
            client.write_all(b"2").await.unwrap();
            runtime.network().heal_all();
            client.write_all(b"3").await.unwrap();
            assert_eq!(read_exactly(&mut server, 3).await, b"123");
        },
    );
}

#[test]
fn partition_affects_its_address_only() {
    let runtime = runtime(link());
    let network = runtime.network();
    let listeners = [1, 2].map(|n| runtime.listen(address(n)).unwrap());
    runtime.block_on(async {
        let (mut a, mut server_a, peer_a) = open(&runtime, &listeners[0]).await;
        let (mut b, mut server_b, _) = open(&runtime, &listeners[0]).await;
        let (mut c, mut server_c, _) = open(&runtime, &listeners[1]).await;
        let mut send = async || {
            for socket in [&mut a, &mut b, &mut c] {
                socket.write_all(b"!").await.unwrap();
            }
            runtime.sleep(ms(10)).await;
            [&mut server_a, &mut server_b, &mut server_c].map(|server| try_read(server).is_ok())
        };
        network.partition(peer_a);
        assert_eq!(send().await, [false, true, true]);
        network.partition(address(1));
        assert_eq!(send().await, [false, false, true]);
        network.heal(peer_a);
        assert_eq!(send().await, [false, false, true]);
        network.heal(address(1));
        assert_eq!(send().await, [true, true, true]);

        network.partition_all();
        network.partition(address(2));
        assert_eq!(send().await, [false, false, false]);
        network.heal(address(2));
        assert_eq!(send().await, [false, false, false]);
        network.heal_all();
        assert_eq!(send().await, [true, true, true]);
    });
}

#[test]
fn a_reset_fails_both_ends_and_wakes_their_tasks() {
    with_pair(
        link().buffer_size(4),
        |runtime, mut client, mut server| async move {
            let read = Task::spawn(&runtime, async move {
                let error = read_error(&mut client).await;
                (
                    error,
                    write_error(&mut client).await,
                    client.shutdown().await.unwrap_err().kind(),
                )
            });
            let write = Task::spawn(&runtime, async move {
                // The peer's buffer has space for four bytes, so the write does not complete.
                let error = server.write_all(&[0; 64]).await.unwrap_err().kind();
                (error, read_error(&mut server).await)
            });
            runtime.sleep(ms(1)).await;
            runtime.network().reset(address(1));
            let expected = ErrorKind::ConnectionReset;
            assert_eq!(
                read.await.unwrap(),
                (expected, expected, ErrorKind::NotConnected)
            );
            assert_eq!(write.await.unwrap(), (expected, expected));
            assert_eq!(runtime.elapsed(), ms(31));
        },
    );
}

#[test]
fn reset_affects_its_address_only() {
    let runtime = runtime(link());
    let network = runtime.network();
    let listeners = [1, 2].map(|n| runtime.listen(address(n)).unwrap());
    runtime.block_on(async {
        let (mut a, _server_a, peer_a) = open(&runtime, &listeners[0]).await;
        let (mut b, _server_b, _) = open(&runtime, &listeners[0]).await;
        let (mut c, _server_c, _) = open(&runtime, &listeners[1]).await;
        let mut is_open =
            || [&mut a, &mut b, &mut c].map(|s| try_read(s) == Err(ErrorKind::WouldBlock));
        network.reset(peer_a);
        assert_eq!(is_open(), [false, true, true]);
        network.reset(address(1));
        assert_eq!(is_open(), [false, false, true]);
        network.reset_all();
        assert_eq!(is_open(), [false, false, false]);
    });
}

#[test]
fn reset_discards_unread_bytes() {
    with_pair(link(), |runtime, mut client, mut server| async move {
        client.write_all(b"lost").await.unwrap();
        runtime.sleep(ms(10)).await;
        runtime.network().reset(address(1));
        assert_eq!(read_error(&mut server).await, ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_random_reset_fails_both_ends_when_the_segment_would_arrive() {
    with_pair(
        link().reset_probability(1.0),
        |runtime, mut client, mut server| async move {
            let start = runtime.elapsed();
            client.write_all(b"bytes").await.unwrap();
            assert_eq!(read_error(&mut server).await, ErrorKind::ConnectionReset);
            assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
            assert_eq!(runtime.elapsed() - start, ms(10));
        },
    );
}

#[test]
fn socket_dropped_with_unread_bytes_resets_its_peer() {
    with_pair(link(), |runtime, mut client, mut server| async move {
        client.write_all(b"unread").await.unwrap();
        server.write_all(b"response").await.unwrap();
        runtime.sleep(ms(10)).await;
        let start = runtime.elapsed();
        drop(server);
        runtime.sleep(ms(10)).await;
        assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
        assert_eq!(runtime.elapsed() - start, ms(10));
    });
}

#[test]
fn bytes_that_arrive_after_the_peer_was_dropped_cause_a_reset() {
    with_pair(link(), |runtime, mut client, server| async move {
        drop(server);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        let start = runtime.elapsed();
        client.write_all(b"too late").await.unwrap();
        // Reads return the end of the stream until the reset arrives.
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        runtime.sleep(ms(19)).await;
        client.write_all(b"later still").await.unwrap();
        runtime.sleep(ms(1)).await;
        assert_eq!(write_error(&mut client).await, ErrorKind::ConnectionReset);
        assert_eq!(runtime.elapsed() - start, ms(20));
    });
}

#[test]
fn write_waits_until_the_peer_reads() {
    with_pair(
        link().buffer_size(10),
        |runtime, mut client, mut server| async move {
            let counter = Arc::new(WakeCounter::default());
            let waker = Waker::from(counter.clone());
            assert_eq!(poll_write(&mut client, &[1; 16], &waker), Poll::Ready(10));
            assert_eq!(poll_write(&mut client, &[2; 6], &waker), Poll::Pending);
            runtime.sleep(ms(1000)).await;
            assert_eq!(poll_write(&mut client, &[2; 6], &waker), Poll::Pending);
            assert_eq!(counter.count(), 0);

            assert_eq!(read_exactly(&mut server, 4).await, [1; 4]);
            assert_eq!(counter.count(), 1);
            assert_eq!(poll_write(&mut client, &[2; 6], &waker), Poll::Ready(4));
            assert_eq!(poll_write(&mut client, &[2; 2], &waker), Poll::Pending);
            assert_eq!(
                read_exactly(&mut server, 10).await,
                [1, 1, 1, 1, 1, 1, 2, 2, 2, 2]
            );
        },
    );
}

#[test]
fn a_reader_is_woken_once_when_the_bytes_arrive() {
    with_pair(link(), |runtime, mut client, mut server| async move {
        let counters = [0; 2].map(|_| Arc::new(WakeCounter::default()));
        let wakers = counters.clone().map(Waker::from);
        assert!(poll_read(&mut server, &wakers[0]).is_pending());
        // Only the last waker is woken.
        assert!(poll_read(&mut server, &wakers[1]).is_pending());
        client.write_all(b"by").await.unwrap();
        client.write_all(b"tes").await.unwrap();
        runtime.sleep(ms(9)).await;
        assert_eq!(counters[1].count(), 0);
        runtime.sleep(ms(1)).await;
        assert_eq!(counters.each_ref().map(|counter| counter.count()), [0, 1]);
        assert_eq!(
            poll_read(&mut server, &wakers[1]),
            Poll::Ready(b"bytes".to_vec())
        );
    });
}

#[test]
fn try_read_returns_the_bytes_that_have_arrived() {
    with_pair(link(), |runtime, mut client, mut server| async move {
        client.write_all(b"one").await.unwrap();
        runtime.sleep(ms(9)).await;
        client.write_all(b"two").await.unwrap();
        assert_eq!(try_read(&mut server), Err(ErrorKind::WouldBlock));
        runtime.sleep(ms(1)).await;
        assert_eq!(try_read(&mut server).unwrap(), b"one");
        assert_eq!(try_read(&mut server), Err(ErrorKind::WouldBlock));
        drop(client);
        runtime.sleep(ms(10)).await;
        assert_eq!(try_read(&mut server).unwrap(), b"two");
        assert_eq!(try_read(&mut server).unwrap(), b"");
        assert_eq!(try_read(&mut server).unwrap(), b"");
    });
}

#[test]
fn try_read_makes_room_for_the_writer() {
    with_pair(
        link().buffer_size(3),
        |runtime, mut client, mut server| async move {
            let write = Task::spawn(&runtime, async move { client.write_all(b"onetwo").await });
            runtime.sleep(ms(10)).await;
            assert_eq!(try_read(&mut server).unwrap(), b"one");
            write.await.unwrap().unwrap();
            runtime.sleep(ms(10)).await;
            assert_eq!(try_read(&mut server).unwrap(), b"two");
        },
    );
}

#[test]
fn bytes_arrive_immediately_without_latency() {
    with_pair(
        LinkOptions::new(),
        |runtime, mut client, mut server| async move {
            client.write_all(b"now").await.unwrap();
            assert_eq!(try_read(&mut server).unwrap(), b"now");
            // Bytes arrive immediately even while another task is always ready to run.
            Task::spawn(&runtime, async {
                loop {
                    yield_now().await;
                }
            })
            .detach();
            let read = Task::spawn(&runtime, async move { read_exactly(&mut server, 4).await });
            yield_now().await;
            client.write_all(b"then").await.unwrap();
            assert_eq!(read.await.unwrap(), b"then");
            assert_eq!(runtime.elapsed(), Duration::ZERO);
        },
    );
}

#[test]
fn advance_delivers_the_packets_that_arrive() {
    let runtime = runtime(link());
    let listener = runtime.listen(address(1)).unwrap();
    let (mut client, mut server, _) = runtime.block_on(open(&runtime, &listener));
    assert_eq!(
        poll_write(&mut client, b"bytes", Waker::noop()),
        Poll::Ready(5)
    );
    runtime.advance(ms(9));
    assert_eq!(try_read(&mut server), Err(ErrorKind::WouldBlock));
    // The server's socket is dropped before the bytes arrive, so the bytes cause a reset. `advance` also
    // delivers the reset.
    drop(server);
    runtime.advance(ms(3600));
    assert_eq!(try_read(&mut client), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_connect_cancelled_before_it_arrives_is_never_accepted() {
    let runtime = runtime(link());
    let listener = runtime.listen(address(1)).unwrap();
    runtime.block_on(async {
        for delay in [1, 15] {
            let timeout = async {
                runtime.sleep(ms(delay)).await;
                None
            };
            let connect = async { Some(connect(&runtime, address(1)).await) };
            assert!(connect.or(timeout).await.is_none());
        }
        let mut accept = Box::pin(listener.accept());
        assert!(poll_once(&mut accept).await.is_none());
        runtime.sleep(ms(1000)).await;
        assert!(poll_once(&mut accept).await.is_none());
    });
}

#[test]
fn cancelling_a_connect_after_the_handshake_closes_the_connection() {
    let runtime = runtime(link());
    let listener = runtime.listen(address(1)).unwrap();
    runtime.block_on(async {
        let mut connect = Box::pin(connect(&runtime, address(1)));
        assert!(poll_once(&mut connect).await.is_none());
        let (mut server, _) = listener.accept().await.unwrap();
        assert_eq!(try_read(&mut server), Err(ErrorKind::WouldBlock));
        drop(connect);
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn cancelled_accept_loses_no_connection() {
    let runtime = runtime(link());
    let listener = runtime.listen(address(1)).unwrap();
    runtime.block_on(async {
        let mut cancelled = Box::pin(listener.accept());
        assert!(poll_once(&mut cancelled).await.is_none());
        let _client = connect(&runtime, address(1)).await.unwrap();
        runtime.sleep(ms(10)).await;
        drop(cancelled);
        listener.accept().await.unwrap();
    });
}

#[test]
fn several_tasks_may_accept() {
    let runtime = runtime(link());
    let listener = Arc::new(runtime.listen(address(1)).unwrap());
    let tasks = [0; 3].map(|_| {
        let listener = listener.clone();
        Task::spawn(&runtime, async move { listener.accept().await.unwrap().1 })
    });
    runtime.block_on(async {
        for _ in 0..3 {
            connect(&runtime, address(1)).await.unwrap();
        }
        let mut peers = Vec::new();
        for task in tasks {
            peers.push(task.await.unwrap());
        }
        peers.sort();
        peers.dedup();
        assert_eq!(peers.len(), 3);
    });
}

#[test]
fn a_link_applies_to_one_address_and_the_default_link_to_all_others() {
    let runtime = runtime(link());
    runtime
        .network()
        .set_link(address(1), LinkOptions::new().latency(ms(100)));
    let listeners = [1, 2].map(|n| runtime.listen(address(n)).unwrap());
    runtime.block_on(async {
        let mut times = Vec::new();
        for listener in &listeners {
            let start = runtime.elapsed();
            connect(&runtime, listener.local_addr()).await.unwrap();
            times.push(runtime.elapsed() - start);
        }
        assert_eq!(times, [ms(200), ms(20)]);
    });
}

/// Runs ten clients of an echo server. Returns the events of the clients, each with its virtual time.
fn trace(seed: u64, link: LinkOptions) -> Vec<String> {
    let runtime = Virtual::seeded(seed);
    runtime.network().set_default_link(link);
    let listener = runtime.listen(address(1)).unwrap();
    let inner = runtime.clone();
    Task::spawn(&runtime, async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            Task::spawn(&inner, async move {
                let mut byte = [0];
                while socket.read_exact(&mut byte).await.is_ok() {
                    let _ = socket.write_all(&byte).await;
                }
            })
            .detach();
        }
    })
    .detach();
    let log = Arc::new(Mutex::new(Vec::new()));
    let clients: Vec<_> = (0..10)
        .map(|client| {
            let (runtime, log) = (runtime.clone(), log.clone());
            Task::spawn(&runtime.clone(), async move {
                let event = |event: &str| {
                    let line = format!("{:?} {client} {event}", runtime.elapsed());
                    log.lock().unwrap().push(line);
                };
                let mut socket = connect(&runtime, address(1)).await.unwrap();
                event("connected");
                for _ in 0..10 {
                    let echoed = async {
                        socket.write_all(b"!").await?;
                        socket.read_exact(&mut [0]).await
                    };
                    match echoed.await {
                        Ok(_) => event("echoed"),
                        Err(error) => return event(&error.to_string()),
                    }
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for client in clients {
            client.await.unwrap();
        }
    });
    drop(runtime);
    Arc::try_unwrap(log).unwrap().into_inner().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_trace_and_other_seeds_differ() {
    let link = link().connect_jitter(ms(30)).reset_probability(0.05);
    for seed in 0..5 {
        let first = trace(seed, link);
        assert_eq!(first, trace(seed, link));
        assert_ne!(first, trace(seed + 100, link));
        let resets = first.iter().filter(|line| line.contains("reset")).count();
        assert!((1..10).contains(&resets), "{first:#?}");
    }
}

#[test]
fn connect_jitter_stays_in_its_range() {
    let runtime = runtime(link().connect_jitter(ms(30)));
    let _listener = runtime.listen(address(1)).unwrap();
    runtime.block_on(async {
        for _ in 0..100 {
            let start = runtime.elapsed();
            connect(&runtime, address(1)).await.unwrap();
            let time = runtime.elapsed() - start;
            assert!((ms(20)..=ms(50)).contains(&time), "{time:?}");
        }
    });
}

#[test]
fn a_read_that_nothing_can_wake_is_a_deadlock() {
    let stuck = || {
        with_pair(link(), |_, mut client, server| async move {
            let _open = server;
            client.read(&mut [0]).await
        })
    };
    let panic = catch_unwind(AssertUnwindSafe(stuck)).err().unwrap();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.starts_with("deadlock"), "{message}");
}

#[test]
fn sockets_and_listeners_fail_after_their_runtime_has_ended() {
    let runtime = runtime(link());
    let listener = runtime.listen(address(1)).unwrap();
    let (mut client, server, _) = runtime.block_on(open(&runtime, &listener));
    let connect = runtime.connect(address(1), ConnectOptions::default());
    drop(runtime);
    let expected = ErrorKind::ConnectionAborted;
    futures_lite::future::block_on(async {
        assert_eq!(read_error(&mut client).await, expected);
        assert_eq!(write_error(&mut client).await, expected);
        assert_eq!(connect.await.err().unwrap().kind(), expected);
        assert_eq!(listener.accept().await.err().unwrap().kind(), expected);
    });
    drop((client, server, listener));
}

#[test]
fn tasks_with_sockets_end_with_the_runtime() {
    let runtime = runtime(link());
    let listener = runtime.listen(address(1)).unwrap();
    let (client, mut server, _) = runtime.block_on(open(&runtime, &listener));
    let held = Arc::new(());
    let alive = Arc::downgrade(&held);
    runtime.spawn(Box::pin(async move {
        let _held = (held, client, listener);
        let _ = server.read(&mut [0]).await;
    }));
    runtime.block_on(yield_now());
    drop(runtime);
    assert!(alive.upgrade().is_none());
}
