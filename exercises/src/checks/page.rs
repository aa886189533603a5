//! The exercises of `page.md`: what a server owes a page that loses nothing.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use tokio::time::{Instant, sleep};

use crate::events::{Event, Events};
use crate::fault::{Fault, expect};
use crate::subject::{Subject, has_status};

checks! {
    "page-last-five" => last_five;
    "page-heartbeat" => heartbeat;
    "page-portal" => portal;
    "page-same-ids" => same_ids;
    "page-over" => over;
    "page-retry-after" => retry_after;
}

const EVENTS: &str = "/events?line=check";
/// How long the refusals of a check last.
const SHORT: Duration = Duration::from_millis(1_500);
/// The numbers are further apart than this.
const STILL: Duration = Duration::from_millis(50);

/// Asks the server for a fault of the line, which somebody has listened to.
async fn act(server: &mut Subject, act: &str, time: Duration) -> Result<(), Fault> {
    let path = format!("/lines/check/{act}");
    let answer = server.post(&path, time.as_millis().to_string()).await?;
    if answer.status().is_success() { Ok(()) } else { has_status(&answer, 204) }
}

/// A reader that comes back with the id of its last event.
async fn back(server: &mut Subject, id: &str) -> Result<Events, Fault> {
    let get = server.request(Method::GET, EVENTS).await?;
    server.events_of(get.header("last-event-id", id)).await
}

/// The answer to a reader with this id, or without one.
async fn answer(server: &mut Subject, id: Option<&str>) -> Result<Response, Fault> {
    let mut get = server.request(Method::GET, EVENTS).await?;
    if let Some(id) = id {
        get = get.header("last-event-id", id);
    }
    server.send(get).await
}

/// The next event, which has to be a number, and the number.
async fn number(events: &mut Events) -> Result<(u64, Event), Fault> {
    numbered(events.next().await?)
}

/// An event, which has to be a number, and the number.
fn numbered(event: Event) -> Result<(u64, Event), Fault> {
    match event.data.parse() {
        Ok(number) if event.event == "number" => Ok((number, event)),
        _ => Err(Fault::new("other", "event: number", event)),
    }
}

async fn last_five(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events(EVENTS).await?;
    let (mut newest, mut third) = number(&mut ann).await?;
    while newest < 7 {
        let event;
        (newest, event) = number(&mut ann).await?;
        if newest == 3 {
            third = event;
        }
    }
    let mut tries = 0..3;
    loop {
        let before = newest;
        let mut bob = server.events(EVENTS).await?;
        let (first, _) = number(&mut bob).await?;
        if let Some(event) = ann.within(STILL).await? {
            newest = numbered(event)?.0;
        }
        if newest == before && first + 4 == newest {
            break;
        }
        if newest > before && first <= before {
            continue; // bob has come before this number, or after it
        }
        // A server may tell bob of a number before it tells ann, but not each time.
        let should = format_args!("data: {}", before - 4).to_string();
        let may_be_late = tries.next().is_some();
        expect("first", may_be_late, should, format_args!("data: {first}"))?;
    }
    let mut ann = back(server, &third.id).await?;
    let (came, _) = number(&mut ann).await?;
    expect("back", came == 4, "data: 4", format_args!("data: {came}"))
}

async fn heartbeat(server: &mut Subject) -> Result<(), Fault> {
    let closed = || Fault::new("closed", "event: heartbeat", "the end of the stream");
    let mut events = server.events(EVENTS).await?;
    number(&mut events).await?;
    act(server, "delay", Duration::from_secs(20)).await?;
    let mut comments = 0;
    let mut block = Vec::new();
    let is_whole = loop {
        let line = events.line().await?.ok_or_else(closed)?;
        if line.starts_with(':') {
            comments += 1;
            expect("comment", comments < 2, "event: heartbeat", &line)?;
        } else if block.contains(&line) {
            break false; // the next one begins, and no empty line was between them
        } else if !line.is_empty() {
            block.push(line);
        } else if block.iter().any(|line| is_field(line, "event", "heartbeat")) {
            break true;
        } else {
            let is_usual = block.iter().any(|line| is_field(line, "event", "number"))
                || block.iter().all(|line| field(line).0 == "retry");
            expect("other", is_usual, "event: heartbeat", block.join("\n"))?;
            block.clear();
        }
    };
    let came = block.join("\n");
    expect("open", is_whole, "event: heartbeat\ndata:\n\n", &came)?;
    let has = |name: &str| block.iter().any(|line| field(line).0 == name);
    expect("empty", has("data"), "event: heartbeat\ndata:", &came)?;
    expect("id", !has("id"), "event: heartbeat\ndata:", &came)
}

