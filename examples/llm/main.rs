//! A page asks, a language model answers, and each token is on the page as soon as it
//! exists. A lost connection, a reload and a second reader continue the same answer.
//!
//!     cargo run --example llm
//!     curl -i http://127.0.0.1:8698/answers --json '{"prompt": "What is a heartbeat?"}'
//!     curl -N http://127.0.0.1:8698/answers/ID
//!
//! ID is in the `location` of the first response. Or open http://127.0.0.1:8698/. A stand-in
//! (`model`) answers, until you name a server that speaks OpenAI's protocol:
//!
//!     OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_MODEL=llama3.2 cargo run --example llm
//!
//! Chapter 7 of the book explains it. Left out: conversations, tools, a model's
//! reasoning, users, more servers than one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};
use std::{convert::Infallible, env, io, process::ExitCode, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use salvo::sse::SseEvent;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

#[allow(dead_code)] // what runs it by itself
mod model;
mod upstream;
pub use upstream::Upstream;

// ANCHOR: bounds
/// Bytes of a prompt: some pages.
const MAX_PROMPT: usize = 16 << 10;
/// Bytes of a request: a prompt in which JSON writes each byte as `\u0000`.
const MAX_REQUEST: usize = 8 * MAX_PROMPT;
/// Bytes of an answer as events, so about 20,000 tokens. A longer one is cut off.
const MAX_ANSWER: usize = 1 << 20;
/// Answers that are generated at once: each costs money, or a processor.
const MAX_GENERATING: usize = 200;
/// Answers kept, 300 MiB at most; the oldest that is complete makes room.
const MAX_KEPT: usize = 256;
const _: () =
    assert!(MAX_KEPT > MAX_GENERATING, "one that is complete must be there");
/// How long a complete answer can be read again. It is forgotten when somebody asks.
const LIFE: Duration = Duration::from_secs(600);
/// How long an answer is generated that nobody reads: enough for a reload.
const GRACE: Duration = Duration::from_secs(5);
/// When a client connects again that has lost its connection: well within `GRACE`.
const RETRY: Duration = Duration::from_secs(1);
const _: () =
    assert!(RETRY.as_millis() < GRACE.as_millis(), "who comes back is late");
/// Silence after which a comment is sent: models think, and proxies cut silent streams.
const HEARTBEAT: Duration = Duration::from_secs(15);
// ANCHOR_END: bounds

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let upstream = match Upstream::from_env() {
        Ok(upstream) => upstream,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = serve(&addr, upstream).await {
        eprintln!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn serve(addr: &str, upstream: Option<Upstream>) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    let stop = CancellationToken::new();
    let upstream = match upstream {
        Some(upstream) => upstream,
        None => {
            tracing::info!("OPENAI_BASE_URL is not set: a stand-in answers");
            Upstream::stand_in(stop.clone()).await?
        }
    };
    tracing::info!("asking {} at {}", upstream.model, upstream.host());
    println!("listening on http://{}", listener.local_addr()?);
    model::serve_until_stopped(listener, router(upstream, stop.clone()), stop).await
}

// ANCHOR: router
pub fn router(upstream: Upstream, stop: CancellationToken) -> Router {
    let answers = Arc::new(Answers {
        upstream,
        kept: Mutex::default(),
        generating: Arc::new(Semaphore::new(MAX_GENERATING)),
        stop,
    });
    let one = Router::with_path("{id}")
        .get(Listen(answers.clone()))
        .delete(Stop(answers.clone()));
    let answers = Router::with_path("answers").post(Ask(answers)).push(one);
    Router::new().get(page).push(answers)
}
// ANCHOR_END: router

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

type Reply<T> = Result<T, StatusError>;

// ANCHOR: ask
struct Ask(Arc<Answers>);

#[derive(Deserialize)]
struct Question {
    prompt: String,
}

#[handler]
impl Ask {
    async fn handle(&self, req: &mut Request, res: &mut Response) -> Reply<()> {
        // Read to its end, even if it is refused: a server that closes with bytes unread
        // resets the connection, and the client may never see the reason.
        let body = read(req).await?;
        refuse_foreign(req)?;
        if req.content_type().is_none_or(|kind| kind.essence_str() != JSON) {
            let why = format!("the content type is not {JSON}");
            return Err(StatusError::unsupported_media_type().brief(why));
        }
        let Question { prompt } = serde_json::from_slice(&body)
            .map_err(|error| bad(format!("not {{\"prompt\": \"…\"}}: {error}")))?;
        if prompt.trim().is_empty() {
            return Err(bad("the prompt is empty"));
        }
        if prompt.len() > MAX_PROMPT {
            return Err(too_long(format!(
                "a prompt has {MAX_PROMPT} bytes at most"
            )));
        }
        let Ok(permit) = self.0.generating.clone().try_acquire_owned() else {
            let soon = HeaderValue::from_static("5");
            res.headers_mut().insert(header::RETRY_AFTER, soon);
            let why =
                format!("{MAX_GENERATING} answers are being generated already");
            return Err(StatusError::service_unavailable().brief(why));
        };
        let (id, answer) = self.0.begin();
        let id = format!("{id:032x}");
        // Relative, because this program may be mounted below another path.
        let location = HeaderValue::try_from(format!("answers/{id}"))
            .map_err(|_| StatusError::internal_server_error())?;
        res.headers_mut().insert(header::LOCATION, location);
        res.status_code(StatusCode::CREATED);
        res.render(Json(json!({ "id": id })));

        let answers = self.0.clone();
        tokio::spawn(async move {
            answer.generate(&prompt, &answers.upstream, &answers.stop).await;
            drop(permit);
        });
        Ok(())
    }
}
// ANCHOR_END: ask

const JSON: &str = "application/json";

async fn read(req: &mut Request) -> Reply<Vec<u8>> {
    let (mut bytes, mut body) = (Vec::new(), req.take_body());
    while let Some(frame) = body.next().await {
        let frame = frame.map_err(|_| bad("the body broke off"))?;
        if let (Ok(data), 0..=MAX_REQUEST) = (frame.into_data(), bytes.len()) {
            bytes.extend_from_slice(&data);
        }
    }
    if bytes.len() > MAX_REQUEST {
        return Err(too_long(format!("a request has {MAX_REQUEST} bytes at most")));
    }
    Ok(bytes)
}

// ANCHOR: foreign
/// Any web page can send requests to this server, and answers cost something. A browser
/// says from which origin a request comes; other clients say nothing.
fn refuse_foreign(req: &Request) -> Reply<()> {
    let Some(origin) = req.headers().get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if origin.is_some_and(|(_, authority)| Some(authority) == host) {
        return Ok(());
    }
    Err(StatusError::forbidden().brief("a page of another origin has sent this"))
}
// ANCHOR_END: foreign

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}

fn too_long(why: String) -> StatusError {
    StatusError::payload_too_large().brief(why)
}

// ANCHOR: listen
struct Listen(Arc<Answers>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        let answer = self.0.find(req)?;
        let reader = Reader::new(answer, req.header("last-event-id"));
        if reader.is_at_end() {
            // Nothing will ever follow: this tells an EventSource not to come back.
            res.status_code(StatusCode::NO_CONTENT);
            return Ok(());
        }
        let events = stream::unfold(reader, async |mut reader| {
            Some((Ok::<_, Infallible>(reader.next().await?), reader))
        });
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        res.headers_mut().extend([
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (unbuffered, HeaderValue::from_static("no")),
        ]);
        res.stream(events);
        Ok(())
    }
}
// ANCHOR_END: listen

