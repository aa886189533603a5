//! A stand-in for a language model. It speaks the protocol that OpenAI, Ollama, llama.cpp
//! and vLLM speak, and imitates a text of two pages, token by token. It knows nothing. The
//! same prompt gets the same answer, unless the request has another `seed`. `llm` asks it
//! when no other model is named.
//!
//!     cargo run --example model
//!     curl -N http://127.0.0.1:8698/v1/chat/completions -H 'Content-Type: application/json' \
//!       -d '{"model": "stand-in", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'
//!
//! Chapter 7 of the book explains the stream. Left out: tools, images, and all else that
//! needs a model that knows something.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{collections::HashMap, convert::Infallible, env, io, iter};
use std::{process::ExitCode, sync::LazyLock};

use futures_util::stream::{self, StreamExt};
use rand::seq::IndexedRandom;
use rand::{SeedableRng, rngs::StdRng};
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{HeaderValue, ParseError};
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal, time::sleep};
use tokio_util::sync::CancellationToken;

/// The name of the model.
pub const NAME: &str = "stand-in";
/// How every answer begins: nobody shall take this for a model that knows something.
const CONFESSION: &str = "I am only a stand-in, and imitate a text of two pages.";
/// The time before each event: about as fast as a small model on a laptop.
const PACE: Duration = Duration::from_millis(60);
/// Tokens after which an answer ends with its sentence.
const ENOUGH: usize = 150;
/// Tokens of an answer, unless fewer are asked for.
const MAX_TOKENS: usize = 240;
/// Characters of a token: longer words come in pieces, as they do from a real model.
const MAX_TOKEN: usize = 6;
/// Bytes of a request: a long conversation.
const MAX_REQUEST: usize = 1 << 20;
/// Words of a prompt that are looked for in the text: a thread is busy meanwhile.
const MAX_WORDS: usize = 100;
/// How long answers may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    if let Err(error) = serve(&addr).await {
        eprintln!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    let stopped = stop_signal()?; // before the line below: a script may answer it at once
    println!("listening on http://{}", listener.local_addr()?);
    let server = Server::new(TcpAcceptor::try_from(listener)?);
    let handle = server.handle();
    let stop = CancellationToken::new();
    let serving = server.try_serve(router(stop.clone()));
    let stopping = async {
        stopped.await;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(serving, stopping).map(|_| ())
}

/// Listens from now on for Ctrl-C and SIGTERM. The future waits for the first of them.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut ctrl_c = signal::unix::signal(signal::unix::SignalKind::interrupt())?;
    #[cfg(unix)]
    let mut stop = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    #[cfg(windows)]
    let mut ctrl_c = signal::windows::ctrl_c()?;
    #[cfg(windows)]
    let mut stop = signal::windows::ctrl_shutdown()?;
    Ok(async move {
        tokio::select! { _ = ctrl_c.recv() => {}, _ = stop.recv() => {} }
    })
}

pub fn router(stop: CancellationToken) -> Router {
    Router::new().get(page).push(
        Router::with_path("v1")
            .push(Router::with_path("models").get(models))
            .push(Router::with_path("chat/completions").post(Complete(stop))),
    )
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("model.html"))
}

#[handler]
async fn models() -> Json<Value> {
    let model =
        json!({ "id": NAME, "object": "model", "created": 0, "owned_by": "you" });
    Json(json!({ "object": "list", "data": [model] }))
}

#[derive(Deserialize)]
struct Conversation {
    model: String,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    seed: Option<i64>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    /// A text, or a list of parts, some of which have a text.
    #[serde(default)]
    content: Value,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Conversation {
    /// The user's last message.
    fn prompt(&self) -> String {
        let last = self.messages.iter().rfind(|message| message.role == "user");
        match last.map(|message| &message.content) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|part| part["text"].as_str()).collect()
            }
            _ => String::new(),
        }
    }
}

struct Complete(CancellationToken);

#[handler]
impl Complete {
    async fn handle(&self, req: &mut Request, res: &mut Response) {
        let asked =
            req.payload_with_max_size(MAX_REQUEST).await.map_err(
                |error| match error {
                    ParseError::PayloadTooLarge => (
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "the request is too long".to_string(),
                    ),
                    error => (StatusCode::BAD_REQUEST, error.to_string()),
                },
            );
        let asked = asked.and_then(|body| {
            serde_json::from_slice::<Conversation>(body)
                .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
        });
        match asked {
            Err((status, why)) => refuse(res, status, &why),
            Ok(asked) if asked.model != NAME => {
                let why =
                    format!("there is no model `{}`, only `{NAME}`", asked.model);
                refuse(res, StatusCode::NOT_FOUND, &why);
            }
            Ok(asked) => answer(&asked, res, self.0.clone()),
        }
    }
}

fn refuse(res: &mut Response, status: StatusCode, why: &str) {
    let error = json!({
        "message": why, "type": "invalid_request_error", "param": null, "code": null,
    });
    res.status_code(status);
    res.render(Json(json!({ "error": error })));
}

