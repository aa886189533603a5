//! Compression: what each box's encoder does to a stream of events, and what Salvo's does.
//! The stream is that of a language model, as the stand-in of `llm` has sent it.
//! `streams.rs` has recorded it; `encoders.rs` has the boxes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use brotli_decompressor::DecompressorWriter;
use flate2::write::GzDecoder;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use memchr::memmem;
use nix::unistd::Pid;
use reqwest::Response as Answer;
use salvo::http::HeaderValue;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use salvo_compression::Compression;
use serde_json::{Value, json};
use tests::{Browser, Middlebox, is_whole, serve, within};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::encoders::{CASES, Case};
use crate::record::{self, Table, number, time};
use crate::streams;

/// Events of the stream whose delay is measured, and the time between two of them.
const COUNT: usize = 40;
const EVERY: Duration = Duration::from_millis(50);
/// How long a test watches that nothing comes. (A box that sends bursts is not that slow.)
const WATCH: Duration = Duration::from_millis(1_500);
/// Readers whose encoders are counted, and events that each has read by then.
const READERS: u64 = 200;
const READ: usize = 100;
/// Chromium's and Firefox's.
const BROWSER: &str = "gzip, deflate, br, zstd";

/// A stream of the recorded events of a model.
#[derive(Clone, Default)]
struct Stream {
    /// When each of them was written.
    written: Arc<Mutex<Vec<Instant>>>,
    /// Whether it asks nginx not to collect them.
    has_header: bool,
}

#[handler]
impl Stream {
    /// Three events, or `first`, and silence. With `whole`, all of them, at their times, and
    /// an end.
    async fn handle(&self, req: &mut Request, res: &mut Response) {
        let control = match req.query::<bool>("no-transform") {
            Some(true) => "no-cache, no-transform",
            _ => "no-cache",
        };
        let headers = res.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
        let kind = HeaderValue::from_static("text/event-stream");
        headers.insert(CONTENT_TYPE, kind);
        if self.has_header {
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        }
        let first = req.query::<usize>("first");
        let pace = if first.is_some() { Duration::from_millis(1) } else { EVERY };
        let mut paced = interval(pace);
        paced.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let written = self.written.clone();
        let events = stream::iter(streams::recorded("chunks"));
        let is_whole = req.query::<bool>("whole") == Some(true);
        let events =
            stream::unfold((paced, events), move |(mut paced, mut events)| {
                let written = written.clone();
                async move {
                    paced.tick().await;
                    let event = events.next().await?;
                    written.lock().unwrap().push(Instant::now());
                    Some((Ok::<_, std::io::Error>(event), (paced, events)))
                }
            });
        match is_whole {
            true => res.stream(events.take(COUNT)),
            false => {
                let first = events.take(first.unwrap_or(3));
                res.stream(first.chain(stream::pending()));
            }
        }
    }
}

/// Takes the coding away, piece by piece.
enum Decoder {
    Plain(Vec<u8>),
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Brotli(Box<DecompressorWriter<Vec<u8>>>),
}

impl Decoder {
    fn of(answer: &Answer) -> Self {
        match coding(answer) {
            "–" => Self::Plain(Vec::new()),
            "gzip" => Self::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            "br" => {
                Self::Brotli(Box::new(DecompressorWriter::new(Vec::new(), 4_096)))
            }
            other => panic!("nobody asked for {other}"),
        }
    }

    /// How many whole events there are, with this piece.
    fn events(&mut self, piece: &[u8]) -> usize {
        let text = match self {
            Self::Plain(text) => {
                text.extend_from_slice(piece);
                &*text
            }
            Self::Gzip(decoder) => {
                decoder.write_all(piece).unwrap();
                decoder.flush().unwrap();
                decoder.get_ref()
            }
            Self::Brotli(decoder) => {
                decoder.write_all(piece).unwrap();
                decoder.flush().unwrap();
                decoder.get_ref()
            }
        };
        memmem::find_iter(text, b"\n\n").count()
    }
}

/// The coding of an answer, or a dash.
fn coding(answer: &Answer) -> &str {
    let coding = answer.headers().get("content-encoding");
    coding.map_or("–", |coding| coding.to_str().unwrap())
}

/// A case that runs, in front of a server of its own.
struct Running {
    url: String,
    stream: Stream,
    middlebox: Option<Middlebox>,
}

impl Running {
    async fn start(case: &Case) -> Self {
        let has_header = case.configuration.contains("X-Accel-Buffering");
        let stream = Stream { has_header, ..Default::default() };
        let router = Router::new().get(stream.clone());
        if case.middlebox == "salvo" {
            let url = serve(router.hoop(Compression::new())).await;
            return Self { url, stream, middlebox: None };
        }
        let url = serve(router).await;
        let starting =
            Middlebox::start_changed(case.middlebox, case.base, &url, |text| {
                let changed = (case.change)(text.clone());
                let is_default = case.configuration == "default";
                assert_eq!(changed == text, is_default, "{}", case.configuration);
                changed
            });
        let middlebox = starting.await;
        let url = middlebox.url.clone();
        Self { url, stream, middlebox: Some(middlebox) }
    }

