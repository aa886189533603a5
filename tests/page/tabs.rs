//! Many tabs and one stream: `shared.js`, and the same with a SharedWorker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde_json::json;
use tests::{Browser, Run, root, serve, until};
use thirtyfour::WindowHandle;
use tokio::sync::watch;

/// An event of the stream; one without an ID is for those who are connected.
#[derive(Clone)]
struct Item {
    kind: &'static str,
    id: Option<usize>,
    data: String,
}

/// A log of events, and those who read it.
#[derive(Clone, Default)]
struct Numbers {
    log: watch::Sender<Vec<Item>>,
    open: Arc<AtomicUsize>,
    is_hanging: Arc<AtomicBool>,
    /// The IDs after which the streams began, and when.
    asked: Arc<Mutex<Vec<(String, Instant)>>>,
}

/// Counts a connection for as long as it is open.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Numbers {
    /// Appends the next number.
    fn append(&self) -> usize {
        let mut id = 0;
        self.log.send_modify(|log| {
            id = log.iter().filter(|item| item.id.is_some()).count() + 1;
            log.push(Item { kind: "number", id: Some(id), data: id.to_string() });
        });
        id
    }

    /// Sends an event that has no ID.
    fn send(&self, kind: &'static str, data: &str) {
        let item = Item { kind, id: None, data: data.into() };
        self.log.send_modify(|log| log.push(item));
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }

    fn last_asked(&self) -> (String, Instant) {
        self.asked.lock().last().cloned().expect("a request")
    }

    /// Appends a number every 20 ms, until the returned guard is dropped.
    fn run(&self) -> Running {
        let numbers = self.clone();
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                numbers.append();
            }
        });
        Running(task)
    }
}

struct Running(tokio::task::JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[handler]
impl Numbers {
    async fn handle(&self, req: &Request, res: &mut Response) {
        let after: String = req.query("after").unwrap_or_default();
        self.asked.lock().push((after.clone(), Instant::now()));
        let open = Open::new(&self.open);
        let mut log = self.log.subscribe();
        let id = after.parse().ok();
        let items = log.borrow_and_update();
        let at = items.iter().position(|item| item.id == id && id.is_some());
        let at = at.map_or(items.len(), |at| at + 1);
        let missed: Vec<_> =
            items[at..].iter().filter(|item| item.id.is_some()).cloned().collect();
        let now = items.len();
        drop(items);
        let news = stream::unfold((log, now, open), async |(mut log, at, open)| {
            let item = log.wait_for(|log| log.len() > at).await.ok()?[at].clone();
            Some((item, (log, at + 1, open)))
        });
        let begin = stream::iter([Ok(SseEvent::default().comment("open"))]);
        let events = stream::iter(missed).chain(news).map(|item| {
            let event = SseEvent::default().name(item.kind).text(item.data);
            Ok::<_, std::convert::Infallible>(match item.id {
                Some(id) => event.id(id.to_string()),
                None => event,
            })
        });
        sse::stream(res, begin.chain(events));
    }
}

const PAGE: &str = "<!doctype html><link rel=icon href='data:,'><script>
    const heard = [], notes = [], states = [], errors = [];
    console.error = console.warn = (...what) => errors.push(what.join(' '));
    onerror = (message) => errors.push(message);
    onunhandledrejection = ({ reason }) => errors.push(String(reason));
    addEventListener('pageshow', ({ persisted }) => { window.isBack = persisted; });
    </script><script type=module>
    const { share } = await import(new URLSearchParams(location.search).get('by') ?? './shared.js');
    const on = { number: ({ data }) => heard.push(Number(data)), note: ({ data }) => notes.push(data) };
    window.begin = async (options) => {
      window.shared = await share('events', { on, onState: (state) => states.push(state), ...options });
    };
    </script>";

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(PAGE)
}

/// A script of `examples/page`.
#[handler]
async fn script(req: &Request) -> Text<String> {
    let path = req.uri().path();
    Text::Js(
        std::fs::read_to_string(root().join("examples/page").join(&path[1..]))
            .unwrap(),
    )
}

/// Hears of a page that hangs.
struct Hangs(Numbers);

#[handler]
impl Hangs {
    async fn handle(&self) {
        self.0.is_hanging.store(true, Ordering::Relaxed);
    }
}

/// The page, its scripts, and the stream.
fn site(numbers: &Numbers) -> Router {
    let mut router =
        Router::new().get(page).push(Router::with_path("else").get(page));
    for name in ["stream.js", "shared.js", "worker.js"] {
        router = router.push(Router::with_path(name).get(script));
    }
    router
        .push(Router::with_path("hangs").get(Hangs(numbers.clone())))
        .push(Router::with_path("events").get(numbers.clone()))
}

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

/// Opens the page in the tab that is in front, and shares the stream.
async fn begin(browser: &Browser, url: &str, options: &str) {
    browser.open(url).await;
    browser.until("!!window.begin").await;
    browser.eval(&format!("begin({options}).then(() => 0)")).await;
}

/// Opens the page in as many tabs. The first one leads.
async fn begin_in_tabs(
    browser: &Browser,
    url: &str,
    count: usize,
    options: &str,
) -> VecDeque<WindowHandle> {
    let mut tabs = VecDeque::new();
    for n in 0..count {
        let tab = if n == 0 { browser.tab().await } else { browser.new_tab().await };
        tabs.push_back(tab);
        begin(browser, url, options).await;
        browser.until("shared.state.name === 'open'").await;
    }
    tabs
}

/// Each of these tabs has every number up to this one, once and in order.
async fn have_all(browser: &Browser, tabs: &VecDeque<WindowHandle>, last: usize) {
    for tab in tabs {
        browser.to_tab(tab.clone()).await;
        browser.until(&format!("heard.at(-1) === {last}")).await;
        is_whole(browser).await;
    }
}

/// No number was lost, none came twice, and nothing went wrong.
async fn is_whole(browser: &Browser) {
    let whole = "heard.every((number, n) => number === heard[0] + n)";
    let gaps = "heard.flatMap((n, i) => i && n !== heard[i - 1] + 1 ? [[heard[i - 1], n]] : [])";
    assert_eq!(browser.eval(whole).await, true, "{}", browser.eval(gaps).await);
    assert_eq!(browser.eval("errors").await, json!([]));
}

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
        let url = serve(site(&numbers)).await;
        let tabs = begin_in_tabs(&browser, &url, 3, "").await;
        numbers.append();
        have_all(&browser, &tabs, 1).await;
        browser.to_tab(tabs[0].clone()).await;
        browser.eval(HANG).await;
        let is_hanging = async || numbers.is_hanging.load(Ordering::Relaxed);
        until("a page hangs", is_hanging).await;
        let hangs = Instant::now();
        browser.to_tab(tabs[1].clone()).await;
        for _ in 0..10 {
            numbers.append();
        }
        until("another leader", async || numbers.asked() == 2).await;
        let (after, asked) = numbers.last_asked();
        assert_eq!(after, "1");
        let version = browser.version();
        eprintln!("{} {version}: robbed after {:?}", browser.name(), asked - hangs);
        browser.until("heard.at(-1) === 11").await;
        browser.to_tab(tabs[0].clone()).await;
        browser.until("!shared.state.leads").await;
        have_all(&browser, &tabs, numbers.append()).await;
        until("one connection", async || numbers.open() == 1).await;
        // Now they ask one another, and nobody is robbed.
        let first = numbers.asked();
        browser.never("shared.state.leads", WATCH).await;
        assert_eq!(numbers.asked(), first);
    }))
    .await;
}