fn answer(asked: &Conversation, res: &mut Response, stop: CancellationToken) {
    let prompt = asked.prompt();
    let most = asked
        .max_completion_tokens
        .or(asked.max_tokens)
        .unwrap_or(MAX_TOKENS)
        .min(MAX_TOKENS);
    let mut tokens = imitate(&prompt, asked.seed.unwrap_or(0));
    let reason = if tokens.len() > most { "length" } else { "stop" };
    tokens.truncate(most);
    let prompt = split(&prompt).len();
    let usage = json!({
        "prompt_tokens": prompt,
        "completion_tokens": tokens.len(),
        "total_tokens": prompt + tokens.len(),
    });
    let created =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let id = format!("chatcmpl-{:020}", rand::random::<u64>());
    let object = |kind: &str, choices: Value| {
        json!({
            "id": id, "object": kind, "created": created, "model": NAME, "choices": choices,
        })
    };
    if asked.stream != Some(true) {
        let message = json!({ "role": "assistant", "content": tokens.concat() });
        let choice =
            json!({ "index": 0, "message": message, "finish_reason": reason });
        let mut whole = object("chat.completion", json!([choice]));
        whole["usage"] = usage;
        return res.render(Json(whole));
    }
    let chunk = |delta: Value, reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        object("chat.completion.chunk", json!([choice]))
    };
    let role = chunk(json!({ "role": "assistant", "content": "" }), None);
    let words = tokens.iter().map(|token| chunk(json!({ "content": token }), None));
    let end = chunk(json!({}), Some(reason));
    let wants_usage =
        asked.stream_options.as_ref().is_some_and(|wants| wants.include_usage);
    let usage = wants_usage.then(|| {
        let mut last = object("chat.completion.chunk", json!([]));
        last["usage"] = usage;
        last
    });
    let chunks = iter::once(role).chain(words).chain([end]).chain(usage);
    let mut texts: Vec<_> = chunks.map(|chunk| chunk.to_string()).collect();
    texts.push("[DONE]".into());
    let sent = Sent { events: 0, of: texts.len() };
    let events =
        stream::unfold((texts.into_iter(), sent), async |(mut texts, mut sent)| {
            let event = SseEvent::default().text(texts.next()?);
            sleep(PACE).await;
            sent.events += 1;
            Some((Ok::<_, Infallible>(event), (texts, sent)))
        });
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    sse::stream(res, events.take_until(stop.cancelled_owned()));
}

/// Counts the events of a stream, and logs the count at its end, or when the client left.
struct Sent {
    events: usize,
    of: usize,
}

impl Drop for Sent {
    fn drop(&mut self) {
        tracing::info!("sent {} of {} events", self.events, self.of);
    }
}

static TEXT: LazyLock<Vec<String>> =
    LazyLock::new(|| split(include_str!("corpus.txt")));

/// For each pair of tokens in the text, the positions of the tokens that follow it.
static FOLLOWERS: LazyLock<HashMap<[&str; 2], Vec<usize>>> = LazyLock::new(|| {
    let mut followers = HashMap::<_, Vec<_>>::new();
    for (at, next) in TEXT.windows(3).enumerate() {
        followers.entry([&*next[0], &*next[1]]).or_default().push(at + 2);
    }
    followers
});

/// Says the sentence that has most of the prompt's words in it, and goes on from there:
/// each token is one of those that follow the last two somewhere in the text.
fn imitate(prompt: &str, seed: i64) -> Vec<String> {
    let add = |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte));
    let mut chance = StdRng::seed_from_u64(prompt.bytes().fold(seed as u64, add));

    let prompt = prompt.to_lowercase();
    let words: Vec<_> = prompt
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 3)
        .take(MAX_WORDS)
        .collect();
    let starts: Vec<_> = TEXT
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| ends_sentence(&pair[0]))
        .map(|(at, _)| at + 1)
        .collect();
    let score = |at: usize| {
        let sentence: String = TEXT[at..]
            .iter()
            .take_while(|token| !ends_sentence(token))
            .cloned()
            .collect();
        let sentence = sentence.to_lowercase();
        let found = words.iter().filter(|word| sentence.contains(**word));
        found.map(|word| word.len()).sum::<usize>()
    };
    let best = starts.iter().map(|at| score(*at)).max().unwrap_or(0);
    let starts: Vec<_> =
        starts.into_iter().filter(|at| score(*at) == best).collect();
    let start = starts.choose(&mut chance).copied().unwrap_or(0);
    let mut at = start;
    while at + 1 < TEXT.len() && !ends_sentence(&TEXT[at]) {
        at += 1;
    }

    let mut tokens = split(CONFESSION);
    tokens.extend(["\n\n".to_string(), TEXT[start].trim_start().to_string()]);
    tokens.extend_from_slice(&TEXT[start + 1..=at]);
    while tokens.len() <= MAX_TOKENS {
        if tokens.len() >= ENOUGH && ends_sentence(&TEXT[at]) {
            break;
        }
        let last = [&*TEXT[at.saturating_sub(1)], &*TEXT[at]];
        let Some(next) =
            FOLLOWERS.get(&last).and_then(|all| all.choose(&mut chance))
        else {
            break;
        };
        at = *next;
        tokens.push(TEXT[at].clone());
    }
    tokens
}

fn ends_sentence(token: &str) -> bool {
    token == "."
}

/// Splits a text into tokens, each with the space before it.
fn split(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for c in text.chars() {
        let joins = c.is_alphanumeric()
            && tokens.last().is_some_and(|token| {
                token.chars().count() < MAX_TOKEN
                    && token.trim_start().chars().all(char::is_alphanumeric)
            });
        match tokens.last_mut() {
            Some(token) if joins => token.push(c),
            Some(token) if token == " " && c.is_whitespace() => {}
            _ => tokens.push(if c.is_whitespace() { " ".into() } else { c.into() }),
        }
    }
    tokens
}
