//! Cures on the side of a server, with Salvo.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use salvo::conn::tcp::TcpAcceptor;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde_json::json;
use tests::scripted::Server as Scripted;
use tests::{Events, serve, within};
use tokio::net::TcpListener;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval, sleep_until};
use tokio_stream::wrappers::IntervalStream;
use tokio_util::sync::CancellationToken;

// ANCHOR: event
fn event(data: &str) -> String {
    format!("data: {data}\n\n") // the second line end is the empty line
}
// ANCHOR_END: event

// ANCHOR: passed_on
pub fn passed_on(res: &mut Response) -> salvo::Result<()> {
    res.add_header("cache-control", "no-cache, no-transform", true)?; // after sse::stream, which sets it
    res.add_header("x-accel-buffering", "no", true)?; // a word for nginx
    Ok(())
}
// ANCHOR_END: passed_on

// ANCHOR: not_stored
pub fn not_stored(res: &mut Response) -> salvo::Result<()> {
    res.add_header("cache-control", "no-store", true)?; // after sse::stream
    Ok(())
}
// ANCHOR_END: not_stored

// ANCHOR: admitted
pub fn admitted(res: &mut Response, page: &str) -> salvo::Result<()> {
    // As in "https://app.example.com": scheme, host and port, and no slash at the end.
    res.add_header("access-control-allow-origin", page.to_string(), true)?;
    res.add_header("access-control-allow-credentials", "true", true).map(|_| ())
}
// ANCHOR_END: admitted

// ANCHOR: later
pub fn later(res: &mut Response) {
    let retry = SseEvent::default().retry(Duration::from_secs(30)); // no data: no event
    sse::stream(res, stream::iter([Ok::<_, Infallible>(retry)])); // 200, and the end
}
// ANCHOR_END: later

// ANCHOR: retry
fn retry() -> SseEvent {
    let wait = rand::random_range(1_000..10_000); // another one for each reader
    SseEvent::default().retry(Duration::from_millis(wait))
}
// ANCHOR_END: retry

// ANCHOR: empty
fn empty() -> SseEvent {
    SseEvent::default().name("ping").text("") // `data:`, so it is an event
}
// ANCHOR_END: empty

// ANCHOR: failure
fn failure(why: &str) -> SseEvent {
    SseEvent::default().name("failure").text(why) // not `error`
}
// ANCHOR_END: failure

// ANCHOR: heartbeat
pub fn heartbeat() -> SseEvent {
    SseEvent::default().name("heartbeat").text("") // a page sees it, unlike a comment
}
// ANCHOR_END: heartbeat

// ANCHOR: done
pub fn done() -> SseEvent {
    SseEvent::default().name("done").text("") // and then the stream ends
}
// ANCHOR_END: done

// ANCHOR: said
fn said(from: u64, text: &str) -> SseEvent {
    let data = json!({ "from": from, "text": text }).to_string();
    SseEvent::default().text(data)
}
// ANCHOR_END: said

// ANCHOR: one_line
fn one_line(id_or_type: &str) -> Result<&str, StatusError> {
    let refused = || StatusError::bad_request().brief("a line break, or NUL");
    let is_one = !id_or_type.contains(['\r', '\n', '\0']);
    is_one.then_some(id_or_type).ok_or_else(refused)
}
// ANCHOR_END: one_line

// ANCHOR: last_event_id
fn last_event_id(req: &Request) -> Option<String> {
    let after = || req.query("after"); // from a page that made a new EventSource
    req.header("last-event-id").or_else(after) // the header is newer
}
// ANCHOR_END: last_event_id

// ANCHOR: number
fn number(req: &Request) -> Result<u64, StatusError> {
    let no_number = || StatusError::bad_request().brief("the id is no number");
    req.param("id").ok_or_else(no_number)
}
// ANCHOR_END: number

// ANCHOR: bounded
fn publish(readers: &mut Vec<mpsc::Sender<SseEvent>>, event: &SseEvent) {
    // Made with `mpsc::channel(256)`: a reader whose queue is full loses its stream.
    readers.retain(|reader| reader.try_send(event.clone()).is_ok());
}
// ANCHOR_END: bounded

/// The event for a reader of a broadcast, after what it has received.
fn told(received: Result<SseEvent, RecvError>) -> Option<SseEvent> {
    // ANCHOR: lagged
    match received {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(n)) => Some(missed(n)), // an event that says how many
        Err(RecvError::Closed) => None,
    }
    // ANCHOR_END: lagged
}

fn missed(count: u64) -> SseEvent {
    SseEvent::default().name("missed").text(count.to_string())
}

