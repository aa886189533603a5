//! Chapter 4: what goes wrong with a stream, and what EventSource makes of each fault.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use salvo::http::HeaderValue;
use salvo::prelude::*;
use serde_json::{Value, json};
use tests::{
    Browser, Program, assert_recorded, assert_text_but_numbers, chunks, pause,
    serve, until, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::{StreamExt, once, pending};

/// As in `examples/faults/main.rs`.
const MAX_STREAMS: usize = 64;
const MAX_ATTEMPTS: usize = 256;
const MAX_SCRIPT: usize = 1_024;
const MAX_TEXT: usize = 64;
const LINE: usize = 512 << 10;
const PACE: Duration = Duration::from_millis(100);

/// How long a test watches something that must not happen.
const WATCH: Duration = Duration::from_millis(1500);

/// How an answer ended.
#[derive(Debug, PartialEq)]
enum End {
    /// As HTTP wants it: after its last chunk, or its last byte.
    Whole,
    /// The connection was closed before that.
    Cut,
    /// It goes on.
    Open,
}
use End::{Cut, Open, Whole};

/// An answer, byte for byte.
struct Answer {
    socket: TcpStream,
    bytes: Vec<u8>,
    end: End,
}

impl Answer {
    async fn to(faults: &Program, path: &str) -> Self {
        let mut socket = faults.socket().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { socket, bytes: Vec::new(), end: Open }
    }

    /// Reads more. Says whether there was more.
    async fn more(&mut self) -> bool {
        let read = self.socket.read_buf(&mut self.bytes).await;
        if read.is_ok_and(|count| count > 0) {
            return true;
        }
        let chunked = self.text().contains("transfer-encoding: chunked");
        let whole = if chunked {
            self.bytes.ends_with(b"\r\n0\r\n\r\n")
        } else {
            self.text().contains("\r\n\r\n")
        };
        self.end = if whole { Whole } else { Cut };
        false
    }

    /// Reads until this is there, or to the end.
    async fn until(mut self, text: &str) -> Self {
        let read =
            async { while !self.text().contains(text) && self.more().await {} };
        within(text, read).await;
        self
    }

    async fn whole(mut self) -> Self {
        within("the end", async { while self.more().await {} }).await;
        self
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.bytes).unwrap()
    }

    fn status(&self) -> &str {
        self.text().get(9..12).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = self.text().split("\r\n\r\n").next()?;
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The body, without the chunks' sizes.
    fn body(&self) -> String {
        let (_, chunks) = self.text().split_once("\r\n\r\n").unwrap_or_default();
        chunks.split("\r\n").skip(1).step_by(2).collect()
    }
}

async fn put(faults: &Program, id: &str, script: &str) {
    let request = faults.request("PUT", &format!("/streams/{id}"));
    let answer = faults.send(request.body(script.to_string())).await;
    assert!(answer.status().is_success(), "{script}: {}", answer.status());
}

async fn attempts(faults: &Program, id: &str) -> Vec<Value> {
    let answer = faults.get(&format!("/streams/{id}/attempts")).await;
    assert_eq!(answer.status(), 200);
    let seen: Value = answer.json().await.unwrap();
    seen["attempts"].as_array().unwrap().clone()
}

/// One member of each attempt.
fn all<'a>(attempts: &'a [Value], member: &str) -> Vec<&'a Value> {
    attempts.iter().map(|attempt| &attempt[member]).collect()
}

/// What an error answer says, as JSON.
async fn why(faults: &Program, request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = faults.send(request.header("accept", "application/json")).await;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["error"]["brief"].as_str().unwrap().to_string())
}

/// The faults that the program has, as it names them itself.
async fn known(faults: &Program) -> Vec<String> {
    let (status, reason) = why(faults, faults.request("GET", "/faults/none")).await;
    assert_eq!(status, 404);
    let names = reason.strip_prefix("the faults are: ").unwrap();
    names.split(", ").map(str::to_string).collect()
}

