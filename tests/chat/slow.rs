//! `slow.md`: how Tokio's channels treat a receiver that is too slow, how Salvo stops a
//! stream that does not end, how many connections may wait and how often they knock, and
//! when a peer that is silent is given up.

use std::convert::Infallible;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use nix::sys::socket::{Backlog, listen};
use salvo::conn::tcp::TcpAcceptor;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tests::{until, within};
#[cfg(target_os = "linux")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::{StreamExt, once, pending};

#[cfg(target_os = "linux")]
use crate::readers::fall_silent;

#[tokio::test]
async fn a_broadcast_receiver_learns_how_much_it_missed() {
    use broadcast::error::RecvError::Lagged;
    // ANCHOR: drop
    let (sender, mut slow) = broadcast::channel(4);
    for n in 1..=10 {
        sender.send(n).unwrap();
    }
    assert_eq!(slow.recv().await, Err(Lagged(6)));
    assert_eq!(slow.recv().await, Ok(7));
    // ANCHOR_END: drop
}

#[tokio::test]
async fn a_broadcast_channel_keeps_the_next_power_of_two() {
    use broadcast::error::RecvError::Lagged;
    let (sender, mut slow) = broadcast::channel(5);
    for n in 1..=10 {
        sender.send(n).unwrap();
    }
    assert_eq!(slow.recv().await, Err(Lagged(2)), "8 are kept");
    assert_eq!(slow.recv().await, Ok(3));
}

#[tokio::test]
async fn a_full_queue_is_a_reason_to_disconnect() {
    // ANCHOR: disconnect
    let (sender, mut slow) = mpsc::channel(4);
    let sent = (1..=10).take_while(|n| sender.try_send(*n).is_ok()).count();
    assert_eq!(sent, 4);
    drop(sender); // the stream ends after what is in the queue
    while let Some(n) = slow.recv().await {
        assert!(n <= 4);
    }
    // ANCHOR_END: disconnect
}

#[tokio::test]
async fn a_watch_receiver_sees_the_latest_value_alone() {
    // ANCHOR: coalesce
    let (sender, mut slow) = watch::channel(0);
    for n in 1..=10 {
        sender.send(n).unwrap();
    }
    slow.changed().await.unwrap();
    assert_eq!(*slow.borrow_and_update(), 10);
    assert!(!slow.has_changed().unwrap());
    // ANCHOR_END: coalesce
}

#[handler]
async fn one_event_and_no_end(res: &mut Response) {
    let event = SseEvent::default().text("1");
    sse::stream(res, once(Ok::<_, Infallible>(event)).chain(pending()));
}

#[tokio::test]
async fn a_graceful_stop_alone_cuts_a_stream_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::new(TcpAcceptor::try_from(listener).unwrap());
    let handle = server.handle();
    tokio::spawn(server.serve(Router::new().get(one_event_and_no_end)));
    let mut answer = within("a head", reqwest::get(url)).await.unwrap();
    assert!(within("an event", answer.chunk()).await.unwrap().is_some());
    handle.stop_graceful(Duration::from_millis(100));
    let end = within("the end", answer.chunk()).await;
    assert!(end.is_err(), "no last chunk, so the client cannot take it for an end");
}

/// Connects again and again until a connection has to wait, and counts those before it.
#[cfg(target_os = "linux")]
async fn connect_unaccepted(listener: &TcpListener, most: usize) -> usize {
    let addr = listener.local_addr().unwrap();
    let mut connections = Vec::new();
    while connections.len() < most
        && let Ok(connection) = tokio::time::timeout(
            Duration::from_millis(500),
            TcpStream::connect(addr),
        )
        .await
    {
        connections.push(connection.unwrap());
    }
    connections.len()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn by_default_few_connections_may_wait_to_be_accepted() {
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    // The kernel lets one connection more wait than it was asked for.
    let tokio = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    std.set_nonblocking(true).unwrap();
    for default in [tokio, TcpListener::from_std(std).unwrap()] {
        assert_eq!(connect_unaccepted(&default, 400).await, limit.min(128) + 1);
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let long = socket.listen(4_096).unwrap();
    assert_eq!(connect_unaccepted(&long, 400).await, 400.min(limit + 1));
    // To listen once more changes the number, as `chat` does.
    let again = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listen(&again, Backlog::new(4_096).unwrap()).unwrap();
    assert_eq!(connect_unaccepted(&again, 400).await, 400.min(limit + 1));
}

/// How often the kernel has sent the first packet of a connection to this port again, if the
/// connection is still waiting for an answer.
#[cfg(target_os = "linux")]
fn knocks(port: u16) -> Option<u32> {
    const SYN_SENT: &str = "02";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let to = format!(":{port:04X}");
    let mut rows =
        table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[2].ends_with(&to) && row[3] == SYN_SENT)?;
    Some(u32::from_str_radix(row[6], 16).unwrap())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_newcomer_to_a_full_backlog_knocks_every_second_at_first() {
    // An older kernel does not know this, and doubles the wait at once.
    let linear =
        std::fs::read_to_string("/proc/sys/net/ipv4/tcp_syn_linear_timeouts");
    let linear: u32 = linear.map_or(0, |count| count.trim().parse().unwrap());
    let waits: Vec<_> = (1..=linear + 2)
        .map(|knock| 1 << knock.saturating_sub(linear + 1))
        .collect();
    // A busy machine is late by itself, so a look that was disturbed is repeated.
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen = waits_of_a_newcomer(waits.len()).await;
        if seen == waits {
            return;
        }
    }
    assert_eq!(seen, waits, "seconds");
}

/// How long a newcomer to a full backlog waits before each of its knocks, in whole seconds.
#[cfg(target_os = "linux")]
async fn waits_of_a_newcomer(count: usize) -> Vec<u64> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let connection =
            within("a place in the queue", TcpStream::connect(addr)).await;
        waiting.push(connection.unwrap());
    }
    let start = Instant::now();
    let newcomer = tokio::spawn(TcpStream::connect(addr));
    let mut waits = Vec::new();
    for knock in 1..=count {
        let has_come = async || knocks(addr.port()) >= Some(knock as u32);
        until("the next knock", has_come).await;
        waits.push(start.elapsed().as_secs() - waits.iter().sum::<u64>());
    }
    newcomer.abort();
    waits
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_peer_that_answers_nothing_is_given_up_after_tcp_user_timeout() {
    let patience = Duration::from_secs(2);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&listener).set_tcp_user_timeout(Some(patience)).unwrap();
    let phone = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    fall_silent(&phone);
    let start = Instant::now();
    // A write succeeds although nobody answers.
    stream.write_all(b":\n").await.unwrap();
    let end = within("the end", stream.read(&mut [0])).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert!(start.elapsed() >= patience, "{:?}", start.elapsed());
}
