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

use std::time::Duration;
use std::{convert::Infallible, env, io, process::ExitCode, sync::Arc};

use futures_util::stream::{self, StreamExt};
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, signal};
use tokio_util::sync::CancellationToken;

mod answer;
#[allow(dead_code)] // the rest of it runs the stand-in by itself
mod model;
#[allow(dead_code)] // the parser of chapter 9, of which this program needs a part
mod parser;
mod upstream;

use answer::{Answer, Answers, MAX_GENERATING, Reader};
pub use upstream::Upstream;

// ANCHOR: bounds
/// Bytes of a prompt: some pages.
const MAX_PROMPT: usize = 16 << 10;
/// Bytes of a request: a prompt in which JSON writes each byte as `\u0000`.
const MAX_REQUEST: usize = 8 * MAX_PROMPT;
/// How long the streams may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);
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
    let stopped = stop_signal()?; // before the line below: a script may answer it at once
    println!("listening on http://{}", listener.local_addr()?);
    let server = Server::new(TcpAcceptor::try_from(listener)?);
    let handle = server.handle();
    let router = router(upstream, stop.clone());
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
pub fn router(upstream: Upstream, stop: CancellationToken) -> Router {
    let answers = Answers::new(upstream, stop);
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

/// Reads to the end, even what is too much: a server that closes with bytes unread resets
/// the connection, and the client may never see the reason.
async fn read(req: &mut Request) -> Reply<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut body = req.take_body();
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

fn too_long(why: impl Into<String>) -> StatusError {
    StatusError::payload_too_large().brief(why)
}

// ANCHOR: listen
struct Listen(Arc<Answers>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        let answer = find(&self.0, req)?;
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
