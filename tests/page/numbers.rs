//! A stream of numbers, a page that shares it among its tabs, and what a test asks of those.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde_json::json;
use tests::{Browser, root};
use thirtyfour::WindowHandle;
use tokio::sync::watch;

/// On a busy machine a tab may hang for longer, so only stories of robbery have this limit.
const QUIET: &str = "QUIET = 5_000";

/// An event of the stream; one without an ID is for those who are connected.
#[derive(Clone)]
struct Item {
    kind: &'static str,
    id: Option<usize>,
    data: String,
}

/// A log of events, and those who read it.
#[derive(Clone, Default)]
pub struct Numbers {
    log: watch::Sender<Vec<Item>>,
    open: Arc<AtomicUsize>,
    pub is_hanging: Arc<AtomicBool>,
    /// The IDs after which the streams began, and when.
    pub asked: Arc<Mutex<Vec<(String, Instant)>>>,
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
    pub fn append(&self) -> usize {
        let mut id = 0;
        self.log.send_modify(|log| {
            id = log.iter().filter(|item| item.id.is_some()).count() + 1;
            log.push(Item { kind: "number", id: Some(id), data: id.to_string() });
        });
        id
    }

    /// Sends an event that has no ID.
    pub fn send(&self, kind: &'static str, data: &str) {
        let item = Item { kind, id: None, data: data.into() };
        self.log.send_modify(|log| log.push(item));
    }

    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub fn asked(&self) -> usize {
        self.asked.lock().len()
    }

    pub fn last_asked(&self) -> (String, Instant) {
        self.asked.lock().last().cloned().expect("a request")
    }

    /// Appends a number every 20 ms, until the returned guard is dropped.
    pub fn run(&self) -> Running {
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

pub struct Running(tokio::task::JoinHandle<()>);

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
      window.shared = await share('events', { on, onState: (state) => states.push(state), silence: 0, ...options });
    };
    </script>";

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(PAGE)
}

/// The scripts of `examples/page`, in which a leader may be quiet for so long.
struct Scripts {
    quiet: &'static str,
}

#[handler]
impl Scripts {
    async fn handle(&self, req: &Request) -> Text<String> {
        let path = &req.uri().path()[1..];
        let script = root().join("examples/page").join(path);
        let script = std::fs::read_to_string(script).unwrap();
        assert!(path != "shared.js" || script.contains(QUIET));
        Text::Js(script.replace(QUIET, self.quiet))
    }
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
pub fn site(numbers: &Numbers) -> Router {
    site_with(numbers, "QUIET = 120_000")
}

/// The same, with the scripts as they are: a leader that hangs is soon robbed.
pub fn site_that_robs(numbers: &Numbers) -> Router {
    site_with(numbers, QUIET)
}

fn site_with(numbers: &Numbers, quiet: &'static str) -> Router {
    let mut router =
        Router::new().get(page).push(Router::with_path("else").get(page));
    for name in ["stream.js", "shared.js", "worker.js"] {
        router = router.push(Router::with_path(name).get(Scripts { quiet }));
    }
    router
        .push(Router::with_path("hangs").get(Hangs(numbers.clone())))
        .push(Router::with_path("events").get(numbers.clone()))
}

/// Opens the page in the tab that is in front, and shares the stream.
pub async fn begin(browser: &Browser, url: &str, options: &str) {
    browser.open(url).await;
    browser.until("!!window.begin").await;
    browser.eval(&format!("begin({options}).then(() => 0)")).await;
}

/// Opens the page in as many tabs. The first one leads.
pub async fn begin_in_tabs(
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
pub async fn have_all(
    browser: &Browser,
    tabs: &VecDeque<WindowHandle>,
    last: usize,
) {
    for tab in tabs {
        browser.to_tab(tab.clone()).await;
        browser.until(&format!("heard.at(-1) === {last}")).await;
        is_whole(browser).await;
    }
}

/// No number was lost, none came twice, and nothing went wrong.
pub async fn is_whole(browser: &Browser) {
    let whole = "heard.every((number, n) => number === heard[0] + n)";
    let gaps = "heard.flatMap((n, i) => i && n !== heard[i - 1] + 1 ? [[heard[i - 1], n]] : [])";
    assert_eq!(browser.eval(whole).await, true, "{}", browser.eval(gaps).await);
    assert_eq!(browser.eval("errors").await, json!([]));
}
