//! The least that a framework on top of hyper can do: a message is encoded once, as
//! `Bytes`, and goes through one bounded broadcast channel to every reader.
//! The streaming body is as in the `send_file` example of hyper.

use std::collections::HashSet;
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};
use std::{convert::Infallible, env, io, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, Sleep, sleep};

/// Messages that a reader can be behind before it misses some.
const QUEUE: usize = 128;
const HEARTBEAT: Duration = Duration::from_secs(15);
const MAX_MESSAGE: usize = 4096;

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[tokio::main]
async fn main() -> io::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let room = Arc::new(Room {
        users: Mutex::default(),
        last_user: AtomicU64::new(0),
        last_message: AtomicU64::new(0),
        messages: broadcast::Sender::new(QUEUE),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let room = room.clone();
        let answer = service_fn(move |request| answer(request, room.clone()));
        tokio::spawn(
            http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
        );
    }
}

async fn answer(
    request: Request<Incoming>,
    room: Arc<Room>,
) -> Result<Response<Body>, hyper::http::Error> {
    let path = request.uri().path();
    match (request.method(), path.strip_prefix("/chat")) {
        (&Method::GET, Some("")) => Response::builder()
            .header("content-type", "text/event-stream")
            .header("cache-control", "no-cache")
            .body(listen(room)),
        (&Method::POST, Some(id)) => {
            let from = id.trim_start_matches('/').parse().unwrap_or_default();
            let body =
                Limited::new(request.into_body(), MAX_MESSAGE).collect().await;
            let status = match body {
                Ok(body) => {
                    room.say(from, &String::from_utf8_lossy(&body.to_bytes()))
                }
                Err(_) => StatusCode::BAD_REQUEST,
            };
            Response::builder().status(status).body(Empty::new().boxed_unsync())
        }
        _ => Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(Empty::new().boxed_unsync()),
    }
}

fn listen(room: Arc<Room>) -> Body {
    let reader = room.join();
    let hello = format!("event: user\ndata: {}\n\n", reader.user).into();
    let frames = stream::unfold(reader, |mut reader| async {
        let frame = reader.next().await?;
        Some((frame, reader))
    });
    let frames = stream::iter([hello]).chain(frames);
    StreamBody::new(frames.map(|frame| Ok(Frame::data(frame)))).boxed_unsync()
}

struct Room {
    users: Mutex<HashSet<u64>>,
    last_user: AtomicU64,
    last_message: AtomicU64,
    /// Each with the user that it comes from.
    messages: broadcast::Sender<(u64, Bytes)>,
}

impl Room {
    fn join(self: Arc<Self>) -> Reader {
        let user = self.last_user.fetch_add(1, Relaxed) + 1;
        self.users.lock().insert(user);
        let messages = self.messages.subscribe();
        Reader { room: self, user, messages, silence: Box::pin(sleep(HEARTBEAT)) }
    }

    fn say(&self, from: u64, text: &str) -> StatusCode {
        if !self.users.lock().contains(&from) {
            return StatusCode::NOT_FOUND;
        }
        let id = self.last_message.fetch_add(1, Relaxed) + 1;
        let event = format!("id: {id}\ndata: <User#{from}>: {text}\n\n");
        // An error says that nobody listens.
        let _ = self.messages.send((from, event.into()));
        StatusCode::NO_CONTENT
    }
}

struct Reader {
    room: Arc<Room>,
    user: u64,
    messages: broadcast::Receiver<(u64, Bytes)>,
    silence: Pin<Box<Sleep>>,
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        let frame = loop {
            tokio::select! {
                biased;
                message = self.messages.recv() => match message {
                    Ok((from, frame)) if from != self.user => break frame,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                () = self.silence.as_mut() => break Bytes::from_static(b":\n\n"),
            }
        };
        self.silence.as_mut().reset(Instant::now() + HEARTBEAT);
        Some(frame)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.room.users.lock().remove(&self.user);
    }
}
