//! The feed over HTTP: its routes, what each request must have, and why one is refused.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use salvo::http::{HeaderName, HeaderValue, Method, header};
use salvo::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::edge::{self, read, refuse_foreign};
use super::log::{Event, Failure, MAX_DATA};
use super::reader::{Begin, Feed};

/// Bytes of a request: data in which JSON writes each byte as `\u0001`, and the rest.
const MAX_REQUEST: usize = 8 * MAX_DATA;
/// Bytes of an idempotency key: a UUID has 36.
const MAX_KEY: usize = 128;

pub fn router(feed: Arc<Feed>) -> Router {
    let look = Look(feed.clone());
    let one = Router::with_path("{id}").head(look.clone()).get(look);
    let listen = Listen(feed.clone());
    let events = Router::with_path("events")
        .head(listen.clone())
        .get(listen)
        .post(Post(feed.clone()))
        .push(one);
    let cut = Router::with_path("readers/{id}").delete(Cut(feed));
    let edge = Router::new().hoop(edge::close_if_refused);
    let script = Router::with_path("stream.js").head(module).get(module);
    edge.head(page).get(page).push(script).push(events).push(cut)
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

#[handler]
async fn module() -> Text<&'static str> {
    Text::Js(include_str!("stream.js"))
}

type Reply<T> = Result<T, StatusError>;

struct Post(Arc<Feed>);

#[handler]
impl Post {
    async fn handle(&self, req: &mut Request, res: &mut Response) -> Reply<()> {
        let body = read(req, MAX_REQUEST).await?;
        refuse_foreign(req)?;
        if req.content_type().is_none_or(|kind| kind.essence_str() != JSON) {
            let why = format!("the content type is not {JSON}");
            return Err(StatusError::unsupported_media_type().brief(why));
        }
        let event: Event = serde_json::from_slice(&body).map_err(|error| {
            bad(format!("not {{\"type\": \"…\", \"data\": \"…\"}}: {error}"))
        })?;
        if let Some(why) = event.fault() {
            return Err(bad(why));
        }
        let key = key(req)?;
        let id = self.0.store.append(event, key).await.map_err(not_stored)?;
        // Relative, because this program may be mounted below another path.
        let location = HeaderValue::try_from(format!("events/{id}"))
            .map_err(|_| StatusError::internal_server_error())?;
        res.headers_mut().insert(header::LOCATION, location);
        res.status_code(StatusCode::CREATED);
        res.render(Json(json!({ "id": id.to_string() })));
        Ok(())
    }
}

/// The name that the client gives this request. It may repeat the request under the same
/// name: the event is stored once. By the draft, `"order 17"` is written with its quotes; most
/// clients leave them out, so `order-17` and `"order-17"` are the same key.
fn key(req: &Request) -> Reply<Option<String>> {
    let mut lines = req.headers().get_all("idempotency-key").iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let is_token = |key: &&str| key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = line.to_str().ok().and_then(|line| match line.strip_prefix('"') {
        Some(rest) => unquote(rest),
        None => Some(line).filter(is_token).map(Into::into),
    });
    let is_one = lines.next().is_none();
    let key = key.filter(|key| is_one && (1..=MAX_KEY).contains(&key.len()));
    let why = "Idempotency-Key is not one key of 1 to 128 visible ASCII characters, or \
               of these and spaces in quotes";
    key.map(Some).ok_or_else(|| bad(why))
}

fn not_stored(failure: Failure) -> StatusError {
    let status = match failure {
        Failure::Full(_) => StatusError::insufficient_storage(),
        Failure::Unavailable(_) => StatusError::service_unavailable(),
        Failure::KeyTaken => StatusError::unprocessable_entity(),
    };
    status.brief(failure.to_string())
}

/// The text of a string (RFC 9651, 3.3.3) after its first quote.
fn unquote(rest: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest.strip_suffix('"')?.chars();
    while let Some(next) = chars.next() {
        text.push(match next {
            '\\' => chars.next().filter(|escaped| ['"', '\\'].contains(escaped))?,
            ' ' | '!' | '#'..='~' => next,
            _ => return None,
        });
    }
    Some(text)
}

const JSON: &str = "application/json";

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}

#[derive(Clone)]
struct Listen(Arc<Feed>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        refuse_foreign(req)?;
        refuse_unknown(req, &["from", "reader", "after", "lastEventId"])?;
        let from = Begin::of(req)?;
        let id = reader_id(req)?;
        if req.method() == Method::HEAD {
            send(res, stream::empty()); // the head alone, and no reader
            return Ok(());
        }
        let reader = self.0.reader(from, id).await.map_err(not_read)?;
        let cut = reader.stop.clone().cancelled_owned();
        let events = stream::unfold(reader, async |mut reader| {
            Some((reader.next().await, reader))
        });
        send(res, events.take_until(cut));
        Ok(())
    }
}

impl Begin {
    fn of(req: &Request) -> Reply<Self> {
        let from = match req.queries().get("from").map(String::as_str) {
            None => Self::Now,
            Some("start") => Self::Start,
            Some(_) => return Err(bad("`from` can be `start` only")),
        };
        let Some(last) = last_event_id(req) else { return Ok(from) };
        let id = str::from_utf8(last).ok().and_then(|id| id.parse().ok());
        Ok(id.map_or(Self::Malformed, Self::After))
    }
}

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

#[derive(Clone)]
struct Look(Arc<Feed>);

#[handler]
impl Look {
    async fn handle(&self, req: &Request) -> Reply<Json<Stored>> {
        let none = || {
            StatusError::not_found().brief("there is no such event, or no longer")
        };
        let id = req.param::<String>("id").and_then(|id| id.parse().ok());
        let id = id.ok_or_else(none)?;
        let event =
            self.0.store.get(id).await.map_err(not_read)?.ok_or_else(none)?;
        Ok(Json(Stored { id: id.to_string(), event }))
    }
}

#[derive(Serialize)]
struct Stored {
    id: String,
    #[serde(flatten)]
    event: Event,
}

fn not_read(failure: Failure) -> StatusError {
    StatusError::service_unavailable().brief(failure.to_string())
}

/// Cuts a reader's connection, so that you can see what becomes of the reader.
struct Cut(Arc<Feed>);

#[handler]
impl Cut {
    async fn handle(&self, req: &Request) -> Reply<StatusCode> {
        refuse_foreign(req)?;
        let id = req.param::<String>("id").and_then(|id| parse_reader(&id));
        if !id.is_some_and(|id| self.0.cut(id)) {
            return Err(StatusError::not_found().brief("there is no such reader"));
        }
        Ok(StatusCode::NO_CONTENT)
    }
}

/// The name that a reader gives itself so that it can be cut: 128 bits that nobody guesses.
fn reader_id(req: &Request) -> Reply<Option<u128>> {
    let Some(id) = req.queries().get("reader") else { return Ok(None) };
    let why = "`reader` is not 32 hex digits";
    parse_reader(id).map(Some).ok_or_else(|| bad(why))
}

fn parse_reader(text: &str) -> Option<u128> {
    let id = u128::from_str_radix(text, 16).ok()?;
    (format!("{id:032x}") == text).then_some(id)
}