#[tokio::test]
async fn each_fault_is_what_its_name_says() {
    let stream = "text/event-stream";
    let one = "id: 1\ndata: event 1\n\n";
    let half = "id: 1\ndata: event 1\n\nid: 2\ndata: event 2\n";
    let two = "id: 1\ndata: event 1\n\nid: 2\ndata: event 2\n\n";
    let retry = |ms: &str| format!("retry: {ms}\n\n{one}");
    let streams = [
        ("good", stream, two.into(), Open),
        ("wrong-type", "text/plain", one.into(), Whole),
        ("wrong-type-open", "text/plain", two.into(), Open),
        ("charset", "text/event-stream; charset=utf-8", two.into(), Open),
        ("latin1", "text/event-stream; charset=iso-8859-1", two.into(), Open),
        ("301?moved=yes", stream, two.into(), Open),
        ("307?moved=yes", stream, two.into(), Open),
        ("cut-between-events", stream, one.into(), Cut),
        ("cut-mid-event", stream, half.into(), Cut),
        ("no-final-blank-line", stream, half.into(), Whole),
        ("stall", stream, one.into(), Open),
        ("drip", stream, one.into(), Open),
        ("endless-line", stream, format!("{one}data: xxx"), Open),
        ("retry-0", stream, retry("0"), Whole),
        ("retry-10000", stream, retry("10000"), Whole),
        ("retry-huge", stream, retry("86400000"), Whole),
        ("retry-overflow", stream, retry("99999999999999999999"), Whole),
    ];
    let answers = [
        ("refuse", "", Cut),
        ("silent-head", "", Open),
        ("204", "204", Whole),
        ("301", "301", Whole),
        ("307", "307", Whole),
        ("401", "401", Whole),
        ("404", "404", Whole),
        ("500", "500", Whole),
        ("502", "502", Whole),
    ];
    let faults = Program::start("faults").await;
    let names = streams.iter().map(|(name, ..)| *name);
    let names = names.chain(answers.iter().map(|(name, ..)| *name));
    let names: BTreeSet<_> =
        names.map(|name| name.replace("?moved=yes", "")).collect();
    assert_eq!(names, BTreeSet::from_iter(known(&faults).await));

    for (name, kind, body, end) in streams {
        let answer = Answer::to(&faults, &format!("/faults/{name}")).await;
        let mut answer = answer.until("\r\n\r\n").await;
        within(name, async {
            while !answer.body().starts_with(&body) && answer.more().await {}
        })
        .await;
        if end != Open {
            answer = answer.whole().await;
            assert_eq!(answer.body(), body, "{name}");
        }
        assert_eq!((answer.status(), &answer.end), ("200", &end), "{name}");
        assert_eq!(answer.header("content-type"), Some(kind), "{name}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{name}");
        assert_eq!(answer.header("x-accel-buffering"), Some("no"), "{name}");
    }
    for (name, status, end) in answers {
        let mut answer = Answer::to(&faults, &format!("/faults/{name}")).await;
        if end == Open {
            assert!(tokio::time::timeout(WATCH, answer.more()).await.is_err());
        } else {
            answer = answer.whole().await;
        }
        assert_eq!((answer.status(), &answer.end), (status, &end), "{name}");
        let to = name.starts_with('3').then_some("?moved=yes");
        assert_eq!(answer.header("location"), to, "{name}");
    }
}

#[tokio::test]
async fn a_stalled_stream_says_nothing_more_and_a_drip_is_slow() {
    let faults = Program::start("faults").await;
    let stall = Answer::to(&faults, "/faults/stall").await;
    let mut stall = stall.until("data: event 1\n\n\r\n").await;
    let start = Instant::now();
    let drip = Answer::to(&faults, "/faults/drip").await.until("\na\r\n").await;
    // `id: 1`, the line's end and `da`: eight bytes, seven pauses.
    assert!(start.elapsed() >= 7 * PACE, "{:?}", start.elapsed());
    assert!(drip.body().starts_with("id: 1"), "{}", drip.body());
    assert!(tokio::time::timeout(WATCH, stall.more()).await.is_err());
}

