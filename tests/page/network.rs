//! A phone's network, a page that is kept for a way back, a frozen tab.

use std::convert::Infallible;
use std::fs::File;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::stream::{StreamExt, iter, pending, unfold};
use nix::sched::{CloneFlags, setns};
use salvo::http::HeaderValue;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde_json::json;
use tests::{Browser, Run, pause, serve, serve_on, until, until_at_most};
use tokio::time::sleep_until;

/// How long a test watches that something does not happen.
const WATCH: Duration = Duration::from_millis(1500);
/// TCP repeats what was lost after longer and longer pauses.
const MINUTE: Duration = Duration::from_secs(60);
/// The time between two numbers.
const PACE: Duration = Duration::from_millis(100);

/// A network at the other end of a cable. Root can cut it.
struct Cable {
    name: String,
    there: String,
}

impl Cable {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let process = std::process::id();
        let name = format!("sse{process}n{number}");
        // Addresses for tests of networks (RFC 2544), four for each cable.
        let net = format!("198.18.{}", process % 256);
        let here = 4 * number + 1;
        let there = here + 1;
        ip(&format!("netns add {name}"));
        let cable = Self { there: format!("{net}.{there}"), name };
        let Self { name, .. } = &cable;
        ip(&format!("link add {name} type veth peer name far netns {name}"));
        ip(&format!("addr add {net}.{here}/30 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} link set far up"));
        cable.mend();
        cable
    }

    fn mend(&self) {
        let Self { name, there } = self;
        ip(&format!("-n {name} addr add {there}/30 dev far"));
    }

    /// Packets get lost from now on, and nobody says so, as in a tunnel: nobody has the address.
    fn cut(&self) {
        let Self { name, there } = self;
        ip(&format!("-n {name} addr del {there}/30 dev far"));
    }

    /// Serves at the other end.
    async fn serve(&self, router: Router) -> String {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        let address = format!("{}:0", self.there);
        // A thread can live in another network, and what it opens stays there.
        let listen = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            TcpListener::bind(address).unwrap()
        };
        let listener = thread::spawn(listen).join().unwrap();
        serve_on(listener, router)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.name));
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(command: &str) {
    let status = Command::new("ip").args(command.split(' ')).status();
    assert!(status.expect("ip (Debian: iproute2)").success(), "ip {command}");
}

/// Numbers that count up, ten in a second. A reader without an ID begins with the next one.
#[derive(Clone)]
struct Numbers {
    start: Instant,
    open: Arc<AtomicUsize>,
}

/// Counts a connection for as long as it is open.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[handler]
impl Numbers {
    async fn handle(&self, req: &Request, res: &mut Response) {
        let last: Option<String> = req.header("last-event-id");
        let last = last.or_else(|| req.query("after"));
        let start = self.start;
        let now = start.elapsed().div_duration_f64(PACE) as u32;
        let last: u32 = last.map_or(now, |last| last.parse().unwrap());
        self.open.fetch_add(1, Relaxed);
        let open = Open(self.open.clone());
        let numbers = unfold((last + 1, open), move |(next, open)| async move {
            sleep_until((start + PACE * next).into()).await;
            let event = SseEvent::default().name("number").id(next.to_string());
            let event = event.text(next.to_string());
            Some((Ok::<_, Infallible>(event), (next + 1, open)))
        });
        sse::stream(res, numbers);
    }
}

/// A stream that is open and says nothing.
#[handler]
async fn quiet(res: &mut Response) {
    let kind = HeaderValue::from_static("text/event-stream");
    res.headers_mut().insert("content-type", kind);
    let first = iter([Ok::<_, Infallible>(":\n")]);
    res.stream(first.chain(pending()));
}

#[handler]
async fn module(res: &mut Response) {
    res.render(Text::Js(include_str!("../../examples/page/stream.js")));
}

