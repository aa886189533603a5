//! A client that sends one hostile request, and the answers that it gets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::request::{Hostile, Manner};
use crate::http::{Head, Source};

/// An answer that is this late has not come: the machine is busy, and some bodies are long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a client looks for an answer that it does not deserve.
const GLANCE: Duration = Duration::from_millis(100);
/// Within this time a server sends somebody away whose request does not go on. The programs
/// wait for 30 s, and linger for 5.
const LET_GO: Duration = Duration::from_secs(50);
/// The time between two pieces of a request that drips.
const DROP: Duration = Duration::from_millis(1);
/// How long a body waits for `100 Continue`.
const ASKED: Duration = Duration::from_millis(300);

#[derive(Debug, Default)]
pub struct Played {
    /// The one of each answer, also of one that nobody deserved.
    pub statuses: Vec<u16>,
    /// An id that the server has given out.
    pub known: Option<String>,
}

/// Plays it. If an answer that it deserves does not come, that is an error.
pub async fn play(
    addr: SocketAddr,
    hostile: &Hostile,
    played: &mut Played,
) -> Result<()> {
    let Hostile { manner, ref bytes, ref deserved, .. } = *hostile;
    if let Manner::Flood(count) = manner {
        for _ in 0..count {
            drop(connect(addr, manner).await?.write_all(bytes).await);
        }
        return Ok(());
    }
    let stream = connect(addr, manner).await?;
    let (mut read, mut write) = stream.into_split();
    let mut at = 0;
    if let Manner::Asked(head) = manner
        && write.write_all(&bytes[..head]).await.is_ok()
    {
        at = head;
        drop(timeout(ASKED, read.readable()).await);
    }
    // A server may refuse a request that it has not read to its end. Whether it may close
    // the connection as well, its answer says.
    let sending = send(&mut write, &bytes[at..], manner);
    if !deserved.is_empty() {
        let mut read = BufReader::new(read);
        let answers = timeout(PATIENCE, answers(&mut read, deserved, played));
        return tokio::select! {
            answers = answers => answers.context("no answer within 20 s")?,
            never = async { drop(sending.await); std::future::pending().await } => never,
        };
    }
    drop(timeout(PATIENCE, sending).await);
    match manner {
        Manner::Reset => read.as_ref().set_zero_linger()?,
        Manner::Deaf(time) => sleep(time).await,
        Manner::Leave => {}
        Manner::Stay { drips } => {
            let drip = async {
                while drips && write.write_all(b"x").await.is_ok() {
                    sleep(Duration::from_secs(1)).await;
                }
                std::future::pending().await
            };
            let mut rest = Vec::new();
            let end = timeout(LET_GO, async {
                tokio::select! { end = read.read_to_end(&mut rest) => end, never = drip => never }
            });
            // A reset is an end.
            drop(end.await.context("not sent away within 50 s")?);
            let head = Head::read(&mut &rest[..]).await;
            if let Ok(Some(head)) = head {
                played.statuses.push(head.status()?);
            }
        }
        _ => {
            let mut read = BufReader::new(read);
            drop(timeout(GLANCE, answers(&mut read, &[false], played)).await);
        }
    }
    Ok(())
}

async fn send(
    write: &mut OwnedWriteHalf,
    bytes: &[u8],
    manner: Manner,
) -> io::Result<()> {
    let size = if let Manner::Drip(size) = manner { size } else { usize::MAX };
    for (number, piece) in bytes.chunks(size).enumerate() {
        if number > 0 {
            sleep(DROP).await;
        }
        write.write_all(piece).await?;
    }
    if manner == Manner::HalfClose { write.shutdown().await } else { Ok(()) }
}

async fn connect(addr: SocketAddr, manner: Manner) -> Result<TcpStream> {
    let open = async {
        let socket = TcpSocket::new_v4()?;
        if let Manner::Deaf(_) = manner {
            socket.set_recv_buffer_size(2_048)?;
        }
        let stream = socket.connect(addr).await?;
        stream.set_nodelay(true)?;
        io::Result::Ok(stream)
    };
    let stream = timeout(PATIENCE, open).await;
    stream.context("no connection within 20 s")?.context("cannot connect")
}

/// Reads an answer for each of these requests, until one begins a stream, or says that it is
/// the last one.
async fn answers(
    source: Source<'_>,
    deserved: &[bool],
    played: &mut Played,
) -> Result<()> {
    for is_head in deserved {
        let (head, status) = loop {
            let head =
                Head::read(source).await?.context("closed without an answer")?;
            let status = head.status().with_context(|| format!("{head:?}"))?;
            if status >= 200 {
                break (head, status);
            }
        };
        played.statuses.push(status);
        let id = head.get("location").and_then(|to| to.rsplit('/').next());
        played.known = id.filter(|id| id.len() > 10).map(Into::into);
        if !is_head && !matches!(status, 204 | 304) {
            if head.get("content-length").is_none() {
                return Ok(());
            }
            head.body(source).await.with_context(|| format!("{head:?}"))?;
        }
        let connection = head.get("connection").unwrap_or_default();
        if connection.eq_ignore_ascii_case("close") {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::request::Kind;
    use crate::http::serve;

    /// Plays two requests, the second one a HEAD, to a server that says only this.
    async fn play_to(answers: &'static str) -> Result<Vec<u16>> {
        let addr = serve("a server", move |mut stream| async move {
            while Head::read(&mut stream)
                .await?
                .is_some_and(|head| head.get("x").is_none())
            {}
            Ok(stream.write_all(answers.as_bytes()).await?)
        });
        let bytes =
            b"GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\nx: last\r\n\r\n".to_vec();
        let deserved = vec![false, true];
        let hostile =
            Hostile { kind: Kind::Pipeline, manner: Manner::Whole, bytes, deserved };
        let mut played = Played::default();
        play(addr.await?, &hostile, &mut played).await.map(|()| played.statuses)
    }

    #[tokio::test]
    async fn each_request_that_deserves_an_answer_gets_one() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
        let leak = |texts: &[&str]| &*texts.concat().leak();
        let two = leak(&["HTTP/1.1 100 Continue\r\n\r\n", ok, "ab", ok]);
        assert_eq!(play_to(two).await.unwrap(), [200, 200]);
        let closed = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(play_to(closed).await.unwrap(), [400]);
        let stream = "HTTP/1.1 200 OK\r\n\r\ndata: a\n";
        assert_eq!(play_to(stream).await.unwrap(), [200]);
        let one = leak(&[ok, "ab"]);
        let half = leak(&[ok, "a"]);
        let none = "HTTP/1.1 100 Continue\r\n\r\n";
        for wrong in ["", one, half, none, "HTTP/1.1", "data: a\n\n"] {
            assert!(play_to(wrong).await.is_err(), "{wrong:?}");
        }
    }
}
