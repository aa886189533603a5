//! Many tabs and one stream: `shared.js`.

use std::time::Duration;

use serde_json::json;
use tests::{Browser, serve, serve_at, until};

use crate::numbers::{Numbers, begin, begin_in_tabs, have_all, is_whole, site};

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn ten_tabs_share_one_connection_and_each_gets_every_event_once() {
    for browser in Browser::both().await {
        let numbers = Numbers::default();
        let url = serve(site(&numbers)).await;
        let mut tabs = Vec::new();
        for n in 0..10 {
            tabs.push(if n == 0 {
                browser.tab().await
            } else {
                browser.new_tab().await
            });
            begin(&browser, &url, "").await;
            browser.until("shared.state.name === 'open'").await;
        }
        for _ in 0..100 {
            numbers.append();
        }
        numbers.send("note", "to all");
        numbers.append();
        let mut leaders = 0;
        for tab in tabs {
            browser.to_tab(tab).await;
            browser.until("heard.length === 101").await;
            is_whole(&browser).await;
            assert_eq!(browser.eval("notes").await, json!(["to all"]));
            leaders += usize::from(browser.eval("shared.state.leads").await == true);
        }
        assert_eq!(leaders, 1);
        assert_eq!(numbers.open(), 1);
        assert_eq!(numbers.asked(), 1);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_late_tab_gets_the_state_and_the_last_price_at_once() {
    for browser in Browser::both().await {
        let numbers = Numbers::default();
        let url = serve(site(&numbers)).await;
        let prices =
            "{ keep: ['price'], on: { price: ({ data }) => notes.push(data),
            number: ({ data }) => heard.push(Number(data)) } }";
        begin_in_tabs(&browser, &url, 1, prices).await;
        for n in 1..=3 {
            numbers.append();
            numbers.send("price", &n.to_string());
        }
        browser.until("notes.length === 3").await;
        browser.new_tab().await;
        begin(&browser, &url, prices).await;
        browser.until("notes.length === 1").await;
        assert_eq!(browser.eval("notes").await, json!(["3"]));
        assert_eq!(browser.eval("heard").await, json!([]));
        let state = json!({ "name": "open", "leads": false });
        assert_eq!(browser.eval("shared.state").await, state);
        assert_eq!(browser.eval("shared.lastEventId").await, "3");
        numbers.append();
        browser.until("heard.length === 1 && heard[0] === 4").await;
        assert_eq!(numbers.asked(), 1);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn tabs_may_listen_to_different_types() {
    for browser in Browser::both().await {
        let numbers = Numbers::default();
        let url = serve(site(&numbers)).await;
        let mut tabs = begin_in_tabs(&browser, &url, 2, "").await;
        let prices = "{ on: { price: ({ data }) => notes.push(data) } }";
        tabs.push_back(browser.new_tab().await);
        begin(&browser, &url, prices).await;
        browser.until("shared.state.name === 'open'").await;
        numbers.append();
        numbers.send("price", "42");
        numbers.send("toString", "is no handler");
        browser.until("notes[0] === '42'").await;
        assert_eq!(browser.eval("heard").await, json!([]));
        tabs.pop_back();
        have_all(&browser, &tabs, numbers.append()).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_tab_that_has_missed_a_message_fetches_it_and_disturbs_nobody() {
    let browser = Browser::start().await;
    let numbers = Numbers::default();
    let url = serve(site(&numbers)).await;
    let mut tabs = begin_in_tabs(&browser, &url, 2, "").await;
    tabs.push_back(browser.new_tab().await);
    browser.open(&url).await;
    let lose = "const channel = BroadcastChannel.prototype;
        const { set } = Object.getOwnPropertyDescriptor(channel, 'onmessage');
        Object.defineProperty(channel, 'onmessage', { set(hear) {
            set.call(this, (message) => message.data.event?.lastEventId === '5' || hear(message));
        } });";
    browser.until("!!window.begin").await;
    browser.eval(&format!("(() => {{ {lose} }})()")).await;
    browser.eval("begin().then(() => 0)").await;
    browser.until("shared.state.name === 'open'").await;
    for _ in 0..10 {
        numbers.append();
    }
    have_all(&browser, &tabs, 10).await;
    let after = numbers
        .asked
        .lock()
        .iter()
        .map(|(after, _)| after.clone())
        .collect::<Vec<_>>();
    assert_eq!(after, ["", "4"]);
    until("one connection", async || numbers.open() == 1).await;
    assert_eq!(browser.eval("shared.state.leads").await, false);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_tab_that_is_thousands_of_events_behind_catches_up_by_one_connection() {
    let browser = Browser::start().await;
    let numbers = Numbers::default();
    let url = serve(site(&numbers)).await;
    let mut tabs = begin_in_tabs(&browser, &url, 3, "").await;
    numbers.append();
    have_all(&browser, &tabs, 1).await;
    let frozen = tabs.pop_back().unwrap();
    let state = |state| json!({ "state": state });
    browser.devtools("Page.setWebLifecycleState", state("frozen")).await;
    for _ in 0..3_000 {
        numbers.append();
    }
    have_all(&browser, &tabs, 3_001).await;
    browser.to_tab(frozen.clone()).await;
    browser.devtools("Page.setWebLifecycleState", state("active")).await;
    tabs.push_back(frozen);
    have_all(&browser, &tabs, 3_001).await;
    have_all(&browser, &tabs, numbers.append()).await;
    until("one connection", async || numbers.open() == 1).await;
    assert_eq!(numbers.asked(), 2);
    assert_eq!(numbers.last_asked().0, "1");
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_tab_that_closes_its_stream_hands_over_or_costs_nothing() {
    for browser in Browser::both().await {
        let numbers = Numbers::default();
        let url = serve(site(&numbers)).await;
        let mut tabs = begin_in_tabs(&browser, &url, 4, "").await;
        numbers.append();
        have_all(&browser, &tabs, 1).await;
        let closed = json!({ "name": "ended", "why": "closed", "leads": false });
        browser.eval("shared.close()").await; // in a follower
        assert_eq!(browser.eval("shared.state").await, closed);
        let follower = tabs.pop_back().unwrap();
        have_all(&browser, &tabs, numbers.append()).await;
        assert_eq!(numbers.asked(), 1);
        let leader = tabs.pop_front().unwrap();
        browser.to_tab(leader.clone()).await;
        browser.eval("shared.close()").await;
        assert_eq!(browser.eval("shared.state").await, closed);
        until("another leader", async || numbers.asked() == 2).await;
        have_all(&browser, &tabs, numbers.append()).await;
        for tab in [leader, follower] {
            browser.to_tab(tab).await;
            browser.never("heard.at(-1) === 3", Duration::from_millis(300)).await;
        }
        until("one connection", async || numbers.open() == 1).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_end_of_the_stream_is_the_end_in_all_tabs() {
    for browser in Browser::both().await {
        let numbers = Numbers::default();
        let url = serve(site(&numbers)).await;
        let tabs = begin_in_tabs(&browser, &url, 3, "{ end: 'note' }").await;
        // With an ID, each tab has a place: a leader that hangs for seconds loses nothing.
        numbers.append();
        have_all(&browser, &tabs, 1).await;
        numbers.append();
        numbers.send("note", "over");
        have_all(&browser, &tabs, 2).await;
        for tab in &tabs {
            browser.to_tab(tab.clone()).await;
            browser.until("shared.state.name === 'ended'").await;
            assert_eq!(browser.eval("shared.state.why").await, "event");
            assert_eq!(browser.eval("notes").await, json!(["over"]));
        }
        until("no connection", async || numbers.open() == 0).await;
        // The lock is free: nobody waits for a stream that is over.
        let free = "navigator.locks.query()
            .then(({ held, pending }) => held.length + pending.length === 0)";
        browser.until(free).await;
        assert_eq!(numbers.asked(), 1);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn over_plain_http_in_a_lan_each_tab_has_its_own_stream() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap(); // it sends nothing
    let address = socket.local_addr().unwrap().ip();
    assert!(!address.is_loopback(), "the machine has an address in a network");
    for browser in Browser::both().await {
        let numbers = Numbers::default();
        let url = serve_at(&address.to_string(), site(&numbers)).await;
        let tabs = begin_in_tabs(&browser, &url, 3, "").await;
        assert_eq!(browser.eval("isSecureContext").await, false);
        assert_eq!(browser.eval("navigator.locks === undefined").await, true);
        assert_eq!(browser.eval("shared.state.leads").await, true);
        numbers.append();
        numbers.send("note", "once");
        have_all(&browser, &tabs, numbers.append()).await;
        assert_eq!(browser.eval("notes").await, json!(["once"]));
        assert_eq!(numbers.open(), 3);
    }
}