// ANCHOR: without_mark
fn without_mark(first: &[u8]) -> &[u8] {
    first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first) // of three bytes or more
}
// ANCHOR_END: without_mark

// ANCHOR: whole_lines
fn whole_lines(unread: &mut Vec<u8>, chunk: &[u8]) -> String {
    unread.extend_from_slice(chunk);
    let end = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    String::from_utf8_lossy(&unread.drain(..end).collect::<Vec<_>>()).into_owned()
}
// ANCHOR_END: whole_lines

pub type Item = Result<SseEvent, Infallible>;

/// A stream on which nothing happens.
#[handler]
pub async fn quiet(res: &mut Response) {
    let events = stream::pending::<Item>();
    // ANCHOR: opened
    let first = SseEvent::default().comment(""); // a line with a colon, at once
    sse::stream(res, stream::iter([Ok(first)]).chain(events));
    // ANCHOR_END: opened
}

/// A stream for which a token is good for a moment.
#[handler]
async fn expiring(res: &mut Response) {
    let events = stream::pending::<Item>();
    let expires = Instant::now() + Duration::from_millis(300);
    // ANCHOR: expires
    let end = sleep_until(expires); // the client comes back, and the token is looked at
    sse::stream(res, events.take_until(end));
    // ANCHOR_END: expires
}

// ANCHOR: numbered
fn numbered((id, text): (u64, &str)) -> Result<SseEvent, Infallible> {
    Ok(SseEvent::default().text(text).id(id.to_string()))
}
// ANCHOR_END: numbered

/// Three events that are kept, and silence.
#[handler]
pub async fn replaying(req: &Request, res: &mut Response) {
    let kept = [(1, "a"), (2, "b"), (3, "c")];
    let live = stream::pending();
    // ANCHOR: replay
    let last: u64 = last_event_id(req).and_then(|id| id.parse().ok()).unwrap_or(0);
    let missed = kept.into_iter().filter(move |(id, _)| *id > last).map(numbered);
    sse::stream(res, stream::iter(missed).chain(live)); // of all that comes from now on
    // ANCHOR_END: replay
}

/// Silence, and heartbeats that a page sees.
#[handler]
pub async fn beating(res: &mut Response) {
    let events = stream::pending::<Item>();
    // ANCHOR: beats
    let beats = IntervalStream::new(interval(Duration::from_secs(15)));
    let beats = beats.map(|_| Ok::<_, Infallible>(heartbeat()));
    sse::stream(res, stream::select(events, beats));
    // ANCHOR_END: beats
}

/// Tickets that have been given out, each for whom.
#[derive(Clone, Default)]
pub struct Tickets(pub Arc<Mutex<HashMap<String, u64>>>);

#[handler]
impl Tickets {
    async fn handle(
        &self,
        req: &Request,
        res: &mut Response,
    ) -> Result<(), StatusError> {
        let tickets = &self.0;
        // ANCHOR: ticket
        let ticket: String = req.query("ticket").unwrap_or_default();
        let user = tickets.lock().remove(&ticket); // a ticket is good for once
        let user = user.ok_or_else(StatusError::unauthorized)?;
        // ANCHOR_END: ticket
        let event = Item::Ok(event_of(&user.to_string()).id("7"));
        sse::stream(res, stream::iter([event]));
        Ok(())
    }
}

/// A stream that ends when it is asked to.
struct Ending(CancellationToken);

#[handler]
impl Ending {
    async fn handle(&self, res: &mut Response) {
        let stop = &self.0;
        let first = Item::Ok(event_of("a"));
        let events = stream::iter([first]).chain(stream::pending());
        // ANCHOR: until_stop
        // `take_until` is of futures_util::StreamExt.
        sse::stream(res, events.take_until(stop.clone().cancelled_owned()));
        // ANCHOR_END: until_stop
    }
}

/// A relay to the server with this URL.
struct Relay(String);

#[handler]
impl Relay {
    async fn handle(&self, res: &mut Response) -> Result<(), StatusError> {
        let answer = reqwest::get(&self.0).await;
        let answer = answer.map_err(|why| StatusError::bad_gateway().cause(why))?;
        // ANCHOR: relayed
        // The model's body lives in the response and nowhere else: no task, no channel. When
        // the reader leaves, the response is dropped, and the connection to the model closes.
        res.stream(answer.bytes_stream());
        // ANCHOR_END: relayed
        Ok(())
    }
}

/// The stream of a job that is done, for a reader who comes back or not.
pub const STEPS: u64 = 3;