/// The name and the value of a line.
fn field(line: &str) -> (&str, &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name, value.strip_prefix(' ').unwrap_or(value))
}

fn is_field(line: &str, name: &str, value: &str) -> bool {
    field(line) == (name, value)
}

async fn portal(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events(EVENTS).await?;
    number(&mut ann).await?;
    act(server, "portal", SHORT).await?;
    let until = Instant::now() + SHORT;
    let answer = server.get(EVENTS).await?;
    has_status(&answer, 200)?;
    let came = content_type(&answer);
    expect("stream", came.starts_with("text/html"), "text/html", &came)?;
    number(&mut ann).await?;
    loop {
        let came = content_type(&server.get(EVENTS).await?);
        if came.starts_with("text/event-stream") {
            return Ok(());
        }
        let is_late = Instant::now() > until + SHORT;
        expect("stays", !is_late, "text/event-stream", came)?;
        sleep(Duration::from_millis(50)).await;
    }
}

fn content_type(answer: &Response) -> String {
    let value = answer.headers().get("content-type");
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_lowercase()
}

async fn same_ids(server: &mut Subject) -> Result<(), Fault> {
    let first = ids(server).await?;
    server.kill().await?;
    let second = ids(server).await?;
    let again = second.iter().find(|id| first.contains(id));
    let came = format_args!("id: {}", again.map_or("", String::as_str)).to_string();
    expect("again", again.is_none(), "id: …", came)
}

/// The ids of a line's first numbers.
async fn ids(server: &mut Subject) -> Result<Vec<String>, Fault> {
    let mut events = server.events(EVENTS).await?;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(number(&mut events).await?.1.id);
    }
    Ok(ids)
}

async fn over(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events(EVENTS).await?;
    let mut bob = server.events(EVENTS).await?;
    let (mine, last) = number(&mut ann).await?;
    while number(&mut bob).await?.0 < mine + 2 {}
    act(server, "end", Duration::ZERO).await?;
    let rest = bob.rest().await?;
    let end = rest.last().filter(|event| event.event == "end");
    let Some(end) = end else {
        let came = rest.last().map_or("an event".into(), Event::to_string);
        return Err(Fault::new("other", "event: end", came));
    };
    // A server that still has something for ann says 200.
    let status = answer(server, Some(&last.id)).await?.status();
    expect("lost", status == StatusCode::OK, 200, status)?;
    let (came, _) = number(&mut back(server, &last.id).await?).await?;
    let should = format_args!("data: {}", mine + 1).to_string();
    expect("lost", came == mine + 1, should, format_args!("data: {came}"))?;
    let status = answer(server, Some(&end.id)).await?.status();
    expect("again", status == StatusCode::NO_CONTENT, 204, status)?;
    for id in [Some("foreign"), None] {
        let answer = answer(server, id).await?;
        let status = answer.status();
        expect("foreign", status == StatusCode::OK, 200, status)?;
        let came = content_type(&answer);
        let is_stream = came.starts_with("text/event-stream");
        expect("type", is_stream, "text/event-stream", came)?;
    }
    Ok(())
}

async fn retry_after(server: &mut Subject) -> Result<(), Fault> {
    number(&mut server.events(EVENTS).await?).await?;
    let until = Instant::now() + SHORT;
    act(server, "refuse", SHORT).await?;
    let answer = server.get(EVENTS).await?;
    has_status(&answer, 503)?;
    let value = answer.headers().get("retry-after");
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let came = format!("Retry-After: {value}");
    expect("missing", !value.is_empty(), "Retry-After: 2", &came)?;
    let seconds = value.parse().map(Duration::from_secs);
    let left = until.saturating_duration_since(Instant::now());
    let holds = seconds.as_ref().is_ok_and(|wait| *wait >= left);
    expect("early", holds, "Retry-After: 2", &came)?;
    let holds = seconds.is_ok_and(|wait| wait <= Duration::from_secs(4));
    expect("late", holds, "Retry-After: 2", &came)
}