#[tokio::test]
async fn the_endless_line_ends() {
    let faults = Program::start("faults").await;
    let line = Answer::to(&faults, "/faults/endless-line").await.whole().await;
    assert_eq!(line.end, Cut);
    let before = "id: 1\ndata: event 1\n\ndata: ";
    assert_eq!(line.body(), format!("{before}{}", "x".repeat(LINE)));
}

#[tokio::test]
async fn curl_sees_how_each_stream_ends() {
    let faults = Program::start("faults").await;
    faults.assert_session("faults/recorded/ends.txt");
    let script = faults.session("faults/recorded/script.txt");
    assert_text_but_numbers("faults/recorded/script.txt", &script);
}

#[tokio::test]
async fn a_script_says_what_each_attempt_gets() {
    let faults = Program::start("faults").await;
    put(&faults, "mine", "cut-between-events  502\n good").await;
    assert!(attempts(&faults, "mine").await.is_empty());
    let first = Answer::to(&faults, "/streams/mine").await.whole().await;
    assert_eq!(first.end, Cut);
    let seen = r#"data: {"attempt":1,"lastEventId":null}"#;
    let event = "id: 1\ndata: event 1\n\n";
    assert_eq!(first.body(), format!("event: attempt\n{seen}\n\n{event}"));
    let back = faults.request("GET", "/streams/mine").header("last-event-id", "1");
    assert_eq!(faults.send(back).await.status(), 502);
    // The last one holds from now on, and the ids go on.
    for (n, path, header) in [
        (3, "/streams/mine?lastEventId=7", None),
        (4, "/streams/mine?lastEventId=2", Some("7")),
    ] {
        let mut request = faults.request("GET", path);
        if let Some(id) = header {
            request = request.header("last-event-id", id);
        }
        let mut events = faults.events_of(request).await;
        let attempt = events.next().await.unwrap();
        assert_eq!((&*attempt.event, &*attempt.id), ("attempt", "7"));
        let data: Value = serde_json::from_str(&attempt.data).unwrap();
        assert_eq!(data, json!({ "attempt": n, "lastEventId": "7" }));
        for id in ["8", "9"] {
            let event = events.next().await.unwrap();
            assert_eq!((&*event.id, event.data), (id, format!("event {id}")));
        }
    }
    let seen = attempts(&faults, "mine").await;
    assert_eq!(all(&seen, "attempt"), [1, 2, 3, 4]);
    assert_eq!(all(&seen, "fault"), ["cut-between-events", "502", "good", "good"]);
    let ids = [json!(null), json!("1"), json!("7"), json!("7")];
    assert_eq!(all(&seen, "lastEventId"), ids.iter().collect::<Vec<_>>());
    let ms: Vec<_> = seen.iter().map(|one| one["ms"].as_u64().unwrap()).collect();
    assert!(ms[0] == 0 && ms.is_sorted() && ms[3] >= 1000, "{ms:?}");
}

#[tokio::test]
async fn a_redirect_leads_to_a_good_stream_and_counts_as_an_attempt() {
    let faults = Program::start("faults").await;
    for name in ["301", "307"] {
        put(&faults, name, name).await;
        let mut events =
            faults.events(&format!("/streams/{name}?lastEventId=4")).await;
        assert_eq!(events.next().await.unwrap().event, "attempt");
        assert_eq!(events.next().await.unwrap().id, "5");
        let seen = attempts(&faults, name).await;
        assert_eq!(all(&seen, "moved"), [false, true]);
    }
}

#[tokio::test]
async fn ids_that_are_none_of_ours_begin_at_the_beginning() {
    let faults = Program::start("faults").await;
    put(&faults, "mine", "cut-between-events").await;
    let long = "9".repeat(MAX_TEXT + 1);
    for id in ["abc", "-1", "", "4294967296", "\u{e8}", &long] {
        let request =
            faults.request("GET", "/streams/mine").header("last-event-id", id);
        let body = faults.send(request).await;
        let mut body = body;
        let first = within("a chunk", body.chunk()).await.unwrap().unwrap();
        assert!(!str::from_utf8(&first).unwrap().contains("id: "), "{id}");
        let second = within("a chunk", body.chunk()).await.unwrap().unwrap();
        assert_eq!(second, "id: 1\ndata: event 1\n\n", "{id}");
    }
    let seen = attempts(&faults, "mine").await;
    assert_eq!(seen[5]["lastEventId"], "9".repeat(MAX_TEXT));
}

