//! Thousands of faults between a page and a program: nothing is lost, nothing comes twice.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::fault_proxy::{Asked, Fault, FaultProxy, Kind};
use tests::{Browser, Events, Program, Run, pause, root, within};

const PAGE: &str = r#"<!doctype html>
<title>runs</title>
<link rel="icon" href="data:,">
<script type="module">
import * as runs from '/runs.js';
Object.assign(window, runs, { lanes: {} });
</script>
"#;

/// The limit of silence of the pages, in milliseconds.
const SILENCE: u64 = 1_000;
/// How long a page may take to notice an end, on a busy machine.
const NOTICE: Duration = Duration::from_secs(5);
/// The pause between two events.
const PACE: Duration = Duration::from_millis(25);
/// How long one fault may take with all that follows from it.
const FAULT: Duration = Duration::from_secs(4);

/// A lane of the proxy for each way of reading.
const LANES: [&str; 2] = ["native", "fetch"];

fn reading(lane: &str) -> Value {
    match lane {
        "native" => json!({ "silence": SILENCE }),
        _ => json!({ "silence": SILENCE, "fetch": {} }),
    }
}

/// The ID, the type and the data of an event.
type Heard = (String, String, String);

/// A browser with a page that follows a program through the proxy.
struct Trial {
    browser: Browser,
    proxy: FaultProxy,
}

impl Trial {
    async fn start(browser: Browser, program: &Program, stream: &str) -> Self {
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
    async fn follow(&self, path: impl Fn(&str) -> String, types: &[&str]) {
        for lane in LANES {
            let mut options = reading(lane);
            options["types"] = json!(types);
            let path = json!(path(lane));
            let follow = format!("follow('{lane}', {path}, {options})");
            self.browser.eval(&format!("(lanes.{lane} = {follow}, 0)")).await;
        }
    }

    /// Whether so many faults have happened, and one of each kind at least.
    fn has_enough(&self, faults: usize, start: Instant) -> bool {
        let counts = self.proxy.counts();
        let limit = FAULT * faults as u32;
        assert!(start.elapsed() < limit, "it goes on: {counts:?}");
        counts.len() == Kind::ALL.len() && counts.values().sum::<usize>() >= faults
    }

    /// What has come on a lane, from the place on that its first event has given it.
    async fn heard(&self, lane: &str) -> Vec<Heard> {
        let events = self.browser.eval(&format!("lanes.{lane}.events")).await;
        serde_json::from_value(events).unwrap()
    }

    /// Asserts that the page has noticed each end, in time and under its right name, and that
    /// it stayed away until its user was back.
    async fn assert_ends(&self) -> String {
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
                notices.push(Duration::from_millis(at - asked.from));
                let stayed =
                    own.iter().all(|one| one.from <= at || one.from >= back);
                assert!(stayed, "{lane} came back by itself: {end}");
            }
            let silent =
                own.iter().filter(|one| one.kind.is_some_and(Kind::is_silent));
            silences.extend(silent.map(|one| {
                one.silence.unwrap_or_else(|| panic!("the page leaves {one:?}"))
            }));
        }
        let most = Duration::from_millis(SILENCE) + NOTICE;
        let longest = *silences.iter().max().expect("there was silence");
        assert!(longest < most, "the page waits in silence: {longest:?}");
        let latest = *notices.iter().max().expect("there were ends");
        assert!(latest < NOTICE, "the page notices an end late: {latest:?}");
        assert_eq!(self.browser.eval("window.wrong").await, json!([]));
        let median = |mut times: Vec<Duration>| {
            times.sort();
            times[times.len() / 2]
        };
        format!(
            "{} ends for good noticed after {:?} (median), {latest:?} at most\n\
             {} silences of {SILENCE} ms noticed after {:?} (median), {longest:?} at most",
            notices.len(),
            median(notices.clone()),
            silences.len(),
            median(silences.clone()),
        )
    }

    /// The faults that have happened, by their kinds.
    fn table(&self) -> String {
        let counts = self.proxy.counts();
        let sum: usize = counts.values().sum();
        let mut table = format!("{sum} faults");
        for (kind, count) in counts {
            write!(table, "\n  {count:>4} {kind:?}").unwrap();
        }
        table
    }
}

