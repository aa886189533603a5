//! The EventSource of browsers, on the streams of `tests/cases.toml` and on others.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use salvo::prelude::*;
use serde_json::{Value, json};
use tests::cases::{Case, cases};
use tests::{Browser, serve};
use tokio_stream::{StreamExt, once, pending};

#[allow(dead_code)] // the test leaves out what the program needs to run by itself
#[path = "../../examples/wire/main.rs"]
mod wire;

/// How a browser reads the table, where the standard leaves it free or it does something else.
struct Habits {
    /// The reconnection time where a stream sets none, in milliseconds.
    retry: u64,
    /// The cases whose events are others.
    events: &'static [&'static str],
    /// The cases after which another last event ID is sent.
    ids: &'static [&'static str],
    /// The cases after which it comes back too early.
    early: &'static [&'static str],
}

/// Right after a BOM, Chromium does not see that a line ends.
const CHROMIUM: Habits = Habits {
    retry: 3_000,
    events: &["a BOM before an empty line"],
    ids: &[],
    early: &[],
};
/// An id counts in Firefox when its event comes, and so never without data. U+0000 is dropped
/// from data, and an event with U+0000 in its id never comes. A `retry` without a value is 0.
const FIREFOX: Habits = Habits {
    retry: 5_000,
    events: &[
        "NUL in data",
        "an id alone counts for the next event",
        "an id with NUL is ignored",
        "an id that is NUL is ignored",
        "NUL in an id leaves an earlier one of the event",
        "9,000 ids alone",
    ],
    ids: &[
        "an id alone is no event, and counts",
        "an id alone counts for the next event",
        "NUL in an id leaves an earlier one of the event",
        "9,000 ids alone",
    ],
    early: &["retry without a colon"],
};
/// WebKitGTK sees a BOM only where its bytes come together. An id counts when the next event
/// comes. It takes a reconnection time with spaces or a plus sign around it for a number.
const WEBKIT: Habits = Habits {
    retry: 3_000,
    events: &["one BOM"],
    ids: &["an id alone is no event, and counts"],
    early: &[
        "retry with a sign",
        "retry with a space at the end",
        "retry with two spaces first",
    ],
};

/// The time of a request, and its last event ID.
type Asked = (Instant, String);

/// All requests, by their path.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<HashMap<String, Vec<Asked>>>>);

#[handler]
impl Seen {
    async fn handle(&self, req: &Request) {
        let last =
            req.headers().get("last-event-id").map_or(&[][..], |id| id.as_bytes());
        let last = String::from_utf8(last.to_vec()).unwrap();
        let mut seen = self.0.lock().unwrap();
        let path = req.uri().path_and_query().unwrap().to_string();
        seen.entry(path).or_default().push((Instant::now(), last));
    }
}

/// Opens an EventSource for each of these streams, lets it reconnect once, and leaves its
/// events in `window.heard`. An EventSource hears only the types that it listens for.
const LISTEN: &str = r"
    window.heard = {};
    for (const [url, types] of STREAMS) {
      const heard = { events: [] };
      const source = new EventSource(url);
      let opened = 0;
      for (const type of types) {
        source.addEventListener(type, (event) => {
          if (opened > 1 || !(event instanceof MessageEvent)) return;
          heard.events.push({ type: event.type, data: event.data, lastEventId: event.lastEventId });
        });
      }
      source.addEventListener('open', (event) => {
        if (event instanceof MessageEvent) return;
        opened += 1;
        if (opened > 1) { source.close(); window.heard[url] = heard; }
      });
    }
";

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn chromium_reads_every_case_as_the_table_says() {
    reads_every_case(Browser::start().await, CHROMIUM).await;
}

#[tokio::test]
#[ignore = "needs firefox-esr"]
async fn firefox_reads_every_case_but_eight_as_the_table_says() {
    reads_every_case(Browser::firefox().await, FIREFOX).await;
}

#[tokio::test]
#[ignore = "needs webkit2gtk-driver"]
async fn webkit_reads_every_case_but_five_as_the_table_says() {
    reads_every_case(Browser::webkit().await, WEBKIT).await;
}

/// The pages count the cases, all of them and those of each browser.
#[test]
fn the_pages_count_the_cases_as_the_table_does() {
    let all = cases().len();
    let as_it_should = |habits: Habits| {
        let other = [habits.events, habits.ids, habits.early].concat();
        all - BTreeSet::from_iter(other).len()
    };
    let chromium = as_it_should(CHROMIUM);
    let firefox = as_it_should(FIREFOX);
    let webkit = as_it_should(WEBKIT);
    for (language, counts) in [
        (
            "en",
            [
                format!("has {all} streams"),
                format!("Of the {all} streams, Chromium reads {chromium} "),
                format!("Firefox reads {firefox} of them"),
                format!("WebKitGTK reads {webkit}, "),
            ],
        ),
        (
            "it",
            [
                format!("contiene {all} stream"),
                format!("Dei {all} stream, Chromium ne legge {chromium} "),
                format!("Firefox ne legge {firefox} "),
                format!("WebKitGTK ne legge {webkit} "),
            ],
        ),
    ] {
        let page = tests::root().join(format!("src/{language}/wire.md"));
        let page = std::fs::read_to_string(page).unwrap();
        for count in counts {
            assert!(page.contains(&count), "{language}: {count}");
        }
    }
}

