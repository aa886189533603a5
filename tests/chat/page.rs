//! `chat.md`: the page of `chat`, in a browser. Run these with
//! `cargo test -p tests --test chat page -- --ignored`.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use salvo::http::HeaderValue;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Browser, Program, page_of, serve};
use tokio_stream::{StreamExt, once, pending};

use crate::user::{HISTORY, User};

// The state of the page, as JavaScript.
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
    // Another user sends each text, and then the page itself does.
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

/// An ID without data does not count in Firefox.
#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn ones_own_words_are_not_missed_after_a_reconnect() {
    for browser in Browser::both().await {
        let chat = Program::start("chat").await;
        browser.open(&format!("{}/", chat.url)).await;
        browser.until(CONNECTED).await;
        let me = browser.eval("me").await.as_str().unwrap().to_string();
        let mut poster = chat.poster(&format!("/chat/{me}")).await;
        poster.post("monologue", HISTORY + 176).await;
        let newest = HISTORY + 177; // the first event is that the user joined
        browser.until(&format!("room.lastEventId.endsWith('-{newest}')")).await;
        // Another stream of this user ends the one of the page, which comes back.
        drop(chat.events(&format!("/chat?as={me}")).await);
        User::join(&chat).await.say("bye").await;
        browser.until(&format!("{LAST} == 'User#2bye'")).await;
        let lines = "document.querySelector('#log').textContent";
        assert_eq!(browser.eval(lines).await, "User#2 joinedUser#2bye");
    }
}

/// A server that ends its first stream, answers the reconnect with 502, and then sends what
/// the page asks for.
struct Flaky(AtomicUsize);

#[handler]
impl Flaky {
    async fn handle(&self, req: &Request, res: &mut Response) {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => {
                let kind = HeaderValue::from_static("text/event-stream");
                res.headers_mut().insert("content-type", kind);
                res.body(
                    "retry: 10\nevent: user\ndata: 1\nid: e-1\n\nid: e-2\ndata: one\n\n",
                );
            }
            1 => drop(res.status_code(StatusCode::BAD_GATEWAY)),
            _ => {
                let after = req.query::<String>("after").unwrap_or_default();
                let event = SseEvent::default().text(format!("after {after}"));
                sse::stream(res, once(Ok::<_, Infallible>(event)).chain(pending()));
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_chat_page_continues_after_an_answer_that_is_no_stream() {
    let flaky = Router::with_path("chat").get(Flaky(AtomicUsize::new(0)));
    let browser = Browser::start().await;
    browser
        .open(&serve(Router::new().push(flaky).push(page_of("chat"))).await)
        .await;
    browser.until(&format!("{LAST} == 'after e-2'")).await;
}
