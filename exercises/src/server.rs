//! The other side of a client: a server that answers as a check says, byte for byte.
//!
//! ```ignore
//! let server = Server::start().await?;
//! let mut client = subject.run(&[&server.url("/events")])?;
//! let mut asked = server.asked().await?;
//! asked.stream("id: 7\ndata: a\n\n").await?;
//! ```

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fault::Fault;

/// How long a client may take to connect, and to send its request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the head of a request, and of its body.
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 1 << 20;

/// A server on a port of its own.
pub struct Server {
    listener: TcpListener,
    url: String,
}

/// A request, and the connection on which it came.
pub struct Asked {
    /// The request line and the header lines.
    pub head: String,
    /// As many bytes as `Content-Length` says.
    pub body: Vec<u8>,
    pub socket: TcpStream,
    /// When its connection was accepted.
    pub at: Instant,
}

impl Server {
    pub async fn start() -> Result<Self, Fault> {
        Self::at("127.0.0.1:0").await
    }

    /// A server where a program expects it that a check has not started.
    pub async fn at(addr: &str) -> Result<Self, Fault> {
        let taken = |error| Fault::unable(format_args!("{addr}: {error}"));
        let listener = TcpListener::bind(addr).await.map_err(taken)?;
        let addr = listener.local_addr().map_err(Fault::unable)?;
        Ok(Self { listener, url: format!("http://{addr}") })
    }

    /// The URL of a path on this server.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The next request, on a connection of its own, which must come.
    pub async fn asked(&self) -> Result<Asked, Fault> {
        let asked = self.asked_within(PATIENCE).await?;
        asked.ok_or_else(|| Fault::silent("a request", PATIENCE))
    }

    /// The request that comes within this time, if one does.
    pub async fn asked_within(
        &self,
        time: Duration,
    ) -> Result<Option<Asked>, Fault> {
        let Ok(accepted) = timeout(time, self.listener.accept()).await else {
            return Ok(None);
        };
        let (mut socket, _) = accepted.map_err(Fault::unable)?;
        let at = Instant::now();
        socket.set_nodelay(true).map_err(Fault::unable)?;
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
                head.push(socket.read_u8().await?);
            }
            Ok::<_, std::io::Error>(())
        };
        match timeout(PATIENCE, read).await {
            Err(_) => return Err(Fault::silent("a whole request", PATIENCE)),
            Ok(Err(error)) => {
                return Err(Fault::new("cut", "a whole request", error));
            }
            Ok(Ok(())) => {}
        }
        let head = String::from_utf8_lossy(&head).trim_end().to_string();
        let mut asked = Asked { head, body: Vec::new(), socket, at };
        let length = asked.header("content-length").and_then(|it| it.parse().ok());
        asked.body.resize(MAX_BODY.min(length.unwrap_or(0)), 0);
        match timeout(PATIENCE, asked.socket.read_exact(&mut asked.body)).await {
            Err(_) => Err(Fault::silent("a whole request", PATIENCE)),
            Ok(Err(error)) => Err(Fault::new("cut", "a whole request", error)),
            Ok(Ok(_)) => Ok(Some(asked)),
        }
    }
}

impl Asked {
    /// The value of a header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields =
            self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let found = fields.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Fault> {
        // A client that has left is seen by what it did not do.
        drop(self.socket.write_all(bytes.as_ref()).await);
        Ok(())
    }

    /// Sends the head of a stream, and the start of its body, which ends with the
    /// connection.
    pub async fn stream(&mut self, body: impl AsRef<[u8]>) -> Result<(), Fault> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    connection: close\r\n\r\n";
        self.write(head).await?;
        self.write(body).await
    }

    /// Whether the client closes the connection within this time.
    pub async fn is_left(&mut self, time: Duration) -> bool {
        timeout(time, self.socket.read(&mut [0])).await.is_ok()
    }

    /// Answers with this status and nothing else, and closes the connection.
    pub async fn answer(mut self, status: &str) -> Result<(), Fault> {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        self.write(&head).await?;
        self.close().await
    }

    /// Ends the body by closing the connection.
    pub async fn close(mut self) -> Result<(), Fault> {
        drop(self.socket.shutdown().await);
        Ok(())
    }
}
