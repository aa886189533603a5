//! The feed over HTTP: its routes, what each request must have, and why one is refused.

use std::{convert::Infallible, sync::Arc};

use futures_util::stream::{self, StreamExt};
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::log::{Event, Failure, MAX_DATA};
use super::reader::{Begin, Feed};

// ANCHOR: bounds
/// Bytes of a request: data in which JSON writes each byte as `\u0001`, and the rest.
const MAX_REQUEST: usize = 8 * MAX_DATA;
/// Bytes of an idempotency key: a UUID has 36.
const MAX_KEY: usize = 128;
// ANCHOR_END: bounds

pub fn router(feed: Arc<Feed>) -> Router {
    let one = Router::with_path("{id}").get(Look(feed.clone()));
    let events = Router::with_path("events")
        .get(Listen(feed.clone()))
        .post(Post(feed.clone()))
        .push(one);
    let cut = Router::with_path("readers/{id}").delete(Cut(feed));
    Router::new().get(page).push(events).push(cut)
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

type Reply<T> = Result<T, StatusError>;

// ANCHOR: post
struct Post(Arc<Feed>);

#[handler]
impl Post {
    async fn handle(&self, req: &mut Request, res: &mut Response) -> Reply<()> {
        let body = read(req).await?;
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
// ANCHOR_END: post

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

/// Reads a body to its end, even one that is too long: a server that closes with bytes unread
/// resets the connection, and the client may never see the reason.
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
        let why = format!("a request has {MAX_REQUEST} bytes at most");
        return Err(StatusError::payload_too_large().brief(why));
    }
    Ok(bytes)
}

/// Any web page can send requests to this server. A browser says from which origin a
/// request comes; other clients say nothing.
pub fn refuse_foreign(req: &Request) -> Reply<()> {
    let Some(origin) = req.headers().get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if origin.is_some_and(|(_, authority)| Some(authority) == host) {
        return Ok(());
    }
    Err(StatusError::forbidden().brief("a page of another origin has sent this"))
}

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}

// ANCHOR: listen
struct Listen(Arc<Feed>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        let from = Begin::of(req)?;
        let reader = self.0.reader(from, reader_id(req)?).await.map_err(not_read)?;
        let cut = reader.stop.clone().cancelled_owned();
        let events = stream::unfold(reader, async |mut reader| {
            Some((Ok::<_, Infallible>(reader.next().await), reader))
        });
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        res.headers_mut().extend([
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (unbuffered, HeaderValue::from_static("no")),
        ]);
        res.stream(events.take_until(cut));
        Ok(())
    }
}
// ANCHOR_END: listen

// ANCHOR: from
impl Begin {
    fn of(req: &Request) -> Reply<Self> {
        let known = ["from", "reader", "after", "lastEventId"];
        let mut names = req.queries().keys();
        if let Some(name) = names.find(|name| !known.contains(&name.as_str())) {
            let name = name.escape_debug();
            let known = known.join("`, `");
            return Err(bad(format!("`{name}` is not one of `{known}`")));
        }
        // An EventSource that connects again asks for the URL that it was made with, so
        // its header is newer than the ID in the URL. Two libraries say `lastEventId` there.
        let header = req.headers().get("last-event-id").map(|id| id.as_bytes());
        let query = |name| req.queries().get(name).map(|id| id.as_bytes());
        let mut ids = [header, query("after"), query("lastEventId")].into_iter();
        let id = ids.find_map(|id| id.filter(|id| !id.is_empty()));
        let from = req.queries().get("from").map(String::as_str);
        match (id, from) {
            (_, Some(from)) if from != "start" => {
                Err(bad("`from` can be `start` only"))
            }
            (Some(id), _) => {
                let id = str::from_utf8(id).ok().and_then(|id| id.parse().ok());
                Ok(id.map_or(Self::Malformed, Self::After))
            }
            (None, Some(_)) => Ok(Self::Start),
            (None, None) => Ok(Self::Now),
        }
    }
}
// ANCHOR_END: from

// ANCHOR: look
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
// ANCHOR_END: look

// ANCHOR: cut
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
// ANCHOR_END: cut
