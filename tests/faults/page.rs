//! The page of the program: its wrapper, its time line, and its seven streams.

use std::time::Duration;

use serde_json::json;
use tests::{Browser, Program, pause, until};

use crate::streams::{attempts, known, put};

/// How long a state that must not change is watched.
const WATCH: Duration = Duration::from_millis(1500);

const PAGE_IS_OPEN: &str = "document.querySelector('#state').textContent == 'OPEN'";

/// Opens the page of the program, and closes the stream that it opens itself.
async fn page(faults: &Program) -> Browser {
    let browser = Browser::start().await;
    browser.open(&format!("{}/", faults.url)).await;
    browser.until(PAGE_IS_OPEN).await;
    browser.eval("document.querySelector('#close').click()").await;
    browser.eval("(window.got = [])").await;
    browser
}

/// Follows a stream with the wrapper of the page.
const RECOVER: &str = "(window.wrapped = recover('streams/wrapped', ['message', 'attempt'],\
     (event) => got.push(event.type === 'message' ? event.lastEventId : event.type))) && null";
const IDS: &str = "got.filter((one) => Number(one))";

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrapper_recovers_and_loses_and_repeats_nothing() {
    let faults = Program::start("faults").await;
    let browser = page(&faults).await;
    let script = "cut-between-events 502 500 cut-mid-event 502 good";
    put(&faults, "wrapped", script).await;
    browser.eval(RECOVER).await;
    browser.until(&format!("{IDS}.length >= 4")).await;
    let ids = browser.eval(IDS).await;
    let ids: Vec<_> = ids.as_array().unwrap().iter().collect();
    let counted = (1..=ids.len()).map(|id| json!(id.to_string()));
    assert_eq!(ids, counted.collect::<Vec<_>>().iter().collect::<Vec<_>>());
    // EventSource saw the first 502, and a look the 500. The wrapper's new EventSource got
    // `cut-mid-event`, came back by itself, and saw the other 502. A look got a good stream.
    let seen = attempts(&faults, "wrapped").await;
    let own: Vec<_> =
        seen.iter().map(|one| one["accept"] == "text/event-stream").collect();
    assert_eq!(own, [true, true, false, true, true, false, true]);
    let brought: Vec<_> = seen
        .iter()
        .map(|one| one["lastEventId"].as_str().unwrap_or("none"))
        .collect();
    assert_eq!(brought, ["none", "1", "1", "1", "2", "2", "2"]);
    browser.eval("wrapped.close()").await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrapper_gives_up_after_an_answer_that_will_not_change() {
    let faults = Program::start("faults").await;
    let browser = page(&faults).await;
    for fault in ["204", "401", "404", "wrong-type", "latin1"] {
        put(&faults, "wrapped", fault).await;
        let before = attempts(&faults, "wrapped").await.len();
        browser.eval(RECOVER).await;
        let seen = async || attempts(&faults, "wrapped").await.len() - before;
        until("an attempt and a look", async || seen().await == 2).await;
        // It would try again within 1.5 s.
        pause(2 * WATCH).await;
        assert_eq!(seen().await, 2, "{fault}");
        assert_eq!(browser.eval("wrapped.readyState").await, 2);
    }
    // A wrapper that is closed while it waits does not come back, either.
    put(&faults, "wrapped", "502").await;
    let before = attempts(&faults, "wrapped").await.len();
    browser.eval(RECOVER).await;
    let seen = async || attempts(&faults, "wrapped").await.len() - before;
    until("an attempt", async || seen().await > 0).await;
    browser.eval("wrapped.close()").await;
    pause(2 * WATCH).await;
    assert!(seen().await <= 2);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_shows_six_streams_open_and_the_seventh_waiting() {
    let faults = Program::start("faults").await;
    let browser = page(&faults).await;
    browser.eval("document.querySelector('#open-seven').click()").await;
    let note = "document.querySelector('#seven-note').textContent";
    browser.until(&format!("{note} == '6 open, 1 waiting.'")).await;
    browser.never(&format!("{note} != '6 open, 1 waiting.'"), WATCH).await;
    let close_one = "[...document.querySelectorAll('#seven li')]\
         .find((line) => line.textContent.includes('OPEN')).querySelector('button').click()";
    browser.eval(close_one).await;
    browser.until(&format!("{note} == '6 open, 0 waiting.'")).await;
    // The page that comes next needs one of them.
    browser.open(&format!("{}/", faults.url)).await;
    browser.until(PAGE_IS_OPEN).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_seven_streams_end_after_a_minute() {
    let faults = Program::start("faults").await;
    let browser = page(&faults).await;
    // In this page, a minute is a second.
    let hurry = "(window.late = setTimeout, \
        window.setTimeout = (act, ms) => late(act, ms / 60), 0)";
    browser.eval(hurry).await;
    browser.eval("document.querySelector('#open-seven').click()").await;
    let states = "[...document.querySelectorAll('#seven li span')]\
        .map((one) => one.textContent.slice(2))";
    browser.until(&format!("{states}.includes('OPEN')")).await;
    browser.until(&format!("{states}.every((state) => state == 'CLOSED')")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_page_draws_what_happens_and_says_it_in_words() {
    for browser in Browser::both().await {
        let faults = Program::start("faults").await;
        browser.open(&format!("{}/", faults.url)).await;
        browser.until(PAGE_IS_OPEN).await;
        let names = "[...document.querySelectorAll('#faults button')].map((it) => it.textContent)";
        assert_eq!(browser.eval(names).await, json!(known(&faults).await));
        let choose = |name: &str| {
            format!(
                "[...document.querySelectorAll('#faults button')]\
                 .find((it) => it.textContent === '{name}').click()"
            )
        };
        let says = |text: &str| {
            format!("document.querySelector('#log').textContent.includes('{text}')")
        };
        let shows = |text: &str| {
            format!("document.querySelector('#line').textContent.includes('{text}')")
        };
        browser.until(&says("event 1")).await;
        browser.eval(&choose("502")).await;
        browser.until(&says("readyState is CONNECTING")).await;
        let state = "document.querySelector('#state').textContent";
        browser.until(&format!("{state} == 'CLOSED'")).await;
        browser.until(&says("the server sees attempt 2: 502, Last-Event-ID ")).await;
        browser.until(&shows("2 502 ←")).await;
        browser.until(&shows("CLOSED")).await;
        let pressed = "document.querySelector('[aria-pressed=true]').textContent";
        assert_eq!(browser.eval(pressed).await, "502");

        browser.eval(&choose("good")).await;
        browser.until(&format!("{pressed} == 'good'")).await;
        browser.eval("document.querySelector('#new').click()").await;
        browser.until(PAGE_IS_OPEN).await;
        browser.until(&says("the server sees attempt 3: good")).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_fits_a_phone() {
    let faults = Program::start("faults").await;
    let browser = Browser::start().await;
    browser.resize(320, 700).await;
    browser.open(&format!("{}/", faults.url)).await;
    browser.until(PAGE_IS_OPEN).await;
    browser
        .until("document.querySelector('#log').textContent.includes('event 1')")
        .await;
    let wide = "document.documentElement.scrollWidth - innerWidth";
    assert_eq!(browser.eval(wide).await, 0);
}
