//! A page that follows a program through a proxy that fails, and what it must have then.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::fault_proxy::{Asked, FaultProxy, Kind};
use tests::{Browser, Events, Program, root, within};

pub const PAGE: &str = r#"<!doctype html>
<title>runs</title>
<link rel="icon" href="data:,">
<script type="module">
import * as runs from '/runs.js';
Object.assign(window, runs, { lanes: {} });
</script>
"#;

/// The limit of silence of the pages, in milliseconds.
pub const SILENCE: u64 = 1_000;
/// How long a page may take to notice an end, on a busy machine.
pub const NOTICE: Duration = Duration::from_secs(5);
/// The pause between two events.
pub const PACE: Duration = Duration::from_millis(40);
/// Milliseconds by which the clock of a page may be behind: Firefox makes it less exact.
pub const CLOCK: u64 = 5;
/// How long one fault may take with all that follows from it.
pub const FAULT: Duration = Duration::from_secs(4);

/// A lane of the proxy for each way of reading.
pub const LANES: [&str; 2] = ["native", "fetch"];

pub fn reading(lane: &str) -> Value {
    match lane {
        "native" => json!({ "silence": SILENCE }),
        _ => json!({ "silence": SILENCE, "fetch": {} }),
    }
}

/// The ID, the type and the data of an event.
pub type Heard = (String, String, String);

/// A browser with a page that follows a program through the proxy.
pub struct Trial {
    pub browser: Browser,
    pub proxy: FaultProxy,
}

impl Trial {
    pub async fn start(browser: Browser, program: &Program, stream: &str) -> Self {
        let read = |path| fs::read_to_string(root().join(path)).unwrap();
        let script = read("examples/page/stream.js");
        let runs = read("tests/pages/runs.js");
        let files = [
            ("/", "text/html", PAGE),
            ("/runs.js", "text/javascript", &runs),
            ("/stream.js", "text/javascript", &script),
        ];
        let proxy = FaultProxy::start(program, stream, &files).await;
        browser.open(&proxy.url).await;
        browser.until("typeof window.follow == 'function'").await;
        Self { browser, proxy }
    }

    /// Follows a stream on both lanes.
    pub async fn follow(&self, path: impl Fn(&str) -> String, types: &[&str]) {
        for lane in LANES {
            let mut options = reading(lane);
            options["types"] = json!(types);
            let path = json!(path(lane));
            let follow = format!("follow('{lane}', {path}, {options})");
            self.browser.eval(&format!("(lanes.{lane} = {follow}, 0)")).await;
        }
    }

    /// Whether so many faults have happened, and one of each kind at least.
    pub fn has_enough(&self, faults: usize, start: Instant) -> bool {
        let counts = self.proxy.counts();
        let limit = FAULT * faults as u32;
        assert!(start.elapsed() < limit, "it goes on: {counts:?}");
        counts.len() == Kind::ALL.len() && counts.values().sum::<usize>() >= faults
    }

    /// The events of a lane, from the place on that its first event has given it.
    pub async fn heard(&self, lane: &str) -> Vec<Heard> {
        let events = self.browser.eval(&format!("lanes.{lane}.events")).await;
        serde_json::from_value(events).unwrap()
    }

