//! The least this machine can do: tokio's bare sockets, the HTTP head answered by hand,
//! a message encoded once and written to each reader with one system call.
//! Left out: everything that a framework is for. A reader whose kernel buffer is full is
//! cut off.

use std::collections::HashMap;
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};
use std::{env, io, str, time::Duration};

use parking_lot::Mutex;
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HEARTBEAT: Duration = Duration::from_secs(15);
/// A request (head and body) that is longer is refused.
const MAX_REQUEST: usize = 16 << 10;

#[tokio::main]
async fn main() -> io::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let room = Arc::new(Room::default());
    tokio::spawn(heartbeat(room.clone()));
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, room.clone()));
    }
}

/// One connection: any number of POSTs, then perhaps a GET, which stays.
async fn serve(mut stream: TcpStream, room: Arc<Room>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buf = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buf).await? {
        match request {
            Request::Join => {
                drop(buf);
                return room.join(stream).await;
            }
            Request::Say { user, text } => {
                let status = if room.say(user, &text) {
                    "204 No Content"
                } else {
                    "404 Not Found\r\ncontent-length: 0"
                };
                let head = format!("HTTP/1.1 {status}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
            }
        }
    }
    Ok(())
}

enum Request {
    Join,
    Say { user: u64, text: String },
}

async fn read_request(
    stream: &mut TcpStream,
    buf: &mut Vec<u8>,
) -> io::Result<Option<Request>> {
    loop {
        if let Some(end) = buf.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = str::from_utf8(&buf[..end]).map_err(io::Error::other)?;
            if head.starts_with("GET /chat") {
                return Ok(Some(Request::Join));
            }
            let (user, length) =
                parse_post(head).ok_or_else(|| io::Error::other("bad request"))?;
            if let Some(body) = buf.get(end + 4..end + 4 + length) {
                let text = String::from_utf8_lossy(body).into_owned();
                buf.drain(..end + 4 + length);
                return Ok(Some(Request::Say { user, text }));
            }
        }
        if buf.len() > MAX_REQUEST {
            return Err(io::Error::other("request too long"));
        }
        if stream.read_buf(buf).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse_post(head: &str) -> Option<(u64, usize)> {
    let user = head.strip_prefix("POST /chat/")?.split(' ').next()?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })?;
    (length <= MAX_REQUEST).then_some((user, length))
}

#[derive(Default)]
struct Room {
    users: AtomicU64,
    messages: AtomicU64,
    readers: Mutex<HashMap<u64, Arc<TcpStream>>>,
}

impl Room {
    /// Stays until the reader closes: what else it sends is not read as a request.
    async fn join(&self, mut stream: TcpStream) -> io::Result<()> {
        let user = self.users.fetch_add(1, Relaxed) + 1;
        let hello = chunk(&format!("event: user\ndata: {user}\n\n"));
        let head = "HTTP/1.1 200 OK\r\n\
             content-type: text/event-stream\r\n\
             cache-control: no-store\r\n\
             transfer-encoding: chunked\r\n\r\n";
        stream.write_all(&[head.as_bytes(), &hello].concat()).await?;
        let stream = Arc::new(stream);
        self.readers.lock().insert(user, stream.clone());
        let end = closed(&stream).await;
        self.readers.lock().remove(&user);
        end
    }

    /// Whether there is such a user.
    fn say(&self, from: u64, text: &str) -> bool {
        if !self.readers.lock().contains_key(&from) {
            return false;
        }
        let id = self.messages.fetch_add(1, Relaxed) + 1;
        let frame = chunk(&format!("id: {id}\ndata: <User#{from}>: {text}\n\n"));
        self.send(&frame, |user| user != from);
        true
    }

    fn send(&self, frame: &[u8], to: impl Fn(u64) -> bool) {
        for (_, stream) in self.readers.lock().iter().filter(|(user, _)| to(**user))
        {
            // Half a frame would garble the stream, so that reader is cut off. Its task
            // sees the end and removes it.
            if stream.try_write(frame).ok() != Some(frame.len()) {
                let _ = shutdown(stream, Shutdown::Both);
            }
        }
    }
}

async fn closed(stream: &TcpStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match stream.try_read(&mut [0; 64]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(error);
            }
            _ => {}
        }
    }
}

/// A comment to everybody when nobody has spoken for a while.
async fn heartbeat(room: Arc<Room>) {
    let mut seen = 0;
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let messages = room.messages.load(Relaxed);
        if messages == seen {
            room.send(&chunk(":\n\n"), |_| true);
        }
        seen = messages;
    }
}

fn chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}
