//! The least that this machine can do without a feed: bare files and bare sockets.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::client::encoded;
use crate::http::{Head, chunked, serve};
use crate::statistics::ms;

/// Bytes that the feed writes at once to a reader who is behind.
const CHUNK: usize = 32 << 10;

/// Does this so often, with a pause after each time. Returns how many ms each took.
pub fn timed(
    times: usize,
    pause: Duration,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Vec<f64>> {
    let timed = (0..times).map(|_| {
        let start = Instant::now();
        work()?;
        let time = ms(start.elapsed());
        sleep(pause);
        Ok(time)
    });
    timed.collect()
}

/// Appends groups of events to a file, each synced to disk.
pub fn append(
    dir: &Path,
    groups: usize,
    size: usize,
    pause: Duration,
) -> Result<Vec<f64>> {
    let mut file =
        File::options().create(true).append(true).open(dir.join("floor"))?;
    let group = encoded(0, "1764001234567-0").repeat(size);
    timed(groups, pause, || {
        file.write_all(group.as_bytes())?;
        Ok(file.sync_data()?)
    })
}

/// A server that sends these events to whoever connects, from memory.
pub async fn sockets(events: usize) -> Result<SocketAddr> {
    let response = Arc::<[_]>::from(response(events));
    serve("the bare socket", move |stream| send(stream, response.clone())).await
}

/// The answer is the same to every request. To close with bytes unread would reset the
/// connection.
async fn send(
    mut stream: BufReader<TcpStream>,
    response: Arc<[String]>,
) -> Result<()> {
    stream.get_ref().set_nodelay(true)?;
    Head::read(&mut stream).await?;
    for piece in &*response {
        stream.write_all(piece.as_bytes()).await?;
    }
    Ok(())
}

/// The head, then each piece as one write has it.
fn response(events: usize) -> Vec<String> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let mut pieces = vec![head.to_string(), chunked("retry: 1000\n\n")];
    let mut piece = String::new();
    for number in 0..events {
        piece += &encoded(number, &format!("1764001234567-{number}"));
        if piece.len() > CHUNK || number + 1 == events {
            pieces.push(chunked(&piece));
            piece.clear();
        }
    }
    pieces
}
