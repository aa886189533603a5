//! The exercises of `feed.md`: a log, readers that come back to it, and a writer that repeats.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use reqwest::{Method, Response};
use tokio::time::sleep;

use crate::events::{Event, Events};
use crate::fault::{Fault, Seconds, expect};
use crate::subject::{Subject, has_status};

checks! {
    "feed-gap" => gap;
    "feed-restart" => restart;
    "feed-hole" => hole;
    "feed-twice" => twice;
    "feed-begin" => begin;
    "feed-after" => after_in_url;
    "feed-refuse" => refuse;
    "feed-age" => age;
    "feed-late" => late;
    "feed-torn" => torn;
    "feed-from-nothing" => from_nothing;
}

/// How long an event may take that is stored already, or is about to be.
const SOON: Duration = Duration::from_secs(4);
/// How many events the log of the chapter keeps.
const KEEP: usize = 100;
/// A half of a line, as a kill leaves it.
const HALF: &str = r#"{"id":1,"key":null,"te"#;

/// Stores a text, which must be accepted.
async fn say(log: &mut Subject, text: &str) -> Result<(), Fault> {
    accepted(log.post("/", text.to_string()).await?)
}

/// Stores a text under this key, and returns the answer.
async fn say_as(log: &mut Subject, key: &str, text: &str) -> Result<Response, Fault> {
    let post = log.request(Method::POST, "/").await?;
    log.send(post.header("idempotency-key", key).body(text.to_string())).await
}

fn accepted(answer: Response) -> Result<(), Fault> {
    if answer.status().is_success() { Ok(()) } else { has_status(&answer, 200) }
}

/// A reader that comes back with the id of its last event.
async fn back(log: &mut Subject, id: &str) -> Result<Events, Fault> {
    let get = log.request(Method::GET, "/").await?;
    log.events_of(get.header("last-event-id", id)).await
}

/// The next event but `begin`, if one comes soon.
async fn next(reader: &mut Events) -> Result<Option<Event>, Fault> {
    loop {
        let event = reader.within(SOON).await?;
        if event.as_ref().is_none_or(|event| event.event != "begin") {
            return Ok(event);
        }
    }
}

/// The next event must be this text. Else the log has this fault.
async fn hears(reader: &mut Events, fault: &str, text: &str) -> Result<Event, Fault> {
    let event = next(reader).await?;
    let is_it = event.as_ref().is_some_and(|event| event.data == text);
    match event {
        Some(event) if is_it => Ok(event),
        other => Err(Fault::new(fault, format_args!("data: {text}"), shown(&other))),
    }
}

/// The next event must be a `resync`. Else the log has this fault.
async fn hears_resync(reader: &mut Events, fault: &str) -> Result<(), Fault> {
    let event = next(reader).await?;
    let is_it = event.as_ref().is_some_and(|event| event.event == "resync");
    expect(fault, is_it, "event: resync", shown(&event))
}

fn shown(event: &Option<Event>) -> String {
    let nothing = || format!("nothing for {}", Seconds(SOON));
    event.as_ref().map_or_else(nothing, Event::to_string)
}

/// Texts that are stored now, as events with their ids.
async fn stored(log: &mut Subject, texts: &[&str]) -> Result<Vec<Event>, Fault> {
    let mut ann = log.events("/").await?;
    let mut events = Vec::new();
    for text in texts {
        say(log, text).await?;
        events.push(hears(&mut ann, "silent", text).await?);
    }
    Ok(events)
}

async fn gap(log: &mut Subject) -> Result<(), Fault> {
    let first = stored(log, &["first"]).await?.remove(0);
    let long = "x".repeat(60_000); // many of these do not fit between server and reader
    for _ in 0..KEEP - 5 {
        say(log, &long).await?;
    }
    let mut slow = back(log, &first.id).await?;
    hears(&mut slow, "gap", &long).await.map_err(short)?;
    say(log, "in the gap").await?; // the replay has begun, and waits for its reader
    for _ in 1..KEEP - 5 {
        hears(&mut slow, "gap", &long).await.map_err(short)?;
    }
    hears(&mut slow, "gap", "in the gap").await?;
    say(log, "later").await?;
    hears(&mut slow, "gap", "later").await.map(drop)
}

/// Without most of a long text.
fn short(fault: Fault) -> Fault {
    let cut = |text: String| text.replace(&"x".repeat(1_000), "");
    Fault { came: cut(fault.came), should: cut(fault.should), ..fault }
}

async fn restart(log: &mut Subject) -> Result<(), Fault> {
    let before = stored(log, &["one", "two"]).await?;
    log.kill().await?;
    let mut ann = back(log, &before[0].id).await?;
    hears(&mut ann, "forgotten", "two").await?;
    say(log, "three").await?;
    let three = hears(&mut ann, "again", "three").await?;
    let is_new = before.iter().all(|event| event.id != three.id);
    expect("again", is_new, "id: …", &three)?;
    log.kill().await?;
    let mut bob = back(log, &three.id).await?;
    say(log, "four").await?;
    hears(&mut bob, "again", "four").await.map(drop)
}

