//! Many tabs and one stream, which a SharedWorker has.

use std::time::Instant;

use tests::{Browser, serve, until};

use crate::numbers::{Numbers, begin, begin_in_tabs, have_all, site};

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_shared_worker_keeps_the_stream_when_tabs_come_and_go() {
    for browser in Browser::both().await {
        let numbers = Numbers::default();
        let url = serve(site(&numbers)).await;
        let url = format!("{url}?by=./worker.js");
        let mut tabs = begin_in_tabs(&browser, &url, 3, "").await;
        numbers.append();
        numbers.send("note", "to all");
        have_all(&browser, &tabs, 1).await;
        for _ in 0..3 {
            browser.to_tab(tabs.pop_front().unwrap()).await;
            assert_eq!(browser.eval("shared.state.leads").await, false);
            browser.close_tab().await;
            browser.to_tab(tabs[0].clone()).await;
            tabs.push_back(browser.new_tab().await);
            begin(&browser, &url, "").await;
            browser.until("shared.state.name === 'open'").await;
        }
        numbers.append();
        have_all(&browser, &tabs, numbers.append()).await;
        assert_eq!(numbers.asked(), 1);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn when_the_worker_crashes_a_tab_takes_its_place() {
    let browser = Browser::start().await;
    let numbers = Numbers::default();
    let url = serve(site(&numbers)).await;
    let mut tabs =
        begin_in_tabs(&browser, &format!("{url}?by=./worker.js"), 3, "").await;
    numbers.append();
    have_all(&browser, &tabs, 1).await;
    browser.to_tab(tabs.pop_front().unwrap()).await;
    let crashed = Instant::now();
    browser.crash_tab().await;
    until("another leader", async || numbers.asked() == 2).await;
    eprintln!("worker crashed: {:?}", numbers.last_asked().1 - crashed);
    have_all(&browser, &tabs, numbers.append()).await;
}
