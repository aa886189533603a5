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

/// An answer: a log, to which one task appends, and from which any number of readers read.
#[derive(Default)]
struct Log {
    events: Vec<SseEvent>,
    is_over: bool,
}

/// Whoever waits for the log to change is woken.
type Answer = watch::Sender<Log>;

/// All answers. The place of one, counted from 1, is its id.
static ANSWERS: Mutex<Vec<Arc<Answer>>> = Mutex::new(Vec::new());

#[handler]
async fn ask(req: &mut Request, res: &mut Response) -> Result<(), StatusError> {
    let bad = |why| StatusError::bad_request().cause(why);
    let question: Value = req.parse_json().await.map_err(bad)?;
    println!("asked: {}", question["prompt"]);
    res.render(Json(json!({})));
    Ok(())
}

#[handler]
async fn listen(req: &mut Request, res: &mut Response) -> Result<(), StatusError> {
    let id: usize = req.param("id").unwrap_or_default();
    let answers = ANSWERS.lock();
    let answer = id.checked_sub(1).and_then(|place| answers.get(place));
    let log = answer.ok_or_else(StatusError::not_found)?.subscribe();
    let position = 0;
    // Here the events of the log will be sent.
    let _ = (log, position);
    Ok(())
}

/// Writes an answer.
async fn write(answer: &Answer, prompt: &Value) {
    if let Err(why) = read(answer, prompt).await {
        println!("{why}");
    }
}

type Failure = Box<dyn Error + Send + Sync>;

/// Reads the answer of the model server to its end, and returns why the model has stopped.
async fn read(answer: &Answer, prompt: &Value) -> Result<String, Failure> {
    let _ = (answer, prompt);
    Err("nothing is read yet".into())
}
