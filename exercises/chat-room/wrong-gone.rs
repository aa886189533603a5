//! A room whose queues have a bound: a reader who falls behind is let go, and comes back.
//!
//!     cargo run --example cure_room
//!     curl -N http://127.0.0.1:8698/
//!     curl -d hello http://127.0.0.1:8698/

use std::{convert::Infallible, env};

use parking_lot::Mutex;
use salvo::{http::HeaderValue, http::ParseError, prelude::*};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// Messages that wait for one reader: all that a slow one can cost here.
const QUEUE: usize = 64;
static ROOM: Mutex<Vec<mpsc::Sender<String>>> = Mutex::new(Vec::new());

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(Router::new().get(listen).post(say)).await?)
}

#[handler]
async fn listen(res: &mut Response) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    ROOM.lock().push(sender);
    let events =
        ReceiverStream::new(receiver).map(|text| SseEvent::default().text(text));
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events.map(Ok::<_, Infallible>)).stream(res);
}

#[handler]
async fn say(req: &mut Request) -> Result<StatusCode, ParseError> {
    let text = String::from_utf8_lossy(req.payload().await?).into_owned();
    // A queue that is full refuses, and so does that of a reader who has left. Both senders
    // are dropped here: the stream ends behind what it has, and EventSource comes back.
    for reader in ROOM.lock().iter() {
        if reader.try_send(text.clone()).is_err() {
            return Ok(StatusCode::INTERNAL_SERVER_ERROR);
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
