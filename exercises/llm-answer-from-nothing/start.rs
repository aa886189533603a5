//! An answer of a language model that outlives its connection: yours.
//!
//!     ADDR=127.0.0.1:8699 cargo run --example model
//!     cargo run --example llm_small
//!     curl -i http://127.0.0.1:8698/answers --json '{"prompt": "What is a heartbeat?"}'
//!     curl -N http://127.0.0.1:8698/answers/1
//!
//! Or open http://127.0.0.1:8698/.

#![allow(dead_code, unused_imports)] // until you need them

use std::{convert::Infallible, env, error::Error, sync::Arc, time::Duration};

use futures_util::stream;
use parking_lot::Mutex;
use salvo::http::header::{HeaderValue, LOCATION};
use salvo::prelude::*;
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

/// How long an answer is written that nobody reads: enough for a reload.
const GRACE: Duration = Duration::from_secs(5);
/// Answers that are kept, until the program ends.
const MAX_ANSWERS: usize = 1_000;

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    let one = Router::with_path("{id}").get(listen);
    let answers = Router::with_path("answers").post(ask).push(one);
    let router = Router::new().get(page).push(answers);
    Ok(Server::new(acceptor).try_serve(router).await?)
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

#[handler]
async fn ask(req: &mut Request, res: &mut Response) -> Result<(), StatusError> {
    let bad = |why| StatusError::bad_request().cause(why);
    let question: Value = req.parse_json().await.map_err(bad)?;
    println!("asked for {}", question["prompt"]);
    res.render(Json(json!({})));
    Ok(())
}

#[handler]
async fn listen(req: &mut Request, res: &mut Response) -> Result<(), StatusError> {
    let id: usize = req.param("id").unwrap_or_default();
    println!("asked for the answer {id}");
    let events = stream::empty::<Result<SseEvent, Infallible>>();
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events).stream(res);
    Ok(())
}
