//! The book and EventSource in a real browser. The page of a program is tested beside the
//! program, as in `tests/llm`. Run these with
//! `cargo test -p tests --test browser -- --ignored`.

mod eventsource;
mod panels;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Browser, Program, serve};
use tokio_stream::{StreamExt, once, pending};

use eventsource::{empty_page, finite};

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

/// What a chat page shows, as JavaScript.
const CONNECTED: &str =
    "document.querySelector('#state').textContent == 'connected'";
const LAST: &str = "document.querySelector('#log li:last-child')?.textContent";
const ENTER: &str = "\u{e007}";

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
        let panel = "document.querySelector('kill-panel')";
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
            browser.type_into("kill-panel button", ENTER).await;
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
