//! `feed` inside the book: a process of its own, which readers kill.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::{Program, until, within};

/// Kills the `feed` in a book, and returns the answer.
async fn kill_feed(book: &Program) -> Value {
    let kill = book.request("POST", "/live/feed/kill").header("origin", &book.url);
    let killed = book.send(kill).await;
    assert_eq!(killed.status(), 200);
    killed.json().await.unwrap()
}

async fn write_to_feed(book: &Program, text: &str, key: &str) -> reqwest::Response {
    let note = json!({ "type": "note", "data": text });
    let write = book.request("POST", "/live/feed/events").json(&note);
    let write = write.header("origin", &book.url).header("idempotency-key", key);
    book.send(write).await
}

#[tokio::test]
async fn the_feed_in_the_book_is_killed_for_real_and_loses_nothing() {
    let book = Program::serve_book().await;
    let written = write_to_feed(&book, "one", "k1").await;
    assert_eq!(written.status(), 201);
    let location = written.headers()["location"].to_str().unwrap().to_string();
    let id = location.strip_prefix("events/").unwrap();
    let mut stream = book.get("/live/feed/events?from=start").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut heard = String::new();
    while !heard.contains(&format!("data: one\nid: {id}\n\n")) {
        let chunk = within("an event", stream.chunk()).await.unwrap().unwrap();
        heard += str::from_utf8(&chunk).unwrap();
    }

    let foreign =
        book.request("POST", "/live/feed/kill").header("origin", "http://a");
    assert_eq!(book.send(foreign).await.status(), 403);
    let killed = kill_feed(&book).await;
    assert_ne!(killed["killed"], killed["pid"]);
    let end = async {
        while stream.chunk().await?.is_some() {}
        Ok(())
    };
    let end: reqwest::Result<()> = within("the end of the stream", end).await;
    assert!(end.is_err(), "it was cut, and has not ended");

    // A second write with the same key gives the same event, and the stream goes on
    // behind it.
    let again = write_to_feed(&book, "one", "k1").await;
    assert_eq!(again.headers()["location"], location);
    assert_eq!(write_to_feed(&book, "other", "k1").await.status(), 422);
    assert_eq!(write_to_feed(&book, "two", "k2").await.status(), 201);
    let back = book.request("GET", "/live/feed/events").header("last-event-id", id);
    let mut back = book.events_of(back).await;
    assert_eq!(back.next().await.unwrap().event, "begin");
    assert_eq!(back.data().await, "two");

    let again = kill_feed(&book).await;
    assert_eq!(again["killed"], killed["pid"]);
    let event = book.get(&format!("/live/feed/{location}")).await;
    assert_eq!(event.json::<Value>().await.unwrap()["data"], "one");
    assert_eq!(book.get("/live/feed/events/1-0").await.status(), 404);
}

/// The sockets that a process has open.
#[cfg(target_os = "linux")]
fn sockets(pid: &Value) -> usize {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_who_leaves_the_feed_in_the_book_leaves_its_process_too() {
    let book = Program::serve_book().await;
    let pid = &kill_feed(&book).await["pid"];
    let none = sockets(pid);
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(book.get("/live/feed/events").await);
    }
    assert_eq!(sockets(pid), none + 5);
    drop(readers);
    until("all have left", async || sockets(pid) == none).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_feed_in_the_book_starts_again_by_itself_and_ends_with_the_book() {
    let mut book = Program::serve_book().await;
    let first = kill_feed(&book).await["pid"].clone();
    assert_eq!(write_to_feed(&book, "one", "k1").await.status(), 201);
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-9", &first.to_string()]).status().unwrap().success());
    until("it is there again", async || {
        book.get("/live/feed/events/1-0").await.status() == 404
    })
    .await;
    let second = kill_feed(&book).await;
    assert_ne!(second["killed"], first);

    // A dead process has no command line, also where nobody has asked yet how it ended.
    let command = format!("/proc/{}/cmdline", second["pid"]);
    let line = fs::read_to_string(&command).unwrap();
    let folder = Path::new(line.trim_end_matches('\0').rsplit('\0').next().unwrap());
    assert!(folder.is_dir());
    book.stop();
    until("it has ended", async || {
        fs::read(&command).unwrap_or_default().is_empty() && !folder.exists()
    })
    .await;
}
