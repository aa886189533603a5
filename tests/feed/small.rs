//! `feed.md`: the log that everybody writes first, the log in one file that becomes of it, and
//! the steps between the two.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{Events, Program, assert_text_but_numbers, root};

/// The steps of the page, in their order.
const STEPS: [&str; 5] =
    ["feed-gap", "feed-restart", "feed-hole", "feed-twice", "feed-begin"];

/// A program's text without its header, and without the marks for the book.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let is_code = |line: &&str| !line.starts_with("//!") && !line.contains("ANCHOR");
    text.split_inclusive('\n').filter(is_code).collect()
}

#[test]
fn the_log_that_everybody_writes_becomes_the_small_one_in_five_steps() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("main.rs");
    let naive =
        fs::read_to_string(root().join("examples/feed_naive/main.rs")).unwrap();
    let lines = naive.split_inclusive('\n').filter(|line| !line.contains("ANCHOR"));
    fs::write(&main, lines.collect::<String>()).unwrap();
    for step in STEPS {
        let answer = root().join(format!("exercises/{step}/answer.diff"));
        let mut apply = Command::new("git");
        apply.current_dir(folder.path()).args(["apply", "-p0"]).arg(&answer);
        assert!(apply.status().unwrap().success(), "{step}");
    }
    let small = root().join("examples/feed_naive/small.rs");
    assert_eq!(code(&main), code(&small));
}

/// A log of one's own for `feed_small`.
async fn small(file: &Path) -> Program {
    Program::start_with("feed_small", &[("LOG_FILE", file.to_str().unwrap())]).await
}

#[tokio::test]
async fn the_first_log_begins_again_at_one_and_a_reader_misses_the_event() {
    for session in ["before", "after"] {
        let feed = Program::start("feed_naive").await;
        feed.assert_session(&format!("feed_naive/recorded/{session}.txt"));
    }
}

#[tokio::test]
async fn the_small_log_says_that_it_does_not_keep_what_a_reader_missed() {
    let folder = tempfile::tempdir().unwrap();
    let feed = small(&folder.path().join("log.jsonl")).await;
    let file = "feed_naive/recorded/resync.txt";
    assert_text_but_numbers(file, &feed.session(file));
}

/// Events that the log keeps.
const KEEP: usize = 100;

/// A reader that comes back with this id, behind its first event.
async fn back(feed: &Program, id: &str) -> Events {
    let request = feed.request("GET", "/").header("last-event-id", id);
    let mut reader = feed.events_of(request).await;
    assert_eq!(reader.next().await.unwrap().event, "begin");
    reader
}

#[tokio::test]
async fn a_reader_that_has_the_last_forgotten_event_has_missed_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let feed = small(&folder.path().join("log.jsonl")).await;
    let mut ids = Vec::new();
    for n in 0..KEEP + 50 {
        let answer = post(&feed, &n.to_string()).await.unwrap();
        ids.push(answer.text().await.unwrap().trim().to_string());
    }
    let mut ann = back(&feed, &ids[49]).await;
    assert_eq!(ann.data().await, "50");
    let mut bob = back(&feed, &ids[48]).await;
    assert_eq!(bob.next().await.unwrap().event, "resync");
    assert_eq!(bob.data().await, "50");
}

#[tokio::test]
async fn a_key_is_forgotten_with_its_event_and_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    let feed = small(&folder.path().join("log.jsonl")).await;
    let store =
        async |text: &str| post(&feed, text).await.unwrap().text().await.unwrap();
    let first = store("paid").await;
    for n in 1..KEEP {
        store(&n.to_string()).await;
    }
    assert_eq!(store("paid").await, first);
    store("one more").await;
    assert_ne!(store("paid").await, first);
}

#[tokio::test]
async fn half_a_line_that_a_kill_has_left_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    let mut feed = small(&file).await;
    post(&feed, "one").await.unwrap();
    feed.stop();
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{whole}{{\"id\":1,\"te")).unwrap();
    let mut feed = small(&file).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), whole);
    post(&feed, "two").await.unwrap();
    feed.stop();
    let mut ann = back(&small(&file).await, "0").await;
    assert_eq!(ann.data().await, "one");
    assert_eq!(ann.data().await, "two");
}

/// The writers do not know what of theirs is stored when the program is killed, and repeat it
/// with its key; the reader comes back after its last event.
#[tokio::test]
async fn the_small_log_loses_and_repeats_nothing_over_kills() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    let mut last = "0".to_string();
    for round in 0..5 {
        let mut feed = small(&file).await;
        let acknowledged = format!("{round}: acknowledged");
        post(&feed, &acknowledged).await.unwrap();
        let hasty: Vec<_> = (0..8).map(|n| format!("{round}: {n}")).collect();
        let under_way: Vec<_> =
            hasty.iter().map(|text| tokio::spawn(post(&feed, text))).collect();
        feed.stop();
        for answer in under_way {
            drop(answer.await.unwrap()); // or a connection that is gone
        }
        let feed = small(&file).await;
        for text in &hasty {
            post(&feed, text).await.unwrap();
        }
        let mut reader = back(&feed, &last).await;
        let mut found = Vec::new();
        for _ in 0..=hasty.len() {
            let event = reader.next().await.unwrap();
            assert_eq!(event.event, "message");
            last = event.id;
            found.push(event.data);
        }
        assert_eq!(found.remove(0), acknowledged);
        found.sort();
        assert_eq!(found, hasty);
    }
}

/// A post whose key is its text.
fn post(
    feed: &Program,
    text: &str,
) -> impl Future<Output = reqwest::Result<reqwest::Response>> + use<> {
    let post = feed.request("POST", "/").header("idempotency-key", text);
    let answer = post.body(text.to_string()).send();
    async { answer.await?.error_for_status() }
}
