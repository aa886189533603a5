//! The EventSource of three browsers, after each fault.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::{join_all, ready};
use futures_util::stream::{StreamExt, iter, once, pending};
use salvo::http::HeaderValue;
use salvo::prelude::*;
use serde_json::Value;
use tests::{Browser, Program, assert_recorded, assert_text_but_numbers, serve};

use crate::streams::{all, attempts, known, put};

/// How long a stream that must stay as it is is watched.
const WATCH: Duration = Duration::from_millis(1500);

/// Follows EventSources in the page: `follow(id, attempts)` notes what one does until it has
/// seen this attempt, or until nothing happens any more, and then closes it.
const FOLLOW: &str = r#"(window.followed = {}, window.follow = (id, attempts) => {
    const begin = performance.now();
    const marks = [];
    const found = followed[id] = { marks, over: false };
    const source = new EventSource(`/streams/${id}`);
    let last = begin;
    const mark = (what) => {
        last = performance.now();
        marks.push({ ms: last - begin, what, state: source.readyState });
    };
    mark('new');
    source.onopen = () => mark('open');
    source.onerror = () => mark('error');
    source.onmessage = (event) => { found.id = event.lastEventId; };
    source.addEventListener('attempt', (event) => {
        found.over ||= JSON.parse(event.data).attempt === attempts;
    });
    const watch = setInterval(() => {
        // An EventSource that has lost its stream may come back late; the others stay as
        // they are.
        const back = marks.at(-1).what === 'error' && source.readyState === 0;
        found.over ||= performance.now() - last > (back ? 14_000 : 4_500);
        if (!found.over) return;
        clearInterval(watch);
        mark('over');
        source.close();
    }, 50);
}, 0)"#;

const STATES: [&str; 3] = ["CONNECTING", "OPEN", "CLOSED"];

/// The states of an EventSource from its attempt number `from` on; and, where it has lost its
/// stream, how long it stayed away, the ID that it brought, and whether it went to the new URL
/// at once. `back` is the attempt with which the server saw it come back, if it did.
fn in_signs(found: &Value, from: usize, back: Option<&Value>) -> String {
    let marks = found["marks"].as_array().unwrap();
    let is_error = |mark: &&Value| mark["what"] == "error";
    // The first attempt begins with `new`, each other one at the error of the one before.
    let errors = marks.iter().enumerate().filter(|(_, mark)| is_error(mark));
    let mut starts = [0].into_iter().chain(errors.map(|(n, _)| n));
    let start = starts.nth(from - 1).unwrap();
    let mut path = Vec::new();
    for (n, mark) in marks.iter().enumerate().skip(start) {
        let state = STATES[mark["state"].as_u64().unwrap() as usize];
        if is_error(&mark) && n > start {
            path.extend(["error", state]);
            break;
        }
        if path.last() != Some(&state) {
            path.push(state);
        }
    }
    let path = path.join(", ");
    let Some(end) = (start + 1..marks.len()).find(|n| is_error(&&marks[*n])) else {
        return path;
    };
    let ms = |n: usize| marks[n]["ms"].as_f64().unwrap();
    let Some(back) = back else {
        let closed = path.ends_with("CLOSED");
        return if closed { path } else { format!("{path}; > 14 s") };
    };
    let delay = in_seconds(ms(end + 1) - ms(end));
    let id = match back["lastEventId"].as_str() {
        Some(id) => format!(", Last-Event-ID: {id}"),
        None => String::new(),
    };
    let moved = if back["moved"] == true { ", → Location" } else { "" };
    format!("{path}; {delay}{id}{moved}")
}

/// How long a browser waited. On a busy machine its timer may be late.
fn in_seconds(ms: f64) -> String {
    match ms {
        0.0..1_500.0 => "0 s".into(),
        2_900.0..4_500.0 => "3 s".into(),
        4_900.0..6_500.0 => "5 s".into(),
        9_900.0..14_000.0 => "10 s".into(),
        other => panic!("{other} ms are no delay that anybody has asked for"),
    }
}

/// Two cells for each fault: how an EventSource fares on its first connection, and on a
/// reconnect.
async fn cells(browser: &Browser) -> Vec<String> {
    let faults = Program::start("faults").await;
    let names = known(&faults).await;
    browser.open(&format!("{}/faults/404", faults.url)).await;
    browser.eval(FOLLOW).await;
    let scripts = names.iter().flat_map(|name| {
        // A redirect leads to another attempt, which no error precedes.
        let more = if name.starts_with('3') { " cut-between-events" } else { "" };
        let first = format!("{name}{more} good");
        let again = format!("cut-between-events {first}");
        [(1, first), (2, again)]
    });
    let scripts: Vec<_> = scripts.enumerate().collect();
    // Those that take long are the last ones, and begin first.
    let lives = scripts.into_iter().rev().map(async |(n, (from, script))| {
        (n, life(browser, &faults, from, &script).await)
    });
    // A browser has six connections to a server.
    let lives = iter(lives).buffer_unordered(6);
    let cells: BTreeMap<usize, String> = lives.collect().await;
    cells.into_values().collect()
}