/// Follows the stream by EventSource alone, or by the module.
#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(
        r#"<!doctype html><title>a phone</title><script type=module>
        import { stream } from './stream.js';
        const hear = (one) => ({ data }) => one.heard.push(Number(data));
        window.native = (url = 'numbers') => {
            const one = { heard: [], errors: 0, source: new EventSource(url) };
            one.source.addEventListener('number', hear(one));
            one.source.onerror = () => { one.errors += 1; };
            return one;
        };
        window.follow = (options) => {
            const one = { heard: [], states: [] };
            const onState = ({ name, why }) => one.states.push(why ?? name);
            one.stream = stream('numbers', { ...options, on: { number: hear(one) }, onState });
            return one;
        };
        window.isExact = ({ heard }) => heard.every((n, i) => n === heard[0] + i);
        </script>"#,
    )
}

fn around(numbers: impl Handler) -> Router {
    Router::new()
        .get(page)
        .push(Router::with_path("stream.js").get(module))
        .push(Router::with_path("other").get(page))
        .push(Router::with_path("numbers").get(numbers))
}

fn numbers() -> Numbers {
    Numbers { start: Instant::now(), open: Arc::default() }
}

/// Opens the page, and begins what it follows.
async fn follow(browser: &Browser, url: &str, begin: &str) {
    browser.open(url).await;
    browser.until("!!window.follow").await;
    browser.eval(&format!("({begin}, 0)")).await;
}

/// A train goes through a tunnel: nothing comes, and nothing says so.
#[tokio::test]
#[ignore = "needs chromedriver and root"]
async fn a_lost_link_looks_open_to_eventsource_and_the_module_notices_its_silence() {
    let run = Run::start();
    let cable = Cable::new();
    let url = cable.serve(around(numbers())).await;
    let browser = Browser::start().await;
    let begin = "window.a = native(), \
        window.b = follow({ fetch: {}, silence: 1_000, retry: 300 })";
    follow(&browser, &url, begin).await;
    browser.until("a.heard.length > 3 && b.heard.length > 3").await;
    cable.cut();
    browser.until("b.states.includes('silent')").await;
    let pauses = run.size(20, 1);
    for _ in 0..pauses {
        browser.never("a.errors > 0 || a.source.readyState != 1", 2 * WATCH).await;
    }
    cable.mend();
    let back = Instant::now();
    let goes_on = async |one: &str| {
        let count = browser.eval(&format!("{one}.heard.length")).await;
        let more = format!("{one}.heard.length > {count} + 5");
        let more = async || browser.eval(&more).await == true;
        until_at_most(MINUTE, one, more).await;
        assert_eq!(browser.eval(&format!("isExact({one})")).await, true, "{one}");
        back.elapsed().as_secs_f32()
    };
    let b = goes_on("b").await;
    // TCP itself sends again what was lost, on the same connection.
    let a = goes_on("a").await;
    assert_eq!(browser.eval("[a.errors, a.source.readyState]").await, json!([0, 1]));
    let what = format!(
        "{} s without a link: nothing lost or twice; back after {b:.1} s by the \
         module, and after {a:.1} s at most by EventSource",
        1 + 3 * pauses
    );
    run.done("link", &what, &["chromium --version"]);
}

