//! `tick.md`: the page of `tick`, in a browser.

use tests::{Browser, Program};

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
