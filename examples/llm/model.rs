//! The routes of the stand-in, its requests and its answers. What it does not have is refused
//! in the protocol's own shape, so that clients can say why.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{convert::Infallible, iter};

use futures_util::stream::{self, StreamExt};
use salvo::catcher::Catcher;
use salvo::http::{HeaderValue, ParseError, header};
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::imitate::{MAX_TOKENS, imitate, split};

/// The name of the model.
pub const NAME: &str = "stand-in";
/// The time before each event: about as fast as a small model on a laptop.
const PACE: Duration = Duration::from_millis(60);
/// Bytes of a request: a long conversation.
const MAX_REQUEST: usize = 1 << 20;
/// Texts at which an answer stops.
const MAX_STOPS: usize = 4;

pub fn service(stop: CancellationToken) -> Service {
    let v1 = Router::with_path("v1")
        .push(Router::with_path("models").get(models))
        .push(Router::with_path("chat/completions").post(Complete(stop)));
    let router = Router::new().get(page).push(v1);
    Service::new(router).catcher(Catcher::default().hoop(unknown))
}

/// Says in the protocol's shape that there is no such path or method, unless somebody
/// looks who wants a page or a text.
#[handler]
async fn unknown(req: &Request, res: &mut Response, ctrl: &mut FlowCtrl) {
    let status = res.status_code.unwrap_or(StatusCode::NOT_FOUND);
    let called = format!("{} {}", req.method(), req.uri().path());
    let known = "POST /v1/chat/completions and GET /v1/models";
    let [code, why] = match status {
        StatusCode::NOT_FOUND => ["unknown_url", "there is no"],
        StatusCode::METHOD_NOT_ALLOWED => ["method_not_supported", "it does not support"],
        _ => ["", ""],
    };
    let why = match code {
        "" => "the stand-in cannot answer this request".into(),
        _ => format!("Invalid URL ({called}): {why} this here, only {known}"),
    };
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
