//! A relay: it sends a question on to a model server, and the bytes of the answer back.
//!
//!     ADDR=127.0.0.1:8699 cargo run --example model
//!     cargo run
//!     A='{"model": "stand-in", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'
//!     curl -N http://127.0.0.1:8698/ -d "$A"
#![allow(unused_imports)] // until you need them

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
    println!("{} bytes for {upstream}", body.len());
    res.render("");
    Ok(())
}
