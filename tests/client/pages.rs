//! `read.js`, which reads a stream in a page with `fetch`.

use std::sync::{Arc, Mutex};

use salvo::http::{HeaderName, HeaderValue};
use salvo::prelude::*;
use serde_json::json;
use tests::scripted::{HEAD, Server};
use tests::{Browser, Program, serve};

use crate::answers::{NO_STREAMS, STREAMS};

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html("<!doctype html><title>read</title><link rel=icon href='data:,'>")
}

/// A browser with a page of this URL, which has imported `read.js`.
async fn browser(url: &str) -> Browser {
    let browser = Browser::start().await;
    browser.open(url).await;
    let script = json!(include_str!("../pages/read.js"));
    let import =
        format!("import('data:text/javascript,' + encodeURIComponent({script}))");
    browser
        .eval(&format!("({import}.then((it) => Object.assign(window, it)), 0)"))
        .await;
    browser.until("!!window.read").await;
    browser
}

/// A browser with an empty page beside these routes.
async fn browser_beside(router: Router) -> Browser {
    browser(&serve(router.get(page)).await).await
}

/// A browser with the page of `faults`, whose own stream is closed.
async fn browser_with_faults() -> (Program, Browser) {
    let faults = Program::start("faults").await;
    let browser = browser(&format!("{}/", faults.url)).await;
    browser.until("!!stream").await;
    browser.eval("document.querySelector('#close').click()").await;
    (faults, browser)
}

/// Reads a stream in the page: its events into `heard`, how it ended into `end`.
fn reads(url: &str, stream: &str) -> String {
    format!(
        "(window.heard = [], window.end = '', window.kept = {stream}, \
         read('{url}', (event) => {{ heard.push(event); }}, kept)\
         .then(() => {{ end = 'ended'; }}, (error) => {{ end = String(error); }}), 0)"
    )
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn fetch_reads_until_the_connection_ends_and_brings_the_id_it_is_given() {
    let (faults, browser) = browser_with_faults().await;
    let put = faults.request("PUT", "/streams/a");
    let put = put.body("no-final-blank-line cut-between-events");
    assert!(faults.send(put).await.status().is_success());
    browser.eval(&reads("streams/a", "{}")).await;
    browser.until("end == 'ended'").await;
    assert_eq!(browser.eval("heard.at(-1).data").await, "event 1");
    // The last event may be lost: an error does not wait until all bytes have been read.
    browser.eval(&reads("streams/a", "{ lastEventId: '1' }")).await;
    browser.until("end.includes('network error')").await;
    assert_eq!(
        browser.eval("heard.some((it) => it.data == 'event 1')").await,
        false
    );
}

/// The header lines that Chromium takes in another way than the Fetch standard.
const CHROMIUM_DIFFERS: [&str; 2] = [
    "content-type: text/event-stream;charset=iso-8859-1",
    "content-type: text/event-stream, none, , a b/c, text/",
];

/// A stream with the header lines that the query names.
#[handler]
async fn typed(req: &Request, res: &mut Response) {
    let n: usize = req.query("n").unwrap();
    for line in STREAMS.iter().chain(&NO_STREAMS).nth(n).unwrap().lines() {
        let (name, value) = line.split_once(':').unwrap();
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).unwrap();
        res.headers_mut().append(name.parse::<HeaderName>().unwrap(), value);
    }
    res.body("data: a\n\n");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn fetch_takes_the_types_that_the_standard_takes_and_so_does_eventsource() {
    let browser =
        browser_beside(Router::new().push(Router::with_path("typed").get(typed)))
            .await;
    let all: Vec<_> = STREAMS.iter().chain(&NO_STREAMS).collect();
    browser
        .eval(&format!(
            "(window.read_ = {{}}, window.opened = {{}}, (async () => {{ \
             for (let n = 0; n < {}; n++) {{ \
             read_[n] = await read('/typed?n=' + n, () => {{}}).then(() => true, () => false); \
             opened[n] = await new Promise((tell) => {{ \
             const source = new EventSource('/typed?n=' + n); \
             const end = (opens) => {{ source.close(); tell(opens); }}; \
             source.onopen = () => end(true); source.onerror = () => end(false); }}); \
             }} window.done = true; }})(), 0)",
            all.len()
        ))
        .await;
    browser.until("!!window.done").await;
    let opened = async |n| browser.eval(&format!("opened[{n}]")).await == true;
    let mut differ = Vec::new();
    for (n, headers) in all.iter().enumerate() {
        let is_stream = n < STREAMS.len();
        assert_eq!(
            browser.eval(&format!("read_[{n}]")).await,
            is_stream,
            "{headers}"
        );
        if opened(n).await != is_stream {
            differ.push(headers.trim());
        }
    }
    assert_eq!(differ, CHROMIUM_DIFFERS);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn fetch_leaves_no_connection_open_when_the_page_throws() {
    let (_faults, browser) = browser_with_faults().await;
    browser
        .eval(
            "(window.thrown = 0, (async () => { for (let n = 0; n < 7; n++) { \
             await read('faults/stall', () => { throw new Error('ours'); })\
             .catch((error) => { thrown += error.message == 'ours'; }); } })(), 0)",
        )
        .await;
    // The seventh gets a connection only if another one has been closed.
    browser.until("thrown == 7").await;
}

/// A CR may be the first half of a line end, and is one already.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn fetch_hands_an_event_over_when_its_last_cr_comes() {
    let server = Server::start().await;
    let browser = browser_beside(Router::new()).await;
    browser.eval(&reads(&server.url("/"), "{}")).await;
    let mut asked = server.asked().await;
    asked.write(format!("{HEAD}access-control-allow-origin: *\r\n\r\n")).await;
    for (n, bytes) in
        ["data: A\r\r", "data: B\r\r", "\ndata: C\r\n\r\n"].iter().enumerate()
    {
        asked.write(bytes).await;
        browser.until(&format!("heard.length == {}", n + 1)).await;
    }
    let heard = browser.eval("heard.map((event) => event.data).join('|')").await;
    assert_eq!(heard, "A|B|C");
    drop(asked);
}

/// The last event IDs that have come, as bytes.
#[derive(Clone, Default)]
struct Ids(Arc<Mutex<Vec<Option<Vec<u8>>>>>);

#[handler]
impl Ids {
    async fn handle(&self, req: &Request, res: &mut Response) {
        let id = req.headers().get("last-event-id");
        self.0.lock().unwrap().push(id.map(|id| id.as_bytes().to_vec()));
        let kind = HeaderValue::from_static("text/event-stream");
        res.headers_mut().insert("content-type", kind);
        res.body("id: é€🙂\n\n");
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn fetch_brings_an_id_beyond_ascii_as_eventsource_does() {
    let ids = Ids::default();
    let browser = browser_beside(
        Router::new().push(Router::with_path("ids").get(ids.clone())),
    )
    .await;
    browser.eval(&reads("/ids", "{}")).await;
    browser.until("end == 'ended'").await;
    browser.eval("read('/ids', () => {}, kept).then(() => 0)").await;
    browser.eval("(window.source = new EventSource('/ids'), 0)").await;
    let seen = || ids.0.lock().unwrap().clone();
    let all = async || seen().len() >= 4;
    tests::until("EventSource comes back", all).await;
    let sent = Some("é€🙂".as_bytes().to_vec());
    assert_eq!(seen()[..4], [None, sent.clone(), None, sent]);
}
