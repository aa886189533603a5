//! Cures for what stands between a server and its reader: nginx, and a proxy in Node that
//! compresses.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use salvo::prelude::*;
use salvo::sse::{self, SseEvent, SseKeepAlive};
use tests::{Browser, Events, Nginx, Process, root, serve, within};
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::IntervalStream;

use crate::code;
use crate::server::{Item, not_stored, passed_on, quiet};

/// How long a test watches that nothing comes.
pub const WATCH: Duration = Duration::from_millis(1_500);

/// An event, and silence.
#[handler]
async fn one(res: &mut Response) {
    let first = Item::Ok(SseEvent::default().text("1"));
    sse::stream(res, stream::iter([first]).chain(stream::pending()));
}

/// The same, with a word for all in between.
#[handler]
async fn one_passed_on(res: &mut Response) -> salvo::Result<()> {
    let first = Item::Ok(SseEvent::default().text("1"));
    sse::stream(res, stream::iter([first]).chain(stream::pending()));
    passed_on(res)
}

/// Twenty events a second, large ones and small ones: `is_large` says which, by their number.
fn mixed(res: &mut Response, is_large: fn(usize) -> bool) {
    let ticks = IntervalStream::new(interval(Duration::from_millis(50)));
    let events = ticks.enumerate().map(move |(n, _)| {
        let more = if is_large(n) { "x".repeat(1_000) } else { String::new() };
        Item::Ok(SseEvent::default().text(format!("{}\n{more}", n + 1)))
    });
    sse::stream(res, events);
}

/// A large event, and small ones behind it.
#[handler]
async fn large_first(res: &mut Response) {
    mixed(res, |n| n == 0);
}

/// A small event, and large ones behind it.
#[handler]
async fn small_first(res: &mut Response) {
    mixed(res, |n| n > 0);
}

/// Silence with heartbeats.
#[handler]
async fn beating(res: &mut Response) {
    let events = SseKeepAlive::new(stream::pending::<Item>());
    events.max_interval(Duration::from_millis(300)).stream(res);
}

pub fn streams() -> Router {
    Router::new()
        .push(Router::with_path("one").get(one))
        .push(Router::with_path("one-passed-on").get(one_passed_on))
        .push(Router::with_path("large-first").get(large_first))
        .push(Router::with_path("small-first").get(small_first))
        .push(Router::with_path("quiet").get(quiet))
        .push(Router::with_path("beating").get(beating))
}

/// nginx before a server, with lines for all requests, and others for these.
async fn nginx(server: &str, http: &str, lines: &str) -> Nginx {
    let configuration = |addr: &str| {
        format!(
            "daemon off; pid nginx.pid; events {{}}
            http {{
                access_log off; {http}
                server {{
                    listen {addr};
                    location / {{ proxy_pass {server}; {lines} }}
                }}
            }}"
        )
    };
    Nginx::start(configuration).await
}

/// A `curl` that reads a stream as a browser asks for it.
pub fn curl(url: &str) -> Process {
    let mut curl = Command::new("curl");
    curl.args(["-sN", "--compressed", url]).stdout(Stdio::piped());
    Process::spawn(curl)
}

pub async fn passes(url: &str) {
    let mut curl = curl(url);
    assert_eq!(curl.line().await, "data: 1", "{url}");
}

