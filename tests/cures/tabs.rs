//! Many tabs of one page: the leader.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde_json::json;
use tempfile::TempDir;
use tests::{Browser, Program, root, serve};

/// More tabs than a browser has connections for.
const TABS: usize = 8;

/// Shares a stream of this program in the tab that is in front.
async fn share(browser: &Browser, url: &str, stream: &str) {
    browser.open(&format!("{url}/nothing")).await;
    share_here(browser, stream).await;
}

/// Shares a stream in the page that is open.
async fn share_here(browser: &Browser, stream: &str) {
    let cure = std::fs::read_to_string(root().join("examples/cures/leader.js"));
    let cure = json!(cure.unwrap().replace("export ", ""));
    let types = "['begin', 'message', 'note', 'resync']";
    let hear = "({ type, data }) => type !== 'begin' && heard.push(data)";
    let share = format!("share('{stream}', {types}, {hear})");
    let script = json!(format!("{{ window.heard = []; }} {share};"));
    let add = format!("{{ textContent: {cure} + {script} }}");
    let add = format!("Object.assign(document.createElement('script'), {add})");
    browser.eval(&format!("(document.head.append({add}), 0)")).await;
}

async fn append(feed: &Program, data: &str) {
    let event = json!({ "type": "note", "data": data });
    let answer = feed.send(feed.request("POST", "/events").json(&event)).await;
    assert!(answer.status().is_success());
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn eight_tabs_share_one_stream_and_lose_nothing_when_its_tab_leaves() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().to_str().unwrap();
    let feed = Program::start_with("feed", &[("FEED_DIR", place)]).await;
    let browser = Browser::start().await;
    let first = browser.tab().await;
    share(&browser, &feed.url, "events").await;
    // It stands in front of the others, so that for a while nobody has the stream.
    let between = browser.new_tab().await;
    browser.open(&format!("{}/nothing", feed.url)).await;
    let hold = "(lock) => new Promise((letGo) => { window.letGo = letGo; })";
    let wait = format!("(navigator.locks.request('events', {hold}), 0)");
    browser.eval(&wait).await;
    let mut others = Vec::new();
    for _ in 1..TABS {
        others.push(browser.new_tab().await);
        share(&browser, &feed.url, "events").await;
    }
    append(&feed, "one").await;
    for tab in &others {
        browser.to_tab(tab.clone()).await;
        browser.until("heard.at(-1) === 'one'").await;
    }
    browser.to_tab(first).await;
    browser.until("heard.at(-1) === 'one'").await;
    browser.open("about:blank").await;
    browser.to_tab(between).await;
    browser.until("window.letGo !== undefined").await;
    append(&feed, "two").await;
    browser.eval("(letGo(), 0)").await;
    for tab in others {
        browser.to_tab(tab).await;
        browser.until("heard.at(-1) === 'two'").await;
        assert_eq!(browser.eval("heard").await, json!(["one", "two"]));
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn tabs_that_share_a_stream_come_back_after_a_502() {
    let faults = Program::start("faults").await;
    let script = faults.request("PUT", "/streams/shared");
    let script = script.body("502 502 good");
    assert!(faults.send(script).await.status().is_success());
    let browser = Browser::start().await;
    let first = browser.tab().await;
    share(&browser, &faults.url, "streams/shared").await;
    let second = browser.new_tab().await;
    share(&browser, &faults.url, "streams/shared").await;
    browser.to_tab(first).await;
    // Two answers would close the stream of both tabs for good.
    browser.until("heard.length > 0").await;
    browser.to_tab(second).await;
    browser.eval("(window.before = heard.length, 0)").await;
    browser.until("heard.length > before").await;
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html("<!doctype html><link rel=icon href='data:,'>")
}

/// A number each 100 ms.
#[handler]
async fn numbers(res: &mut Response) {
    let ticks = tokio::time::interval(Duration::from_millis(100));
    let events = stream::unfold((ticks, 0), async |(mut ticks, n)| {
        ticks.tick().await;
        let event = SseEvent::default().text(n.to_string());
        Some((Ok::<_, Infallible>(event), (ticks, n + 1)))
    });
    sse::stream(res, events);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_tab_that_is_left_and_kept_lets_the_next_one_have_the_stream() {
    let router = Router::new()
        .get(page)
        .push(Router::with_path("else").get(page))
        .push(Router::with_path("numbers").get(numbers));
    let url = serve(router).await;
    let browser = Browser::start().await;
    let first = browser.tab().await;
    browser.open(&url).await;
    share_here(&browser, "numbers").await;
    browser.until("heard.length > 0").await;
    let second = browser.new_tab().await;
    browser.open(&url).await;
    share_here(&browser, "numbers").await;
    browser.until("heard.length > 0").await;
    browser.to_tab(first.clone()).await;
    browser.open(&format!("{url}/else")).await;
    browser.to_tab(second).await;
    browser.eval("(window.before = heard.length, 0)").await;
    browser.until("heard.length > before + 5").await;
    browser.to_tab(first).await;
    browser.back().await;
    // It begins anew: kept and loaded again, or not kept because of the messages.
    browser.until("window.heard === undefined").await;
}
