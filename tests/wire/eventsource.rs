//! Chromium's EventSource, on the streams of `tests/cases.toml` and on others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use salvo::prelude::*;
use serde_json::{Value, json};
use tests::cases::{Case, cases};
use tests::{Browser, serve};

#[allow(dead_code)] // the test leaves out what the program needs to run by itself
#[path = "../../examples/wire/main.rs"]
mod wire;

/// The reconnection time of Chromium where a stream sets none.
const DEFAULT_RETRY: u64 = 3_000;

/// The cases in which Chromium does not do what the standard says (seen with version 148):
/// right after a BOM, it does not see that a line ends.
const CHROMIUM_DIFFERS: [&str; 1] = ["a BOM before an empty line"];

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
    let seen = Seen::default();
    let url = serve(wire::router().hoop(seen.clone())).await;
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
    let browser = Browser::start().await;
    browser.open(&url).await;
    let script = LISTEN.replace("STREAMS", &listens);
    browser.eval(&format!("eval({})", json!(script))).await;
    browser.until(&format!("Object.keys(heard).length == {}", streams.len())).await;
    let heard = browser.eval("heard").await;
    let seen = seen.0.lock().unwrap();
    for (path, case) in &streams {
        let name = format!("{}, {path}", case.name);
        let same = heard[path]["events"] == json!(case.events);
        let differs = CHROMIUM_DIFFERS.contains(&&*case.name);
        assert!(
            same != differs,
            "{name}: {} of {:?}",
            heard[path]["events"],
            case.events
        );
        // Chromium asks again by itself where a kept connection was closed under it (see
        // `tests/faults/`). So the request that got the stream is the last but one, and the
        // one that came back is the last.
        let [earlier @ .., (first, none), (second, last)] = &seen[path][..] else {
            panic!("{name}: no second request");
        };
        assert!(earlier.iter().all(|(_, id)| id.is_empty()), "{name}: {earlier:?}");
        // HTTP takes away the spaces around a header's value (RFC 9110, section 5.5).
        let expected = case.last.trim_matches(' ');
        assert_eq!((&**none, last.trim_matches(' ')), ("", expected), "{name}");
        let waited = second.duration_since(*first).as_millis() as u64;
        let retry = case.retry.unwrap_or(DEFAULT_RETRY);
        assert!(waited >= retry * 9 / 10, "{name}: back after {waited} ms");
    }
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
#[ignore = "needs chromedriver"]
async fn an_event_of_type_error_arrives_at_onerror() {
    let router = Router::new().get(empty_page);
    let url = serve(router.push(Router::with_path("stream").get(error_event))).await;
    let browser = Browser::start().await;
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

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_eventsource_has_no_last_event_id() {
    let url = serve(Router::new().get(empty_page)).await;
    let browser = Browser::start().await;
    browser.open(&url).await;
    let has = "['lastEventId' in EventSource.prototype, 'lastEventId' in MessageEvent.prototype]";
    assert_eq!(browser.eval(has).await, json!([false, true]));
}