async fn reads_every_case(browser: Browser, habits: Habits) {
    let seen = Seen::default();
    let url = serve(wire::router(wire::MAX_OPEN).hoop(seen.clone())).await;
    let client = reqwest::Client::new();
    let cases = cases();
    // Each stream comes whole, and byte by byte where that does not take thousands of chunks.
    let mut streams: Vec<(String, &Case)> = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        let put = client.put(format!("{url}/wire/{n}")).body(case.bytes.clone());
        assert_eq!(put.send().await.unwrap().status(), 201, "{}", case.name);
        streams.push((format!("/wire/{n}"), case));
        if case.bytes.len() < 1_000 {
            streams.push((format!("/wire/{n}?chunk=1"), case));
        }
    }
    let listens = streams.iter().map(|(path, case)| {
        let bytes = String::from_utf8_lossy(&case.bytes);
        let fields =
            bytes.split(['\r', '\n']).filter_map(|line| line.split_once(':'));
        let types = fields.filter(|(name, _)| name.eq_ignore_ascii_case("event"));
        let types = types.map(|(_, value)| value.strip_prefix(' ').unwrap_or(value));
        let mut types: Vec<_> = types.chain(["message"]).collect();
        types.sort();
        types.dedup();
        json!([path, types])
    });
    let listens = Value::from(listens.collect::<Vec<_>>()).to_string();
    browser.open(&url).await;
    let script = LISTEN.replace("STREAMS", &listens);
    browser.eval(&format!("eval({})", json!(script))).await;
    browser.until(&format!("Object.keys(heard).length == {}", streams.len())).await;
    let heard = browser.eval("heard").await;
    let seen = seen.0.lock().unwrap();
    let mut other_events = BTreeSet::new();
    let mut other_ids = BTreeSet::new();
    let mut early = BTreeSet::new();
    for (path, case) in &streams {
        let name = &*case.name;
        if heard[path]["events"] != json!(case.events) {
            println!("{name}, {path}: {}", heard[path]["events"]);
            other_events.insert(name);
        }
        // A browser asks again by itself where a kept connection was closed under it (see
        // `tests/faults/`). So the request that got the stream is the last but one, and the
        // one that came back is the last.
        let [earlier @ .., (first, none), (second, last)] = &seen[path][..] else {
            panic!("{name}: no second request");
        };
        assert!(earlier.iter().all(|(_, id)| id.is_empty()), "{name}: {earlier:?}");
        assert_eq!(none, "", "{name}");
        // HTTP takes away the spaces around a header's value (RFC 9110, section 5.5).
        if last.trim_matches(' ') != case.last.trim_matches(' ') {
            println!("{name}, {path}: id {last}");
            other_ids.insert(name);
        }
        let waited = second.duration_since(*first).as_millis() as u64;
        let retry = case.retry.unwrap_or(habits.retry);
        if waited < retry * 9 / 10 {
            println!("{name}, {path}: back after {waited} ms");
            early.insert(name);
        }
    }
    let sorted = |names: &[&'static str]| names.iter().copied().collect();
    assert_eq!(other_events, sorted(habits.events));
    assert_eq!(other_ids, sorted(habits.ids));
    assert_eq!(early, sorted(habits.early));
}

#[handler]
async fn error_event(res: &mut Response) {
    res.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    res.body("event: error\ndata: disk full\n\n");
}

#[handler]
async fn empty_page() -> Text<&'static str> {
    Text::Html("<!doctype html><title>empty</title>")
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn an_event_of_type_error_arrives_at_onerror() {
    let router = Router::new().get(empty_page);
    let url = serve(router.push(Router::with_path("stream").get(error_event))).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        let listen = "(window.heard = [], window.source = new EventSource('stream'), \
            source.onerror = (event) => { heard.push(event.data ?? 'no data'); }, 0)";
        browser.eval(listen).await;
        browser.until("heard.length >= 2").await;
        let heard = browser.eval("(source.close(), heard.slice(0, 2))").await;
        assert_eq!(
            heard,
            json!(["disk full", "no data"]),
            "the event, then the lost connection"
        );
    }
}

/// An event whose last line feed never comes: the stream stays open.
#[handler]
async fn late_line_feed(res: &mut Response) {
    res.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    let first = once(Ok::<_, Infallible>("data: a\r\n\r"));
    res.stream(first.chain(pending()));
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn an_event_that_ends_in_a_cr_does_not_wait_for_the_byte_behind_it() {
    let router = Router::new().get(empty_page);
    let router = router.push(Router::with_path("stream").get(late_line_feed));
    let url = serve(router).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        let listen = "(window.heard = [], window.source = new EventSource('stream'), \
            source.onmessage = (event) => { heard.push(event.data); }, 0)";
        browser.eval(listen).await;
        browser.until("heard.length == 1").await;
        let state = browser.eval("[heard, source.readyState]").await;
        assert_eq!(state, json!([["a"], 1]), "and the stream is open");
        browser.eval("(source.close(), 0)").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn an_eventsource_has_no_last_event_id() {
    let url = serve(Router::new().get(empty_page)).await;
    for browser in Browser::all().await {
        browser.open(&url).await;
        let has = "['lastEventId' in EventSource.prototype, 'lastEventId' in MessageEvent.prototype]";
        assert_eq!(browser.eval(has).await, json!([false, true]));
    }
}