    /// The answer to a reader who asks for this coding, or for none.
    async fn ask(&self, query: &str, coding: Option<&str>) -> Answer {
        let request = reqwest::Client::new().get(format!("{}/?{query}", self.url));
        let request = match coding {
            Some(coding) => request.header("accept-encoding", coding),
            None => request,
        };
        let answer = within("a head", request.send()).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer
    }

    /// A reader who has seen the first events of a stream that is silent now.
    async fn has_seen(&self, query: &str, count: usize, coding: &str) -> Answer {
        let mut answer = self.ask(query, Some(coding)).await;
        let mut decoder = Decoder::of(&answer);
        let mut events = 0;
        while events < count {
            events = decoder.events(&answer.chunk().await.unwrap().unwrap());
        }
        answer
    }

    async fn passes(&self, coding: &str, patience: Duration) -> bool {
        timeout(patience, self.has_seen("", 3, coding)).await.is_ok()
    }

    /// By how many bytes the box grows with each reader.
    async fn memory(&self, coding: &str) -> u64 {
        let group = self.middlebox.as_ref().expect("a box").id();
        let query = format!("first={READ}");
        let _first = self.has_seen(&query, READ, coding).await;
        let before = resident(group);
        let readers = (0..READERS).map(|_| self.has_seen(&query, READ, coding));
        let _readers = within("all events of all readers", join_all(readers)).await;
        resident(group).saturating_sub(before) / READERS
    }

    /// The coding of the head. A box that holds back the head as well says it at the end.
    async fn coding(&self, query: &str, asked: Option<&str>) -> String {
        let query = format!("whole=true&{query}");
        coding(&self.ask(&query, asked).await).to_string()
    }

    /// The delay of each event, and the bytes that the reader got.
    async fn delays(&self, coding: &str) -> (Vec<Duration>, usize) {
        self.stream.written.lock().unwrap().clear();
        let mut answer = self.ask("whole=true", Some(coding)).await;
        let mut decoder = Decoder::of(&answer);
        let mut came = Vec::new();
        let mut bytes = 0;
        while let Some(piece) = within("a piece", answer.chunk()).await.unwrap() {
            bytes += piece.len();
            let events = decoder.events(&piece);
            came.resize(events, Instant::now());
        }
        let written = self.stream.written.lock().unwrap();
        assert_eq!(came.len(), written.len(), "all events come");
        let pairs = came.iter().zip(&*written);
        (pairs.map(|(came, written)| came.duration_since(*written)).collect(), bytes)
    }
}

/// The memory of all processes of a group.
fn resident(group: Pid) -> u64 {
    let stats = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        // A process may have ended by now.
        fs::read_to_string(entry.unwrap().path().join("stat")).ok()
    });
    let pages = stats.filter_map(|stat| {
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split(' ').collect();
        let is_of_group = fields[2] == group.to_string();
        is_of_group.then(|| fields[21].parse::<u64>().unwrap())
    });
    pages.sum::<u64>() * 4_096
}

/// The behaviour of a case, as a row without figures.
async fn behaviour(case: &Case, patience: Duration) -> Value {
    let running = Running::start(case).await;
    let coding = running.coding("", Some(case.coding)).await;
    let forbidden = running.coding("no-transform=true", Some(case.coding)).await;
    json!({
        "box": case.middlebox,
        "configuration": case.configuration,
        "coding": coding,
        "no_transform": forbidden,
        "unasked": running.coding("", None).await,
        "browser": running.coding("", Some(BROWSER)).await,
        "is_held_back": !running.passes(case.coding, patience).await,
    })
}

/// Which of the recorded cases hold events back.
fn held_back(rows: &[Value]) -> BTreeMap<String, bool> {
    let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_string();
    let one = |row| {
        let key = key(&word(row, "box"), &word(row, "configuration"));
        (key, row["is_held_back"] == true)
    };
    rows.iter().map(one).collect()
}

/// How long this case's events may take: it decides when the test gives up, where it was
/// recorded that they come.
fn patience(case: &Case, recorded: &BTreeMap<String, bool>) -> Duration {
    match recorded.get(&key(case.middlebox, case.configuration)) {
        Some(false) => tests::PATIENCE,
        _ => WATCH,
    }
}

fn key(middlebox: &str, configuration: &str) -> String {
    format!("{middlebox} {configuration}")
}

