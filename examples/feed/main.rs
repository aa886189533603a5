//! A log of events that readers follow without losing one: cut the network, kill this
//! program in the middle of a write, or send its readers to another server, and each of
//! them sees every event once, in order.
//!
//!     cargo run --example feed
//!     curl -N http://127.0.0.1:8698/events
//!     curl http://127.0.0.1:8698/events --json '{"type": "note", "data": "hello"}'
//!
//! Or open http://127.0.0.1:8698/. The events are in `FEED_DIR` (default: `feed-data`), or
//! in Redis, where any number of servers can share them:
//!
//!     REDIS_URL=redis://127.0.0.1 cargo run --example feed
//!
//! `FEED_KEEP` is how many events are kept, `FEED_AGE` how many seconds. Chapters 8 and 14 of the
//! book explain it. Left out: more feeds than one, users, and who may read or write what.
//!
//! This file starts and stops the program; `http.rs` answers requests; `edge.rs` keeps
//! strangers from holding it up; `reader.rs` has the streams; `log.rs` says what a log is;
//! `store.rs` and the files below it keep one.

use std::{env, io, process::ExitCode, sync::Arc, time::Duration};

use tokio::net::{TcpSocket, lookup_host};
use tokio::signal;

mod disk;
pub mod edge;
mod http;
mod log;
mod log_file;
mod reader;
mod redis_connections;
mod redis_streams;
mod store;

use disk::Disk;
use edge::Limits;
use log::Retention;
use reader::{Feed, MAX_READERS};
use redis_streams::RedisStreams;
use store::Store;

/// Files that are open besides the connections of clients: the log, or connections to Redis.
const FILES: usize = 64;
/// Connections that may wait to be accepted, as when all readers come back at once.
const BACKLOG: u32 = 4_096;
/// How long the streams may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    if let Err(why) = run().await {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

pub async fn run() -> Result<(), String> {
    let limits = Limits::raise(MAX_READERS, FILES).map_err(|why| why.to_string())?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listen =
        |error| format!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
    let socket = bind(&addr).await.map_err(listen)?;
    let feed = open(limits.streams).await?;
    // On a worker thread, like the streams: see `chat`.
    let served = tokio::spawn(serve(socket, feed, limits)).await;
    served.map_err(io::Error::other).flatten().map_err(listen)
}

async fn bind(addr: &str) -> io::Result<TcpSocket> {
    let addr =
        lookup_host(addr).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket =
        if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

async fn serve(
    socket: TcpSocket,
    feed: Arc<Feed>,
    limits: Limits,
) -> io::Result<()> {
    let listener = socket.listen(BACKLOG)?;
    let stopped = stop_signal()?; // before the line below: a script may answer it at once
    println!("listening on http://{}", listener.local_addr()?);
    let server = edge::server(listener, &limits, feed.stop.clone())?;
    let handle = server.handle();
    let router = http::router(feed.clone());
    let stop = async {
        stopped.await;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        feed.stop.cancel();
        Ok(())
    };
    tokio::try_join!(server.try_serve(router), stop).map(|_| ())
}

/// Listens from now on for Ctrl-C and SIGTERM. The future waits for the first of them.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut ctrl_c = signal::unix::signal(signal::unix::SignalKind::interrupt())?;
    #[cfg(unix)]
    let mut stop = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    #[cfg(windows)]
    let mut ctrl_c = signal::windows::ctrl_c()?;
    #[cfg(windows)]
    let mut stop = signal::windows::ctrl_shutdown()?;
    Ok(async move {
        tokio::select! { _ = ctrl_c.recv() => {}, _ = stop.recv() => {} }
    })
}

/// Opens the store that the environment names, for so many readers.
async fn open(readers: usize) -> Result<Arc<Feed>, String> {
    let retention = Retention {
        keep: number("FEED_KEEP", 1_000_000)? as usize,
        age: Duration::from_secs(number("FEED_AGE", 7 * 24 * 60 * 60)?),
    };
    let (store, tail) = match env::var("REDIS_URL") {
        Ok(url) => {
            let (redis, tail) = RedisStreams::open(&url, retention).await?;
            (Store::Redis(redis), tail)
        }
        Err(_) => {
            let dir = env::var("FEED_DIR").unwrap_or_else(|_| "feed-data".into());
            let (disk, tail) = Disk::open(dir.as_ref(), retention)?;
            (Store::Disk(disk), tail)
        }
    };
    Ok(Arc::new(Feed::new(store, tail, readers)))
}

/// Reads a number, from 1 on, from the environment.
fn number(name: &str, default: u64) -> Result<u64, String> {
    let Ok(text) = env::var(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=1 << 32).contains(number));
    number.ok_or_else(|| {
        format!("{name} is no number from 1 to {}: {text}", 1u64 << 32)
    })
}
