//! A log that accepts everything, and keeps nothing.

use std::{convert::Infallible, env};

use futures_util::stream;
use salvo::prelude::*;

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    let router = Router::new().get(listen).post(say);
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(router).await?)
}

/// A stream of events.
#[handler]
async fn listen(res: &mut Response) {
    let events = stream::pending::<Result<SseEvent, Infallible>>();
    SseKeepAlive::new(events).stream(res);
}

/// Stores the body as an event.
#[handler]
async fn say() -> StatusCode {
    StatusCode::NO_CONTENT
}