    /// Asserts that the page has noticed each end, in time and under its right name, and that
    /// it stayed away until its user was back.
    pub async fn assert_ends(&self) -> String {
        let asked = self.proxy.asked();
        let mut notices = Vec::new();
        let mut silences = Vec::new();
        for lane in LANES {
            let ends = format!("lanes.{lane}.ends");
            self.browser.until(&format!("{ends}.every((end) => end.back)")).await;
            let ends = self.browser.eval(&ends).await;
            let ends = ends.as_array().unwrap();
            let own: Vec<_> = asked.iter().filter(|one| one.lane == lane).collect();
            let is_final =
                |one: &Asked| !one.is_again && one.kind.is_some_and(Kind::is_final);
            let finals: Vec<_> = own.iter().filter(|one| is_final(one)).collect();
            let story =
                || own.iter().map(|one| (one.from, one.kind)).collect::<Vec<_>>();
            assert_eq!(ends.len(), finals.len(), "{lane}: {ends:?}, {:?}", story());
            for (end, asked) in ends.iter().zip(finals) {
                let right = match asked.kind {
                    Some(Kind::Answer(204, _)) => ["ended", "status", "204"],
                    Some(Kind::Html) => ["refused", "type", "200"],
                    _ => ["refused", "status", "401"],
                };
                let said =
                    json!([end["name"], end["why"], end["status"].to_string()]);
                assert_eq!(said, json!(right), "{lane}");
                let [at, back] =
                    ["at", "back"].map(|when| end[when].as_u64().unwrap());
                notices.push(Duration::from_millis(at.saturating_sub(asked.from)));
                let stayed =
                    own.iter().all(|one| one.from <= at + CLOCK || one.from >= back);
                assert!(stayed, "{lane} came back by itself: {end}");
            }
            let silent =
                own.iter().filter(|one| one.kind.is_some_and(Kind::is_silent));
            silences.extend(silent.map(|one| {
                one.silence.unwrap_or_else(|| panic!("the page leaves {one:?}"))
            }));
        }
        let median = |mut times: Vec<Duration>| {
            times.sort();
            times[times.len() / 2]
        };
        let most = Duration::from_millis(SILENCE) + NOTICE;
        let longest = *silences.iter().max().expect("there was silence");
        assert!(longest < most, "the page waits in silence: {longest:?}");
        let usual = median(silences.clone());
        let least = Duration::from_millis(SILENCE) * 9 / 10;
        assert!(usual > least, "the page leaves too early: {usual:?}");
        let latest = *notices.iter().max().expect("there were ends");
        assert!(latest < NOTICE, "the page notices an end late: {latest:?}");
        assert_eq!(self.browser.eval("window.wrong").await, json!([]));
        format!(
            "{} ends for good noticed after {:?} (median), {latest:?} at most\n\
             {} silences of {SILENCE} ms noticed after {usual:?} (median), {longest:?} at most",
            notices.len(),
            median(notices.clone()),
            silences.len(),
        )
    }
}

/// The faults that have happened, by their kinds.
pub fn table(counts: &BTreeMap<Kind, usize>) -> String {
    let sum: usize = counts.values().sum();
    let mut table = format!("{sum} faults");
    for (kind, count) in counts {
        write!(table, "\n  {count:>4} {kind:?}").unwrap();
    }
    table
}

/// Asserts that everything has come, once and in order.
pub fn assert_whole(what: &str, came: &[Heard], log: &[Heard]) {
    let mut counts = BTreeMap::<_, i32>::new();
    log.iter().for_each(|event| *counts.entry(event).or_default() += 1);
    came.iter().for_each(|event| *counts.entry(event).or_default() -= 1);
    let lost: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count < 0).collect();
    assert!(lost.is_empty(), "{what}: {} lost: {lost:?}", lost.len());
    assert!(twice.is_empty(), "{what}: {} twice: {twice:?}", twice.len());
    assert_eq!(came, log, "{what}: in another order");
}

/// The events of some types that follow the one with this ID.
pub fn after(log: &[Heard], id: &str, types: &[&str]) -> Vec<Heard> {
    let place = log.iter().position(|(other, ..)| other == id);
    let place = place.unwrap_or_else(|| panic!("{id} is in the log"));
    let later = log[place + 1..].iter();
    later.filter(|(_, kind, _)| types.contains(&&**kind)).cloned().collect()
}

pub fn only(events: &[Heard], types: &[&str]) -> Vec<Heard> {
    let wanted = |(_, kind, _): &&Heard| types.contains(&&**kind);
    events.iter().filter(wanted).cloned().collect()
}

pub async fn feed() -> (Program, TempDir) {
    let folder = TempDir::new().unwrap();
    let place = folder.path().to_str().unwrap();
    (Program::start_with("feed", &[("FEED_DIR", place)]).await, folder)
}

pub async fn note(feed: &Program, client: &reqwest::Client, text: &str) {
    let event = json!({ "type": "note", "data": text });
    let post = client.post(format!("{}/events", feed.url)).json(&event).send();
    let answer = within("an acknowledgement", post).await.unwrap();
    assert_eq!(answer.status(), 201, "{text}");
}

/// Says something in the room, as a user who is there.
pub async fn say(chat: &Program, client: &reqwest::Client, user: &str, text: &str) {
    let url = format!("{}/chat/{user}", chat.url);
    let post = client.post(url).body(text.to_string()).send();
    let answer = within("an acknowledgement", post).await.unwrap();
    assert_eq!(answer.status(), 204, "{text}");
}

/// The next events of a stream, up to the one with this text.
pub async fn read_to(events: &mut Events, text: &str) -> Vec<Heard> {
    let mut log = Vec::new();
    loop {
        let event = events.next().await.expect("the stream goes on");
        let is_last = event.data == text;
        log.push((event.id, event.event, event.data));
        if is_last {
            return log;
        }
    }
}
