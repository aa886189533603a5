//! The wrapper and the watchdog of `faults.md` with the servers of this book, behind something
//! that fails.

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::scripted::HEAD;
use tests::{Browser, Program, pause, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long a stream that must not come back is watched.
const WATCH: Duration = Duration::from_millis(2_500);

const PAGE: &str = include_str!("../../examples/faults/index.html");
const WATCHDOG: &str = include_str!("../pages/watchdog.js");

/// A proxy between the browser and a program: it passes bytes on, or answers by itself.
#[derive(Clone)]
struct Between {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The answer to every request, in place of the program's.
    answer: Option<String>,
    /// Requests that were answered so.
    answered: usize,
    /// Connections that go through.
    open: JoinSet<()>,
}

impl Between {
    async fn start(program: &Program) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let between = Self { url, state: Arc::default() };
        let target = program.url.strip_prefix("http://").unwrap().to_string();
        let state = between.state.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                serve(socket, target.clone(), &state);
            }
        });
        between
    }

    /// Cuts all connections, and answers from now on like this.
    fn answer(&self, answer: &str) {
        let mut state = self.state.lock().unwrap();
        state.open.abort_all();
        state.answer = Some(answer.into());
        state.answered = 0;
    }

    /// Answers with this status.
    fn refuse(&self, status: u16) {
        let end = "content-length: 0\r\nconnection: close\r\n\r\n";
        self.answer(&format!("HTTP/1.1 {status} No\r\n{end}"));
    }

    /// Passes everything on again.
    fn pass(&self) {
        self.state.lock().unwrap().answer = None;
    }

    fn answered(&self) -> usize {
        self.state.lock().unwrap().answered
    }

    async fn has_answered(&self, count: usize) {
        let all = || ready(self.answered() >= count);
        until(&format!("{count} requests"), all).await;
    }
}

fn serve(mut socket: TcpStream, target: String, state: &Arc<Mutex<State>>) {
    let own = state.clone();
    state.lock().unwrap().open.spawn(async move {
        let mut head = [0; 8192];
        let Ok(count @ 1..) = socket.read(&mut head).await else { return };
        let answer = own.lock().unwrap().answer.clone();
        if let Some(answer) = answer {
            own.lock().unwrap().answered += 1;
            drop(socket.write_all(answer.as_bytes()).await);
            drop(socket.shutdown().await);
            return;
        }
        let mut program = TcpStream::connect(target).await.unwrap();
        program.write_all(&head[..count]).await.unwrap();
        drop(copy_bidirectional(&mut socket, &mut program).await);
    });
}

/// A browser with an otherwise empty page of this server, and the scripts of `faults.md`.
async fn browser(url: &str) -> Browser {
    let browser = Browser::start().await;
    browser.open(&format!("{url}/nothing")).await;
    let wrapper = PAGE.split("// ANCHOR: wrapper").nth(1).unwrap();
    let wrapper = wrapper.split("// ANCHOR_END: wrapper").next().unwrap();
    let scripts = json!(format!("window.heard = []; {wrapper} {WATCHDOG}"));
    let add = "document.createElement('script')";
    let add = format!("Object.assign({add}, {{ textContent: {scripts} }})");
    browser.eval(&format!("(document.head.append({add}), 0)")).await;
    browser
}

/// Follows a stream with the wrapper.
async fn recover(browser: &Browser, url: &str) {
    let types = "['message', 'note', 'begin', 'resync', 'user', 'missed']";
    let hear = "(event) => { heard.push([event.type, event.data]); }";
    let start = format!("(window.wrapped = recover('{url}', {types}, {hear}), 0)");
    browser.eval(&start).await;
}

/// The data of all events of a type that the page has heard.
async fn heard(browser: &Browser, kind: &str) -> Value {
    let of = format!(
        "heard.filter(([type]) => type == '{kind}').map(([, data]) => data)"
    );
    browser.eval(&of).await
}

async fn feed() -> (Program, TempDir) {
    let folder = TempDir::new().unwrap();
    let place = folder.path().to_str().unwrap();
    (Program::start_with("feed", &[("FEED_DIR", place)]).await, folder)
}

