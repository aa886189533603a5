//! `slow.md`: how Tokio's channels treat a receiver that is too slow, how Salvo stops a
//! stream that does not end, and how many connections may wait.

use std::convert::Infallible;
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::sys::socket::{Backlog, listen};
use salvo::conn::tcp::TcpAcceptor;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::within;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::{StreamExt, once, pending};

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
    let default = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(connect_unaccepted(&default, 400).await, limit.min(128) + 1);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let long = socket.listen(4_096).unwrap();
    assert_eq!(connect_unaccepted(&long, 400).await, 400.min(limit + 1));
    // To listen once more changes the number, as `chat` does.
    let again = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listen(&again, Backlog::new(4_096).unwrap()).unwrap();
    assert_eq!(connect_unaccepted(&again, 400).await, 400.min(limit + 1));
}