// ANCHOR: stop
struct Stop(Arc<Answers>);

#[handler]
impl Stop {
    async fn handle(&self, req: &Request) -> Reply<StatusCode> {
        refuse_foreign(req)?;
        self.0.find(req)?.stop.cancel();
        Ok(StatusCode::NO_CONTENT)
    }
}
// ANCHOR_END: stop

struct Answers {
    upstream: Upstream,
    /// With their ids, the oldest first. An id stays a secret: it is all that a reader shows.
    kept: Mutex<VecDeque<(u128, Arc<Answer>)>>,
    generating: Arc<Semaphore>,
    /// Cancelled when this program ends.
    stop: CancellationToken,
}

impl Answers {
    /// Makes room for an answer, and keeps it.
    fn begin(&self) -> (u128, Arc<Answer>) {
        let (id, answer) = (rand::random(), Arc::<Answer>::default());
        let mut kept = self.kept.lock();
        kept.retain(|(_, answer)| !answer.is_over_for(LIFE));
        if kept.len() == MAX_KEPT {
            let oldest =
                kept.iter().position(|(_, one)| one.is_over_for(Duration::ZERO));
            oldest.and_then(|oldest| kept.remove(oldest));
        }
        kept.push_back((id, answer.clone()));
        (id, answer)
    }

    fn find(&self, req: &Request) -> Reply<Arc<Answer>> {
        let id = req.param::<String>("id").unwrap_or_default();
        let id = u128::from_str_radix(&id, 16).ok();
        let kept = self.kept.lock();
        let found = kept.iter().find(|(known, _)| Some(*known) == id);
        let found = found.filter(|(_, answer)| !answer.is_over_for(LIFE));
        let none = || {
            StatusError::not_found().brief("there is no such answer, or no longer")
        };
        found.map(|(_, answer)| answer.clone()).ok_or_else(none)
    }
}

