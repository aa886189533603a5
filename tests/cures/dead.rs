//! Connections that are dead, and look alive: the watchdog, with the book's own servers.

use std::convert::Infallible;
use std::time::Duration;

use nix::sys::signal::Signal;
use salvo::prelude::*;
use salvo::sse;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Browser, Program, pause, root, serve};
use tokio_stream::{StreamExt, once, pending};

/// Two heartbeats of `chat` and `feed`, and some seconds.
const TWO_HEARTBEATS: Duration = Duration::from_secs(34);

/// The reader of the cure, and a count of its requests, in a page of this server.
async fn page(browser: &Browser, url: &str) {
    let read = |file| std::fs::read_to_string(root().join(file)).unwrap();
    let parser = json!(read("theme/vendor/eventsource-parser.js"));
    let cure = json!(read("examples/cures/watchdog.js"));
    browser.open(&format!("{url}/nothing")).await;
    let start = format!(
        "const real = fetch;
        window.asked = 0;
        window.network = Promise.resolve();
        window.fetch = async (...all) => {{
          asked += 1;
          await network;
          return real(...all);
        }};
        const module = (text) =>
          URL.createObjectURL(new Blob([text], {{ type: 'text/javascript' }}));
        const parser = module({parser});
        const cure = {cure}.replace(\"'eventsource-parser'\", `'${{parser}}'`);
        import(module(cure)).then((all) => {{ window.follow = all.follow; }});"
    );
    browser.eval(&format!("(() => {{ {start} }})()")).await;
    browser.until("window.follow !== undefined").await;
}

/// Follows a stream. A silence of so many milliseconds is too long.
async fn follow(browser: &Browser, url: &str, silence: u32) {
    let hear = "(event) => heard.push([event.event ?? 'message', event.data])";
    let start = format!("follow('{url}', {hear}, {{ silence: {silence} }})");
    let end = "then((answer) => { window.end = answer.status; })";
    browser.eval(&format!("(window.heard = [], {start}.{end}, 0)")).await;
    browser.until("heard.length > 0").await;
}

/// Silences a program until the watchdog has left it, and keeps the page from coming back.
async fn out_of_reach(browser: &Browser, program: &Program) {
    let never = "new Promise((reach) => { window.reach = reach; })";
    browser.eval(&format!("(window.network = {never}, 0)")).await;
    program.signal(Signal::SIGSTOP);
    browser.until("asked > 1").await;
    program.signal(Signal::SIGCONT);
}

/// The data of what has been heard, without the events in which a stream says how it begins.
async fn heard(browser: &Browser) -> Value {
    let news = "heard.filter(([type]) => ['note', 'message'].includes(type))";
    browser.eval(&format!("{news}.map(([, data]) => data)")).await
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
#[ignore = "needs chromedriver, and firefox-esr"]
async fn the_watchdog_comes_back_to_a_dead_feed_and_loses_nothing() {
    for browser in Browser::both().await {
        let (feed, _folder) = feed().await;
        page(&browser, &feed.url).await;
        follow(&browser, "events", 2_000).await;
        append(&feed, "one").await;
        browser.until("heard.some(([, data]) => data === 'one')").await;
        // The connection is there, and nothing comes: EventSource would wait for ever.
        out_of_reach(&browser, &feed).await;
        append(&feed, "two").await;
        browser.eval("(reach(), 0)").await;
        browser.until("heard.some(([, data]) => data === 'two')").await;
        assert_eq!(heard(&browser).await, json!(["one", "two"]));
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn the_watchdog_comes_back_to_a_dead_chat_and_loses_nothing() {
    for browser in Browser::both().await {
        let chat = Program::start("chat").await;
        let bob = "b".repeat(32);
        let _bob = chat.events(&format!("/chat?as={bob}")).await;
        let mut bob = chat.poster(&format!("/chat/{bob}")).await;
        page(&browser, &chat.url).await;
        follow(&browser, &format!("chat?as={}", "a".repeat(32)), 2_000).await;
        bob.post("one", 1).await;
        browser.until("heard.some(([, data]) => data.endsWith('one'))").await;
        out_of_reach(&browser, &chat).await;
        bob.post("two", 1).await;
        browser.eval("(reach(), 0)").await;
        browser.until("heard.some(([, data]) => data.endsWith('two'))").await;
        let said = json!(["<User#1>: one", "<User#1>: two"]);
        assert_eq!(heard(&browser).await, said);
    }
}

/// The heartbeats of both are comments, which no EventSource shows.
#[tokio::test]
#[ignore = "needs chromedriver, takes half a minute"]
async fn the_watchdog_hears_the_heartbeats_of_a_quiet_chat_and_a_quiet_feed() {
    let (feed, _folder) = feed().await;
    let chat = Program::start("chat").await;
    let near_feed = Browser::start().await;
    let near_chat = Browser::start().await;
    page(&near_feed, &feed.url).await;
    page(&near_chat, &chat.url).await;
    follow(&near_feed, "events", 20_000).await;
    follow(&near_chat, "chat", 20_000).await;
    pause(TWO_HEARTBEATS).await;
    assert_eq!(near_feed.eval("asked").await, 1);
    assert_eq!(near_chat.eval("asked").await, 1);
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn the_watchdog_stays_away_after_a_204() {
    let job = Program::start("cure_job").await;
    for browser in Browser::both().await {
        page(&browser, &job.url).await;
        follow(&browser, ".", 20_000).await;
        browser.until("window.end === 204").await;
        assert_eq!(browser.eval("heard.at(-1)").await, json!(["done", "10"]));
    }
}

/// A stream for those who show a token.
#[handler]
async fn private(req: &Request, res: &mut Response) {
    if req.header::<String>("authorization").as_deref() != Some("Bearer secret") {
        res.status_code(StatusCode::UNAUTHORIZED);
        return;
    }
    let welcome = SseEvent::default().text("welcome");
    sse::stream(res, once(Ok::<_, Infallible>(welcome)).chain(pending()));
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn the_watchdog_shows_a_token_and_gives_up_where_it_is_refused() {
    let url = serve(Router::with_path("private").get(private)).await;
    for browser in Browser::both().await {
        page(&browser, &url).await;
        for (token, outcome) in [("secret", "'welcome'"), ("old", "401")] {
            let hear = "(event) => { window.outcome = event.data; }";
            let headers = format!("{{ Authorization: 'Bearer {token}' }}");
            let follow =
                format!("follow('private', {hear}, {{ headers: {headers} }})");
            let end = "then((answer) => { window.outcome = answer.status; })";
            browser.eval(&format!("({follow}.{end}, 0)")).await;
            browser.until(&format!("window.outcome === {outcome}")).await;
        }
    }
}
