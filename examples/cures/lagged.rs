//! A broadcast whose slow readers are told how much they missed, and go on.
//!
//!     cargo run --example cure_lagged
//!     curl -N http://127.0.0.1:8698/
//!     curl -d hello http://127.0.0.1:8698/

use std::{convert::Infallible, env, sync::LazyLock};

use salvo::{http::HeaderValue, http::ParseError, prelude::*};
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{
    BroadcastStream, errors::BroadcastStreamRecvError::Lagged,
};

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
        BroadcastStream::new(ROOM.subscribe()).map(|received| match received {
            Ok(text) => SseEvent::default().text(text),
            // Do not swallow this one (`filter_map(Result::ok)`): it is all that anybody learns
            // of the gap. What follows is the oldest message that is kept.
            Err(Lagged(count)) => {
                SseEvent::default().name("missed").text(count.to_string())
            }
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