async fn append(feed: &Program, data: &str) {
    let event = json!({ "type": "note", "data": data });
    let answer = feed.send(feed.request("POST", "/events").json(&event)).await;
    assert!(answer.status().is_success());
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrapper_goes_on_with_feed_where_it_was() {
    let (feed, _folder) = feed().await;
    let between = Between::start(&feed).await;
    let browser = browser(&between.url).await;
    recover(&browser, "events").await;
    browser.until("heard.some(([type]) => type == 'open')").await;
    append(&feed, "one").await;
    browser.until("heard.some(([, data]) => data == 'one')").await;
    between.refuse(502);
    between.has_answered(2).await; // an attempt and a look
    append(&feed, "two").await;
    between.pass();
    browser.until("heard.some(([, data]) => data == 'two')").await;
    assert_eq!(heard(&browser, "note").await, json!(["one", "two"]));
    assert_eq!(heard(&browser, "resync").await, json!([]));
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrapper_goes_on_with_chat_where_it_was() {
    let chat = Program::start("chat").await;
    let between = Between::start(&chat).await;
    let browser = browser(&between.url).await;
    let id = "b".repeat(32);
    let _bob = chat.events(&format!("/chat?as={id}")).await;
    let say = async |text: &'static str| {
        let request = chat.request("POST", &format!("/chat/{id}")).body(text);
        assert!(chat.send(request).await.status().is_success());
    };
    recover(&browser, &format!("chat?as={}", "a".repeat(32))).await;
    browser.until("heard.some(([type]) => type == 'user')").await;
    say("one").await;
    browser.until("heard.some(([, data]) => data?.endsWith('one'))").await;
    between.refuse(502);
    between.has_answered(2).await;
    say("two").await;
    between.pass();
    browser.until("heard.some(([, data]) => data?.endsWith('two'))").await;
    let said = heard(&browser, "message").await;
    assert_eq!(said.as_array().unwrap().len(), 2, "{said}");
    assert_eq!(heard(&browser, "missed").await, json!([]));
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrapper_tries_again_what_may_pass_and_leaves_the_rest() {
    let (feed, _folder) = feed().await;
    let between = Between::start(&feed).await;
    let browser = browser(&between.url).await;
    let opens = "heard.filter(([type]) => type == 'open').length";
    for status in [408, 425, 429, 503] {
        recover(&browser, "events").await;
        browser.until(&format!("{opens} == 1")).await;
        between.refuse(status);
        between.has_answered(2).await;
        between.pass();
        browser.until(&format!("{opens} == 2")).await;
        browser.eval("(wrapped.close(), heard.length = 0)").await;
    }
    // It does not come before Retry-After.
    recover(&browser, "events").await;
    browser.until(&format!("{opens} == 1")).await;
    let later = "retry-after: 4\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    between.answer(&format!("HTTP/1.1 429 Busy\r\n{later}"));
    between.has_answered(2).await;
    between.pass();
    browser.never(&format!("{opens} == 2"), WATCH).await;
    browser.until(&format!("{opens} == 2")).await;
    browser.eval("(wrapped.close(), heard.length = 0)").await;

    for status in [204, 400, 401, 404] {
        recover(&browser, "events").await;
        browser.until(&format!("{opens} == 1")).await;
        between.refuse(status);
        between.has_answered(2).await;
        pause(WATCH).await;
        assert_eq!(between.answered(), 2, "{status}");
        assert_eq!(browser.eval("wrapped.readyState").await, 2, "{status}");
        browser.eval("(wrapped.close(), heard.length = 0)").await;
        between.pass();
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrapper_comes_back_to_a_stream_whose_type_has_other_parameters() {
    for parameters in
        [";charset=utf-8;v=1", "; v=\"1,2\"", ";Charset=\"UTF-8\" ; v=1", ";x"]
    {
        let (feed, _folder) = feed().await;
        let between = Between::start(&feed).await;
        let browser = browser(&between.url).await;
        recover(&browser, "events").await;
        browser.until("heard.length > 0").await;
        between.refuse(502);
        between.has_answered(1).await;
        let head =
            HEAD.replace("event-stream", &format!("event-stream{parameters}"));
        between.answer(&format!("{head}\r\ndata: back\n\n"));
        browser.until("heard.some(([, data]) => data == 'back')").await;
    }
}

/// To a page, an answer that it may not read looks like no answer.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrapper_gives_up_a_stream_that_its_page_may_not_read() {
    let (feed, _folder) = feed().await;
    let between = Between::start(&feed).await;
    between.answer(&format!("{HEAD}\r\ndata: for others\n\n"));
    let browser = browser(&feed.url).await;
    browser.eval("(Math.random = () => 0)").await; // the shortest waits
    recover(&browser, &format!("{}/events", between.url)).await;
    // Four attempts, each with a look.
    between.has_answered(8).await;
    // It would try again after four seconds.
    pause(2 * WATCH).await;
    assert_eq!(between.answered(), 8);
    assert_eq!(browser.eval("wrapped.readyState").await, 2);
}

/// Follows a stream with the watchdog, which waits this long.
async fn watch(browser: &Browser, silence: u32) {
    let hear = "(event) => { heard.push([event.type, event.data]); }";
    let watched = format!("watched('events', ['note'], {hear}, {silence})");
    browser.eval(&format!("(heard.length = 0, window.stop = {watched}, 0)")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_watchdog_reopens_a_stream_that_has_gone_silent() {
    let (feed, _folder) = feed().await;
    let between = Between::start(&feed).await;
    let browser = browser(&between.url).await;
    watch(&browser, 400).await;
    let opens = "heard.filter(([type]) => type == 'open').length";
    browser.until(&format!("{opens} >= 3")).await;
    browser.eval("(stop(), heard.length = 0)").await;
    browser.never("heard.length > 0", WATCH).await;
}

/// The timers of a phone sleep in a pocket; those of this page never wake up.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_watchdog_looks_at_the_clock_when_its_page_is_seen_again() {
    let (feed, _folder) = feed().await;
    let between = Between::start(&feed).await;
    let browser = browser(&between.url).await;
    let opens = "heard.filter(([type]) => type == 'open').length";
    let note = format!("() => {{ window.unseen = {opens}; }}");
    let note = format!("document.addEventListener('visibilitychange', {note})");
    browser.eval(&format!("({note}, window.setTimeout = () => 0)")).await;
    watch(&browser, 1_000).await;
    browser.until(&format!("{opens} == 1")).await;
    let tab = browser.tab().await;
    browser.new_tab().await;
    pause(WATCH).await; // longer than the watchdog waits
    browser.to_tab(tab).await;
    browser.until(&format!("{opens} == 2")).await;
    assert_eq!(browser.eval("unseen").await, 1, "nothing happened in the pocket");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_watchdog_stays_away_where_there_is_nothing_to_hope_for() {
    let (feed, _folder) = feed().await;
    let between = Between::start(&feed).await;
    let browser = browser(&between.url).await;
    for status in [204, 401, 404] {
        // Longer than an answer takes on a busy machine.
        watch(&browser, 1_500).await;
        browser.until("heard.some(([type]) => type == 'open')").await;
        between.refuse(status);
        // Where the cut was noticed first, the watchdog's attempt is the second one.
        browser.until("heard.at(-1)[0] == 'error'").await;
        between.has_answered(2).await;
        pause(WATCH).await;
        assert_eq!(between.answered(), 2, "{status}");
        browser.eval("(stop(), 0)").await;
        between.pass();
    }
    // A refusal that passes is left to the wrapper, and nothing is lost.
    watch(&browser, 4_000).await;
    browser.until("heard.some(([type]) => type == 'open')").await;
    append(&feed, "one").await;
    browser.until("heard.some(([, data]) => data == 'one')").await;
    between.refuse(502);
    between.has_answered(2).await;
    append(&feed, "two").await;
    between.pass();
    browser.until("heard.some(([, data]) => data == 'two')").await;
    assert_eq!(heard(&browser, "note").await, json!(["one", "two"]));
}
