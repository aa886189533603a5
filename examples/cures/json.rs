//! Words with spaces and line breaks at their ends, whole: each is a text of JSON.
//!
//!     cargo run --example cure_json
//!     curl -N http://127.0.0.1:8698/
//!
//! In the page: `source.onmessage = (event) => { text += JSON.parse(event.data); };`

use std::{env, time::Duration};

use salvo::{http::HeaderValue, prelude::*};
use tokio_stream::{StreamExt, iter, pending};

/// As a language model writes them. Bare, the `\r` would arrive as a line break, and a client
/// that trims its lines would glue the rest together.
const TOKENS: [&str; 6] = ["if", " x", " {\n", "    y", ";\r\n", "}"];

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(Router::new().get(answer)).await?)
}

#[handler]
async fn answer(res: &mut Response) {
    let tokens = iter(TOKENS).throttle(Duration::from_millis(100)).chain(pending());
    let events = tokens.map(|token| SseEvent::default().json(token));
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events).stream(res);
}