#[tokio::test]
async fn another_script_ends_the_connections_that_are_open() {
    let faults = Program::start("faults").await;
    put(&faults, "mine", "good silent-head").await;
    let open = Answer::to(&faults, "/streams/mine").await.until("event 1").await;
    let silent = Answer::to(&faults, "/streams/mine").await;
    until("both are seen", async || attempts(&faults, "mine").await.len() == 2)
        .await;
    put(&faults, "mine", "502").await;
    assert_eq!(open.whole().await.end, Whole);
    let silent = silent.whole().await;
    assert_eq!((silent.text(), &silent.end), ("", &Cut));
    assert_eq!(faults.get("/streams/mine").await.status(), 502);
    // What was seen before is not forgotten.
    assert_eq!(all(&attempts(&faults, "mine").await, "attempt"), [1, 2, 3]);
}

#[tokio::test]
async fn what_a_client_can_make_grow_has_a_bound() {
    let faults = Program::start("faults").await;
    put(&faults, "first", "204").await;
    for _ in 0..=MAX_ATTEMPTS {
        assert_eq!(faults.get("/streams/first").await.status(), 204);
    }
    let seen = attempts(&faults, "first").await;
    assert_eq!(seen.len(), MAX_ATTEMPTS);
    assert_eq!(
        (&seen[0]["attempt"], &seen[255]["attempt"]),
        (&json!(2), &json!(257))
    );

    put(&faults, "first", "good").await;
    let open = Answer::to(&faults, "/streams/first").await.until("event 1").await;
    for n in 1..MAX_STREAMS {
        put(&faults, &n.to_string(), "204").await;
    }
    put(&faults, "first", "good").await; // known already: nobody has to make room
    assert_eq!(attempts(&faults, "first").await.len(), MAX_ATTEMPTS);
    assert_eq!(open.whole().await.end, Whole);
    let open = Answer::to(&faults, "/streams/first").await.until("event 1").await;
    put(&faults, "last", "204").await;
    assert_eq!(open.whole().await.end, Whole);
    assert_eq!(faults.get("/streams/first").await.status(), 404);
    assert_eq!(faults.get("/streams/1").await.status(), 204);

    let most = format!("{}good", " ".repeat(MAX_SCRIPT - 4));
    put(&faults, "mine", &most).await;
    put(&faults, &"i".repeat(MAX_TEXT), "good").await;
}

#[tokio::test]
async fn whoever_is_refused_learns_why() {
    let faults = Program::start("faults").await;
    let long = format!("/streams/{}", "i".repeat(MAX_TEXT + 1));
    let big = vec![b' '; MAX_SCRIPT + 1];
    let put = |path: &str| faults.request("PUT", path);
    for (request, status, reason) in [
        (
            put("/streams/a").body(big.clone()),
            413,
            "a script has 1024 bytes at most",
        ),
        (
            put("/streams/a").body(chunks(&big)),
            413,
            "a script has 1024 bytes at most",
        ),
        (put("/streams/a").body(vec![b' '; 4 << 20]), 413, "a script has 1024"),
        (put("/streams/a"), 400, "the script is empty"),
        (put("/streams/a").body(" \n"), 400, "the script is empty"),
        (put("/streams/a").body(vec![0xff]), 400, "the script is not UTF-8"),
        (put("/streams/a").body("good bad"), 400, "the faults are: good, refuse,"),
        (put(&long).body("good"), 400, "the id has more than 64 bytes"),
        (faults.request("GET", "/streams/a"), 404, "nothing was put here"),
        (faults.request("GET", "/streams/a/attempts"), 404, "nothing was put here"),
        (faults.request("GET", "/faults/bad"), 404, "the faults are: good, refuse,"),
        (faults.request("GET", "/faults/502"), 502, "you asked for this"),
    ] {
        let (code, brief) = why(&faults, request).await;
        assert_eq!(code, status, "{brief}");
        assert!(brief.starts_with(reason), "{brief}");
    }
    let answer = faults.send(faults.request("POST", "/streams/a")).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(faults.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_bad_address_is_one_clear_line() {
    let faults = Program::start("faults").await;
    faults.assert_bad_addresses_are_one_clear_line("faults");
}

/// Follows EventSources in the page: `follow(id, attempts)` notes what one does, until it
/// has seen this attempt or nothing happens any more, and closes it.
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
        // One that has lost its stream may come back late; the others stay as they are.
        const back = marks.at(-1).what === 'error' && source.readyState === 0;
        found.over ||= performance.now() - last > (back ? 14_000 : 4_500);
        if (!found.over) return;
        clearInterval(watch);
        mark('over');
        source.close();
    }, 50);
}, 0)"#;