pub async fn is_held_back(url: &str) {
    let mut curl = curl(url);
    let came = timeout(WATCH, curl.line()).await;
    assert!(came.is_err(), "{url}: {came:?}");
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_collects_a_stream_unless_the_program_or_nginx_itself_is_told_otherwise()
 {
    let server = serve(streams()).await;
    let collecting = nginx(&server, "", "").await;
    is_held_back(&format!("{}/one", collecting.url)).await;
    passes(&format!("{}/one-passed-on", collecting.url)).await;
    let told = nginx(&server, "", &code("buffering.conf")).await;
    passes(&format!("{}/one", told.url)).await;
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_that_compresses_a_stream_holds_it_back_unless_it_is_told_otherwise() {
    const GZIP: &str = "gzip on; gzip_types text/event-stream; gzip_min_length 0; \
        gzip_proxied any;";
    let server = serve(streams()).await;
    let compressing = nginx(&server, GZIP, "proxy_http_version 1.1;").await;
    is_held_back(&format!("{}/one", compressing.url)).await;
    let told = nginx(&server, GZIP, &code("plain.conf")).await;
    passes(&format!("{}/one", told.url)).await;
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_cuts_a_silent_stream_unless_there_is_a_heartbeat_or_more_time() {
    const SECOND: &str = "proxy_buffering off; proxy_read_timeout 1s;";
    let server = serve(streams()).await;
    let hasty = nginx(&server, SECOND, "").await;
    let asked = reqwest::get(format!("{}/quiet", hasty.url));
    let mut answer = within("a head", asked).await.unwrap();
    let end = async {
        loop {
            match answer.chunk().await {
                Ok(Some(_)) => {}
                end => return end,
            }
        }
    };
    assert!(within("the end of the stream", end).await.is_err(), "it is cut");
    let patient = nginx(&server, SECOND, &code("timeout.conf")).await;
    for url in [format!("{}/beating", hasty.url), format!("{}/quiet", patient.url)] {
        let answer = within("a head", reqwest::get(&url)).await.unwrap();
        Events::of(answer).stays_quiet_for(2 * WATCH).await;
    }
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn a_proxy_that_compresses_in_node_passes_a_stream_on_that_must_not_be_changed()
 {
    let server = serve(streams()).await;
    let script = fs::File::open(root().join("tests/symptoms/compress.mjs")).unwrap();
    let mut node = Command::new("node");
    node.current_dir(root().join("target/sdk/node"));
    node.args(["--input-type=module", "-", &server]).stdin(script);
    node.stdout(Stdio::piped());
    let mut proxy = Process::spawn(node);
    let url = format!("http://127.0.0.1:{}", proxy.line().await);
    is_held_back(&format!("{url}/one")).await;
    passes(&format!("{url}/one-passed-on")).await;
}

/// Streams that end, and say which one they are.
#[derive(Clone, Default)]
struct Counted {
    count: Arc<AtomicUsize>,
    is_not_stored: bool,
}

#[handler]
impl Counted {
    async fn handle(&self, res: &mut Response) -> salvo::Result<()> {
        let n = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let event = SseEvent::default().text(n.to_string());
        sse::stream(res, stream::iter([Item::Ok(event)]));
        res.headers_mut().remove("cache-control");
        if self.is_not_stored { not_stored(res) } else { Ok(()) }
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn a_cache_gives_one_stream_to_two_readers_unless_it_must_not_store_it() {
    const CACHE: &str = "proxy_cache_path cache keys_zone=streams:1m; \
        proxy_cache streams; proxy_cache_valid 200 1m;";
    for (is_not_stored, second) in [(false, "1"), (true, "2")] {
        let stream = Counted { is_not_stored, ..Default::default() };
        let server = serve(Router::new().get(stream)).await;
        let cache = nginx(&server, CACHE, "").await;
        for expected in ["1", second] {
            let answer = within("a head", reqwest::get(&cache.url)).await.unwrap();
            assert_eq!(Events::of(answer).data().await, expected);
        }
    }
}

#[handler]
async fn host(req: &Request) -> String {
    req.header("host").unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_puts_its_own_host_into_a_request_unless_it_is_told_otherwise() {
    let server = serve(Router::new().get(host)).await;
    for (lines, is_passed_on) in [
        ("", false),
        ("proxy_set_header Host $host;", false), // without its port
        (&*code("host.conf"), true),
    ] {
        let nginx = nginx(&server, "", lines).await;
        let answer = within("a head", reqwest::get(&nginx.url)).await.unwrap();
        let seen = within("a body", answer.text()).await.unwrap();
        assert_eq!(nginx.url.ends_with(&seen), is_passed_on, "{seen}");
    }
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html("<!doctype html><link rel=icon href='data:,'>")
}

#[tokio::test]
#[ignore = "needs nginx and chromedriver"]
async fn over_http_2_twenty_streams_of_one_page_are_open() {
    let server = serve(streams().push(Router::with_path("page").get(page))).await;
    let key = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let configuration = |addr: &str| {
        format!(
            "daemon off; pid nginx.pid; events {{}}
            http {{
                access_log off;
                server {{
                    {}
                    location / {{ proxy_pass {server}; proxy_buffering off; }}
                }}
            }}",
            code("http2.conf").replace("443", addr)
        )
    };
    let starting = Nginx::start_with(configuration, |folder| {
        fs::write(folder.join("server.crt"), key.cert.pem()).unwrap();
        fs::write(folder.join("server.key"), key.signing_key.serialize_pem())
            .unwrap();
    });
    let nginx = starting.await;
    let url = nginx.url.replace("http://", "https://");
    let browser = Browser::start().await;
    browser.open(&format!("{url}/page")).await;
    let open = "(window.open_ones = 0, [...Array(20).keys()].forEach((n) => { \
        new EventSource('one?' + n).onopen = () => { open_ones += 1; }; }), 0)";
    browser.eval(open).await;
    browser.until("open_ones === 20").await;
}
