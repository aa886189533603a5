//! Chromium over HTTP/3, and where its network changes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tests::{Browser, Line, Link, Program, example, pause, until, until_at_most};

/// How long a test watches that something does not happen.
const WATCH: Duration = Duration::from_secs(2);
/// A browser has limits of its own, in tens of seconds.
const MINUTE: Duration = Duration::from_secs(60);

/// `boxes` with TLS at the other end of a link. Dropping it ends it.
struct There {
    process: Child,
    link: Link,
    url: String,
    hash: String,
}

impl There {
    fn start() -> Self {
        let delay = Duration::from_millis(5);
        let link = Link::new(Line { delay, ..Line::default() });
        let mut boxes = example("boxes+tls");
        boxes
            .env("ADDR", "127.0.0.1:0")
            .env("TLS_ADDR", format!("{}:0", link.there));
        boxes.stdout(Stdio::piped());
        let process = link.inside(move || boxes.spawn().unwrap()).join();
        let mut process = process.unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut lines = stdout.lines().map_while(Result::ok);
        let mut line = |start: &str| {
            lines
                .find_map(|line| Some(line.strip_prefix(start)?.to_string()))
                .unwrap()
        };
        let url = format!("https://{}", line("listening on https://"));
        let hash = line("for Chromium: --ignore-certificate-errors-spki-list=");
        Self { process, link, url, hash }
    }
}

impl Drop for There {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Follows numbers in the page of a server.
async fn follow(browser: &Browser, url: &str) {
    browser.open(url).await;
    let listen = "window.heard = [], window.errors = 0, \
        window.one = new EventSource('events?every=200&count=10000'), \
        one.onmessage = ({ data }) => heard.push(parseInt(data)), \
        one.onerror = () => { errors += 1; }, 0";
    browser.eval(listen).await;
    browser.until("heard.length > 5").await;
}

/// The number of events that have come, when one more has come within this time.
async fn goes_on(browser: &Browser, time: Duration) -> Duration {
    let began = Instant::now();
    let heard = browser.eval("heard.length").await;
    let more = format!("heard.length > {heard} + 5");
    let more = async || browser.eval(&more).await == true;
    until_at_most(time, "the stream goes on", more).await;
    began.elapsed()
}

#[tokio::test]
#[ignore = "needs chromedriver and root"]
async fn behind_a_nat_that_starts_again_chromium_goes_on_over_http_3_and_misses_nothing()
 {
    let there = There::start();
    let browser = Browser::over_http_3(&there.url, &there.hash).await;
    follow(&browser, &there.url).await;
    there.link.forget();
    goes_on(&browser, MINUTE).await;
    let exact = "errors === 0 && heard.every((number, i) => number === i + 1)";
    assert_eq!(browser.eval(exact).await, true);
}

#[tokio::test]
#[ignore = "needs chromedriver and root"]
async fn behind_a_nat_that_starts_again_chromium_hears_nothing_over_tcp_for_45_seconds()
 {
    let there = There::start();
    let browser = Browser::start().await;
    follow(&browser, &there.url).await;
    pause(WATCH).await;
    there.link.forget();
    browser.never("errors > 0 || one.readyState !== 1", 10 * WATCH).await;
    until_at_most(MINUTE, "an error", async || {
        browser.eval("errors === 1").await == true
    })
    .await;
    goes_on(&browser, MINUTE).await;
}

/// The streams of a page that are open, of so many.
async fn open_many(browser: &Browser, url: &str, query: &str) {
    browser.open(url).await;
    let open = format!(
        "window.all = [...Array(120).keys()].map((n) => \
            new EventSource('events?every=3600000&{query}&count=' + (n + 1))), 0"
    );
    browser.eval(&open).await;
}

/// Over HTTP/3, a server may leave a place to the next stream when the one before is over,
/// and Salvo sees that it is over when it writes.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn over_http_3_a_stream_that_was_left_keeps_its_place_until_the_server_writes()
{
    let boxes =
        Program::start_with("boxes+tls", &[("TLS_ADDR", "127.0.0.1:0")]).await;
    until("it listens", async || boxes.stdout().len() == 2).await;
    let lines = boxes.stdout();
    let url = lines[0].strip_prefix("listening on ").unwrap();
    let (_, hash) = lines[1].split_once("spki-list=").unwrap();
    let browser = Browser::over_http_3(url, hash).await;
    let count = "all.filter((one) => one.readyState === 1).length";
    for (heartbeat, is_free) in [("heartbeat=0", false), ("heartbeat=1000", true)] {
        open_many(&browser, url, heartbeat).await;
        browser.until(&format!("{count} > 90")).await;
        // quinn allows 100 at once, and the page was one.
        browser.never(&format!("{count} > 100"), WATCH).await;
        let before = browser.eval(count).await;
        browser.eval("(all.slice(0, 10).forEach((one) => one.close()), 0)").await;
        let more = format!("{count} > {before} - 10");
        match is_free {
            true => browser.until(&more).await,
            false => browser.never(&more, WATCH).await,
        }
    }
}
