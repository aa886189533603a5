//! The exercises of `slow.md`.

use std::time::Duration;

use futures_util::future::try_join_all;
use reqwest::Method;

use super::chat::{join, message, say};
use crate::events::{Event, Events};
use crate::fault::{Fault, expect};
use crate::subject::Subject;

checks! {
    "slow-heartbeat" => heartbeat;
    "slow-queue" => queue;
    "slow-latest" => latest;
    "slow-grace" => grace;
    "slow-ghost" => ghost;
    "slow-missed" => missed;
    "slow-stop" => stop;
    "slow-lagged" => lagged;
}

const ANN: &str = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";
const BOB: &str = "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2";
const CIA: &str = "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3";
/// Messages of this length, and how many: more than the kernels of both sides take.
const LENGTH: usize = 60_000;
const MANY: usize = 400;
/// Messages that `chat` keeps.
const HISTORY: usize = 1_024;
/// Messages that are posted at a time.
const AT_ONCE: usize = 16;

/// Posts the same message again and again.
async fn post(
    server: &mut Subject,
    path: &str,
    text: &str,
    times: usize,
) -> Result<(), Fault> {
    let mut left = times;
    while left > 0 {
        let mut requests = Vec::new();
        for _ in 0..AT_ONCE.min(left) {
            let request = server.request(Method::POST, path).await?;
            requests.push(request.body(text.to_string()));
        }
        left -= requests.len();
        let answers = requests.into_iter().map(|request| server.send(request));
        for answer in try_join_all(answers).await? {
            let status = answer.status();
            expect("status", status.is_success(), "204 No Content", status)?;
        }
    }
    Ok(())
}

async fn heartbeat(server: &mut Subject) -> Result<(), Fault> {
    server.patience(Duration::from_millis(2_500));
    let mut ann = join(server, ANN).await?;
    let bob = join(server, BOB).await?;
    // Ann may have had a comment before Bob came.
    while ann.next().await?.event != "joined" {}
    let comment = ann.comment().await?;
    expect("count", comment == "2 here", ": 2 here", format!(": {comment}"))?;
    let next = ann.line().await?.unwrap_or_default();
    drop(bob);
    expect("block", !next.is_empty(), "another comment", "an empty line")
}

async fn queue(server: &mut Subject) -> Result<(), Fault> {
    let mut slow = server.events("/chat").await?;
    slow.next().await?;
    post(server, "/chat/99", &"x".repeat(LENGTH), MANY).await?;
    post(server, "/chat/99", "the end", 1).await?;
    loop {
        match slow.next().await {
            Ok(event) if event.data.ends_with("the end") => {
                let should = "the end of the stream, before the last message";
                let came = format!("all {} messages", MANY + 1);
                return Err(Fault::new("endless", should, came));
            }
            Err(fault) if fault.name == "closed" => return Ok(()),
            event => drop(event?),
        }
    }
}

/// Reads numbers until this one comes, as the newest.
async fn counts(events: &mut Events, count: usize) -> Result<(), Fault> {
    let count = count.to_string();
    let mut came = String::from("nothing more");
    while let Some(event) = events.within(Duration::from_secs(2)).await? {
        if event.data == count {
            return Ok(());
        }
        came = event.to_string();
    }
    Err(Fault::new("count", format!("data: {count}"), came))
}

async fn latest(server: &mut Subject) -> Result<(), Fault> {
    let mut early = server.events("/count").await?;
    counts(&mut early, 0).await?;
    let mut users = Vec::new();
    for id in [ANN, BOB, CIA] {
        users.push(join(server, id).await?);
    }
    counts(&mut early, 3).await?;
    let first = server.events("/count").await?.next().await?;
    expect("count", first.data == "3", "data: 3", &first)
}

async fn grace(server: &mut Subject) -> Result<(), Fault> {
    let ann = join(server, ANN).await?;
    let mut bob = join(server, BOB).await?;
    let welcome = [bob.next().await?, bob.next().await?];
    drop(welcome);
    drop(ann);
    let left = bob.within(Duration::from_millis(1_500)).await?;
    let came = left.as_ref().map_or(String::new(), Event::to_string);
    expect("gone", left.is_none(), "no event", came)?;
    let again = join(server, ANN).await?;
    say(server, ANN, "back").await?;
    let heard = bob.next().await?;
    drop(again);
    let should = "<User#1>: back";
    expect("gone", heard.data == should, format!("data: {should}"), &heard)
}

async fn ghost(server: &mut Subject) -> Result<(), Fault> {
    server.patience(Duration::from_secs(3));
    let mut first = join(server, ANN).await?;
    let name = name_in(&mut first).await?;
    let mut second = join(server, ANN).await?;
    match first.rest().await {
        Err(fault) if fault.name == "silent" => {
            let should = "the end of the first stream";
            return Err(Fault::new("ghost", should, fault.came));
        }
        rest => drop(rest?),
    }
    let again = name_in(&mut second).await?;
    expect("stranger", again.data == name.data, &name, &again)
}

/// The event with the user's name.
async fn name_in(events: &mut Events) -> Result<Event, Fault> {
    loop {
        let event = events.next().await?;
        if event.event == "name" {
            return Ok(event);
        }
    }
}

async fn missed(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = join(server, ANN).await?;
    let bob = join(server, BOB).await?;
    let joined = loop {
        let event = ann.next().await?;
        if event.event == "joined" {
            break event;
        }
    };
    drop(ann);
    post(server, &format!("/chat/{BOB}"), "again", HISTORY + 7).await?;
    let request = server.request(Method::GET, &format!("/chat?as={ANN}")).await?;
    let request = request.header("last-event-id", &joined.id);
    let mut ann = server.events_of(request).await?;
    name_in(&mut ann).await?;
    let told = ann.next().await?;
    let should = "event: missed\ndata: 7";
    expect("hole", told.event == "missed", should, &told)?;
    expect("count", told.data == "7", should, &told)?;
    drop(bob);
    message(&mut ann).await.map(drop)
}

async fn stop(server: &mut Subject) -> Result<(), Fault> {
    // `stop_graceful` alone cuts the streams after three seconds.
    server.patience(Duration::from_millis(2_500));
    let mut streams = Vec::new();
    for id in [ANN, BOB, CIA] {
        streams.push(join(server, id).await?);
    }
    server.terminate()?;
    for stream in &mut streams {
        match stream.rest().await {
            Err(fault) if fault.name == "silent" => {
                let should = "the end of each stream, with a last chunk";
                return Err(Fault::new("open", should, fault.came));
            }
            rest => drop(rest?),
        }
    }
    Ok(())
}

async fn lagged(server: &mut Subject) -> Result<(), Fault> {
    let mut slow = server.events("/").await?;
    post(server, "/", "first", 1).await?;
    let first = slow.next().await?;
    expect("hole", first.data == "first", "data: first", &first)?;
    post(server, "/", &"x".repeat(LENGTH), MANY).await?;
    post(server, "/", "the end", 1).await?;
    let mut read = 0;
    let mut missed = 0;
    loop {
        let event = slow.next().await?;
        match event.event.as_str() {
            "missed" => missed += event.data.parse::<usize>().unwrap_or_default(),
            _ if event.data == "the end" => break,
            _ => read += 1,
        }
    }
    let should = format!("{MANY} messages in all, some of them missed");
    let came = format!("{read} read, and {missed} missed");
    expect("hole", read + missed == MANY && missed > 0, should, came)
}