async fn hole(log: &mut Subject) -> Result<(), Fault> {
    let numbers: Vec<_> = (0..KEEP + 2).map(|n| n.to_string()).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    let events = stored(log, &numbers).await?;
    let mut away = back(log, &events[0].id).await?;
    hears_resync(&mut away, "hole").await?;
    hears(&mut away, "hole", numbers[2]).await?;
    for id in ["nonsense", "99999999999999999"] {
        hears_resync(&mut back(log, id).await?, "unknown").await?;
    }
    for last in [KEEP, 1] {
        let mut here = back(log, &events[last].id).await?;
        hears(&mut here, "alarm", numbers[last + 1]).await?;
    }
    Ok(())
}

async fn twice(log: &mut Subject) -> Result<(), Fault> {
    let mut ann = log.events("/").await?;
    accepted(say_as(log, "order-17", "paid").await?)?;
    let paid = hears(&mut ann, "silent", "paid").await?;
    accepted(say_as(log, "order-17", "paid").await?)?;
    accepted(say_as(log, "order-18", "paid, too").await?)?;
    hears(&mut ann, "twice", "paid, too").await?;
    let other = say_as(log, "order-17", "paid more").await?.status();
    expect("other", other == 422, "422", other)?;
    log.kill().await?;
    accepted(say_as(log, "order-17", "paid").await?)?;
    say(log, "end").await?;
    let mut ann = back(log, &paid.id).await?;
    hears(&mut ann, "restart", "paid, too").await?;
    hears(&mut ann, "restart", "end").await.map(drop)
}

async fn begin(log: &mut Subject) -> Result<(), Fault> {
    let mut ann = log.events("/").await?;
    let first = ann.within(SOON).await?;
    let place = first.as_ref().map(|event| event.id.clone());
    let place = place.filter(|id| !id.is_empty());
    let came = shown(&first);
    let place = place.ok_or_else(|| Fault::new("nowhere", "id: …", came))?;
    drop(ann);
    say(log, "in between").await?;
    let mut ann = back(log, &place).await?;
    hears(&mut ann, "nowhere", "in between").await.map(drop)
}

async fn after_in_url(log: &mut Subject) -> Result<(), Fault> {
    let events = stored(log, &["one", "two", "three"]).await?;
    let path = format!("/?after={}", events[0].id);
    let mut ann = log.events(&path).await?;
    hears(&mut ann, "address", "two").await?;
    let get = log.request(Method::GET, &path).await?;
    let get = get.header("last-event-id", &events[1].id);
    let mut bob = log.events_of(get).await?;
    hears(&mut bob, "header", "three").await.map(drop)
}

async fn refuse(log: &mut Subject) -> Result<(), Fault> {
    let mut ann = log.events("/").await?;
    let answer = log.post("/", "one\rtwo").await?.status();
    say(log, "three").await?;
    hears(&mut ann, "changed", "three").await?;
    expect("changed", answer == 400, "400", answer)
}

async fn age(log: &mut Subject) -> Result<(), Fault> {
    log.set("MAX_AGE", "1")?;
    let old = stored(log, &["old"]).await?.remove(0);
    sleep(Duration::from_millis(1_100)).await;
    say(log, "new").await?;
    let mut ann = back(log, "0").await?;
    let mut event = next(&mut ann).await?;
    if event.as_ref().is_some_and(|event| event.event == "resync") {
        event = next(&mut ann).await?;
    }
    let is_new = event.as_ref().is_some_and(|event| event.data == "new");
    expect("old", is_new, "data: new", shown(&event))?;
    hears(&mut back(log, &old.id).await?, "old", "new").await.map(drop)
}

async fn late(log: &mut Subject) -> Result<(), Fault> {
    let texts = ["one", "two", "three"];
    let events = stored(log, &texts).await?;
    let mut ann = back(log, &events[0].id).await?;
    for text in &texts[1..] {
        hears(&mut ann, "late", text).await?;
    }
    say(log, "four").await?;
    hears(&mut ann, "late", "four").await.map(drop)
}

async fn torn(log: &mut Subject) -> Result<(), Fault> {
    let one = stored(log, &["one"]).await?.remove(0);
    log.kill().await?;
    let file = log.folder()?.join("log.jsonl");
    let mut file = OpenOptions::new().append(true).open(file).map_err(Fault::unable)?;
    file.write_all(HALF.as_bytes()).map_err(Fault::unable)?;
    say(log, "two").await?;
    log.kill().await?;
    let opened = log.url("").await;
    opened.map_err(|ended| Fault { name: "torn".into(), ..ended })?;
    hears(&mut back(log, &one.id).await?, "torn", "two").await.map(drop)
}

async fn from_nothing(log: &mut Subject) -> Result<(), Fault> {
    let mut ann = log.events("/").await?;
    accepted(say_as(log, "first", "one").await?)?;
    let one = hears(&mut ann, "nothing", "one").await?;
    accepted(say_as(log, "first", "one").await?)?;
    say(log, "two").await?;
    hears(&mut ann, "promise", "two").await?;
    let mut bob = back(log, &one.id).await?;
    hears(&mut bob, "promise", "two").await?;
    hears_resync(&mut back(log, "nonsense").await?, "promise").await?;
    if log.folder().is_err() {
        return Ok(()); // a server that somebody else has started
    }
    log.kill().await?;
    let mut bob = back(log, &one.id).await?;
    hears(&mut bob, "promise", "two").await?;
    say(log, "three").await?;
    hears(&mut bob, "promise", "three").await.map(drop)
}
