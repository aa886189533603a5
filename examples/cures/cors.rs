//! A stream for pages of one other origin, and for no third one.
//!
//!     cargo run --example cure_cors
//!     curl -N -i http://127.0.0.1:8698/ -H 'Origin: http://localhost:5173'

use std::{convert::Infallible, env, time::Duration};

use salvo::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue, ORIGIN, VARY};
use salvo::prelude::*;
use tokio::time::interval;
use tokio_stream::{StreamExt, wrappers::IntervalStream};

/// Where the pages come from: scheme, host and port, without a slash at the end.
const PAGES: &str = "http://localhost:5173";

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(Router::new().hoop(cors).get(ticks)).await?)
}

/// Runs before the handler, and could stand before many.
#[handler]
async fn cors(req: &Request, res: &mut Response) {
    let pages = env::var("PAGES").unwrap_or_else(|_| PAGES.into());
    // The answer differs by origin: a cache must not give one's answer to another.
    res.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    // Not `*`, which admits every page, nor an `Origin` that is sent back unseen.
    let origin = req.headers().get(ORIGIN);
    if let Some(origin) = origin.filter(|origin| **origin == pages) {
        res.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

#[handler]
async fn ticks(res: &mut Response) {
    let events = IntervalStream::new(interval(Duration::from_secs(1)))
        .map(|_| Ok::<_, Infallible>(SseEvent::default().text("tick")));
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events).stream(res);
}
