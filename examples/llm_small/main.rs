//! The smallest `llm`: an answer of a language model that outlives its connection.
//!
//!     ADDR=127.0.0.1:8699 cargo run --example model
//!     cargo run --example llm_small
//!     curl -i http://127.0.0.1:8698/answers --json '{"prompt": "What is a heartbeat?"}'
//!     curl -N http://127.0.0.1:8698/answers/1
//!
//! Or open http://127.0.0.1:8698/. Chapter 7 of the book builds it, and says what `llm` has
//! besides: limits, keys, secret ids, the oddities of real model servers, and a clean stop.

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

// ANCHOR: answer
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
// ANCHOR_END: answer

// ANCHOR: ask
#[handler]
async fn ask(req: &mut Request, res: &mut Response) -> Result<(), StatusError> {
    let bad = |why| StatusError::bad_request().cause(why);
    let question: Value = req.parse_json().await.map_err(bad)?;
    let answer = Arc::<Answer>::default();
    let id = {
        let mut answers = ANSWERS.lock();
        if answers.len() == MAX_ANSWERS {
            return Err(StatusError::service_unavailable());
        }
        answers.push(answer.clone());
        answers.len()
    };
    // The task outlives this request: nobody waits for its end.
    tokio::spawn(async move { write(&answer, &question["prompt"]).await });
    res.status_code(StatusCode::CREATED);
    let location = HeaderValue::try_from(format!("answers/{id}"));
    res.headers_mut().extend(location.map(|location| (LOCATION, location)));
    res.render(Json(json!({ "id": id.to_string() })));
    Ok(())
}
// ANCHOR_END: ask

// ANCHOR: listen
#[handler]
async fn listen(req: &mut Request, res: &mut Response) -> Result<(), StatusError> {
    let id: usize = req.param("id").unwrap_or_default();
    let answers = ANSWERS.lock();
    let answer = id.checked_sub(1).and_then(|place| answers.get(place));
    let log = answer.ok_or_else(StatusError::not_found)?.subscribe();
    // ANCHOR: position
    let known = log.borrow().events.len();
    let after: Option<usize> = req.header("last-event-id");
    let position = after.filter(|after| *after <= known).unwrap_or(0);
    // ANCHOR_END: position
    // ANCHOR: stay_away
    if log.borrow().is_over && position == known {
        res.status_code(StatusCode::NO_CONTENT);
        return Ok(());
    }
    // ANCHOR_END: stay_away
    // ANCHOR: unfold
    let events = stream::unfold((log, position), async |(mut log, position)| {
        let is_next = |log: &Log| log.events.len() > position || log.is_over;
        let event = log.wait_for(is_next).await.ok()?.events.get(position)?.clone();
        Some((Ok::<_, Infallible>(event), (log, position + 1)))
    });
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events).stream(res);
    // ANCHOR_END: unfold
    Ok(())
}
// ANCHOR_END: listen

// ANCHOR: append
fn append(answer: &Answer, name: &str, data: Value) {
    answer.send_modify(|log| {
        let id = (log.events.len() + 1).to_string();
        let event = SseEvent::default().id(id).name(name).text(data.to_string());
        log.events.push(event);
        log.is_over = name != "token";
    });
}
// ANCHOR_END: append

// ANCHOR: write
/// Writes an answer: its tokens, and one event that says how it ended.
async fn write(answer: &Answer, prompt: &Value) {
    let end = tokio::select! {
        end = read(answer, prompt) => end,
        () = abandoned(answer) => Err("nobody was reading any more".into()),
    };
    match end {
        Ok(reason) => append(answer, "done", json!({ "finish_reason": reason })),
        Err(why) => append(answer, "failure", json!({ "reason": why.to_string() })),
    }
}
// ANCHOR_END: write

// ANCHOR: abandoned
/// Waits until there has been no reader for a while.
async fn abandoned(answer: &Answer) {
    loop {
        answer.closed().await; // until nobody holds a receiver
        sleep(GRACE).await;
        if answer.is_closed() {
            return;
        }
    }
}
// ANCHOR_END: abandoned

type Failure = Box<dyn Error + Send + Sync>;

// ANCHOR: open
/// Asks the model server.
async fn open(prompt: &Value) -> Result<reqwest::Response, Failure> {
    let base = env::var("OPENAI_BASE_URL");
    let base = base.unwrap_or_else(|_| "http://127.0.0.1:8699/v1".into());
    let model = env::var("OPENAI_MODEL").unwrap_or_else(|_| "stand-in".into());
    let question = json!({
        "model": model,
        "messages": [{ "role": "user", "content": prompt }],
        "stream": true,
    });
    let post = reqwest::Client::new().post(format!("{base}/chat/completions"));
    Ok(post.json(&question).send().await?.error_for_status()?)
}
// ANCHOR_END: open

// ANCHOR: read
/// Reads the answer of the model server to its end, and returns why the model has stopped.
async fn read(answer: &Answer, prompt: &Value) -> Result<String, Failure> {
    let mut response = open(prompt).await?;
    let mut unread = Vec::new();
    let mut reason = None;
    while let Some(bytes) = response.chunk().await? {
        // These bytes may end in the middle of a line, or of a character.
        unread.extend_from_slice(&bytes);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            if data.trim_ascii() == b"[DONE]" {
                return reason.ok_or(BROKE_OFF.into());
            }
            take(answer, data, &mut reason)?;
        }
    }
    // ANCHOR: cut
    Err(BROKE_OFF.into())
    // ANCHOR_END: cut
}

const BROKE_OFF: &str = "the model server did not say that the answer is over";
// ANCHOR_END: read

// ANCHOR: take
/// Takes the data of one event: a token, a reason to stop, or an error.
fn take(
    answer: &Answer,
    data: &[u8],
    reason: &mut Option<String>,
) -> Result<(), Failure> {
    let chunk: Value = serde_json::from_slice(data)?;
    // ANCHOR: error
    if let Some(why) = chunk["error"]["message"].as_str() {
        return Err(why.into());
    }
    // ANCHOR_END: error
    let choice = &chunk["choices"][0];
    if let Some(end) = choice["finish_reason"].as_str() {
        *reason = Some(end.into());
    }
    let text = choice["delta"]["content"].as_str().unwrap_or_default();
    if !text.is_empty() {
        append(answer, "token", json!({ "text": text }));
    }
    Ok(())
}
// ANCHOR_END: take
