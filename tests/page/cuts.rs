//! The connection of a page breaks after each of its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::fault_proxy::{Fault, Kind};
use tests::{Browser, Program, Run};

use crate::trial::{
    Heard, LANES, Trial, assert_whole, feed, note, only, read_to, reading, say,
};

/// A short run of a program: where it can be read, after which event, and what comes then.
struct Short {
    program: Program,
    stream: &'static str,
    /// Each of the readers that are at work at the same time has a digit in place of `USER`.
    path: String,
    types: &'static [&'static str],
    /// Types after which nothing comes.
    end: &'static [&'static str],
    after: String,
    log: Vec<Heard>,
}

/// For each byte of the answer, its head included: a page reads the run on a connection that
/// breaks there, and comes back. 1 in 60 bytes, or each with `WHOLE=1`.
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
        options["end"] = json!(short.end);
        options["after"] = json!(short.after);
        let read = async |numbers: &[usize]| {
            let path = format!(
                "(digit) => '{}'.replace('USER', digit.repeat(32))",
                short.path
            );
            let call =
                format!("cuts('{lane}', {}, {path}, {options})", json!(numbers));
            let keep = format!("{call}.then((came) => {{ lanes.came = came; }})");
            trial.browser.eval(&format!("({keep}, lanes.came = null, 0)")).await;
            trial.browser.until("!!lanes.came").await;
            assert_eq!(trial.browser.eval("wrong").await, json!([]));
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
        let step = run.size(1, 60);
        let first = (run.seed % step as u64) as usize;
        let numbers: Vec<_> = (first..=whole).step_by(step).collect();
        for some in numbers.chunks(50) {
            read(some).await;
        }
        let cuts = trial.proxy.counts()[&Kind::CutBody];
        assert!(cuts >= numbers.len(), "{cuts}");
        write!(what, "{} cuts in {whole} bytes ({lane}); ", numbers.len()).unwrap();
    }
    let name = trial.browser.name();
    let version = trial.browser.version();
    format!(", {name} {version}: {what}")
}

/// More bytes than any answer has.
const MANY: usize = 1_000_000;

async fn short_feed() -> (Short, TempDir) {
    let (feed, folder) = feed().await;
    let client = reqwest::Client::new();
    for text in ["the first", "two", "città 👩‍🚀", "id: 5-5", "the end"] {
        note(&feed, &client, text).await;
    }
    let mut events = feed.events("/events?from=start").await;
    let log = only(&read_to(&mut events, "the end").await, &["note"]);
    let short = Short {
        program: feed,
        stream: "/events",
        path: "events".into(),
        types: &["begin", "note", "resync"],
        end: &[],
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
    let mut what = String::from("feed");
    for browser in Browser::both().await {
        what += &at_every_byte(browser, &short, &run).await;
    }
    run.done("page-cuts-feed", &what, &[]);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_connection_of_a_page_may_break_after_any_byte_of_chat() {
    let run = Run::start();
    let chat = Program::start("chat").await;
    let ann = "a".repeat(32);
    let _ann = chat.events(&format!("/chat?as={ann}")).await;
    let mut bob = chat.events(&format!("/chat?as={}", "b".repeat(32))).await;
    for text in ["the first", "two", "two\nlines", "città 👩‍🚀", "the end"] {
        say(&chat, &reqwest::Client::new(), &ann, text).await;
    }
    let log = read_to(&mut bob, "<User#1>: the end").await;
    let log = only(&log, &["message"]);
    let short = Short {
        program: chat,
        stream: "/chat",
        path: "chat?as=USER".into(),
        types: &["user", "name", "own", "message", "joined", "left", "missed"],
        end: &[],
        after: log[0].0.clone(),
        log: log[1..].to_vec(),
    };
    let what = at_every_byte(Browser::start().await, &short, &run).await;
    run.done("page-cuts-chat", &format!("chat{what}"), &[]);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_connection_of_a_page_may_break_after_any_byte_of_llm() {
    let run = Run::start();
    let llm = Program::start("llm").await;
    let question = json!({ "prompt": "What is a heartbeat?" });
    let ask = llm.request("POST", "/answers").json(&question);
    let asked: Value = llm.send(ask).await.json().await.unwrap();
    let path = format!("answers/{}", asked["id"].as_str().unwrap());
    let mut events = llm.events(&format!("/{path}")).await;
    let mut log = Vec::new();
    while let Some(event) = events.next().await {
        log.push((event.id, event.event, event.data));
    }
    // The end of the answer: the last words, and how it ended.
    let log = log.split_off(log.len() - 6);
    let short = Short {
        program: llm,
        stream: "/answers/",
        path,
        types: &["token", "done", "failure"],
        end: &["done", "failure"],
        after: log[0].0.clone(),
        log: log[1..].to_vec(),
    };
    let what = at_every_byte(Browser::start().await, &short, &run).await;
    run.done("page-cuts-llm", &format!("llm{what}"), &[]);
}
