//! How EventSource behaves in a real browser, whatever the server is.

use std::convert::Infallible;
use std::time::Duration;

use salvo::http::HeaderValue;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Browser, Program, pause, serve};
use tokio_stream::wrappers::IntervalStream;
use tokio_stream::{StreamExt, once, pending};

/// How long a test watches that something does not happen.
const WATCH: Duration = Duration::from_millis(1500);

#[handler]
async fn count_page() -> Text<&'static str> {
    Text::Html(include_str!("../pages/count.html"))
}

/// A body that is sent as it is, as an event stream, and then ends.
pub fn finite(res: &mut Response, body: &'static str) {
    let kind = HeaderValue::from_static("text/event-stream");
    res.headers_mut().insert("content-type", kind);
    res.body(body);
}

// ANCHOR: named
fn named(n: u64) -> SseEvent {
    SseEvent::default().name("tick").text(n.to_string())
}
// ANCHOR_END: named

#[handler]
async fn named_ticks(res: &mut Response) {
    let mut n = 0;
    let period = tokio::time::interval(Duration::from_millis(50));
    let events = IntervalStream::new(period).map(move |_| {
        n += 1;
        Ok::<_, Infallible>(named(n))
    });
    sse::stream(res, events);
}

#[handler]
async fn named_page() -> Text<&'static str> {
    Text::Html(include_str!("../pages/named.html"))
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn named_events_do_not_reach_onmessage() {
    let router = Router::new()
        .get(named_page)
        .push(Router::with_path("ticks").get(named_ticks));
    let url = serve(router).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        browser
            .until("Number(document.querySelector('#number').textContent) >= 10")
            .await;
        assert_eq!(browser.eval("unnamed").await, 0);
    }
}

#[handler]
async fn unfinished(res: &mut Response) {
    finite(res, "data: one\n\ndata: two\n");
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn an_event_without_its_empty_line_never_arrives() {
    let router = Router::new()
        .get(count_page)
        .push(Router::with_path("stream").get(unfinished));
    let url = serve(router).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        browser.eval("(window.source = listen('stream')) && null").await;
        // The end of the stream is the error, and an event without its empty line is dropped.
        browser.until("errors >= 1 && messages == 1").await;
        browser.eval("source.close()").await;
        assert_eq!(browser.eval("messages == errors").await, true);
    }
}

#[handler]
async fn asks_for_more(req: &Request, res: &mut Response) {
    match req.headers().get("last-event-id").map(HeaderValue::as_bytes) {
        None => finite(res, "retry: 10\nid: seven\ndata: one\n\n"),
        Some(b"seven") => finite(res, "id: eight\ndata: two\n\n"),
        // 204 tells EventSource not to come back.
        Some(_) => drop(res.status_code(StatusCode::NO_CONTENT)),
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn eventsource_reconnects_with_the_last_event_id() {
    let router = Router::new()
        .get(count_page)
        .push(Router::with_path("stream").get(asks_for_more));
    let url = serve(router).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        browser.eval("(window.source = listen('stream')) && null").await;
        browser.until("source.readyState == EventSource.CLOSED").await;
        assert_eq!(browser.eval("messages").await, 2);
    }
}

/// The first byte of a stream, and silence. Firefox opens no stream without it.
#[handler]
async fn silent(res: &mut Response) {
    let kind = HeaderValue::from_static("text/event-stream");
    res.headers_mut().insert("content-type", kind);
    res.stream(once(Ok::<_, Infallible>(":")).chain(pending()));
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn the_seventh_stream_waits() {
    let router =
        Router::new().get(count_page).push(Router::with_path("stream").get(silent));
    let url = serve(router).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        browser
            .eval(
                "(window.all = Array.from({length: 7}, () => listen('stream'))) && null",
            )
            .await;
        browser.until("opened == 6").await;
        browser.never("opened > 6", WATCH).await;
        browser
            .eval("all.find((one) => one.readyState == EventSource.OPEN).close()")
            .await;
        browser.until("opened == 7").await;
    }
}

/// An event with an id, and one without for a client that comes back.
#[handler]
async fn with_and_without(req: &Request, res: &mut Response) {
    let first = !req.headers().contains_key("last-event-id");
    finite(res, if first { "retry: 10\nid: 7\ndata: a\n\n" } else { "data: b\n\n" });
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn an_id_outlives_its_connection() {
    let stream = Router::with_path("stream").get(with_and_without);
    let url = serve(Router::new().get(empty_page).push(stream)).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        let listen = "(window.heard = [], window.source = new EventSource('stream'), \
            source.onmessage = (event) => { heard.push(event.data + event.lastEventId); }, 0)";
        browser.eval(listen).await;
        browser.until("heard.length >= 2").await;
        assert_eq!(
            browser.eval("(source.close(), heard.slice(0, 2).join())").await,
            "a7,b7"
        );
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_tab_in_the_background_goes_on_receiving() {
    let tick = Program::start("tick").await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/", tick.url)).await;
        let number = "Number(document.querySelector('#number').textContent)";
        browser.until(&format!("{number} >= 1")).await;
        let hear = "(window.hiddenTicks = 0, new EventSource('ticks').onmessage = \
            () => { hiddenTicks += document.hidden; }, 0)";
        browser.eval(hear).await;
        let first = browser.tab().await;
        browser.new_tab().await;
        pause(4 * WATCH).await;
        browser.to_tab(first).await;
        browser.until("hiddenTicks >= 4").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn close_is_silent_and_final() {
    let finite = Router::with_path("finite").get(unfinished);
    let url = serve(Router::new().get(count_page).push(finite)).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        browser.eval("(window.source = listen('finite'), 0)").await;
        browser
            .until("errors == 1 && source.readyState == EventSource.CONNECTING")
            .await;
        browser.eval("(source.close(), 0)").await;
        browser
            .never(
                "errors > 1 || source.readyState != EventSource.CLOSED",
                3 * WATCH,
            )
            .await;
    }
}

#[handler]
pub async fn empty_page() -> Text<&'static str> {
    Text::Html("<!doctype html><title>another origin</title>")
}