/// The life of one EventSource, from its attempt number `from` on.
async fn life(
    browser: &Browser,
    faults: &Program,
    from: usize,
    script: &str,
) -> String {
    let id = script.replace(' ', ".");
    put(faults, &id, script).await;
    let script: Vec<_> = script.split(' ').collect();
    browser.eval(&format!("follow('{id}', {})", script.len())).await;
    browser.until(&format!("followed['{id}'].over")).await;
    let found = browser.eval(&format!("followed['{id}']")).await;
    let seen = attempts(faults, &id).await;
    // The browser has asked for nothing that EventSource knows nothing of.
    assert_eq!(all(&seen, "fault"), script[..seen.len()], "{found}");
    for accept in all(&seen, "accept") {
        assert_eq!(accept, "text/event-stream");
    }
    let back = (seen.len() == script.len()).then(|| seen.last().unwrap());
    in_signs(&found, from, back)
}

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn eventsource_does_after_each_fault_what_the_table_says() {
    let names = known(&Program::start("faults").await).await;
    let browsers = Browser::all().await;
    let cells = join_all(browsers.iter().map(cells)).await;
    let lives = |n: usize| {
        let of_each = browsers.iter().zip(&cells);
        in_one_cell(of_each.map(|(browser, cells)| (browser.name(), &*cells[n])))
    };
    // The rows of a table in `faults.md`, which has the words.
    let rows = names.iter().enumerate().map(|(n, name)| {
        format!("| `{name}` | {} | {} |\n", lives(2 * n), lives(2 * n + 1))
    });
    assert_recorded("faults/recorded/states.md", &rows.collect::<String>());
    for browser in &browsers {
        let file = format!("faults/recorded/{}.txt", browser.name().to_lowercase());
        let version = format!("{} {}\n", browser.name(), browser.version());
        assert_text_but_numbers(&file, &version);
    }
}

/// The lives of an EventSource in several browsers: those that are the same stand together,
/// as if all browsers had the same reconnection time.
fn in_one_cell<'a>(lives: impl Iterator<Item = (&'static str, &'a str)>) -> String {
    let mut groups: Vec<(String, Vec<&str>, String)> = Vec::new();
    for (name, life) in lives {
        let own = if name == "Firefox" { "; 5 s" } else { "; 3 s" };
        let alike = life.replace(own, "; 3/5 s");
        match groups.iter_mut().find(|(other, ..)| *other == alike) {
            Some((_, names, shown)) => {
                names.push(name);
                if shown != life {
                    *shown = alike;
                }
            }
            None => groups.push((alike, vec![name], life.to_string())),
        }
    }
    match &groups[..] {
        [(.., shown)] => shown.clone(),
        several => {
            let cells = several
                .iter()
                .map(|(_, names, shown)| format!("{}: {shown}", names.join(", ")));
            cells.collect::<Vec<_>>().join("<br>")
        }
    }
}

#[handler]
async fn empty() -> Text<&'static str> {
    Text::Html("<!doctype html><title>empty</title>")
}

/// A stream of a wrong type, or of none, that begins with so many bytes and stays open.
#[handler]
async fn wrong_type(req: &Request, res: &mut Response) {
    let count = req.query("bytes").unwrap_or_default();
    if let Some(kind) = req.query::<String>("type") {
        res.headers_mut().insert("content-type", kind.parse().unwrap());
    }
    if req.query::<bool>("nosniff") == Some(true) {
        let never = HeaderValue::from_static("nosniff");
        res.headers_mut().insert("x-content-type-options", never);
    }
    let first = once(ready(Ok::<_, Infallible>(":".repeat(count))));
    res.stream(first.chain(pending()));
}

/// Chromium looks into a body that says it is plain text, or nothing of its type, before it
/// shows it to anybody. It believes other types, and the others believe that of plain text.
#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn chromium_notices_a_wrong_type_after_a_kibibyte_of_a_stream_that_stays_open()
{
    let router =
        Router::new().get(empty).push(Router::with_path("wrong").get(wrong_type));
    let url = serve(router).await;
    for browser in Browser::all().await {
        let state = async |query: &str| {
            browser.open(&url).await; // and the streams of the page before are closed
            let open =
                format!("(window.source = new EventSource('/wrong?{query}'), 0)");
            browser.eval(&open).await;
            format!("/* {query} */ source.readyState")
        };
        for query in [
            "type=application/json&bytes=1",
            "type=text/html&bytes=1",
            "type=image/png&bytes=1",
            "type=text/plain&bytes=1024",
            "type=text/plain&bytes=100&nosniff=true",
        ] {
            let state = state(query).await;
            browser.until(&format!("{state} == EventSource.CLOSED")).await;
        }
        let plain = state("type=text/plain&bytes=1023").await;
        if browser.name() != "Chromium" {
            browser.until(&format!("{plain} == EventSource.CLOSED")).await;
            continue;
        }
        browser.never(&format!("{plain} != 0"), WATCH).await;
        let none = state("bytes=1023").await;
        browser.never(&format!("{none} != 0"), WATCH).await;
    }
}

/// Closes the connection without an answer, and counts how often.
struct Refuse(Arc<AtomicUsize>);

#[handler]
impl Refuse {
    async fn handle(&self, res: &mut Response) {
        self.0.fetch_add(1, Relaxed);
        res.stream(once(ready(Err::<String, _>(std::io::Error::other("refused")))));
    }
}

/// This is the reason why each answer of `faults` closes its connection.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn on_a_kept_connection_chromium_repeats_a_request_without_an_answer() {
    let asked = Arc::<AtomicUsize>::default();
    let refuse = Router::with_path("refuse").get(Refuse(asked.clone()));
    let router = Router::new().get(empty).push(refuse);
    let browser = Browser::start().await;
    browser.open(&serve(router).await).await;
    // The connection that brought the page is kept, and the stream is asked for on it.
    browser
        .eval(
            "(window.errors = 0, window.source = new EventSource('/refuse'), \
             source.onerror = () => { errors += 1; source.close(); }, 0)",
        )
        .await;
    browser.until("errors == 1").await;
    // One error, but the server was asked once for each connection that was kept, too.
    assert!(asked.load(Relaxed) > 1, "{}", asked.load(Relaxed));
}
