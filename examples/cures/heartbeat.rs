//! A stream that has nothing to say, and stays alive: a comment fills each silence.
//!
//!     cargo run --example cure_heartbeat
//!     curl -N http://127.0.0.1:8698/

use std::{convert::Infallible, env, time::Duration};

use salvo::{http::HeaderValue, prelude::*};

/// Proxies cut silent connections, many after 60 seconds, some after 30.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(Router::new().get(listen)).await?)
}

#[handler]
async fn listen(res: &mut Response) {
    // Your own stream goes here; this one never has an event.
    let events = tokio_stream::pending::<Result<SseEvent, Infallible>>();
    // Without this line nginx would collect the comments, too, before it sends any.
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events).max_interval(HEARTBEAT).stream(res);
}
