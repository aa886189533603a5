//! The routes of the stand-in, its requests and its answers. What it does not have is refused
//! in the protocol's own shape, so that clients can say why.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{convert::Infallible, iter, sync::Arc};

use futures_util::stream::{self, StreamExt};
use salvo::catcher::Catcher;
use salvo::http::HeaderValue;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, Refusal};
use super::edge;
use super::imitate::{imitate, split};

/// The name of the model.
pub const NAME: &str = "stand-in";
/// The time before each event: about as fast as a small model on a laptop.
const PACE: Duration = Duration::from_millis(60);
/// Bytes of a request: a long conversation.
const MAX_REQUEST: usize = 1 << 20;
/// All that there is here.
const ROUTES: &str = "there are POST /v1/chat/completions and GET /v1/models";

/// The stand-in, with places for so many streams.
pub fn service(streams: usize, stop: CancellationToken) -> Service {
    let complete = Complete { places: Arc::new(Semaphore::new(streams)), stop };
    let v1 = Router::with_path("v1")
        .push(Router::with_path("models").head(models).get(models))
        .push(Router::with_path("chat/completions").post(complete));
    let router =
        Router::new().hoop(edge::close_if_refused).head(page).get(page).push(v1);
    Service::new(router).catcher(Catcher::default().hoop(unknown))
}

/// Answers in the protocol's shape that there is no such path or method. A person with a
/// browser gets a page.
#[handler]
async fn unknown(req: &Request, res: &mut Response, ctrl: &mut FlowCtrl) {
    let called = format!("{} {}", req.method(), req.uri().path());
    let (error, code, what) = match res.status_code {
        Some(StatusCode::NOT_FOUND) | None => {
            (StatusError::not_found(), "unknown_url", "there is no such path")
        }
        Some(StatusCode::METHOD_NOT_ALLOWED) => (
            StatusError::method_not_allowed(),
            "unsupported_method",
            "another method is asked for",
        ),
        _ => return,
    };
    let why = format!("Invalid URL ({called}): {what}; {ROUTES}");
    let accept: String = req.header("accept").unwrap_or_default();
    let wants = |kind: &str| accept.contains(kind);
    let is_for_people =
        !wants("json") && (wants("text/html") || wants("text/plain"));
    if is_for_people {
        res.render(error.brief(why));
    } else {
        ctrl.skip_rest();
        Refusal { status: error.code, why, param: None, code: Some(code) }
            .render(res);
    }
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

struct Complete {
    /// A place for each stream.
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

#[handler]
impl Complete {
    async fn handle(&self, req: &mut Request, res: &mut Response) {
        if let Err(refusal) = self.answer(req, res).await {
            refusal.render(res);
        }
    }
}

impl Complete {
    async fn answer(
        &self,
        req: &mut Request,
        res: &mut Response,
    ) -> Result<(), Refusal> {
        let body = edge::read(req, MAX_REQUEST).await?;
        edge::refuse_foreign(req)?;
        let asked: Conversation = serde_json::from_slice(&body)
            .map_err(|error| StatusError::bad_request().brief(error.to_string()))?;
        if asked.model != NAME {
            let why = format!("there is no model `{}`, only `{NAME}`", asked.model);
            return Err(StatusError::not_found().brief(why).into());
        }
        asked.refuse_what_is_not_here()?;
        let answer = Answer::to(&asked)?;
        if asked.stream != Some(true) {
            res.render(Json(answer.whole()));
            return Ok(());
        }
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            StatusError::service_unavailable().brief("there are too many streams")
        })?;
        let wants_usage =
            asked.stream_options.is_some_and(|wants| wants.include_usage);
        let texts = answer.chunks(wants_usage);
        let sent = Sent { events: 0, of: texts.len(), _place: place };
        let events = stream::unfold(
            (texts.into_iter(), sent),
            async |(mut texts, mut sent)| {
                let event = SseEvent::default().text(texts.next()?);
                sleep(PACE).await;
                sent.events += 1;
                Some((Ok::<_, Infallible>(event), (texts, sent)))
            },
        );
        res.headers_mut()
            .insert("x-accel-buffering", HeaderValue::from_static("no"));
        sse::stream(res, events.take_until(self.stop.clone().cancelled_owned()));
        Ok(())
    }
}

/// An answer, before it is sent.
struct Answer {
    tokens: Vec<String>,
    reason: &'static str,
    usage: Value,
    id: String,
    created: u64,
}

impl Answer {
    fn to(asked: &Conversation) -> Result<Self, Refusal> {
        let most = asked.most()?;
        let stops = asked.stops()?;
        let prompt = asked.prompt();
        let mut tokens = imitate(&prompt, asked.seed.unwrap_or(0));
        let mut reason = if tokens.len() > most { "length" } else { "stop" };
        tokens.truncate(most);
        let text = tokens.concat();
        if let Some(end) = stops.iter().filter_map(|stop| text.find(stop)).min() {
            tokens = cut(tokens, end);
            reason = "stop";
        }
        let prompt = split(&prompt).len();
        let usage = json!({
            "prompt_tokens": prompt,
            "completion_tokens": tokens.len(),
            "total_tokens": prompt + tokens.len(),
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("chatcmpl-{:020}", rand::random::<u64>());
        Ok(Self { tokens, reason, usage, id, created: now.as_secs() })
    }

    fn object(&self, kind: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": kind, "created": self.created, "model": NAME,
            "choices": choices,
        })
    }

    fn whole(&self) -> Value {
        let message =
            json!({ "role": "assistant", "content": self.tokens.concat() });
        let choice =
            json!({ "index": 0, "message": message, "finish_reason": self.reason });
        let mut whole = self.object("chat.completion", json!([choice]));
        whole["usage"] = self.usage.clone();
        whole
    }

    fn chunks(&self, wants_usage: bool) -> Vec<String> {
        let chunk = |delta: Value, reason: Option<&str>| {
            let choice =
                json!({ "index": 0, "delta": delta, "finish_reason": reason });
            self.object("chat.completion.chunk", json!([choice]))
        };
        let role = chunk(json!({ "role": "assistant", "content": "" }), None);
        let words =
            self.tokens.iter().map(|token| chunk(json!({ "content": token }), None));
        let end = chunk(json!({}), Some(self.reason));
        let usage = wants_usage.then(|| {
            let mut last = self.object("chat.completion.chunk", json!([]));
            last["usage"] = self.usage.clone();
            last
        });
        let chunks = iter::once(role).chain(words).chain([end]).chain(usage);
        chunks.map(|chunk| chunk.to_string()).chain(["[DONE]".into()]).collect()
    }
}

/// The tokens of the first `end` bytes.
fn cut(tokens: Vec<String>, end: usize) -> Vec<String> {
    let mut rest = end;
    let mut kept = Vec::new();
    for mut token in tokens {
        token.truncate(rest);
        rest -= token.len();
        if token.is_empty() {
            break;
        }
        kept.push(token);
    }
    kept
}

/// Counts the events of a stream, and logs the count at its end, or when the client left.
struct Sent {
    events: usize,
    of: usize,
    _place: OwnedSemaphorePermit,
}

impl Drop for Sent {
    fn drop(&mut self) {
        tracing::info!("sent {} of {} events", self.events, self.of);
    }
}