const STATES: [&str; 3] = ["CONNECTING", "OPEN", "CLOSED"];

/// What an EventSource did from its attempt number `from` on, and at which attempt that
/// the server saw it came back, in words.
fn in_words(found: &Value, from: usize, back: Option<&Value>) -> String {
    let marks = found["marks"].as_array().unwrap();
    let is_error = |mark: &&Value| mark["what"] == "error";
    // The first attempt begins with `new`, each other one where an error left it.
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
        return if closed { path } else { format!("{path}; not back in 14 s") };
    };
    let delay = match ms(end + 1) - ms(end) {
        0.0..1_500.0 => "at once",
        2_500.0..8_000.0 => "after 3 s",
        9_500.0..14_000.0 => "after 10 s",
        other => panic!("{other} ms are no delay that anybody has asked for"),
    };
    let id = match back["lastEventId"].as_str() {
        Some(id) => format!("with ID {id}"),
        None => "without an ID".into(),
    };
    let moved = if back["moved"] == true { ", to the new URL" } else { "" };
    format!("{path}; back {delay} {id}{moved}")
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn what_eventsource_makes_of_each_fault() {
    let faults = Program::start("faults").await;
    let names = known(&faults).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/faults/404", faults.url)).await;
    browser.eval(FOLLOW).await;
    let mut scenarios = Vec::new();
    for name in &names {
        // A redirect leads to another attempt, which no error precedes.
        let more = if name.starts_with('3') { " cut-between-events" } else { "" };
        scenarios.push((1, format!("{name}{more} good")));
        scenarios.push((2, format!("cut-between-events {name}{more} good")));
    }
    let mut cells = Vec::new();
    // A browser has six connections to a server.
    for six in scenarios.chunks(6) {
        for (_, script) in six {
            let id = script.replace(' ', ".");
            put(&faults, &id, script).await;
            let last = script.split(' ').count();
            browser.eval(&format!("follow('{id}', {last})")).await;
        }
        for (from, script) in six {
            let id = script.replace(' ', ".");
            browser.until(&format!("followed['{id}'].over")).await;
            let found = browser.eval(&format!("followed['{id}']")).await;
            let seen = attempts(&faults, &id).await;
            // The browser has asked for nothing that EventSource does not know of.
            let script: Vec<_> = script.split(' ').collect();
            assert_eq!(all(&seen, "fault"), script[..seen.len()], "{found}");
            for accept in all(&seen, "accept") {
                assert_eq!(accept, "text/event-stream");
            }
            let back = (seen.len() == script.len()).then(|| seen.last().unwrap());
            cells.push(in_words(&found, *from, back));
        }
    }
    // A table in Markdown, which chapter 4 includes.
    let row = |name: &str, first: &str, again: &str| {
        format!("| {name} | {first} | {again} |\n")
    };
    let mut table = row("fault", "on the first connection", "on a reconnect");
    table += &*row("---", "---", "---");
    for (name, cells) in names.iter().zip(cells.chunks(2)) {
        table += &*row(&format!("`{name}`"), &cells[0], &cells[1]);
    }
    assert_recorded("faults/recorded/states.md", &table);
}

