//! Chromium over HTTP/3, and where its network changes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tests::{
    Browser, Line, Link, Program, Run, example, leave_network, until, until_at_most,
};

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
    /// The test, and what it starts from now on, get a network of their own: another test's
    /// link would be a change of network for this browser, too.
    fn start() -> Self {
        // Before that, because Cargo may have to download something.
        let mut boxes = example("boxes+tls");
        leave_network();
        let delay = Duration::from_millis(5);
        let link = Link::new(Line { delay, ..Line::default() });
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

/// More events come within this time.
async fn goes_on(browser: &Browser, time: Duration) {
    let heard = browser.eval("heard.length").await;
    let more = format!("heard.length > {heard} + 5");
    let more = async || browser.eval(&more).await == true;
    until_at_most(time, "the stream goes on", more).await;
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

/// The whole run waits until Chromium's own system asks, and the answer is a reset.
#[tokio::test]
#[ignore = "needs chromedriver and root"]
async fn behind_a_nat_that_starts_again_chromium_hears_nothing_over_tcp_and_is_not_told()
 {
    let run = Run::start();
    let there = There::start();
    let browser = Browser::start().await;
    follow(&browser, &there.url).await;
    there.link.forget();
    let forgot = Instant::now();
    let is_told = "errors > 0 || one.readyState !== 1";
    let watch = WATCH * run.size(15, 3) as u32;
    browser.never(is_told, watch).await;
    let before = browser.eval("heard.length").await;
    if run.size(1, 0) == 1 {
        browser.until(is_told).await;
        let told = forgot.elapsed().as_secs();
        assert_eq!(browser.eval("heard.length").await, before);
        goes_on(&browser, MINUTE).await;
        let what =
            format!("a new port at the NAT: an error after {told} s, over HTTP/2");
        run.done("boxes-nat", &what, &["chromium --version"]);
    }
}

/// A cable, a Wi-Fi or a VPN comes or goes, and has nothing to do with the stream.
#[tokio::test]
#[ignore = "needs chromedriver and root"]
async fn when_the_network_changes_chromium_ends_streams_over_http_2_and_comes_back()
{
    let there = There::start();
    let browser = Browser::start().await;
    follow(&browser, &there.url).await;
    let _cable = Link::new(Line::default());
    browser.until("errors > 0").await;
    browser.until("one.readyState === 1").await;
    goes_on(&browser, MINUTE).await;
}

#[tokio::test]
#[ignore = "needs chromedriver and root"]
async fn when_the_network_changes_chromium_keeps_streams_over_http_3() {
    let there = There::start();
    let browser = Browser::over_http_3(&there.url, &there.hash).await;
    follow(&browser, &there.url).await;
    let _cable = Link::new(Line::default());
    browser.never("errors > 0", 2 * WATCH).await;
    goes_on(&browser, MINUTE).await;
}

/// Opens more streams in a page than a connection carries.
async fn open_many(browser: &Browser, url: &str, query: &str) {
    browser.open(url).await;
    let open = format!(
        "window.all = [...Array(120).keys()].map((n) => \
            new EventSource('events?every=3600000&{query}&count=' + (n + 100))), 0"
    );
    browser.eval(&open).await;
}

/// The next stream gets a place when the server knows that one is over, and Salvo learns that
/// its reader has left when it writes.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn over_http_3_a_stream_that_was_left_keeps_its_place_until_the_server_writes()
{
    let boxes =
        Program::start_with("boxes+tls", &[("TLS_ADDR", "127.0.0.1:0")]).await;
    let boxes = boxes.of_many_words();
    until("it listens", async || boxes.stdout().len() == 2).await;
    let lines = boxes.stdout();
    let url = lines[0].strip_prefix("listening on ").unwrap();
    let (_, hash) = lines[1].split_once("spki-list=").unwrap();
    let count = "all.filter((one) => one.readyState === 1).length";
    for (heartbeat, is_free) in [("heartbeat=0", false), ("heartbeat=1000", true)] {
        // Another browser: over the connection of the first, not even the page comes now.
        let browser = Browser::over_http_3(url, hash).await;
        open_many(&browser, url, heartbeat).await;
        browser.until(&format!("{count} > 90")).await;
        // quinn allows 100 at once, and the page was one.
        browser.never(&format!("{count} > 100"), WATCH).await;
        let before = browser.eval(count).await;
        browser.eval("(all.slice(0, 40).forEach((one) => one.close()), 0)").await;
        let more = format!("{count} > {before} - 40");
        match is_free {
            true => browser.until(&more).await,
            false => browser.never(&more, WATCH).await,
        }
    }
}
