//! A tab that leads, and is closed, crashes, hangs, freezes or is left: another one leads.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tests::{Browser, Run, serve, until};

use crate::numbers::{
    Numbers, begin, begin_in_tabs, have_all, site, site_that_robs,
};

/// Lets the script of a page run for 15 s without a pause. It says when it begins.
const HANG: &str = "setTimeout(() => {
    const says = new XMLHttpRequest();
    says.open('GET', 'hangs', false);
    says.send();
    const end = Date.now() + 15_000;
    while (Date.now() < end);
}, 100)";
/// How long a test watches that nobody is robbed: a leader that says nothing for so long is.
const WATCH: Duration = Duration::from_secs(7);

/// How long a test watches that a page which was left keeps its lock.
const LEFT: Duration = Duration::from_secs(3);

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn when_the_leader_is_closed_another_tab_goes_on_and_nothing_is_lost() {
    let run = Run::start();
    let takeovers = run.size(30, 3);
    let mut told = Vec::new();
    for browser in Browser::both().await {
        let numbers = Numbers::default();
        let url = serve(site(&numbers)).await;
        let running = numbers.run();
        let mut tabs = begin_in_tabs(&browser, &url, 4, "").await;
        let mut times = Vec::new();
        for n in 1..=takeovers {
            browser.to_tab(tabs.pop_front().unwrap()).await;
            assert_eq!(browser.eval("shared.state.leads").await, true);
            let closed = Instant::now();
            browser.close_tab().await;
            until("another leader", async || numbers.asked() == 1 + n).await;
            times.push(numbers.last_asked().1 - closed);
            browser.to_tab(tabs[0].clone()).await;
            browser.until("shared.state.leads").await;
            tabs.push_back(browser.new_tab().await);
            begin(&browser, &url, "").await;
            browser.until("heard.length > 0").await;
        }
        drop(running);
        have_all(&browser, &tabs, numbers.append()).await;
        assert_eq!(numbers.open(), 1);
        told.push(figures(&browser, "closed", times));
    }
    eprintln!("{told:?}");
    run.done("takeover-closed", &told.join("\n"), &[]);
}