/// A stream of the wrong type that begins with so many bytes, and stays open.
#[handler]
async fn plain_text(req: &Request, res: &mut Response) {
    let count = req.query("bytes").unwrap_or_default();
    let kind = HeaderValue::from_static("text/plain");
    res.headers_mut().insert("content-type", kind);
    if req.query::<bool>("nosniff") == Some(true) {
        let never = HeaderValue::from_static("nosniff");
        res.headers_mut().insert("x-content-type-options", never);
    }
    let first = once(Ok::<_, Infallible>(":".repeat(count)));
    res.stream(first.chain(pending()));
}

/// Chromium looks into what says that it is plain text before anybody may see it.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrong_type_closes_an_open_stream_when_a_kibibyte_of_it_is_there() {
    let router =
        Router::new().get(empty).push(Router::with_path("plain").get(plain_text));
    let browser = Browser::start().await;
    browser.open(&serve(router).await).await;
    let state = |query: &str| {
        format!(
            "((window.sources ??= {{}})['{query}'] \
             ??= new EventSource('/plain?{query}')).readyState"
        )
    };
    browser.until(&format!("{} == 2", state("bytes=1024"))).await;
    browser.until(&format!("{} == 2", state("bytes=100&nosniff=true"))).await;
    browser.never(&format!("{} != 0", state("bytes=1023")), WATCH).await;
}

#[handler]
async fn empty() -> Text<&'static str> {
    Text::Html("<!doctype html><title>empty</title>")
}

/// Closes the connection without an answer, and counts how often.
struct Refuse(Arc<AtomicUsize>);

#[handler]
impl Refuse {
    async fn handle(&self, res: &mut Response) {
        self.0.fetch_add(1, Relaxed);
        res.stream(once(Err::<String, _>(std::io::Error::other("refused"))));
    }
}

/// Why each answer of `faults` closes its connection.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn on_a_kept_connection_chromium_asks_again_by_itself() {
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

const PAGE_IS_OPEN: &str = "document.querySelector('#state').textContent == 'OPEN'";

/// The page of the program, whose own stream is closed.
async fn page(faults: &Program) -> Browser {
    let browser = Browser::start().await;
    browser.open(&format!("{}/", faults.url)).await;
    browser.until(PAGE_IS_OPEN).await;
    browser.eval("document.querySelector('#close').click()").await;
    browser.eval("(window.got = [])").await;
    browser
}

/// Follows a stream with the wrapper of the page.
const RECOVER: &str = "(window.wrapped = recover('streams/wrapped', ['message', 'attempt'],\
     (event) => got.push(event.type === 'message' ? event.lastEventId : event.type))) && null";