#[handler]
pub async fn job(req: &Request, res: &mut Response) {
    let last = req.header("last-event-id").unwrap_or(0);
    // ANCHOR: no_content
    if last >= STEPS {
        res.status_code(StatusCode::NO_CONTENT); // an EventSource stays away then
        return;
    }
    // ANCHOR_END: no_content
    let step = |n: u64| Item::Ok(event_of("step").id(n.to_string()));
    let retry = Item::Ok(SseEvent::default().retry(Duration::from_millis(100)));
    let steps = (last + 1..=STEPS).map(step);
    sse::stream(res, stream::iter([retry].into_iter().chain(steps)));
}

fn event_of(text: &str) -> SseEvent {
    SseEvent::default().text(text)
}

/// The data of each event in these bytes.
async fn data(bytes: &[u8]) -> Vec<String> {
    let chunk = Ok::<_, Infallible>(bytes.to_vec());
    let events = stream::iter([chunk]).eventsource();
    events.map(|event| event.unwrap().data).collect().await
}

#[tokio::test]
async fn the_empty_line_completes_an_event() {
    let whole = event("a");
    assert_eq!(data(whole.as_bytes()).await, ["a"]);
    let without = whole.strip_suffix('\n').unwrap();
    assert!(data(without.as_bytes()).await.is_empty());
}

#[tokio::test]
async fn events_for_special_cases_are_read_as_they_are_meant() {
    for (event, event_type, data) in
        [(empty(), "ping", ""), (failure("disk full"), "failure", "disk full")]
    {
        let bytes = Ok::<_, Infallible>(event.to_string());
        let event =
            stream::iter([bytes]).eventsource().next().await.unwrap().unwrap();
        assert_eq!((&*event.event, &*event.data), (event_type, data));
    }
}

#[test]
fn each_reader_gets_another_time_to_wait() {
    let waits: HashSet<_> = (0..50).map(|_| retry().to_string()).collect();
    assert!(waits.len() > 10, "{waits:?}");
}

#[tokio::test]
async fn an_id_that_is_no_number_is_refused_with_the_reason() {
    #[handler]
    async fn show(req: &Request) -> Result<String, StatusError> {
        number(req).map(|id| id.to_string())
    }
    let url = serve(Router::with_path("{id}").get(show)).await;
    for (id, status, says) in [("7", 200, "7"), ("x", 400, "the id is no number")] {
        let client = reqwest::Client::new().get(format!("{url}/{id}"));
        let asked = client.header("accept", "text/plain").send();
        let answer = within("an answer", asked).await.unwrap();
        assert_eq!(answer.status(), status);
        let body = within("a body", answer.text()).await.unwrap();
        assert!(body.contains(says), "{body}");
    }
}

#[tokio::test]
async fn a_reader_whose_queue_is_full_loses_its_stream_and_no_other_does() {
    let (slow, _unread) = mpsc::channel(2);
    let (quick, mut read) = mpsc::channel(2);
    let mut readers = vec![slow, quick];
    for n in 0..5 {
        publish(&mut readers, &event_of(&n.to_string()));
        let received = read.try_recv().unwrap().to_string();
        assert_eq!(received, event_of(&n.to_string()).to_string());
    }
    assert_eq!(readers.len(), 1);
}

#[tokio::test]
async fn a_reader_that_lags_behind_is_told_how_much_it_has_missed() {
    let (sender, mut live) = broadcast::channel(2);
    for n in 0..5 {
        sender.send(event_of(&n.to_string())).unwrap();
    }
    drop(sender);
    let mut seen = Vec::new();
    while let Some(event) = told(live.recv().await) {
        seen.push(event.to_string());
    }
    let expected = [missed(3), event_of("3"), event_of("4")];
    assert_eq!(seen, expected.map(|event| event.to_string()));
}

#[tokio::test]
async fn eventsource_stream_panics_at_a_byte_order_mark_unless_it_is_taken_away() {
    let marked = b"\xef\xbb\xbfdata: a\n\n";
    let panics = tokio::spawn(async { data(marked).await }).await.unwrap_err();
    let panic = panics.into_panic();
    let said = panic.downcast_ref::<String>().map_or("", String::as_str);
    assert!(said.contains("byte index 1 is not a char boundary"), "{said}");
    assert_eq!(data(without_mark(marked)).await, ["a"]);
    assert_eq!(data(without_mark(b"data: a\n\n")).await, ["a"]);
    let bytes = marked.map(|byte| Ok(Bytes::copy_from_slice(&[byte])));
    let events = guarded(stream::iter(bytes)).await.unwrap();
    assert_eq!(events, ["a"]);
}

