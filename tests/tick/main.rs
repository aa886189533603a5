//! `tick.md`: the stream of `tick`, its readers, and its cost.

mod chunks;
mod page;

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{net, thread};

use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Program, serve, until, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_stream::{StreamExt, pending};

#[tokio::test]
async fn the_bytes_are_those_of_the_transcript() {
    let tick = Program::start("tick").await;
    tick.assert_transcript("tick", "/ticks", 5).await;
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let tick = Program::start("tick").await;
    tick.assert_one_a_second("/ticks").await;
}

#[tokio::test]
async fn two_readers_count_apart() {
    let tick = Program::start("tick").await;
    let mut ann = tick.events("/ticks").await;
    assert_eq!(ann.data().await, "1");
    assert_eq!(ann.data().await, "2");
    let mut bob = tick.events("/ticks").await;
    assert_eq!(bob.data().await, "1");
    assert_eq!(ann.data().await, "3");
    assert_eq!(bob.data().await, "2");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_leaves_frees_its_stream() {
    let tick = Program::start("tick").await;
    let before = tick.sockets();
    let mut readers = Vec::new();
    for _ in 0..5 {
        let mut reader = tick.events("/ticks").await;
        assert_eq!(reader.data().await, "1");
        readers.push(reader);
    }
    assert_eq!(tick.sockets(), before + 5);
    drop(readers);
    until("the sockets are closed", async || tick.sockets() == before).await;
}

/// A stream without events. It owns a sender, whose receiver learns when it is dropped.
struct Silent(Mutex<Option<oneshot::Sender<Infallible>>>);

#[handler]
impl Silent {
    async fn handle(&self, res: &mut Response) {
        let owned = self.0.lock().unwrap().take();
        let events = pending::<Result<SseEvent, Infallible>>().map(move |event| {
            assert!(owned.is_some());
            event
        });
        sse::stream(res, events);
    }
}

/// Serves a stream without events, and returns its URL, and what learns of its end.
async fn silence() -> (String, oneshot::Receiver<Infallible>) {
    let (owned, dropped) = oneshot::channel();
    let silent = Silent(Mutex::new(Some(owned)));
    (serve(Router::new().get(silent)).await, dropped)
}

#[tokio::test]
async fn a_reader_that_leaves_is_noticed_without_a_write() {
    let (url, dropped) = silence().await;
    let answer = within("the head", reqwest::get(url)).await.unwrap();
    drop(answer);
    assert!(within("the drop", dropped).await.is_err(), "the sender is gone");
}

/// Hyper does not look for the end of a connection behind bytes that it has not read. So in
/// silence nobody notices this, and in `tick` it takes a write.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_has_sent_more_and_leaves_is_noticed_by_a_write() {
    let tick = Program::start("tick").await;
    let sockets = tick.sockets();
    let (silent, mut dropped) = silence().await;
    for url in [&silent, &format!("{}/ticks", tick.url)] {
        let (host, path) = url[7..].split_once('/').unwrap_or((&url[7..], ""));
        let mut socket = TcpStream::connect(host).await.unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nhost: test\r\n\r\n");
        socket.write_all(request.repeat(2).as_bytes()).await.unwrap();
        within("a head", socket.readable()).await.unwrap();
    }
    let noticed = timeout(Duration::from_secs(3), &mut dropped).await;
    assert!(noticed.is_err(), "{noticed:?}");
    until("the socket is closed", async || tick.sockets() == sockets).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hundred_readers_need_no_more_threads() {
    let tick = Program::start("tick").await;
    let mut first = tick.events("/ticks").await;
    first.data().await;
    let threads = tick.threads();
    let mut readers = Vec::new();
    for _ in 0..100 {
        let mut reader = tick.events("/ticks").await;
        assert_eq!(reader.data().await, "1");
        readers.push(reader);
    }
    assert_eq!(tick.threads(), threads);
}

/// A handler that holds its thread until it is told to stop.
struct Holds {
    entered: mpsc::SyncSender<()>,
    stop: Arc<AtomicBool>,
}

#[handler]
impl Holds {
    async fn handle(&self) {
        self.entered.send(()).unwrap();
        while !self.stop.load(Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Its readers are blocking sockets: in the runtime, nothing moves any more.
#[test]
fn handlers_that_hold_all_threads_leave_none_for_the_next_reader() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (entered, enters) = mpsc::sync_channel(3);
    let stop = Arc::new(AtomicBool::new(false));
    let holds = Holds { entered, stop: stop.clone() };
    let url = runtime.block_on(serve(Router::new().get(holds)));
    let ask = || {
        let mut socket = net::TcpStream::connect(&url["http://".len()..]).unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: tick\r\n\r\n").unwrap();
        socket
    };
    let _readers = [ask(), ask()];
    for _ in 0..2 {
        enters.recv_timeout(tests::PATIENCE).expect("a handler is entered");
    }
    let mut late = ask();
    late.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let answer = late.read(&mut [0]).expect_err("nobody answers");
    assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&answer.kind()));
    assert!(enters.try_recv().is_err(), "its handler is not entered");
    stop.store(true, Relaxed);
    enters.recv_timeout(tests::PATIENCE).expect("now there is a thread for it");
}
