//! Chromium, Firefox and WebKitGTK, each in the same stories: the end is the same in all, or
//! the test says what it is in each.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use salvo::http::HeaderValue;
use salvo::prelude::*;
use tests::{Browser, serve, until};
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tokio_stream::{StreamExt, pending};

use crate::eventsource::{empty_page, finite};

/// How long a test watches that something does not happen.
const WATCH: Duration = Duration::from_millis(1500);

/// The time of a request, and the last event ID that it brought.
type Asked = (Instant, Option<String>);

/// A stream that sends the same bytes to each request, and ends.
#[derive(Clone)]
struct Repeats {
    bytes: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[handler]
impl Repeats {
    async fn handle(&self, req: &Request, res: &mut Response) {
        let id = req.headers().get("last-event-id");
        let id = id.map(|id| String::from_utf8_lossy(id.as_bytes()).to_string());
        self.asked.lock().unwrap().push((Instant::now(), id));
        finite(res, self.bytes);
    }
}

/// Opens a stream of these bytes, and returns its first two requests.
async fn asked_twice(browser: &Browser, bytes: &'static str) -> [Asked; 2] {
    let stream = Repeats { bytes, asked: Arc::default() };
    let path = Router::with_path("stream").get(stream.clone());
    browser.open(&serve(Router::new().get(empty_page).push(path)).await).await;
    browser.eval("(window.source = new EventSource('stream'), 0)").await;
    let count = || stream.asked.lock().unwrap().len();
    until("the browser comes back", async || count() >= 2).await;
    browser.eval("(source.close(), 0)").await;
    let asked = stream.asked.lock().unwrap();
    [asked[0].clone(), asked[1].clone()]
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn an_id_without_data_counts_in_chromium_alone() {
    for browser in Browser::all().await {
        for bytes in ["retry: 300\nid: 5\n\n", "retry: 300\nevent: own\nid: 5\n\n"] {
            let [_, (_, id)] = asked_twice(&browser, bytes).await;
            let counts = browser.name() == "Chromium";
            assert_eq!(id.as_deref(), counts.then_some("5"), "{}", browser.name());
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn the_id_of_an_event_with_empty_data_counts_in_all_browsers() {
    for browser in Browser::all().await {
        let begin = "event: begin\ndata:\nid: 5\nretry: 300\n\n";
        let [_, (_, id)] = asked_twice(&browser, begin).await;
        assert_eq!(id.as_deref(), Some("5"), "{}", browser.name());
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn an_event_that_is_cut_in_its_last_line_end_has_come() {
    for browser in Browser::all().await {
        let cut = "retry: 300\r\nid: 1\r\ndata: event 1\r\n\r";
        let [_, (_, id)] = asked_twice(&browser, cut).await;
        assert_eq!(id.as_deref(), Some("1"), "{}", browser.name());
    }
}

/// Says how long to wait in its first answer alone.
struct SaysItOnce(Arc<Mutex<Vec<Instant>>>);

#[handler]
impl SaysItOnce {
    async fn handle(&self, res: &mut Response) {
        let mut asked = self.0.lock().unwrap();
        let first = asked.is_empty();
        finite(res, if first { "retry: 300\n\n" } else { "data: a\n\n" });
        asked.push(Instant::now());
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn a_reconnection_time_holds_for_the_streams_that_come_after_it() {
    for browser in Browser::all().await {
        let asked = Arc::<Mutex<Vec<Instant>>>::default();
        let path = Router::with_path("stream").get(SaysItOnce(asked.clone()));
        browser.open(&serve(Router::new().get(empty_page).push(path)).await).await;
        browser.eval("(window.source = new EventSource('stream'), 0)").await;
        // Without a time of its own, Firefox waits for 5 seconds, and the others for 3.
        until("an answer without a time is followed soon", async || {
            let asked = asked.lock().unwrap();
            let mut waits = asked.windows(2).skip(1).map(|two| two[1] - two[0]);
            waits.any(|wait| wait < Duration::from_secs(2))
        })
        .await;
        browser.eval("(source.close(), 0)").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn after_a_retry_of_zero_firefox_waits_half_a_second_and_the_others_do_not() {
    for browser in Browser::all().await {
        if browser.name() == "Firefox" {
            let [(first, _), (second, _)] =
                asked_twice(&browser, "retry: 0\n\n").await;
            let waited = second - first;
            assert!(waited >= Duration::from_millis(490), "{waited:?}");
            continue;
        }
        until("a timer that is not late", async || {
            let [(first, _), (second, _)] =
                asked_twice(&browser, "retry: 0\n\n").await;
            second - first < Duration::from_millis(100)
        })
        .await;
    }
}

/// On a busy machine a timer may be late, so this looks again until one was not.
#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn firefox_comes_back_after_five_seconds_and_the_others_after_three() {
    for browser in Browser::all().await {
        let waits = if browser.name() == "Firefox" { 5_000 } else { 3_000 };
        let waits = Duration::from_millis(waits);
        until("a timer that is not late", async || {
            let [(first, _), (second, _)] =
                asked_twice(&browser, "data: a\n\n").await;
            let waited = second - first;
            assert!(waited >= waits.mul_f32(0.98), "{}: {waited:?}", browser.name());
            waited < waits.mul_f32(1.1)
        })
        .await;
    }
}

/// A browser asks the other server, and hands nothing over unless that allows it.
#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn a_stream_of_another_origin_that_does_not_admit_the_page_is_closed_at_once()
{
    let asked = Arc::default();
    let stream = Repeats { bytes: "data: a\n\n", asked: Arc::clone(&asked) };
    let other = serve(Router::new().get(stream)).await;
    let page = serve(Router::new().get(empty_page)).await;
    for (count, browser) in Browser::all().await.iter().enumerate() {
        browser.open(&page).await;
        let open = format!("(window.source = new EventSource('{other}'), 0)");
        browser.eval(&open).await;
        browser.until("source.readyState == EventSource.CLOSED").await;
        assert_eq!(asked.lock().unwrap().len(), count + 1, "{}", browser.name());
    }
}

/// A stream for pages of every origin: the wildcard, and that cookies are welcome.
#[handler]
async fn for_everybody(res: &mut Response) {
    let star = HeaderValue::from_static("*");
    res.headers_mut().insert("access-control-allow-origin", star);
    let yes = HeaderValue::from_static("true");
    res.headers_mut().insert("access-control-allow-credentials", yes);
    finite(res, "data: a\n\n");
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn a_wildcard_admits_the_page_of_another_origin_but_not_with_its_cookies() {
    let other = serve(Router::new().get(for_everybody)).await;
    let page = serve(Router::new().get(empty_page)).await;
    for browser in Browser::all().await {
        browser.open(&page).await;
        for (cookies, ends) in
            [(false, "heard == 1"), (true, "source.readyState == 2")]
        {
            let open = format!(
                "(window.heard = 0, window.source = new EventSource('{other}', \
                 {{ withCredentials: {cookies} }}), source.onmessage = () => \
                 {{ heard += 1; source.close(); }}, 0)"
            );
            browser.eval(&open).await;
            browser.until(ends).await;
            assert_eq!(browser.eval("heard").await, u8::from(!cookies));
        }
    }
}

/// A head, this text if there is one, and silence.
async fn open_stream_with(browser: &Browser, first: &'static str) {
    let stream = Router::with_path("stream").get(Silent(first));
    browser.open(&serve(Router::new().get(empty_page).push(stream)).await).await;
    let open = "(window.errors = 0, window.source = new EventSource('stream'), \
        source.onerror = () => { errors += 1; }, 0)";
    browser.eval(open).await;
}

struct Silent(&'static str);

#[handler]
impl Silent {
    async fn handle(&self, res: &mut Response) {
        let kind = HeaderValue::from_static("text/event-stream");
        res.headers_mut().insert("content-type", kind);
        let first = Some(self.0).filter(|first| !first.is_empty());
        let first = tokio_stream::iter(first.map(Ok::<_, Infallible>));
        res.stream(first.chain(pending()));
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn a_stream_opens_with_its_first_byte_in_firefox_and_with_its_head_elsewhere()
{
    let is_open = "source.readyState == EventSource.OPEN";
    for browser in Browser::all().await {
        open_stream_with(&browser, "").await;
        if browser.name() == "Firefox" {
            browser.never(is_open, WATCH).await;
        } else {
            browser.until(is_open).await;
        }
        open_stream_with(&browser, ":").await;
        browser.until(is_open).await;
    }
}

/// An event, again and again.
#[handler]
async fn many_events(res: &mut Response) {
    let kind = HeaderValue::from_static("text/event-stream");
    res.headers_mut().insert("content-type", kind);
    let ticks = IntervalStream::new(interval(Duration::from_millis(100)));
    res.stream(ticks.map(|_| Ok::<_, Infallible>("data: a\n\n")));
}

/// `window.stop()` is the page's own word for the button that stops the loading of a page.
#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn a_page_that_stops_loading_loses_its_stream_for_good_and_in_webkit_unseen() {
    let stream = Router::with_path("stream").get(many_events);
    let url = serve(Router::new().get(empty_page).push(stream)).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        let open = "(window.errors = window.events = 0, \
            window.source = new EventSource('stream'), \
            source.onerror = () => { errors += 1; }, \
            source.onmessage = () => { events += 1; }, 0)";
        browser.eval(open).await;
        browser.until("events > 1").await;
        browser.eval("(window.stop(), window.events = 0)").await;
        if browser.name() == "WebKitGTK" {
            browser
                .never("errors + events > 1 || source.readyState != 1", WATCH)
                .await;
            continue;
        }
        browser.until("source.readyState == EventSource.CLOSED").await;
        browser.never("errors + events > 1", WATCH).await;
    }
}