/// The data of each event in a body, of which a chunk may be a single byte.
async fn guarded(
    mut body: impl Stream<Item = Result<Bytes, Infallible>> + Unpin,
) -> Result<Vec<String>, Infallible> {
    // ANCHOR: unread
    let mut first = Vec::new(); // `body` is `response.bytes_stream()`
    // ANCHOR_END: unread
    // ANCHOR: first
    while first.len() < 3
        && let Some(part) = body.next().await
    {
        first.extend_from_slice(&part?);
    }
    // ANCHOR_END: first
    // ANCHOR: guarded
    let first = stream::iter([Ok(Bytes::copy_from_slice(without_mark(&first)))]);
    let events = first.chain(body).eventsource();
    // ANCHOR_END: guarded
    Ok(events.map(|event| event.unwrap().data).collect().await)
}

#[test]
fn a_message_of_several_lines_keeps_its_sender() {
    let event = said(2, "hello\n<User#1>: I resign\n\nevent: admin").to_string();
    assert_eq!(event.lines().count(), 2, "{event}");
    assert!(event.contains(r#""from":2"#), "{event}");
}

#[test]
fn an_id_or_a_type_that_would_end_its_line_is_refused() {
    let event = SseEvent::default().id(one_line("7").unwrap());
    assert_eq!(event.text("a").to_string().lines().count(), 3);
    for forged in ["7\ndata: x", "7\rdata: x", "7\0"] {
        assert!(one_line(forged).is_err(), "{forged:?}");
    }
}

#[tokio::test]
async fn a_reader_who_comes_back_gets_what_came_after_its_last_event() {
    let url = serve(Router::new().get(replaying)).await;
    for (id, query, first) in [
        ("", "", "a"),
        ("2", "", "c"),
        ("", "?after=1", "b"),
        ("2", "?after=1", "c"),
    ] {
        let mut asked = reqwest::Client::new().get(format!("{url}/{query}"));
        if !id.is_empty() {
            asked = asked.header("last-event-id", id);
        }
        let answer = within("a head", asked.send()).await.unwrap();
        assert_eq!(Events::of(answer).data().await, first, "{id} {query}");
    }
}

#[tokio::test]
async fn a_stream_ends_whole_when_its_token_expires() {
    let url = serve(Router::new().get(expiring)).await;
    let mut events = Events::of(within("a head", reqwest::get(url)).await.unwrap());
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn asked_to_stop_a_server_ends_its_streams_whole_and_itself() {
    let (ask, asked) = oneshot::channel();
    let asked_to_stop = async { asked.await.unwrap() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::new(TcpAcceptor::try_from(listener).unwrap());
    // ANCHOR: handle
    let stop = CancellationToken::new(); // of tokio-util; each handler has a clone
    let handle = server.handle(); // Salvo's feature `server-handle`
    // ANCHOR_END: handle
    let router = Router::new().get(Ending(stop.clone()));
    let serving = tokio::spawn(server.try_serve(router));
    // ANCHOR: stop
    tokio::spawn(async move {
        asked_to_stop.await; // `tokio::signal::ctrl_c()`, and SIGTERM
        handle.stop_graceful(Duration::from_secs(3)); // after it, streams are cut
        stop.cancel(); // and each stream ends by itself
    });
    // ANCHOR_END: stop
    let mut events = Events::of(within("a head", reqwest::get(url)).await.unwrap());
    assert_eq!(events.data().await, "a");
    ask.send(()).unwrap();
    assert_eq!(events.next().await, None);
    within("the end of the server", serving).await.unwrap().unwrap();
}

#[test]
fn a_letter_that_two_chunks_share_comes_out_whole_with_its_line() {
    let text = "é👩‍👩‍👧\nb\nc";
    let mut unread = Vec::new();
    let bytes = text.as_bytes().iter();
    let lines: String =
        bytes.map(|byte| whole_lines(&mut unread, &[*byte])).collect();
    assert_eq!(lines, "é👩‍👩‍👧\nb\n");
    assert_eq!(unread, b"c");
}

#[tokio::test]
async fn a_relay_leaves_the_model_when_its_reader_leaves() {
    let model = Scripted::start().await;
    let url = serve(Router::new().get(Relay(model.url("/")))).await;
    let reader = tokio::spawn(reqwest::get(url));
    let mut asked = model.asked().await;
    asked.stream("data: a\n\n").await;
    let mut answer = within("a head", reader).await.unwrap().unwrap();
    assert!(within("a token", answer.chunk()).await.unwrap().is_some());
    drop(answer);
    asked.is_left().await;
}