/// Asserts that everything has come, once and in order.
fn assert_whole(what: &str, came: &[Heard], log: &[Heard]) {
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
fn after(log: &[Heard], id: &str, types: &[&str]) -> Vec<Heard> {
    let place = log.iter().position(|(other, ..)| other == id);
    let place = place.unwrap_or_else(|| panic!("{id} is in the log"));
    let later = log[place + 1..].iter();
    later.filter(|(_, kind, _)| types.contains(&&**kind)).cloned().collect()
}

fn only(events: &[Heard], types: &[&str]) -> Vec<Heard> {
    let wanted = |(_, kind, _): &&Heard| types.contains(&&**kind);
    events.iter().filter(wanted).cloned().collect()
}

async fn feed() -> (Program, TempDir) {
    let folder = TempDir::new().unwrap();
    let place = folder.path().to_str().unwrap();
    (Program::start_with("feed", &[("FEED_DIR", place)]).await, folder)
}

async fn note(feed: &Program, client: &reqwest::Client, text: &str) {
    let event = json!({ "type": "note", "data": text });
    let post = client.post(format!("{}/events", feed.url)).json(&event).send();
    let answer = within("an acknowledgement", post).await.unwrap();
    assert_eq!(answer.status(), 201, "{text}");
}

/// The next events of a stream, up to the one with this text.
async fn read_to(events: &mut Events, text: &str) -> Vec<Heard> {
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

async fn through_faults_to_feed(
    browser: Browser,
    faults: usize,
    run: &Run,
) -> String {
    let (feed, _folder) = feed().await;
    let client = reqwest::Client::new();
    note(&feed, &client, "the first").await;
    let trial = Trial::start(browser, &feed, "/events").await;
    trial.proxy.deal(run.seed, &Kind::ALL);
    trial.follow(|_| "events".into(), &["begin", "note", "resync"]).await;
    let start = Instant::now();
    let mut posted = 0;
    while !trial.has_enough(faults, start) {
        posted += 1;
        note(&feed, &client, &format!("note {posted}")).await;
        pause(PACE).await;
    }
    let table = trial.table();
    eprintln!("{table}");
    trial.proxy.pass();
    note(&feed, &client, "the end").await;
    // The server's own log, as one reads it to whom nothing happens.
    let log = read_to(&mut feed.events("/events?from=start").await, "the end").await;
    assert_eq!(only(&log, &["note"]).len(), posted + 2);
    for lane in LANES {
        let last =
            format!("lanes.{lane}.events.some((event) => event[2] == 'the end')");
        trial.browser.until(&last).await;
        let heard = trial.heard(lane).await;
        assert_eq!(heard[0].1, "begin", "{lane}");
        let came = only(&heard, &["note", "resync"]);
        assert_whole(lane, &came, &after(&log, &heard[0].0, &["note"]));
    }
    let ends = trial.assert_ends().await;
    let engine = trial.browser.name();
    let version = trial.browser.version();
    format!("feed, {engine} {version}: {posted} events, {table}\n{ends}")
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_page_of_feed_loses_nothing_in_a_run_of_faults() {
    let run = Run::start();
    let faults = run.size(600, 40);
    let what = through_faults_to_feed(Browser::start().await, faults, &run).await;
    run.done("page-faults-feed", &what, &[]);
}

#[tokio::test]
#[ignore = "needs firefox-esr"]
async fn a_page_of_feed_loses_nothing_in_firefox() {
    let run = Run::start();
    let faults = run.size(200, 40);
    let what = through_faults_to_feed(Browser::firefox().await, faults, &run).await;
    run.done("page-faults-firefox", &what, &[]);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_page_of_chat_loses_nothing_in_a_run_of_faults() {
    let run = Run::start();
    let faults = run.size(600, 40);
    let chat = Program::start("chat").await;
    let client = reqwest::Client::new();
    let user = |digit: &str| format!("/chat?as={}", digit.repeat(32));
    // Users do not hear themselves, so Ann talks, and Bob hears all that the room says.
    let _ann = chat.events(&user("a")).await;
    let mut bob = chat.events(&user("b")).await;
    let say = async |text: &str| {
        let url = format!("{}/chat/{}", chat.url, "a".repeat(32));
        let post = client.post(url).body(text.to_string()).send();
        let answer = within("an acknowledgement", post).await.unwrap();
        assert_eq!(answer.status(), 204, "{text}");
    };
    let trial = Trial::start(Browser::start().await, &chat, "/chat").await;
    trial.proxy.deal(run.seed, &Kind::ALL);
    let types = ["user", "name", "own", "message", "joined", "left", "missed"];
    let path = |lane: &str| {
        format!("chat?as={}", if lane == "fetch" { "c" } else { "d" }.repeat(32))
    };
    trial.follow(path, &types).await;
    let mut log = Vec::new();
    let start = Instant::now();
    let mut said = 0;
    while !trial.has_enough(faults, start) {
        said += 1;
        let text = format!("number {said}");
        say(&text).await;
        log.extend(read_to(&mut bob, &format!("<User#1>: {text}")).await);
        pause(PACE).await;
    }
    let table = trial.table();
    eprintln!("{table}");
    trial.proxy.pass();
    say("the end").await;
    log.extend(read_to(&mut bob, "<User#1>: the end").await);
    for lane in LANES {
        let last = format!(
            "lanes.{lane}.events.some((event) => event[2].endsWith('the end'))"
        );
        trial.browser.until(&last).await;
        let heard = trial.heard(lane).await;
        assert_eq!(heard[0].1, "user", "{lane}");
        let came = only(&heard, &["message", "missed"]);
        assert_whole(lane, &came, &after(&log, &heard[0].0, &["message"]));
    }
    let ends = trial.assert_ends().await;
    let version = trial.browser.version();
    let what = format!("chat, Chromium {version}: {said} messages, {table}\n{ends}");
    run.done("page-faults-chat", &what, &[]);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_page_of_llm_gets_whole_answers_in_a_run_of_faults() {
    let run = Run::start();
    let faults = run.size(600, 40);
    let llm = Program::start("llm").await;
    let trial = Trial::start(Browser::start().await, &llm, "/answers/").await;
    trial.proxy.deal(run.seed, &Kind::ALL);
    for lane in LANES {
        let ask = format!("ask('{lane}', {})", reading(lane));
        trial.browser.eval(&format!("(lanes.{lane} = {ask}, 0)")).await;
    }
    let start = Instant::now();
    // Somebody else reads each answer, too: nobody else would know what the page must have.
    let mut readers = BTreeMap::new();
    let lanes = LANES.map(|lane| format!("lanes.{lane}.answers")).join(", ");
    let ids = format!("[{lanes}].flat().map(({{ id }}) => id)");
    let mut hear = async || {
        assert_eq!(trial.browser.eval("wrong").await, json!([]));
        let ids = trial.browser.eval(&ids).await;
        for id in serde_json::from_value::<Vec<String>>(ids).unwrap() {
            if let Entry::Vacant(reader) = readers.entry(id) {
                let mut events =
                    llm.events(&format!("/answers/{}", reader.key())).await;
                let read = tokio::spawn(async move {
                    let mut log = Vec::new();
                    while let Some(event) = events.next().await {
                        log.push((event.id, event.event, event.data));
                    }
                    log
                });
                reader.insert(read);
            }
        }
    };
    while !trial.has_enough(faults, start) {
        hear().await;
        pause(4 * PACE).await;
    }
    let table = trial.table();
    eprintln!("{table}");
    trial.proxy.pass();
    let stop = LANES.map(|lane| format!("lanes.{lane}.mayStop = true"));
    trial.browser.eval(&format!("({})", stop.join(", "))).await;
    for lane in LANES {
        trial.browser.until(&format!("lanes.{lane}.isOver")).await;
    }
    hear().await;
    let mut tokens = 0;
    for lane in LANES {
        let answers = trial.browser.eval(&format!("lanes.{lane}.answers")).await;
        for answer in answers.as_array().unwrap() {
            let id = answer["id"].as_str().unwrap();
            let came: Vec<Heard> =
                serde_json::from_value(answer["events"].clone()).unwrap();
            let log =
                within("an answer", readers.remove(id).unwrap()).await.unwrap();
            assert_whole(lane, &came, &log);
            assert_eq!(came.last().unwrap().1, "done", "{lane}");
            tokens += came.len() - 1;
        }
    }
    let ends = trial.assert_ends().await;
    let version = trial.browser.version();
    let what = format!("llm, Chromium {version}: {tokens} tokens, {table}\n{ends}");
    run.done("page-faults-llm", &what, &[]);
}

/// A short run of a program: where it can be read, after which event, and what comes then.
struct Short {
    program: Program,
    stream: &'static str,
    /// The path of the stream. `USER` stands for 32 hex digits, another each time.
    path: String,
    types: &'static [&'static str],
    after: String,
    log: Vec<Heard>,
}

/// For each byte of the answer, its head included: a page reads the run on a connection that
/// breaks there, and comes back. 1 in 10 bytes, or each with `WHOLE=1`.
async fn at_every_byte(browser: Browser, short: &Short, run: &Run) -> String {
    let trial = Trial::start(browser, &short.program, short.stream).await;
    let cut = |lane: &str, requests| {
        let at = lane.rsplit('-').next().and_then(|at| at.parse().ok())?;
        (requests == 0).then_some(Fault { kind: Kind::CutBody, at })
    };
    trial.proxy.draw(cut);
    let kinds: BTreeSet<_> = short.log.iter().map(|(_, kind, _)| kind).collect();
    let mut what = String::new();
    for lane in LANES {
        let mut options = reading(lane);
        options["types"] = json!(short.types);
        options["log"] = json!(kinds);
        options["count"] = json!(short.log.len());
        options["after"] = json!(short.after);
        let read = async |numbers: &[usize]| {
            let path = &short.path;
            let user = format!(
                "(n) => '{path}'.replace('USER', `${{n}}`.padStart(32, '0'))"
            );
            let call =
                format!("cuts('{lane}', {}, {user}, {options})", json!(numbers));
            let keep = format!("{call}.then((came) => {{ lanes.came = came; }})");
            trial.browser.eval(&format!("({keep}, lanes.came = null, 0)")).await;
            trial.browser.until("!!lanes.came").await;
            eprintln!("WRONG {}", trial.browser.eval("wrong.splice(0)").await);
            if true { return; }
            let came = trial.browser.eval("lanes.came").await;
            let came: BTreeMap<usize, Vec<Heard>> =
                serde_json::from_value(came).unwrap();
            for (number, came) in came {
                let what = format!("{lane}, after {number} bytes");
                assert_whole(&what, &came, &short.log);
            }
        };
        // A connection that does not break has this length.
        read(&[MANY]).await;
        let name = format!("{lane}-{MANY}");
        let whole = trial.proxy.asked().into_iter().find(|one| one.lane == name);
        let whole = whole.expect("it has asked").sent;
        let step = run.size(1, 10);
        let first = (run.seed % step as u64) as usize;
        let numbers: Vec<_> = (first..=whole).step_by(step).collect();
        for some in numbers.chunks(50).take(6) {
            read(some).await;
        }
        let cuts = trial.proxy.counts()[&Kind::CutBody];
        assert!(cuts >= 10, "{cuts}");
        write!(what, "{} cuts in {whole} bytes ({lane}); ", numbers.len()).unwrap();
    }
    let name = trial.browser.name();
    let version = trial.browser.version();
    format!("{name} {version}: {what}")
}

/// More bytes than any answer has.
const MANY: usize = 1_000_000;

async fn short_feed() -> (Short, TempDir) {
    let (feed, folder) = feed().await;
    let client = reqwest::Client::new();
    for text in ["the first", "two", "città 👩‍🚀", "id: 5-5", "the end"] {
        note(&feed, &client, text).await;
    }
    let log = read_to(&mut feed.events("/events?from=start").await, "the end").await;
    let log = only(&log, &["note"]);
    let short = Short {
        program: feed,
        stream: "/events",
        path: "events".into(),
        types: &["begin", "note", "resync"],
        after: log[0].0.clone(),
        log: log[1..].to_vec(),
    };
    (short, folder)
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_connection_of_a_page_may_break_after_any_byte_of_feed() {
    let run = Run::start();
    let (short, _folder) = short_feed().await;
    let mut what = String::new();
    for browser in [Browser::firefox().await, Browser::start().await] {
        what += &at_every_byte(browser, &short, &run).await;
    }
    run.done("page-cuts-feed", &what, &[]);
}
