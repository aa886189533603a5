//! `faults.md`: `faults` does to a stream what it is asked to, and EventSource does after each
//! fault what the chapter says.

mod eventsource;
mod page;
mod streams;
mod wrapper;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Preload, Program, assert_text_but_numbers, chunks, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use streams::{all, attempts, known, put, why};

/// As in `examples/faults/`.
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
    /// It ended as HTTP wants it: after its last chunk, or its last byte.
    Whole,
    /// The connection was closed before that.
    Cut,
    /// It has not ended yet.
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

    /// Reads more, and returns whether there was more.
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

    /// Reads until this text has come, or to the end.
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
async fn the_endless_line_ends_after_half_a_mebibyte() {
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
    // The last fault is for all attempts from now on, and the ids go on.
    for (n, path, header) in [
        (3, "/streams/mine?after=7&lastEventId=3", None),
        (4, "/streams/mine?after=2", Some("7")),
        (5, "/streams/mine?lastEventId=7", None),
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
    assert_eq!(all(&seen, "attempt"), [1, 2, 3, 4, 5]);
    let played = ["cut-between-events", "502", "good", "good", "good"];
    assert_eq!(all(&seen, "fault"), played);
    let ids = [json!(null), json!("1"), json!("7"), json!("7"), json!("7")];
    assert_eq!(all(&seen, "lastEventId"), ids.iter().collect::<Vec<_>>());
    let ms: Vec<_> = seen.iter().map(|one| one["ms"].as_u64().unwrap()).collect();
    assert!(ms[0] == 0 && ms.is_sorted() && ms[3] >= 1000, "{ms:?}");
}

#[tokio::test]
async fn head_shows_what_comes_next_and_is_no_attempt() {
    let faults = Program::start("faults").await;
    put(&faults, "mine", "502 refuse cut-between-events 307").await;
    let head = async || {
        let mut socket = faults.socket().await;
        let request = b"HEAD /streams/mine HTTP/1.1\r\nhost: test\r\n\r\n";
        socket.write_all(request).await.unwrap();
        Answer { socket, bytes: Vec::new(), end: Open }.whole().await
    };
    for (attempt, status) in [(1, "502"), (2, ""), (3, "200"), (4, "307")] {
        for _ in 0..2 {
            let head = head().await;
            assert_eq!((head.status(), head.body()), (status, String::new()));
        }
        Answer::to(&faults, "/streams/mine").await.whole().await;
        let seen = attempts(&faults, "mine").await;
        assert_eq!(seen.len(), attempt, "{seen:?}");
    }
}

#[tokio::test]
async fn put_says_whether_there_was_a_script_before() {
    let faults = Program::start("faults").await;
    for (status, text) in [(201, "created\n"), (204, "")] {
        let put = faults.request("PUT", "/streams/mine").body("good");
        let answer = faults.send(put).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.text().await.unwrap(), text);
    }
    assert!(!faults.stderr().contains("WARN"), "{}", faults.stderr());
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
async fn a_client_with_a_foreign_id_gets_the_events_from_the_first_one() {
    let faults = Program::start("faults").await;
    put(&faults, "mine", "cut-between-events").await;
    let long = "9".repeat(MAX_TEXT + 1);
    for id in ["abc", "-1", "", "4294967296", "\u{e8}", &long] {
        let request =
            faults.request("GET", "/streams/mine").header("last-event-id", id);
        let mut body = faults.send(request).await;
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
    // The attempts before are not forgotten.
    assert_eq!(all(&attempts(&faults, "mine").await, "attempt"), [1, 2, 3]);
}

#[tokio::test]
async fn streams_attempts_and_scripts_have_a_greatest_number_and_size() {
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
    put(&faults, "first", "good").await; // known already, so nothing has to make room
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

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_answer_lasts_longer_than_ten_minutes() {
    let preload = Preload::compile();
    let faults = preload.start("faults", &["MONOTONIC_AHEAD"]).await;
    put(&faults, "mine", "stall").await;
    let mut open = Vec::new();
    for path in ["/faults/good", "/faults/stall", "/streams/mine"] {
        open.push(Answer::to(&faults, path).await.until("event 1").await);
    }
    put(&faults, "silent", "silent-head").await;
    let silent = Answer::to(&faults, "/streams/silent").await;
    let asked = async || attempts(&faults, "silent").await.len() == 1;
    until("an attempt", asked).await;
    preload.set("MONOTONIC_AHEAD", 601);
    for answer in open {
        // Somebody asks, so that the program looks at the clock.
        faults.get("/").await;
        assert_eq!(answer.whole().await.end, Whole);
    }
    assert_eq!(silent.whole().await.end, Cut);
}

#[tokio::test]
async fn where_few_files_may_be_open_a_stream_too_many_is_refused() {
    let faults = Program::start_with_open_files("faults", 128).await;
    let said = async || faults.stderr().contains("48 streams at once, not 1024");
    until("it says how many fit", said).await;
    put(&faults, "mine", "stall").await;
    let mut open = Vec::new();
    for n in 0..48 {
        let path = ["/faults/stall", "/faults/silent-head", "/streams/mine"][n % 3];
        let answer = Answer::to(&faults, path).await;
        let begin = if n % 3 == 1 { "" } else { "event 1" };
        open.push(answer.until(begin).await);
    }
    let none_free = async || faults.get("/faults/502").await.status() == 503;
    until("all places are taken", none_free).await;
    // A refused request is not an attempt, and others are still answered.
    assert_eq!(faults.get("/streams/mine").await.status(), 503);
    assert_eq!(attempts(&faults, "mine").await.len(), 16);
    for path in ["/faults/stall", "/faults/silent-head", "/streams/mine"] {
        open.remove(0);
        let free = async || faults.get("/faults/502").await.status() == 502;
        until("there is room", free).await;
        open.push(Answer::to(&faults, path).await);
        until("all places are taken", none_free).await;
    }
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_put() {
    let faults = Program::start("faults").await;
    for (origin, status) in [("http://evil.example", 403), (&*faults.url, 201)] {
        let put = faults.request("PUT", "/streams/mine").header("origin", origin);
        assert_eq!(faults.send(put.body("good")).await.status(), status, "{origin}");
    }
}

#[tokio::test]
async fn a_refused_request_gets_the_reason() {
    let faults = Program::start("faults").await;
    let long = format!("/streams/{}", "i".repeat(MAX_TEXT + 1));
    let big = vec![b' '; MAX_SCRIPT + 1];
    let put = |path: &str| faults.request("PUT", path);
    for (request, status, reason) in [
        (
            put("/streams/a").body(big.clone()),
            413,
            "the body has more than 1024 bytes",
        ),
        (
            put("/streams/a").body(chunks(&big)),
            413,
            "the body has more than 1024 bytes",
        ),
        (
            put("/streams/a").body(vec![b' '; 4 << 20]),
            413,
            "the body has more than 1024",
        ),
        (put("/streams/a"), 400, "the script is empty"),
        (put("/streams/a").body(" \n"), 400, "the script is empty"),
        (put("/streams/a").body(vec![0xff]), 400, "the script is not UTF-8"),
        (put("/streams/a").body("good bad"), 400, "the faults are: good, refuse,"),
        (put(&long).body("good"), 400, "the id has more than 64 bytes"),
        (faults.request("GET", "/streams/a/attempts"), 404, "nothing was put here"),
        (faults.request("GET", "/faults/502"), 502, "you asked for this"),
    ] {
        let (code, brief) = why(&faults, request).await;
        assert_eq!(code, status, "{brief}");
        assert!(brief.starts_with(reason), "{brief}");
    }
}