const IDS: &str = "got.filter((one) => Number(one))";

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrapper_recovers_and_loses_and_repeats_nothing() {
    let faults = Program::start("faults").await;
    let browser = page(&faults).await;
    let script = "cut-between-events 502 500 cut-mid-event 502 good";
    put(&faults, "wrapped", script).await;
    browser.eval(RECOVER).await;
    browser.until(&format!("{IDS}.length >= 4")).await;
    let ids = browser.eval(IDS).await;
    let ids: Vec<_> = ids.as_array().unwrap().iter().collect();
    let counted = (1..=ids.len()).map(|id| json!(id.to_string()));
    assert_eq!(ids, counted.collect::<Vec<_>>().iter().collect::<Vec<_>>());
    // EventSource saw the first 502, a look the 500; the wrapper's new EventSource got
    // `cut-mid-event`, came back by itself, saw the other 502; a look got a good stream.
    let seen = attempts(&faults, "wrapped").await;
    let own: Vec<_> =
        seen.iter().map(|one| one["accept"] == "text/event-stream").collect();
    assert_eq!(own, [true, true, false, true, true, false, true]);
    let brought: Vec<_> = seen
        .iter()
        .map(|one| one["lastEventId"].as_str().unwrap_or("none"))
        .collect();
    assert_eq!(brought, ["none", "1", "none", "1", "2", "none", "2"]);
    browser.eval("wrapped.close()").await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_wrapper_gives_up_where_there_is_nothing_to_hope_for() {
    let faults = Program::start("faults").await;
    let browser = page(&faults).await;
    for fault in ["204", "401", "404", "wrong-type", "latin1"] {
        put(&faults, "wrapped", fault).await;
        let before = attempts(&faults, "wrapped").await.len();
        browser.eval(RECOVER).await;
        let seen = async || attempts(&faults, "wrapped").await.len() - before;
        until("an attempt and a look", async || seen().await == 2).await;
        // It would try again within 1.5 s.
        pause(2 * WATCH).await;
        assert_eq!(seen().await, 2, "{fault}");
        assert_eq!(browser.eval("wrapped.readyState").await, 2);
    }
    // Closed while it waits, it does not come back, either.
    put(&faults, "wrapped", "502").await;
    let before = attempts(&faults, "wrapped").await.len();
    browser.eval(RECOVER).await;
    let seen = async || attempts(&faults, "wrapped").await.len() - before;
    until("an attempt", async || seen().await > 0).await;
    browser.eval("wrapped.close()").await;
    pause(2 * WATCH).await;
    assert!(seen().await <= 2);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_shows_six_streams_open_and_the_seventh_waiting() {
    let faults = Program::start("faults").await;
    let browser = page(&faults).await;
    browser.eval("document.querySelector('#open-seven').click()").await;
    let note = "document.querySelector('#seven-note').textContent";
    browser.until(&format!("{note} == '6 open, 1 waiting.'")).await;
    browser.never(&format!("{note} != '6 open, 1 waiting.'"), WATCH).await;
    let close_one = "[...document.querySelectorAll('#seven li')]\
         .find((line) => line.textContent.includes('OPEN')).querySelector('button').click()";
    browser.eval(close_one).await;
    browser.until(&format!("{note} == '6 open, 0 waiting.'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_draws_what_happens_and_says_it_in_words() {
    let faults = Program::start("faults").await;
    let browser = Browser::start().await;
    browser.resize(320, 700).await;
    browser.open(&format!("{}/", faults.url)).await;
    browser.until(PAGE_IS_OPEN).await;
    let names = "[...document.querySelectorAll('#faults button')].map((it) => it.textContent)";
    assert_eq!(browser.eval(names).await, json!(known(&faults).await));
    let choose = |name: &str| {
        format!(
            "[...document.querySelectorAll('#faults button')]\
             .find((it) => it.textContent === '{name}').click()"
        )
    };
    let says = |text: &str| {
        format!("document.querySelector('#log').textContent.includes('{text}')")
    };
    let shows = |text: &str| {
        format!("document.querySelector('#line').textContent.includes('{text}')")
    };
    browser.until(&says("event 1")).await;
    browser.eval(&choose("502")).await;
    browser.until(&says("readyState is CONNECTING")).await;
    let state = "document.querySelector('#state').textContent";
    browser.until(&format!("{state} == 'CLOSED'")).await;
    browser.until(&says("the server sees attempt 2: 502, Last-Event-ID ")).await;
    browser.until(&shows("2 502 ←")).await;
    browser.until(&shows("CLOSED")).await;
    let pressed = "document.querySelector('[aria-pressed=true]').textContent";
    assert_eq!(browser.eval(pressed).await, "502");

    browser.eval(&choose("good")).await;
    browser.until(&format!("{pressed} == 'good'")).await;
    browser.eval("document.querySelector('#new').click()").await;
    browser.until(PAGE_IS_OPEN).await;
    browser.until(&says("the server sees attempt 3: good")).await;
    let wide = "document.documentElement.scrollWidth - innerWidth";
    assert_eq!(browser.eval(wide).await, 0);
}