fn cells(row: &Value) -> Option<Vec<String>> {
    let word = |name: &str| row[name].as_str().unwrap().to_string();
    let is_coded = row["coding"] != "–";
    let obeys = match (is_coded, row["no_transform"] == "–") {
        (false, _) => "–",
        (true, true) => "✓",
        (true, false) => "✗",
    };
    let ratio = number(row, "plain_bytes") as f64 / number(row, "bytes") as f64;
    let ratio = if is_coded { format!("{ratio:.0}") } else { "–".into() };
    let max = time(number(row, "max_us"));
    let encoder = row["encoder_bytes"].as_u64();
    let encoder =
        encoder.map_or("–".into(), |bytes| format!("{} KiB", bytes / 1_024));
    Some(vec![
        word("coding"),
        time(number(row, "p50_us")),
        max,
        ratio,
        obeys.into(),
        encoder,
    ])
}

const TABLES: [Table; 1] = [("delay", cells)];

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn each_encoder_does_to_a_stream_what_was_recorded() {
    let recorded = match env::var_os("RECORD") {
        Some(_) => BTreeMap::new(),
        None => held_back(&record::read("squeezed").1),
    };
    let boxes = record::boxes();
    let runs =
        |case: &&Case| case.middlebox == "salvo" || boxes.contains(&case.middlebox);
    let cases: Vec<_> = CASES.iter().filter(runs).collect();
    let rows = cases.iter().map(|case| behaviour(case, patience(case, &recorded)));
    let mut rows = join_all(rows).await;
    if is_whole() {
        for (case, row) in cases.iter().zip(&mut rows) {
            measure(case, row).await;
        }
    }
    record::assert_recorded("squeezed", &rows, &TABLES);
}

/// Adds the figures of a case to its row.
async fn measure(case: &Case, row: &mut Value) {
    let running = Running::start(case).await;
    let (mut delays, bytes) = running.delays(case.coding).await;
    delays.sort_unstable();
    let micros = |delay: Duration| u64::try_from(delay.as_micros()).unwrap();
    let plain: usize =
        streams::recorded("chunks").iter().take(COUNT).map(String::len).sum();
    row["p50_us"] = micros(delays[delays.len() / 2]).into();
    row["max_us"] = micros(delays[delays.len() - 1]).into();
    row["bytes"] = bytes.into();
    row["plain_bytes"] = plain.into();
    let is_flushed = row["coding"] != "–" && row["is_held_back"] == false;
    if is_flushed && case.middlebox != "salvo" {
        let with = Running::start(case).await.memory(case.coding).await;
        let without = Running::start(case).await.memory("identity").await;
        row["encoder_bytes"] = with.saturating_sub(without).into();
    }
}

/// A page that counts the events of the stream beside it.
#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(
        "<!doctype html><link rel=icon href='data:,'><script>
        let events = 0;
        new EventSource('few').onmessage = () => { events += 1; };
        </script>",
    )
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_browser_hands_out_each_event_of_a_compressed_stream_at_once() {
    let compressed = Router::with_path("few").hoop(Compression::new());
    let router = Router::new()
        .push(Router::with_path("page").get(page))
        .push(compressed.get(Stream::default()));
    let url = serve(router).await;
    for browser in Browser::both().await {
        browser.open(&format!("{url}/page")).await;
        browser.until("events === 3").await;
        let asked = "fetch('few').then((answer) => { \
            window.coding = answer.headers.get('content-encoding'); }), 0";
        browser.eval(asked).await;
        browser.until("window.coding === 'gzip'").await;
    }
}

/// A stream with a secret, and behind it the words of a stranger.
#[handler]
async fn secret_and_guess(req: &mut Request, res: &mut Response) {
    let secret = SseEvent::default().text(SECRET);
    let guess = SseEvent::default().text(req.query::<String>("guess").unwrap());
    sse::stream(res, stream::iter([secret, guess].map(Ok::<_, Infallible>)));
}

const SECRET: &str = "session=8f2a61c09b7d43e5";

#[tokio::test]
async fn a_strangers_right_guess_makes_a_compressed_stream_smaller() {
    let router = Router::new().hoop(Compression::new()).get(secret_and_guess);
    let url = serve(router).await;
    let size = async |guess: String| {
        let request = reqwest::Client::new().get(format!("{url}/?guess={guess}"));
        let request = request.header("accept-encoding", "gzip");
        let answer = within("a head", request.send()).await.unwrap();
        assert_eq!(coding(&answer), "gzip");
        within("a body", answer.bytes()).await.unwrap().len()
    };
    let right = size(SECRET.to_string()).await;
    for wrong in ["session=0000000000000000", "session=123456789abcdef0"] {
        let wrong = size(wrong.to_string()).await;
        assert!(right < wrong, "{right} bytes and {wrong}");
    }
}
