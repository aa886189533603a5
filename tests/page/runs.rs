//! Thousands of faults between a page and a program: nothing is lost, nothing comes twice.

use std::collections::{BTreeMap, btree_map::Entry};
use std::time::Instant;

use serde_json::json;
use tests::fault_proxy::{Fault, Kind};
use tests::{Browser, Program, Run, pause, within};

use crate::trial::{
    Heard, LANES, PACE, Trial, after, assert_whole, feed, note, only, read_to,
    reading, say, table,
};

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
    let table = table(&trial.proxy.counts());
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
    let ann = "a".repeat(32);
    let say = async |text: &str| say(&chat, &client, &ann, text).await;
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
        // The room keeps 1,024 messages, so nobody may be that far behind.
        for lane in LANES.into_iter().filter(|_| said % 50 == 0) {
            let heard = format!(
                "lanes.{lane}.events.filter(([, type]) => type == 'message')"
            );
            trial.browser.until(&format!("{heard}.length > {said} - 500")).await;
        }
        pause(PACE).await;
    }
    let table = table(&trial.proxy.counts());
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
    let table = table(&trial.proxy.counts());
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

/// A browser counts what the module drops: its own `Last-Event-ID` is then an older one.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_replay_that_is_cut_is_still_dropped() {
    let (feed, _folder) = feed().await;
    let client = reqwest::Client::new();
    for number in 1..=12 {
        note(&feed, &client, &format!("note {number}")).await;
    }
    let mut events = feed.events("/events?from=start").await;
    let log = read_to(&mut events, "note 12").await;
    let log = only(&log, &["note"]);
    let trial = Trial::start(Browser::start().await, &feed, "/events").await;
    trial.proxy.draw(|_, requests| match requests {
        0 => Some(Fault { kind: Kind::End, at: 500 }),
        1 => Some(Fault { kind: Kind::End, at: 60 }),
        2 => Some(Fault { kind: Kind::Repeat, at: 200 }),
        _ => None,
    });
    let first = &log[0].0;
    let path = |_: &str| format!("events?after={first}");
    trial.follow(path, &["begin", "note"]).await;
    for lane in LANES {
        let all =
            format!("lanes.{lane}.events.some((event) => event[2] == 'note 12')");
        trial.browser.until(&all).await;
        let came = only(&trial.heard(lane).await, &["note"]);
        assert_whole(lane, &came, &log[1..]);
    }
    let counts = trial.proxy.counts();
    assert_eq!(counts[&Kind::Repeat], 2, "{counts:?}");
}