// ANCHOR: answer
#[derive(Default)]
struct Answer {
    /// Readers wait until it changes.
    log: watch::Sender<Log>,
    readers: watch::Sender<usize>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Log {
    /// All events, encoded once for all readers.
    bytes: Vec<u8>,
    /// Where each of them ends. Its id is its place, from 1.
    ends: Vec<usize>,
    /// When the last event came, if it has come.
    over: Option<Instant>,
}
// ANCHOR_END: answer

impl Answer {
    // ANCHOR: generate
    async fn generate(
        &self,
        prompt: &str,
        upstream: &Upstream,
        server_stop: &CancellationToken,
    ) {
        let end = tokio::select! {
            biased;
            () = server_stop.cancelled() => Err("this server is being stopped".into()),
            () = self.stop.cancelled() => Ok(json!({ "finish_reason": "stopped", "usage": null })),
            () = self.abandoned() => Err("nobody was reading any more".into()),
            end = upstream.ask(prompt, |text| self.token(text)) => end,
        };
        // If `ask` was not through, it has been dropped, and its connection with it.
        match end {
            Ok(done) => self.append("done", &done, true),
            Err(reason) => {
                tracing::warn!("no whole answer: {reason}");
                self.append("failure", &json!({ "reason": reason }), true)
            }
        };
    }

    /// Waits until there has been no reader for a while.
    async fn abandoned(&self) {
        let mut readers = self.readers.subscribe();
        loop {
            // An error would mean that the sender is gone; it is a part of `self`.
            _ = readers.wait_for(|count| *count == 0).await;
            let back = readers.wait_for(|count| *count > 0);
            if timeout(GRACE, back).await.is_err() {
                return;
            }
        }
    }
    // ANCHOR_END: generate

    // ANCHOR: append
    fn token(&self, text: &str) -> Result<(), String> {
        if self.append("token", &json!({ "text": text }), false) > MAX_ANSWER {
            return Err(format!("the answer is cut off at {MAX_ANSWER} bytes"));
        }
        Ok(())
    }

    /// Appends an event, and says how many bytes there are now.
    fn append(&self, event_type: &str, data: &Value, is_last: bool) -> usize {
        let mut bytes = 0;
        self.log.send_modify(|log| {
            let id = (log.ends.len() + 1).to_string();
            let event = SseEvent::default().name(event_type).text(data.to_string());
            let event = match log.ends.len() {
                0 => event.id(id).retry(RETRY),
                _ => event.id(id),
            };
            log.bytes.extend_from_slice(event.to_string().as_bytes());
            log.ends.push(log.bytes.len());
            if is_last {
                log.bytes.shrink_to_fit();
                log.over = Some(Instant::now());
            }
            bytes = log.bytes.len();
        });
        bytes
    }
    // ANCHOR_END: append

    fn is_over_for(&self, time: Duration) -> bool {
        self.log.borrow().over.is_some_and(|over| over.elapsed() >= time)
    }
}

// ANCHOR: reader
struct Reader {
    answer: Arc<Answer>,
    log: watch::Receiver<Log>,
    /// How many events this reader has.
    position: usize,
}

impl Reader {
    /// Who brings the id of an event continues after it. A page that was reloaded brings
    /// none, and begins at the start.
    fn new(answer: Arc<Answer>, last: Option<usize>) -> Self {
        answer.readers.send_modify(|count| *count += 1);
        let log = answer.log.subscribe();
        let events = log.borrow().ends.len();
        let position = last.filter(|last| *last <= events).unwrap_or(0);
        Self { answer, log, position }
    }

    fn is_at_end(&self) -> bool {
        let log = self.log.borrow();
        log.over.is_some() && self.position == log.ends.len()
    }

    /// What to send next: an event, or a comment when there is none for a while.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.unread() {
                self.position += 1;
                return Some(event);
            }
            if self.is_at_end() {
                return None;
            }
            if timeout(HEARTBEAT, self.log.changed()).await.is_err() {
                return Some(Bytes::from_static(b":\n\n"));
            }
        }
    }

    fn unread(&mut self) -> Option<Bytes> {
        let log = self.log.borrow_and_update();
        let end = *log.ends.get(self.position)?;
        let start = self.position.checked_sub(1).map_or(0, |last| log.ends[last]);
        Some(Bytes::copy_from_slice(&log.bytes[start..end]))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.answer.readers.send_modify(|count| *count -= 1);
    }
}
// ANCHOR_END: reader
