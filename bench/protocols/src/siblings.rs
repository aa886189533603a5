//! One stream that nobody reads, among siblings on the same connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{sleep, timeout};

use crate::client::{Connection, Options, Protocol};
use crate::link::{Line, Link};
use crate::server;

/// The siblings' events in a second: before, while the others were unread, and
/// after these were let go.
pub struct Seen {
    pub before: u64,
    pub during: u64,
    /// Whether a new request was answered meanwhile.
    pub answers: bool,
    pub after: u64,
}

const SIBLINGS: usize = 5;
/// The window of a stream and of a connection that the standards of HTTP/2 begin with.
pub const STANDARD: (u32, u32) = (65_535, 65_535);

/// Opens siblings and then streams with much to say that nobody reads.
pub fn run(
    protocol: Protocol,
    windows: Option<(u32, u32)>,
    unread: usize,
) -> Result<Seen> {
    let link = Link::new(Line::default());
    let server = server::start(&link, true)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = Options { windows, ..Options::default() };
        let open =
            async || Connection::open(protocol, server.address, options).await;
        let mut connections = vec![open().await?];
        let mut get = async |path| {
            if protocol == Protocol::Http1 {
                connections.push(open().await?);
            }
            connections.last_mut().expect("one").get(path).await
        };
        let count = Arc::new(AtomicU64::new(0));
        for _ in 0..SIBLINGS {
            let mut body = get("/events?every=20").await?;
            let count = count.clone();
            tokio::spawn(async move {
                while let Ok(Some(_)) = body.next().await {
                    count.fetch_add(1, Relaxed);
                }
            });
        }
        let second = async || {
            let before = count.load(Relaxed);
            sleep(Duration::from_secs(1)).await;
            count.load(Relaxed) - before
        };
        let before = second().await;
        // Over HTTP/3 heads need a window, too: where it is full, no answer comes.
        let second_at_most = Duration::from_secs(1);
        let mut left = vec![];
        for _ in 0..unread {
            let get = get("/events?every=1&bytes=20000");
            if let Ok(body) = timeout(second_at_most, get).await {
                left.push(body?);
            }
        }
        // A window of 5 MB is full after less than a second of 20 MB.
        sleep(Duration::from_secs(3)).await;
        let during = second().await;
        let answers = timeout(second_at_most, get("/events?every=20")).await.is_ok();
        drop(left);
        sleep(Duration::from_millis(200)).await;
        let after = second().await;
        Ok(Seen { before, during, answers, after })
    })
}

/// The rows of the table: HTTP/1.1 has no windows of its own.
pub fn rows() -> Result<String> {
    let mut table = String::new();
    for (protocol, windows, unread) in [
        (Protocol::Http1, None, 3),
        (Protocol::Http2, Some(STANDARD), 1),
        (Protocol::Http2, None, 1),
        (Protocol::Http2, None, 3),
        (Protocol::Http3, Some(STANDARD), 1),
        (Protocol::Http3, None, 1),
        (Protocol::Http3, None, 3),
    ] {
        let seen = run(protocol, windows, unread)?;
        let windows = match (protocol, windows) {
            (Protocol::Http1, _) => "–",
            (_, Some(_)) => "64 KiB, 64 KiB",
            (Protocol::Http2, None) => "2 MiB, 5 MiB",
            (Protocol::Http3, None) => "1250 kB, ∞",
        };
        let Seen { before, during, answers, after } = seen;
        let answers = if answers { "✓" } else { "–" };
        table += &format!(
            "| {protocol} | {windows} | {unread} | {before} | {during} | {answers} | {after} |\n"
        );
    }
    Ok(table)
}
