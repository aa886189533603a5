//! The page of `feed` in a browser: by itself, in `feed.md`, and behind a server that fails.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use salvo::http::HeaderValue;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Browser, Program, page_of, serve};
use tokio_stream::{StreamExt, once, pending};

use crate::client::Feed;

const CONNECTED: &str =
    "document.querySelector('#state').textContent == 'connected'";
const LAST: &str = "document.querySelector('#log li:last-child')?.textContent";
const ENTER: &str = "\u{e007}";

/// A body that is sent as it is, as an event stream, and then ends.
fn finite(res: &mut Response, body: &'static str) {
    let kind = HeaderValue::from_static("text/event-stream");
    res.headers_mut().insert("content-type", kind);
    res.body(body);
}

/// Returns JavaScript for the text of an element by its ID, on the page of `feed` in this
/// document.
fn feed_page(document: &str) -> impl Fn(&str) -> String {
    move |id| format!("{document}.querySelector('#{id}').textContent")
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn chapter_8_counts_on_whatever_is_killed() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for (page, connected, killed) in [
        ("feed.html", "connected", "was killed"),
        ("it/feed.html", "connesso", "ucciso"),
    ] {
        browser.open(&format!("{}/{page}", book.url)).await;
        let panel = "document.querySelector('live-page[kill]')";
        browser.until(&format!("!!{panel}.querySelector('iframe')")).await;
        browser.eval(&format!("{panel}.scrollIntoView()")).await;
        let feed = format!("{panel}.querySelector('iframe').contentDocument");
        let shows = feed_page(&feed);
        browser.until(&format!("!!{feed}.querySelector('#state')")).await;
        let state = shows("state");
        browser.until(&format!("{state} == '{connected}'")).await;
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
                .until(&format!("{cuts} >= {times} && {state} == '{connected}'"))
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

/// Breaks the feed off after these bytes, answers the reconnect as a proxy does whose server
/// has gone, and then sends back what the page asks for.
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

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_feed_page_continues_after_answers_that_are_no_stream() {
    let browser = Browser::start().await;
    for (begin, asked) in [
        ("retry: 10\nevent: note\nid: 7-0\ndata: one\n\n", "after=7-0"),
        // There is no event yet, but the page has a place.
        ("event: begin\ndata:\nid: 7-0\nretry: 10\n\n", "after=7-0"),
    ] {
        let flaky = FlakyFeed(begin, AtomicUsize::new(0));
        let flaky = Router::with_path("events").get(flaky);
        browser
            .open(&serve(Router::new().push(flaky).push(page_of("feed"))).await)
            .await;
        browser.until(&format!("{LAST} == '8-0asked for {asked}'")).await;
        assert_eq!(browser.eval(&feed_page("document")("cuts")).await, "1");
    }
}

/// The first event of the stream gives it a place. (Firefox forgets an ID without data.)
#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn in_both_browsers_an_event_before_the_first_reconnect_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/", feed.url)).await;
        let reader = format!("{:032x}", 7);
        let listen = format!(
            "(window.got = [],
              window.stream = new EventSource('events?reader={reader}'),
              stream.addEventListener('begin', () => got.push('begin')),
              stream.addEventListener('note', ({{ data }}) => got.push(data)), true)"
        );
        browser.eval(&listen).await;
        browser.until("got.join() == 'begin'").await;
        let cut = feed.request("DELETE", &format!("/readers/{reader}"));
        assert_eq!(feed.send(cut).await.status(), 204);
        feed.note(browser.name()).await; // it comes back a second after the cut
        let both = format!("got.join() == 'begin,begin,{}'", browser.name());
        browser.until(&both).await;
    }
}
