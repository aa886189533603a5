//! What a real browser does: with the programs, with the book, and with EventSource. Run
//! these with `cargo test -p tests --test browser -- --ignored`.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use salvo::http::HeaderValue;
use salvo::prelude::*;
use salvo::serve_static::StaticDir;
use salvo::sse::{self, SseEvent};
use serde_json::Value;
use tests::{Browser, Program, root, run_book, serve, within};
use tokio_stream::wrappers::IntervalStream;
use tokio_stream::{StreamExt, once, pending};

/// Bytes that chapter 2 may transfer, as they travel: compressed, with their heads.
const MAX_TRANSFER: u64 = 150_000;
/// How long a test watches something that must not happen.
const WATCH: Duration = Duration::from_millis(1500);

#[handler]
async fn count_page() -> Text<&'static str> {
    Text::Html(include_str!("../pages/count.html"))
}

/// A body that is sent as it is, as an event stream, and then ends.
fn finite(res: &mut Response, body: &'static str) {
    let kind = HeaderValue::from_static("text/event-stream");
    res.headers_mut().insert("content-type", kind);
    res.body(body);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_tick_page_counts() {
    let mut tick = Program::start("tick").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", tick.url)).await;
    let number = "Number(document.querySelector('#number').textContent)";
    browser.until(&format!("{number} >= 1")).await;
    browser.until(&format!("{number} >= 4")).await;

    let addr = tick.url.strip_prefix("http://").unwrap().to_string();
    tick.stop();
    browser
        .until(
            "document.querySelector('[role=status]').textContent.includes('lost')",
        )
        .await;
    let _tick = Program::start_at("tick", &addr).await;
    browser
        .until("document.querySelector('[role=status]').textContent == 'connected'")
        .await;
    browser.until(&format!("{number} <= 3")).await;
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
#[ignore = "needs chromedriver"]
async fn named_events_do_not_reach_onmessage() {
    let router = Router::new()
        .get(named_page)
        .push(Router::with_path("ticks").get(named_ticks));
    let browser = Browser::start().await;
    browser.open(&serve(router).await).await;
    browser
        .until("Number(document.querySelector('#number').textContent) >= 10")
        .await;
    assert_eq!(browser.eval("unnamed").await, 0);
}

#[handler]
async fn unfinished(res: &mut Response) {
    finite(res, "data: one\n\ndata: two\n");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_event_without_its_empty_line_never_arrives() {
    let router = Router::new()
        .get(count_page)
        .push(Router::with_path("stream").get(unfinished));
    let browser = Browser::start().await;
    browser.open(&serve(router).await).await;
    browser.eval("(window.source = listen('stream')) && null").await;
    // The end of the stream is the error; what had no empty line until then is dropped.
    browser.until("errors >= 1 && messages == 1").await;
    browser.eval("source.close()").await;
    assert_eq!(browser.eval("messages == errors").await, true);
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
#[ignore = "needs chromedriver"]
async fn eventsource_reconnects_with_the_last_event_id() {
    let router = Router::new()
        .get(count_page)
        .push(Router::with_path("stream").get(asks_for_more));
    let browser = Browser::start().await;
    browser.open(&serve(router).await).await;
    browser.eval("(window.source = listen('stream')) && null").await;
    browser.until("source.readyState == EventSource.CLOSED").await;
    assert_eq!(browser.eval("messages").await, 2);
}

#[handler]
async fn silent(res: &mut Response) {
    sse::stream(res, pending::<Result<SseEvent, Infallible>>());
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_seventh_stream_waits() {
    let router =
        Router::new().get(count_page).push(Router::with_path("stream").get(silent));
    let browser = Browser::start().await;
    browser.open(&serve(router).await).await;
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

/// What a chat page shows, as JavaScript.
const CONNECTED: &str =
    "document.querySelector('#state').textContent == 'connected'";
const LAST: &str = "document.querySelector('#log li:last-child')?.textContent";
const ENTER: &str = "\u{e007}";

/// An event with an id, and on the next connection one without.
struct WithAndWithout(AtomicUsize);

#[handler]
impl WithAndWithout {
    async fn handle(&self, res: &mut Response) {
        let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        finite(
            res,
            if first { "retry: 10\nid: 7\ndata: a\n\n" } else { "data: b\n\n" },
        );
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_id_outlives_its_connection() {
    let stream =
        Router::with_path("stream").get(WithAndWithout(AtomicUsize::new(0)));
    let browser = Browser::start().await;
    browser.open(&serve(Router::new().get(empty_page).push(stream)).await).await;
    let listen = "(window.heard = [], window.source = new EventSource('stream'), \
        source.onmessage = (event) => { heard.push(event.data + event.lastEventId); }, 0)";
    browser.eval(listen).await;
    browser.until("heard.length >= 2").await;
    assert_eq!(
        browser.eval("(source.close(), heard.slice(0, 2).join())").await,
        "a7,b7"
    );
}

/// A stream that says one thing, and then nothing more.
#[handler]
async fn one_event_and_silence(res: &mut Response) {
    let first = Ok::<_, Infallible>(SseEvent::default().text("a"));
    sse::stream(res, once(first).chain(pending()));
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_watchdog_reopens_a_stream_that_has_gone_silent() {
    let streams = Router::with_path("stream").get(one_event_and_silence);
    let browser = Browser::start().await;
    browser.open(&serve(Router::new().get(empty_page).push(streams)).await).await;
    let script = include_str!("../pages/watchdog.js")
        .replace("function watched", "watched = function");
    browser.eval(&format!("eval({})", serde_json::json!(script))).await;
    let open = "(window.heard = [], window.stop = \
        watched('stream', ['message'], (event) => { heard.push(event.type); }, 400), 0)";
    browser.eval(open).await;
    browser.until("heard.join().startsWith('open,message,open,message,open')").await;
    browser.eval("(stop(), heard.length = 0)").await;
    browser.never("heard.length > 0", WATCH).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_tab_in_the_background_goes_on_receiving() {
    let tick = Program::start("tick").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", tick.url)).await;
    let number = "Number(document.querySelector('#number').textContent)";
    browser.until(&format!("{number} >= 1")).await;
    let heard = browser.eval(
        "(window.hiddenTicks = 0, new EventSource('ticks').onmessage = \
        () => { hiddenTicks += document.hidden; }, 0)",
    );
    heard.await;
    let first = browser.tab().await;
    browser.new_tab().await;
    tests::pause(4 * WATCH).await;
    browser.to_tab(first).await;
    browser.until("hiddenTicks >= 4").await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn close_is_silent_and_final() {
    let finite = Router::with_path("finite").get(unfinished);
    let browser = Browser::start().await;
    browser.open(&serve(Router::new().get(count_page).push(finite)).await).await;
    browser.eval("(window.source = listen('finite'), 0)").await;
    browser
        .until("errors == 1 && source.readyState == EventSource.CONNECTING")
        .await;
    browser.eval("(source.close(), 0)").await;
    browser
        .never("errors > 1 || source.readyState != EventSource.CLOSED", 3 * WATCH)
        .await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn two_chat_windows_talk() {
    let chat = Program::start("chat").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", chat.url)).await;
    browser.until(CONNECTED).await;
    let first = browser.new_window().await;
    browser.open(&format!("{}/", chat.url)).await;
    browser.until(CONNECTED).await;
    let me = "document.querySelector('#me').textContent";
    assert_eq!(browser.eval(me).await, "you are User#2");
    browser.type_into("#text", &format!("hello?{ENTER}")).await;
    browser.until(&format!("{LAST} == 'Youhello?'")).await;
    assert_eq!(browser.eval("document.querySelector('#text').value").await, "");

    browser.to_tab(first).await;
    browser.until(&format!("{LAST} == 'User#2hello?'")).await;
    let lines = "document.querySelectorAll('#log li').length";
    assert_eq!(browser.eval(lines).await, 2, "who joined, and what they said");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_chat_page_shows_messages_as_text() {
    let texts = [
        "<script>window.hacked = true</script>",
        "<img src=x onerror='window.hacked = true'>",
        "<svg onload='window.hacked = true'>",
        "<iframe srcdoc='<script>parent.hacked = true</script>'></iframe>",
        "</li></ol><h1>gone</h1>",
        "<a href='javascript:hacked = true'>click</a>",
        "&lt;b&gt; &amp;",
        "<User#9>: forged",
        "two\n  lines",
    ];
    let chat = Program::start("chat").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", chat.url)).await;
    browser.until(CONNECTED).await;
    // Somebody else says it, and then the page itself does.
    let id = format!("{:032x}", 1);
    let _other = chat.events(&format!("/chat?as={id}")).await;
    let mut other = chat.poster(&format!("/chat/{id}")).await;
    for text in texts {
        other.post(text, 1).await;
        let shown = serde_json::json!(format!("User#2{text}"));
        browser.until(&format!("{LAST} == {shown}")).await;
        let set = format!("document.querySelector('#text').value = {:?}", text);
        browser.eval(&set).await;
        browser.type_into("#text", ENTER).await;
        let shown = serde_json::json!(format!("You{text}"));
        browser.until(&format!("{LAST} == {shown}")).await;
    }
    // Lines hold text, and the one element that the page itself made for the name.
    let elements =
        "[...document.querySelectorAll('#log li *')].map((it) => it.tagName)";
    let elements = browser.eval(elements).await;
    assert!(
        elements.as_array().unwrap().iter().all(|name| name == "B"),
        "{elements}"
    );
    assert_eq!(browser.eval("window.hacked === undefined").await, true);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_chat_page_keeps_its_place_and_fits_a_phone() {
    let chat = Program::start("chat").await;
    let browser = Browser::start().await;
    browser.resize(360, 640).await;
    browser.open(&format!("{}/", chat.url)).await;
    browser.until(CONNECTED).await;
    let id = format!("{:032x}", 1);
    let _other = chat.events(&format!("/chat?as={id}")).await;
    let mut other = chat.poster(&format!("/chat/{id}")).await;
    other.post(&"long ".repeat(30), 30).await;
    let log = "document.querySelector('#log')";
    let at_end =
        format!("{log}.scrollTop + {log}.clientHeight > {log}.scrollHeight - 2");
    browser.until(&format!("{log}.children.length == 31 && {at_end}")).await;
    assert_eq!(browser.eval("document.querySelector('#newer').hidden").await, true);

    browser.eval(&format!("{log}.scrollTop = 10")).await;
    other.post("unread", 1).await;
    browser.until(&format!("{log}.children.length == 32")).await;
    assert_eq!(browser.eval(&format!("{log}.scrollTop")).await, 10);
    assert_eq!(browser.eval("document.querySelector('#newer').hidden").await, false);
    browser.type_into("#newer", ENTER).await;
    browser.until(&at_end).await;
    let wide = "document.documentElement.scrollWidth - innerWidth";
    assert_eq!(browser.eval(wide).await, 0);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_chat_page_finds_a_restarted_server_and_says_what_it_knows() {
    let mut chat = Program::start("chat").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", chat.url)).await;
    browser.until(CONNECTED).await;
    let addr = chat.url.strip_prefix("http://").unwrap().to_string();
    chat.stop();
    browser.until(&format!("!({CONNECTED})")).await;
    browser.type_into("#text", &format!("anybody?{ENTER}")).await;
    browser.until(&format!("{LAST}.includes('does not answer')")).await;
    let text = "document.querySelector('#text').value";
    assert_eq!(browser.eval(text).await, "anybody?", "it can be sent again");
    let _chat = Program::start_at("chat", &addr).await;
    browser.until(CONNECTED).await;
    let lines = "document.querySelector('#log').textContent";
    browser.until(&format!("{lines}.includes('something may be missing')")).await;
}

#[handler]
async fn empty_page() -> Text<&'static str> {
    Text::Html("<!doctype html><title>another origin</title>")
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_page_of_another_origin_cannot_write_to_the_chat() {
    let chat = Program::start("chat").await;
    let ann = format!("{:032x}", 1);
    let mut events = chat.events(&format!("/chat?as={ann}")).await;
    assert_eq!(events.data().await, ann);
    assert_eq!(events.data().await, "User#1");
    let browser = Browser::start().await;
    browser.open(&serve(Router::new().get(empty_page)).await).await;
    // It may join under an id that it makes up, and sees nothing of it.
    let id = "e".repeat(32);
    let url = format!("{}/chat", chat.url);
    let join = format!("fetch('{url}?as={id}', {{ mode: 'no-cors' }}) && null");
    browser.eval(&join).await;
    assert_eq!(events.data().await, "User#2");
    let write = format!(
        "fetch('{url}/{id}', {{ mode: 'no-cors', method: 'POST', body: 'ha' }})\
         .finally(() => {{ window.written = true; }}) && null"
    );
    browser.eval(&write).await;
    browser.until("window.written").await;
    // From here, the same request is somebody's own affair.
    chat.poster(&format!("/chat/{id}")).await.post("mine", 1).await;
    assert_eq!(events.data().await, "<User#2>: mine");
}

/// Breaks the stream off, answers the reconnect with 502, and says then what the page
/// asks for.
struct Flaky(AtomicUsize);

#[handler]
impl Flaky {
    async fn handle(&self, req: &Request, res: &mut Response) {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => finite(
                res,
                "retry: 10\nevent: user\ndata: 1\nid: e-1\n\nid: e-2\ndata: one\n\n",
            ),
            1 => drop(res.status_code(StatusCode::BAD_GATEWAY)),
            _ => {
                let after = req.query::<String>("after").unwrap_or_default();
                let event = SseEvent::default().text(format!("after {after}"));
                sse::stream(res, once(Ok::<_, Infallible>(event)).chain(pending()));
            }
        }
    }
}

#[handler]
async fn chat_page() -> Text<&'static str> {
    Text::Html(include_str!("../../examples/chat/index.html"))
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_chat_page_continues_after_an_answer_that_is_no_stream() {
    let flaky = Router::with_path("chat").get(Flaky(AtomicUsize::new(0)));
    let browser = Browser::start().await;
    browser.open(&serve(Router::new().get(chat_page).push(flaky)).await).await;
    // The page knows what it heard last, although the new EventSource does not.
    browser.until(&format!("{LAST} == 'after e-2'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn chapter_5_holds_two_windows_that_talk_and_a_reader() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for page in ["chat.html", "it/chat.html"] {
        browser.open(&format!("{}/{page}", book.url)).await;
        let frame = |n: u8| {
            format!(
                "document.querySelectorAll('live-page iframe')[{n}].contentDocument"
            )
        };
        for n in [0, 1] {
            let state =
                format!("{}?.querySelector('#state')?.textContent", frame(n));
            browser.until(&format!("{state} == 'connected'")).await;
        }
        let heard = "document.querySelector('live-stream').textContent";
        browser.eval("document.querySelector('live-stream').scrollIntoView()").await;
        browser.until(&format!("{STATE} == 'live' && {EVENTS} >= 2")).await;
        let write = format!(
            "({0}.querySelector('#text').value = 'from {page}', {0}.querySelector('form').requestSubmit())",
            frame(0)
        );
        browser.eval(&write).await;
        let log = format!("{}.querySelector('#log').textContent", frame(1));
        browser.until(&format!("{log}.includes('from {page}')")).await;
        browser.until(&format!("{heard}.includes('from {page}')")).await;
    }
}

/// What the panel shows, as JavaScript.
const STATE: &str = "document.querySelector('live-stream').dataset.state";
const EVENTS: &str = "document.querySelectorAll('live-stream li').length";
const FIRST: &str = "document.querySelector('live-stream li code')?.textContent";
const TOGGLE: &str = "document.querySelector('live-stream .toggle').click()";

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_connects_stops_and_starts_again() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for (page, live, stopped) in
        [("tick.html", "live", "stopped"), ("it/tick.html", "in diretta", "fermato")]
    {
        browser.open(&format!("{}/{page}", book.url)).await;
        browser.until(&format!("{STATE} == 'live' && {EVENTS} >= 2")).await;
        let state = "document.querySelector('live-stream .state').textContent";
        assert_eq!(browser.eval(state).await, live);
        assert_eq!(browser.eval(FIRST).await, "1");
        let bytes = "document.querySelector('live-stream .bytes pre').textContent";
        browser
            .until(&format!("{bytes}.startsWith('data: 1\\\\n\\n\\\\n\\n')"))
            .await;

        browser.eval(TOGGLE).await;
        assert_eq!(browser.eval(state).await, stopped);
        let events = browser.eval(EVENTS).await;
        browser.never(&format!("{EVENTS} != {events}"), WATCH).await;

        browser.eval(TOGGLE).await;
        browser.until(&format!("{STATE} == 'live' && {EVENTS} >= 2")).await;
        assert_eq!(browser.eval(FIRST).await, "1");
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_closes_out_of_sight_and_comes_back() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.until(&format!("{STATE} == 'live'")).await;
    browser.eval("scrollTo(0, document.body.scrollHeight)").await;
    browser.until(&format!("{STATE} == 'paused'")).await;
    browser.eval("scrollTo(0, 0)").await;
    browser.until(&format!("{STATE} == 'live'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_replays_when_the_server_has_gone() {
    let mut book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.until(&format!("{STATE} == 'live'")).await;
    book.stop();
    browser.until(&format!("{STATE} == 'lost'")).await;
    browser.eval(TOGGLE).await;
    browser.until(&format!("{STATE} == 'recorded' && {EVENTS} >= 1")).await;
    browser.until("!document.querySelector('live-stream .why').hidden").await;
}

/// Serves static files below a path, as a static host does.
async fn static_host(folder: &Path, below: &str) -> String {
    let files = StaticDir::new(folder.to_path_buf()).defaults("index.html");
    let path = format!("{below}/{{**path}}");
    format!("{}/{below}", serve(Router::with_path(path).get(files)).await)
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_static_host_replays_the_recording_at_its_pace() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("book");
    let built = run_book(&root(), &["build", "--dest", out.to_str().unwrap()]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let host = static_host(&out, "some/where").await;

    let browser = Browser::start().await;
    for page in ["hello.html", "it/tick.html"] {
        browser.open(&format!("{host}/{page}")).await;
        browser.until(&format!("{STATE} == 'recorded' && {EVENTS} == 2")).await;
        browser.until(&format!("{STATE} == 'recordedEnd' && {EVENTS} == 5")).await;
        // The recording holds five events in four seconds.
        let last =
            "document.querySelector('live-stream li:last-child time').textContent";
        let last = browser.eval(last).await;
        assert!(last.as_str().unwrap().starts_with('4'), "{last}");
        // Every file came, although the book is not at the top of the host.
        let failed = "performance.getEntriesByType('resource')\
                      .filter((entry) => entry.responseStatus >= 400).length";
        assert_eq!(browser.eval(failed).await, 0);
        browser.eval(TOGGLE).await;
        browser.until(&format!("{STATE} == 'recorded'")).await;
    }
    // A program's own page cannot be replayed: there is a sentence in its place.
    for (page, panel) in [("chat", "live-page"), ("feed", "live-page[kill]")] {
        browser.open(&format!("{host}/{page}.html")).await;
        browser.until(&format!("!!document.querySelector('{panel} p')")).await;
        let frame = browser.eval("document.querySelector('iframe')").await;
        assert_eq!(frame, Value::Null);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn chapter_2_is_light_and_asks_nobody_else() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.eval("document.querySelector('.language-rust').scrollIntoView()").await;
    browser.until("!!document.querySelector('.language-rust .hljs-keyword')").await;
    browser.eval("scrollTo(0, 0)").await;
    browser.until(&format!("{STATE} == 'live'")).await;
    let entries = "[...performance.getEntriesByType('resource'), performance.getEntriesByType('navigation')[0]]";
    let foreign = format!(
        "{entries}.filter((one) => !one.name.startsWith(location.origin)).length"
    );
    assert_eq!(browser.eval(&foreign).await, 0);
    let size = format!("{entries}.reduce((sum, one) => sum + one.transferSize, 0)");
    let size = browser.eval(&size).await.as_u64().unwrap();
    println!("chapter 2 transfers {size} bytes");
    assert!((20_000..=MAX_TRANSFER).contains(&size), "{size} bytes");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_picker_keeps_the_page_and_the_heading() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.eval("document.getElementById('named-events').scrollIntoView()").await;
    browser.eval("document.querySelector('.languages a[lang=it]').click()").await;
    browser.until("document.documentElement.lang == 'it'").await;
    assert_eq!(browser.eval("location.pathname").await, "/it/tick.html");
    assert_eq!(browser.eval("location.hash").await, "#named-events");
    let top = "document.getElementById('named-events').getBoundingClientRect().top";
    browser.until(&format!("{top} >= 0 && {top} < innerHeight / 2")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_search_finds_in_the_language_of_the_page() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for (page, word) in
        [("index.html", "heartbeat"), ("it/index.html", "contropressione")]
    {
        browser.open(&format!("{}/{page}", book.url)).await;
        browser.until("document.readyState == 'complete'").await;
        browser.eval("document.getElementById('search').showPopover()").await;
        let input = "document.querySelector('#search input')";
        browser.until(&format!("document.activeElement == {input}")).await;
        let ask = format!(
            "({input}.value = '{word}', {input}.dispatchEvent(new Event('input')))"
        );
        browser.until("!!window.search?.index").await;
        browser.eval(&ask).await;
        browser.until("document.querySelectorAll('#search li').length > 0").await;
        let found = "document.querySelector('#search li').textContent.toLowerCase()";
        browser.until(&format!("{found}.includes('{word}')")).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn all_tabs_share_one_reload_stream() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    let url = format!("{}/glossary.html", book.url);
    // With a stream each, the seventh tab would wait for ever.
    let mut tabs = Vec::new();
    for _ in 0..8 {
        tabs.push(browser.new_tab().await);
        browser.open(&url).await;
        browser.eval("window.old = true").await;
    }
    let page = book.folder().join("src/en/glossary.md");
    let text = fs::read_to_string(&page).unwrap();
    fs::write(&page, text.replace("# Glossary", "# Glossary, changed")).unwrap();
    for tab in tabs {
        browser.to_tab(tab).await;
        browser
            .until("window.old == undefined && document.readyState == 'complete'")
            .await;
        let title = "document.querySelector('h1').textContent";
        assert_eq!(browser.eval(title).await, "Glossary, changed");
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn no_page_is_wider_than_a_phone() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.resize(360, 800).await;
    for language in ["", "it/"] {
        for page in [
            "index", "hello", "tick", "chat", "slow", "feed", "choosing",
            "glossary", "print",
        ] {
            browser.open(&format!("{}/{language}{page}.html", book.url)).await;
            browser.until("document.readyState == 'complete'").await;
            let wide = "document.documentElement.scrollWidth - innerWidth";
            assert_eq!(browser.eval(wide).await, 0, "{language}{page}");
        }
        // The last page is the one for paper: its panels are text.
        let panels = "document.querySelectorAll('live-stream > pre').length";
        assert!(browser.eval(panels).await.as_u64() >= Some(3));
        assert_eq!(
            browser.eval("document.querySelectorAll('.toggle').length").await,
            0
        );
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_cheat_sheet_prints_on_one_sheet() {
    let book = Program::serve_book().await;
    let folder = tempfile::tempdir().unwrap();
    for page in ["cheat.html", "it/cheat.html"] {
        let pdf = folder.path().join("page.pdf");
        let print = format!("--print-to-pdf={}", pdf.display());
        let url = format!("{}/{page}", book.url);
        let mut chromium = tokio::process::Command::new("chromium");
        chromium.args(["--headless", "--no-sandbox", "--disable-gpu", &print, &url]);
        let output = within("a page on paper", chromium.output()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let pdf = String::from_utf8_lossy(&fs::read(pdf).unwrap()).to_string();
        let sheets =
            pdf.matches("/Type /Page").count() - pdf.matches("/Type /Pages").count();
        assert_eq!(sheets, 1, "{page}");
    }
}

/// What the page of `feed` shows: as JavaScript, in this document.
fn feed_page(document: &str) -> impl Fn(&str) -> String {
    move |id| format!("{document}.querySelector('#{id}').textContent")
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn chapter_8_counts_on_whatever_is_killed() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for (page, killed) in [("feed.html", "was killed"), ("it/feed.html", "ucciso")] {
        browser.open(&format!("{}/{page}", book.url)).await;
        let panel = "document.querySelector('live-page[kill]')";
        browser.until(&format!("!!{panel}.querySelector('iframe')")).await;
        browser.eval(&format!("{panel}.scrollIntoView()")).await;
        let feed = format!("{panel}.querySelector('iframe').contentDocument");
        let shows = feed_page(&feed);
        browser.until(&format!("!!{feed}.querySelector('#state')")).await;
        let state = shows("state");
        browser.until(&format!("{state} == 'connected'")).await;
        browser.eval(&format!("{feed}.querySelector('#count').click()")).await;
        let counted = format!("Number({})", shows("counted"));
        let said = format!("{panel}.querySelector('[role=status]').textContent");
        for times in 1..=5 {
            let before = browser.eval(&counted).await.as_u64().unwrap();
            browser.until(&format!("{counted} > {before} + 5")).await;
            browser.type_into("live-page[kill] button", ENTER).await;
            browser
                .until(&format!(
                    "{said}.includes('{killed}') && {said}.endsWith(': {times}.')"
                ))
                .await;
            let cuts = shows("cuts");
            browser
                .until(&format!("{cuts} >= {times} && {state} == 'connected'"))
                .await;
        }
        browser.until(&format!("{counted} > 60")).await;
        assert_eq!(browser.eval(&shows("lost")).await, "0");
        assert_eq!(browser.eval(&shows("repeated")).await, "0");
        let cuts = format!("Number({})", shows("cuts"));
        assert!(browser.eval(&cuts).await.as_u64() >= Some(5));
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_feed_page_comes_back_after_the_event_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let feed = Program::start_with("feed", &[("FEED_DIR", dir)]).await;
    let browser = Browser::start().await;
    browser.resize(360, 640).await;
    browser.open(&format!("{}/", feed.url)).await;
    browser.until(CONNECTED).await;
    let shows = feed_page("document");
    browser.type_into("#text", &format!("hello?{ENTER}")).await;
    browser.until(&format!("{LAST}?.endsWith('hello?')")).await;
    browser.until("document.querySelector('#text').value == ''").await;
    let last = browser.eval(&shows("last")).await;
    let last = last.as_str().unwrap();

    browser.type_into("#cut", ENTER).await;
    browser.until(&format!("{} == '1'", shows("cuts"))).await;
    browser.until(&format!("{LAST} == 'Connected: after {last}'")).await;

    browser.type_into("#count", ENTER).await;
    for times in 2..=4 {
        let counted = format!("Number({})", shows("counted"));
        let before = browser.eval(&counted).await.as_u64().unwrap();
        browser.until(&format!("{counted} > {before} + 5")).await;
        browser.type_into("#cut", ENTER).await;
        browser
            .until(&format!("{} == '{times}' && {CONNECTED}", shows("cuts")))
            .await;
    }
    browser.type_into("#count", ENTER).await;
    assert_eq!(browser.eval(&shows("count")).await, "Count");
    assert_eq!(browser.eval(&shows("lost")).await, "0");
    assert_eq!(browser.eval(&shows("repeated")).await, "0");
    // Numbers that follow one another share a line.
    let lines = "document.querySelectorAll('#log li').length";
    assert!(browser.eval(lines).await.as_u64() < Some(20));
    let wide = "document.documentElement.scrollWidth - innerWidth";
    assert_eq!(browser.eval(wide).await, 0);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_feed_page_outlives_its_server_and_says_where_events_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = |name| folder.path().join(name).to_str().unwrap().to_string();
    let mut feed = Program::start_with("feed", &[("FEED_DIR", &dir("a"))]).await;
    let addr = feed.url.strip_prefix("http://").unwrap().to_string();
    let browser = Browser::start().await;
    browser.open(&format!("{}/", feed.url)).await;
    browser.until(CONNECTED).await;
    browser.type_into("#text", &format!("first{ENTER}")).await;
    browser.until(&format!("{LAST}?.endsWith('first')")).await;
    feed.stop();
    browser.until(&format!("!({CONNECTED})")).await;
    browser.type_into("#text", &format!("second{ENTER}")).await;
    let lines = "document.querySelector('#log').textContent";
    browser.until(&format!("{lines}.includes('does not answer')")).await;
    let text = "document.querySelector('#text').value";
    assert_eq!(browser.eval(text).await, "second", "it can be written again");

    // The disk has been replaced: nobody knows what followed `first`.
    let dir = dir("b");
    let variables = [("ADDR", addr.as_str()), ("FEED_DIR", &dir)];
    let _feed = Program::start_with("feed", &variables).await;
    browser.until(CONNECTED).await;
    browser.until(&format!("{LAST}.includes('missing here (unknown)')")).await;
    browser.type_into("#text", ENTER).await;
    browser.until(&format!("{LAST}.endsWith('second')")).await;
}

/// Breaks the feed off after this, answers the reconnect as a proxy does whose server has
/// gone, and says then what the page asks for.
struct FlakyFeed(&'static str, AtomicUsize);

#[handler]
impl FlakyFeed {
    async fn handle(&self, req: &Request, res: &mut Response) {
        match self.1.fetch_add(1, Ordering::Relaxed) {
            0 => finite(res, self.0),
            1 => drop(res.status_code(StatusCode::BAD_GATEWAY)),
            2 => drop(res.status_code(StatusCode::SERVICE_UNAVAILABLE)),
            _ => {
                let query = req.uri().query().unwrap_or_default();
                let (_, asked) = query.split_once('&').unwrap_or_default();
                let event = SseEvent::default().name("note").id("8-0");
                let event = event.text(format!("asked for {asked}"));
                sse::stream(res, once(Ok::<_, Infallible>(event)).chain(pending()));
            }
        }
    }
}

#[handler]
async fn feed_html() -> Text<&'static str> {
    Text::Html(include_str!("../../examples/feed/index.html"))
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_feed_page_continues_after_answers_that_are_no_stream() {
    let browser = Browser::start().await;
    for (begin, asked) in [
        ("retry: 10\nevent: note\nid: 7-0\ndata: one\n\n", "after=7-0"),
        // No event yet, so that only the browser knows the ID, and forgets it.
        ("retry: 10\nid: 7-0\n\n", "from=start"),
    ] {
        let flaky = FlakyFeed(begin, AtomicUsize::new(0));
        let flaky = Router::with_path("events").get(flaky);
        browser.open(&serve(Router::new().get(feed_html).push(flaky)).await).await;
        browser.until(&format!("{LAST} == '8-0asked for {asked}'")).await;
        assert_eq!(browser.eval(&feed_page("document")("cuts")).await, "1");
    }
}