/// The median, the best and the worst of these times.
fn figures(browser: &Browser, what: &str, mut times: Vec<Duration>) -> String {
    times.sort();
    let [best, worst] =
        [times[0], times[times.len() - 1]].map(|time| time.as_millis());
    let median = times[times.len() / 2].as_millis();
    let count = times.len();
    let browser = format!("{} {}", browser.name(), browser.version());
    format!(
        "{browser}: {count} leaders {what}, another one asked after {median} ms (median; {best} to {worst})"
    )
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn when_the_leader_crashes_another_tab_goes_on_and_nothing_is_lost() {
    let run = Run::start();
    let takeovers = run.size(20, 2);
    let browser = Browser::start().await;
    let numbers = Numbers::default();
    let url = serve(site(&numbers)).await;
    let running = numbers.run();
    let mut tabs = begin_in_tabs(&browser, &url, 4, "").await;
    let mut times = Vec::new();
    for n in 1..=takeovers {
        browser.to_tab(tabs.pop_front().unwrap()).await;
        assert_eq!(browser.eval("shared.state.leads").await, true);
        let crashed = Instant::now();
        browser.crash_tab().await;
        until("another leader", async || numbers.asked() == 1 + n).await;
        times.push(numbers.last_asked().1 - crashed);
        browser.to_tab(tabs[0].clone()).await;
        browser.until("shared.state.leads").await;
        tabs.push_back(browser.new_tab().await);
        begin(&browser, &url, "").await;
        browser.until("heard.length > 0").await;
    }
    drop(running);
    have_all(&browser, &tabs, numbers.append()).await;
    assert_eq!(numbers.open(), 1);
    let told = figures(&browser, "crashed", times);
    eprintln!("{told}");
    run.done("takeover-crashed", &told, &[]);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_leader_that_is_frozen_lets_go_and_has_missed_nothing_when_it_is_back() {
    let browser = Browser::start().await;
    let numbers = Numbers::default();
    let url = serve(site(&numbers)).await;
    let mut tabs = begin_in_tabs(&browser, &url, 3, "").await;
    numbers.append();
    have_all(&browser, &tabs, 1).await;
    let frozen = tabs.pop_front().unwrap();
    browser.to_tab(frozen.clone()).await;
    let state = |state| json!({ "state": state });
    browser.devtools("Page.setWebLifecycleState", state("frozen")).await;
    until("another leader", async || numbers.asked() == 2).await;
    for _ in 0..10 {
        numbers.append();
    }
    have_all(&browser, &tabs, 11).await;
    assert_eq!(numbers.open(), 1);
    browser.to_tab(frozen.clone()).await;
    browser.devtools("Page.setWebLifecycleState", state("active")).await;
    tabs.push_back(frozen);
    have_all(&browser, &tabs, 11).await;
    have_all(&browser, &tabs, numbers.append()).await;
    until("one connection", async || numbers.open() == 1).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_leader_that_is_left_is_kept_by_chromium_and_has_missed_nothing_when_it_is_back()
 {
    let browser = Browser::start().await;
    let numbers = Numbers::default();
    let url = serve(site(&numbers)).await;
    let mut tabs = begin_in_tabs(&browser, &url, 3, "").await;
    numbers.append();
    have_all(&browser, &tabs, 1).await;
    let left = tabs.pop_front().unwrap();
    browser.to_tab(left.clone()).await;
    browser.open(&format!("{url}/else")).await;
    until("another leader", async || numbers.asked() == 2).await;
    for _ in 0..10 {
        numbers.append();
    }
    have_all(&browser, &tabs, 11).await;
    browser.to_tab(left.clone()).await;
    browser.back().await;
    browser.until("window.isBack === true").await;
    tabs.push_back(left);
    have_all(&browser, &tabs, 11).await;
    have_all(&browser, &tabs, numbers.append()).await;
    until("one connection", async || numbers.open() == 1).await;
}

/// A lock is held.
const HELD: &str = "navigator.locks.query().then(({ held }) => held.length === 1)";

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn chromium_keeps_a_page_with_its_lock_and_those_who_wait_get_nothing() {
    for browser in Browser::both().await {
        let url = serve(site(&Numbers::default())).await;
        let first = browser.tab().await;
        browser.open(&url).await;
        browser
            .eval("(navigator.locks.request('a', () => new Promise(() => {})), 0)")
            .await;
        browser.until(HELD).await;
        let second = browser.new_tab().await;
        browser.open(&url).await;
        let ask =
            "(navigator.locks.request('a', () => { window.hasLock = true; }), 0)";
        browser.eval(ask).await;
        browser.to_tab(first.clone()).await;
        browser.open(&format!("{url}/else")).await;
        browser.to_tab(second).await;
        if browser.name() == "Firefox" {
            browser.until("window.hasLock === true").await;
            continue;
        }
        browser.never("window.hasLock === true", LEFT).await;
        browser.to_tab(first).await;
        browser.back().await;
        browser.until("window.isBack === true").await;
    }
}

/// A page that has something when it is left: whether it is kept for a way back.
struct Left {
    has: &'static str,
    in_chromium: bool,
    in_firefox: bool,
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn firefox_looks_for_locks_and_streams_before_a_page_can_let_go_of_them() {
    const LOCK: &str =
        "window.stop = new AbortController(); const { signal } = stop;
        const held = () => new Promise((letGo) => { signal.onabort = letGo; });";
    let rows = [
        Left { has: "0", in_chromium: true, in_firefox: true },
        Left {
            has: "navigator.locks.request('a', held)",
            in_chromium: true,
            in_firefox: false,
        },
        Left {
            has: "navigator.locks.request('a', held), onpagehide = () => stop.abort()",
            in_chromium: true,
            in_firefox: false,
        },
        Left {
            has: "navigator.locks.request('a', held), onbeforeunload = () => stop.abort()",
            in_chromium: true,
            in_firefox: true,
        },
        Left {
            has: "fetch('events', { signal }).catch(() => 0), onpagehide = () => stop.abort()",
            in_chromium: true,
            in_firefox: false,
        },
        Left {
            has: "fetch('events', { signal }).catch(() => 0), onbeforeunload = () => stop.abort()",
            in_chromium: true,
            in_firefox: false,
        },
        Left {
            has: "window.source = new EventSource('events'), onpagehide = () => source.close()",
            in_chromium: true,
            in_firefox: false,
        },
    ];
    for browser in Browser::both().await {
        let numbers = Numbers::default();
        let url = serve(site(&numbers)).await;
        for Left { has, in_chromium, in_firefox } in &rows {
            browser.open(&url).await;
            browser.eval(&format!("(() => {{ {LOCK} {has}; return 0; }})()")).await;
            if has.contains("locks") {
                browser.until(HELD).await;
            }
            if has.contains("events") {
                until("a stream", async || numbers.open() == 1).await;
            }
            browser.open(&format!("{url}/else")).await;
            browser.back().await;
            browser.until("window.isBack !== undefined").await;
            let kept =
                if browser.name() == "Firefox" { in_firefox } else { in_chromium };
            assert_eq!(
                browser.eval("isBack").await,
                *kept,
                "{}: {has}",
                browser.name()
            );
            until("no stream", async || numbers.open() == 0).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_leader_that_hangs_is_robbed_once_and_follows_when_it_wakes_up() {
    join_all(Browser::both().await.map(async |browser| {
        let numbers = Numbers::default();
        let url = serve(site_that_robs(&numbers)).await;
        let tabs = begin_in_tabs(&browser, &url, 3, "").await;
        numbers.append();
        have_all(&browser, &tabs, 1).await;
        browser.to_tab(tabs[0].clone()).await;
        let hide = "Object.defineProperty(document, 'hidden', { value: true })";
        browser.to_tab(tabs[1].clone()).await;
        browser.eval(&format!("({hide}, 0)")).await;
        browser.to_tab(tabs[0].clone()).await;
        browser.eval(HANG).await;
        let is_hanging = async || numbers.is_hanging.load(Ordering::Relaxed);
        until("a page hangs", is_hanging).await;
        let hangs = Instant::now();
        browser.to_tab(tabs[2].clone()).await;
        for _ in 0..10 {
            numbers.append();
        }
        until("another leader", async || numbers.asked() == 2).await;
        let (after, asked) = numbers.last_asked();
        assert_eq!(after, "1");
        let version = browser.version();
        eprintln!("{} {version}: robbed after {:?}", browser.name(), asked - hangs);
        browser.until("heard.at(-1) === 11 && shared.state.leads").await;
        browser.to_tab(tabs[0].clone()).await;
        browser.until("!shared.state.leads").await;
        have_all(&browser, &tabs, numbers.append()).await;
        until("one connection", async || numbers.open() == 1).await;
        // Now they ask one another, and nobody is robbed.
        let first = numbers.asked();
        browser.to_tab(tabs[0].clone()).await;
        browser.never("shared.state.leads", WATCH).await;
        assert_eq!(numbers.asked(), first);
    }))
    .await;
}
