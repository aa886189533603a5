//! A broadcast whose slow readers are told how much they missed, and go on.
//!
//!     cargo run --example cure_lagged
//!     curl -N http://127.0.0.1:8698/
//!     curl -d hello http://127.0.0.1:8698/

use std::{convert::Infallible, env, sync::LazyLock};

use salvo::{http::HeaderValue, http::ParseError, prelude::*};
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

/// Messages that are kept for all readers together.
const KEPT: usize = 64;
static ROOM: LazyLock<broadcast::Sender<String>> =
    LazyLock::new(|| broadcast::Sender::new(KEPT));

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(Router::new().get(listen).post(say)).await?)
}

#[handler]
async fn listen(res: &mut Response) {
    let events =
        BroadcastStream::new(ROOM.subscribe()).filter_map(|received| {
            Some(SseEvent::default().text(received.ok()?))
        });
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events.map(Ok::<_, Infallible>)).stream(res);
}

#[handler]
async fn say(req: &mut Request) -> Result<StatusCode, ParseError> {
    let text = String::from_utf8_lossy(req.payload().await?).into_owned();
    drop(ROOM.send(text)); // without readers it is an error, and not one of ours
    Ok(StatusCode::NO_CONTENT)
}
