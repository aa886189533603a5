//! `tick.md`: the page of `tick`, in a browser.

use salvo::prelude::*;
use tests::{Browser, Program, serve};

use crate::chunks::two_ticks;

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_tick_page_counts() {
    for browser in Browser::both().await {
        let mut tick = Program::start("tick").await;
        browser.open(&format!("{}/", tick.url)).await;
        let number = "Number(document.querySelector('#number').textContent)";
        browser.until(&format!("{number} >= 1")).await;
        browser.until(&format!("{number} >= 4")).await;

        let addr = tick.url.strip_prefix("http://").unwrap().to_string();
        tick.stop();
        let says = "document.querySelector('[role=status]').textContent";
        browser.until(&format!("{says}.includes('lost')")).await;
        let _tick = Program::start_at("tick", &addr).await;
        browser.until(&format!("{says} == 'connected'")).await;
        browser.until(&format!("{number} <= 3")).await;
    }
}

/// The page that somebody copies to another server, with the full address in it.
#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_of_another_origin_gets_no_numbers() {
    let tick = Program::start("tick").await;
    let other = Program::start("wire").await;
    for browser in Browser::both().await {
        for (page, state) in [(&tick, "OPEN"), (&other, "CLOSED")] {
            browser.open(&format!("{}/", page.url)).await;
            let source = format!(
                "(window.count = 0, window.copied = new EventSource('{}/ticks'), \
                 copied.onmessage = () => {{ count += 1; }}, 0)",
                tick.url
            );
            browser.eval(&source).await;
            browser
                .until(&format!("copied.readyState == EventSource.{state}"))
                .await;
            let counts = state == "OPEN";
            browser.until(&format!("count > 0 == {counts}")).await;
        }
    }
}

#[handler]
async fn tick_page() -> Text<&'static str> {
    Text::Html(include_str!("../../examples/tick/index.html"))
}

/// An end with a last chunk is no reason for EventSource to stay away.
#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn after_an_end_the_page_comes_back_and_begins_at_1() {
    let ticks = Router::with_path("ticks").get(two_ticks);
    let url = serve(Router::new().get(tick_page).push(ticks)).await;
    for browser in Browser::both().await {
        browser.open(&format!("{url}/")).await;
        let watch = "(window.seen = '', ticks.addEventListener('message', \
                     (event) => { seen += event.data; }), 0)";
        browser.eval(watch).await;
        browser.until("seen.endsWith('1212')").await;
        let says = "document.querySelector('[role=status]').textContent";
        browser.until(&format!("{says}.includes('lost')")).await;
    }
}