/// A cable, a Wi-Fi or a VPN comes or goes, and has nothing to do with the stream.
#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr, webkit2gtk-driver and root"]
async fn after_a_change_of_network_firefox_closes_a_quiet_stream_for_good() {
    let browsers = Browser::all().await;
    let busy = Router::with_path("busy").get(numbers());
    let url = serve(around(quiet).push(busy)).await;
    let begin =
        "window.a = native(), window.b = follow({}), window.c = native('busy')";
    for browser in &browsers {
        follow(browser, &url, begin).await;
        let open = "a.source.readyState == 1 && b.states.includes('open')";
        browser.until(open).await;
    }
    let _cable = Cable::new();
    let [chromium, firefox, webkit] = &browsers;
    firefox.until("a.source.readyState == EventSource.CLOSED").await;
    firefox.until("b.stream.state.name == 'open' && b.states.length > 2").await;
    firefox.never("a.source.readyState != EventSource.CLOSED", 2 * WATCH).await;
    for browser in &browsers {
        assert_eq!(browser.eval("c.errors").await, 0, "{}", browser.name());
    }
    for browser in [chromium, webkit] {
        let nothing = json!([0, 1, 2]);
        let state = browser.eval("[a.errors, a.source.readyState, b.states.length]");
        assert_eq!(state.await, nothing, "{}", browser.name());
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn chromium_keeps_a_page_with_its_stream_webkit_without_it_and_firefox_neither()
 {
    for browser in Browser::all().await {
        let numbers = numbers();
        let url = serve(around(numbers.clone())).await;
        follow(&browser, &url, "window.one = native()").await;
        browser.until("one.heard.length > 3").await;
        browser.open(&format!("{url}/other")).await;
        let open = async || numbers.open.load(Relaxed);
        if browser.name() == "Chromium" {
            pause(WATCH).await;
            assert_eq!(open().await, 1);
        } else {
            until("the connection is closed", async || open().await == 0).await;
        }
        browser.back().await;
        if browser.name() == "Firefox" {
            browser.until("!!window.follow && !window.one").await;
            continue;
        }
        let before = browser.eval("one.heard.length").await;
        browser.until(&format!("one.heard.length > {before} + 20")).await;
        assert_eq!(browser.eval("isExact(one)").await, true, "{}", browser.name());
        let errors = u8::from(browser.name() == "WebKitGTK");
        assert_eq!(browser.eval("one.errors").await, errors, "{}", browser.name());
    }
}

#[tokio::test]
#[ignore = "needs webkit2gtk-driver"]
async fn webkit_opens_a_stream_again_that_was_closed_when_its_page_left() {
    let browser = Browser::webkit().await;
    let numbers = numbers();
    let url = serve(around(numbers.clone())).await;
    let begin = "window.one = native(), \
        addEventListener('pagehide', () => one.source.close())";
    follow(&browser, &url, begin).await;
    browser.until("one.heard.length > 3").await;
    browser.open(&format!("{url}/other")).await;
    let gone = async || numbers.open.load(Relaxed) == 0;
    until("the connection is closed", gone).await;
    browser.back().await;
    let before = browser.eval("one.heard.length").await;
    browser.until(&format!("one.heard.length > {before} + 5")).await;
    assert_eq!(numbers.open.load(Relaxed), 1);
}

/// Each browser keeps a page for the way back or does not, and the module goes on in each.
#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn a_page_that_comes_back_has_one_stream_that_misses_nothing() {
    for browser in Browser::all().await {
        let numbers = numbers();
        let url = serve(around(numbers.clone())).await;
        let begin = "window.a = follow({}), window.b = follow({ fetch: {} })";
        follow(&browser, &url, begin).await;
        browser.until("a.heard.length > 3 && b.heard.length > 3").await;
        browser.open(&format!("{url}/other")).await;
        let gone = async || numbers.open.load(Relaxed) == 0;
        until(&format!("{}: no connection", browser.name()), gone).await;
        browser.back().await;
        if browser.name() == "Firefox" {
            // A page with a stream is not kept, although the module closes it.
            browser.until("!!window.follow && !window.a").await;
            continue;
        }
        let before = browser.eval("a.heard.length").await;
        // The ghost of WebKitGTK comes after 3 seconds.
        browser.until(&format!("a.heard.length > {before} + 50")).await;
        let exact = browser.eval("[isExact(a), isExact(b)]").await;
        assert_eq!(exact, json!([true, true]), "{}", browser.name());
        assert_eq!(numbers.open.load(Relaxed), 2, "{}", browser.name());
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_frozen_tab_gets_all_at_once_later_and_the_module_lets_go_meanwhile() {
    let browser = Browser::start().await;
    for (begin, open) in [
        ("window.one = native()", 1),
        ("window.one = follow({})", 0),
        ("window.one = follow({ fetch: {} })", 0),
    ] {
        let numbers = numbers();
        let url = serve(around(numbers.clone())).await;
        follow(&browser, &url, begin).await;
        browser.until("one.heard.length > 3").await;
        let set = async |state: &str| {
            let state = json!({ "state": state });
            browser.devtools("Page.setWebLifecycleState", state).await;
        };
        set("frozen").await;
        let before = browser.eval("one.heard.length").await;
        let more = format!("one.heard.length > {before}");
        browser.never(&more, WATCH).await;
        assert_eq!(numbers.open.load(Relaxed), open, "{begin}");
        set("active").await;
        browser.until(&format!("{more} + 20")).await;
        assert_eq!(browser.eval("isExact(one)").await, true, "{begin}");
        assert_eq!(numbers.open.load(Relaxed), 1, "{begin}");
    }
}
