//! As much HTTP/1.1 as the model server, the readers and the writers need, over raw
//! sockets: ten thousand readers have to cost less than the server.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy,
    sink,
};
use tokio::net::{TcpListener, TcpStream};

use crate::scan::{Block, Scanner};

/// The bytes of a connection that is read line by line.
pub type Source<'a> = &'a mut (dyn AsyncBufRead + Send + Unpin);

/// The head of a request or a response.
#[derive(Debug)]
pub struct Head {
    /// The request line, or the status line.
    pub start: String,
    fields: Vec<String>,
}

impl Head {
    /// `None` if the other side has closed the connection before.
    pub async fn read(stream: Source<'_>) -> Result<Option<Self>> {
        let Some(start) = line(stream).await? else { return Ok(None) };
        let mut head = Self { start, fields: Vec::new() };
        loop {
            let field = line(stream).await?.context("a head without an end")?;
            if field.is_empty() {
                return Ok(Some(head));
            }
            head.fields.push(field);
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let mut fields =
            self.fields.iter().filter_map(|field| field.split_once(':'));
        let field = fields.find(|(n, _)| n.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.trim())
    }

    pub fn status(&self) -> Result<u16> {
        let status = self.start.strip_prefix("HTTP/1.");
        let status = status.and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        status.with_context(|| format!("{:?} is no answer", self.start))
    }

    /// Reads a body that has a length. A stream of events has none.
    pub async fn body(&self, stream: Source<'_>) -> Result<Vec<u8>> {
        let length = self.get("content-length").unwrap_or("0");
        let mut body = vec![0; length.parse().context("content-length")?];
        stream.read_exact(&mut body).await?;
        Ok(body)
    }
}

/// The next piece of a body that is sent in chunks; `None` at its end.
pub async fn chunk(stream: Source<'_>) -> Result<Option<Vec<u8>>> {
    let size = line(stream).await?.context("the connection broke off")?;
    let size = usize::from_str_radix(&size, 16)
        .with_context(|| format!("{size:?} is not the size of a chunk"))?;
    let mut data = vec![0; size];
    stream.read_exact(&mut data).await?;
    let end = line(stream).await?;
    ensure!(end.as_deref() == Some(""), "a chunk of {size} bytes has more");
    Ok((size > 0).then_some(data))
}

/// This text as one chunk.
pub fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

async fn line(stream: Source<'_>) -> Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    ensure!(line.ends_with('\n'), "a line broke off: {line:?}");
    line.truncate(line.trim_end().len());
    Ok(Some(line))
}

/// A request for a stream. `more` are further lines of its head.
fn get(addr: SocketAddr, path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: text/event-stream\r\n{more}\r\n"
    )
}

/// Starts a server on a free port, which answers on each connection like this.
pub async fn serve<A: Future<Output = Result<()>> + Send + 'static>(
    name: &'static str,
    answer: impl Fn(BufReader<TcpStream>) -> A + Send + 'static,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer(BufReader::new(stream));
            tokio::spawn(async move {
                if let Err(error) = answer.await {
                    eprintln!("{name}, on one connection: {error:#}");
                }
            });
        }
    });
    Ok(addr)
}

/// A connection that is kept for several requests.
pub struct Connection {
    addr: SocketAddr,
    pub stream: BufReader<TcpStream>,
}

impl Connection {
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { addr, stream: BufReader::new(stream) })
    }

    /// Asks for a stream, of which the caller reads the body.
    pub async fn get(&mut self, path: &str) -> Result<Head> {
        self.ask(&get(self.addr, path, ""), "200").await
    }

    pub async fn post(
        &mut self,
        path: &str,
        kind: &str,
        body: &str,
        status: &str,
    ) -> Result<Head> {
        self.send("POST", path, kind, body, status).await
    }

    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
        status: &str,
    ) -> Result<Head> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        );
        self.ask(&request, status).await
    }

    /// The head of the response; a body that has a length is read, so that the next request
    /// may follow. A status that does not begin like this is an error, which says what the
    /// server answered.
    async fn ask(&mut self, request: &str, status: &str) -> Result<Head> {
        self.stream.write_all(request.as_bytes()).await?;
        let head = Head::read(&mut self.stream).await?.context("no response")?;
        let body = head.body(&mut self.stream).await;
        let body = body.with_context(|| format!("in the body of {}", head.start))?;
        if !head.status()?.to_string().starts_with(status) {
            let asked = request.lines().next().unwrap_or_default();
            bail!("{asked}: {}: {}", head.start, String::from_utf8_lossy(&body));
        }
        Ok(head)
    }
}

/// A stream of events.
pub struct Events {
    stream: TcpStream,
    scanner: Scanner,
    room: usize,
}

impl Events {
    /// Asks for a stream, of which up to `room` bytes are read at a time.
    pub async fn open(
        addr: SocketAddr,
        path: &str,
        more: &str,
        room: usize,
    ) -> Result<Self> {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(get(addr, path, more).as_bytes()).await?;
        Ok(Self { stream, scanner: Scanner::default(), room })
    }

    /// Waits for more of the stream. Its end is an error: no stream here has one.
    pub async fn read(&mut self) -> Result<()> {
        let read = self.stream.read_buf(self.scanner.room(self.room)).await?;
        ensure!(read > 0, "the server ended a stream");
        Ok(())
    }

    /// Takes the rest of the stream without a look at it.
    pub async fn ignore(mut self) -> std::io::Result<u64> {
        copy(&mut self.stream, &mut sink()).await
    }

    /// The next block of what was read.
    pub fn next(&mut self) -> Result<Option<Block<'_>>> {
        self.scanner.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_head_ends_at_its_empty_line_and_a_body_at_its_length() {
        let mut stream: &[u8] =
            b"HTTP/1.1 201 Created\r\nLocation: answers/7\r\nContent-Length: 2\r\n\r\n{}2\r\nab\r\n0\r\n\r\n";
        let head = Head::read(&mut stream).await.unwrap().unwrap();
        assert_eq!(head.start, "HTTP/1.1 201 Created");
        assert_eq!(head.get("location"), Some("answers/7"));
        assert_eq!(head.body(&mut stream).await.unwrap(), b"{}");
        assert_eq!(chunk(&mut stream).await.unwrap().unwrap(), b"ab");
        assert_eq!(chunk(&mut stream).await.unwrap(), None);
        assert!(Head::read(&mut stream).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_head_or_a_chunk_that_breaks_off_is_an_error() {
        assert!(Head::read(&mut b"HTTP/1.1 200 OK\r\n".as_slice()).await.is_err());
        for broken in ["", "5", "5\r\nab", "1\r\nab\r\n", "x\r\n", "0\r\n"] {
            assert!(chunk(&mut broken.as_bytes()).await.is_err(), "{broken:?}");
        }
    }
}
