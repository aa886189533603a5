//! A relay that stops its upstream: when the reader leaves, it leaves, too.
//!
//!     ADDR=127.0.0.1:8699 cargo run --example model
//!     cargo run --example cure_relay
//!     A='{"model": "stand-in", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'
//!     curl -N http://127.0.0.1:8698/ -d "$A"

use std::env;

use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use salvo::prelude::*;

const UPSTREAM: &str = "http://127.0.0.1:8699/v1/chat/completions";

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(Router::new().post(relay)).await?)
}

#[handler]
async fn relay(req: &mut Request, res: &mut Response) -> Result<(), StatusError> {
    let too_long = |why| StatusError::payload_too_large().cause(why);
    let body = req.payload().await.map_err(too_long)?.clone();
    let upstream = env::var("UPSTREAM").unwrap_or_else(|_| UPSTREAM.into());
    let post = reqwest::Client::new().post(upstream).body(body);
    let answer = post.header(CONTENT_TYPE, "application/json").send().await;
    let answer = answer.map_err(|why| StatusError::bad_gateway().cause(why))?;
    res.status_code(answer.status());
    let kind = answer.headers().get(CONTENT_TYPE).cloned();
    res.headers_mut().extend(kind.map(|kind| (CONTENT_TYPE, kind)));
    res.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    let mut sender = res.channel();
    let mut answer = answer;
    tokio::spawn(async move {
        while let Ok(Some(bytes)) = answer.chunk().await {
            drop(sender.send_data(bytes).await);
        }
    });
    Ok(())
}
