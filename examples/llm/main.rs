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
//! This file answers requests, `answer.rs` has the answers, and `upstream.rs` asks the model
//! server, whose words `chunk.rs` and `heard.rs` read. `edge.rs` keeps strangers from holding
//! the program up. Chapter 7 of the book explains it. Left out: conversations, tools, a
//! model's reasoning, users, more servers than one.

use std::time::Duration;
use std::{convert::Infallible, env, io, process::ExitCode, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use salvo::http::{HeaderName, HeaderValue, Method, header};
use salvo::prelude::*;
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, signal};
use tokio_util::sync::CancellationToken;

mod answer;
mod chunk;
mod conversation;
mod edge;
mod heard;
mod imitate;
mod model;
#[allow(dead_code)] // the parser of `client`, of which this program needs a part
mod parser;
mod upstream;

use answer::{Answer, Answers, MAX_GENERATING, Reader};
use edge::{Limits, read, refuse_foreign};
pub use upstream::Upstream;

// ANCHOR: bounds
/// Bytes of a prompt: some pages.
const MAX_PROMPT: usize = 16 << 10;
/// Bytes of a request: a prompt in which JSON writes each byte as `\u0000`.
const MAX_REQUEST: usize = 8 * MAX_PROMPT;
/// Readers of all answers: each has a connection.
pub const MAX_READERS: usize = 2_000;
/// Files that are open besides the connections of clients. An answer that is generated has
/// one to the model server, and the stand-in has the other end, and some to spare.
const FILES: usize = 64 + 3 * MAX_GENERATING;
/// How long the streams may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);
// ANCHOR_END: bounds

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    if let Err(why) = run().await {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run() -> Result<(), String> {
    let limits = Limits::raise(MAX_READERS, FILES).map_err(|why| why.to_string())?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let upstream = Upstream::from_env()?;
    let listen =
        |error| format!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
    serve(&addr, upstream, &limits).await.map_err(listen)
}

async fn serve(
    addr: &str,
    upstream: Option<Upstream>,
    limits: &Limits,
) -> io::Result<()> {
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
    let stopped = stop_signal()?; // before the line below: a script may answer it at once
    println!("listening on http://{}", listener.local_addr()?);
    let server = edge::server(listener, limits, stop.clone())?;
    let handle = server.handle();
    let router = router(upstream, limits.streams, stop.clone());
    let stopping = async {
        stopped.await;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(server.try_serve(router), stopping).map(|_| ())
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

// ANCHOR: router
pub fn router(
    upstream: Upstream,
    readers: usize,
    stop: CancellationToken,
) -> Router {
    let answers = Answers::new(upstream, readers, stop);
    let listen = Listen(answers.clone());
    let one = Router::with_path("{id}")
        .head(listen.clone())
        .get(listen)
        .delete(Stop(answers.clone()));
    let answers = Router::with_path("answers").post(Ask(answers)).push(one);
    let script = Router::with_path("stream.js").head(module).get(module);
    let edge = Router::new().hoop(edge::close_if_refused);
    edge.head(page).get(page).push(script).push(answers)
}
// ANCHOR_END: router

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

#[handler]
async fn module() -> Text<&'static str> {
    Text::Js(include_str!("stream.js"))
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
        let body = read(req, MAX_REQUEST).await?;
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
        let Some(id) = self.0.begin(prompt) else {
            let soon = HeaderValue::from_static("5");
            res.headers_mut().insert(header::RETRY_AFTER, soon);
            let why =
                format!("{MAX_GENERATING} answers are being generated already");
            return Err(StatusError::service_unavailable().brief(why));
        };
        let id = format!("{id:032x}");
        // Relative, because this program may be mounted below another path.
        let location = HeaderValue::try_from(format!("answers/{id}"))
            .map_err(|_| StatusError::internal_server_error())?;
        res.headers_mut().insert(header::LOCATION, location);
        res.status_code(StatusCode::CREATED);
        res.render(Json(json!({ "id": id })));
        Ok(())
    }
}
// ANCHOR_END: ask

const JSON: &str = "application/json";

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}

fn too_long(why: impl Into<String>) -> StatusError {
    StatusError::payload_too_large().brief(why)
}

// ANCHOR: listen
#[derive(Clone)]
struct Listen(Arc<Answers>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        refuse_foreign(req)?;
        refuse_unknown(req, &["after", "lastEventId"])?;
        let answer = find(&self.0, req)?;
        let position = answer.position_after(last_event_id(req));
        if answer.is_over_at(position) {
            // Nothing will ever follow: this tells an EventSource not to come back.
            res.status_code(StatusCode::NO_CONTENT);
            return Ok(());
        }
        if req.method() == Method::HEAD {
            send(res, stream::empty()); // the head alone, and nobody reads
            return Ok(());
        }
        let place = self.0.place_for_a_reader().ok_or_else(|| {
            StatusError::service_unavailable().brief("there are too many readers")
        })?;
        let reader = Reader::new(answer, position, place);
        let events = stream::unfold(reader, async |mut reader| {
            Some((reader.next().await?, reader))
        });
        send(res, events);
        Ok(())
    }
}
// ANCHOR_END: listen

// ANCHOR: last_event_id
/// The ID of the last event that a client has: in the header, or in the URL from a client
/// that cannot set it. An EventSource that connects again asks for the URL that it was made
/// with, so its header is newer. Two libraries call it `lastEventId`.
fn last_event_id(req: &Request) -> Option<&[u8]> {
    let header = req.headers().get("last-event-id").map(HeaderValue::as_bytes);
    let query = |name| req.queries().get(name).map(|id: &String| id.as_bytes());
    let ids = [header, query("after"), query("lastEventId")];
    ids.into_iter().flatten().find(|id| !id.is_empty())
}

/// A parameter with another name is a mistake of the client: it would wait for events that
/// never come.
fn refuse_unknown(req: &Request, known: &[&str]) -> Reply<()> {
    match req.queries().keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(bad(format!("there is no parameter `{name}` here"))),
        None => Ok(()),
    }
}
// ANCHOR_END: last_event_id

// ANCHOR: send
/// Sends a stream that no cache keeps, and no proxy holds back.
fn send(res: &mut Response, events: impl Stream<Item = Bytes> + Send + 'static) {
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    res.headers_mut().extend([
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (unbuffered, HeaderValue::from_static("no")),
    ]);
    res.stream(events.map(Ok::<_, Infallible>));
}
// ANCHOR_END: send

// ANCHOR: stop
struct Stop(Arc<Answers>);

#[handler]
impl Stop {
    async fn handle(&self, req: &Request) -> Reply<StatusCode> {
        refuse_foreign(req)?;
        find(&self.0, req)?.stop();
        Ok(StatusCode::NO_CONTENT)
    }
}
// ANCHOR_END: stop

/// The answer that the path names.
fn find(answers: &Answers, req: &Request) -> Reply<Arc<Answer>> {
    let id = req.param::<String>("id").unwrap_or_default();
    let id = u128::from_str_radix(&id, 16).ok();
    let found = id.and_then(|id| answers.find(id));
    let why = "there is no such answer, or no longer";
    found.ok_or_else(|| StatusError::not_found().brief(why))
}
