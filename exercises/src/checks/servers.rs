//! The exercises of `servers.md`. Each check has a Redis of its own.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use tokio::time::{Instant, timeout};

use crate::events::{Event, Events};
use crate::fault::{Fault, Seconds, expect};
use crate::redis::Redis;
use crate::subject::{Run, Subject, has_status};

checks! {
    "servers-one-log" => one_log;
    "servers-batches" => batches;
    "servers-two-logs" => two_logs;
    "servers-says-gap" => says_gap;
    "servers-blocked" => blocked;
    "servers-hole" => hole;
    "servers-away" => away;
}

/// How long a server may take for something that it does at once.
const SOON: Duration = Duration::from_secs(3);

/// Starts a Redis that the program uses from now on.
async fn redis(server: &mut Subject) -> Result<Redis, Fault> {
    server.set("ADDR", "127.0.0.1:0")?;
    let redis = Redis::start().await?;
    server.set("REDIS_URL", &redis.url())?;
    Ok(redis)
}

/// A further process of the program, and its address.
async fn another(server: &Subject) -> Result<(Run, Subject), Fault> {
    let mut process = server.run(&[])?;
    let line = process.line().await?;
    let url = line.strip_prefix("listening on ");
    let url = url.ok_or_else(|| Fault::new("deaf", "listening on http://…", &line))?;
    Ok((process, Subject::at(url)))
}

async fn after(server: &mut Subject, path: &str, id: &str) -> Result<Events, Fault> {
    let request = server.request(Method::GET, path).await?;
    server.events_of(request.header("last-event-id", id)).await
}

async fn say(server: &mut Subject, path: &str, text: &'static str) -> Result<(), Fault> {
    let said = server.post(path, text).await?;
    has_status(&said, 200)
}

/// The next event must have these data.
async fn comes(
    events: &mut Events,
    data: &str,
    fault: &str,
) -> Result<Event, Fault> {
    let should = format!("data: {data}");
    let event = soon(events, fault, &should).await?;
    expect(fault, event.data == data, should, &event)?;
    Ok(event)
}

/// The next event, or else this fault.
async fn soon(
    events: &mut Events,
    fault: &str,
    should: &str,
) -> Result<Event, Fault> {
    let event = events.within(SOON).await?;
    let came = format!("nothing for {}", Seconds(SOON));
    event.ok_or_else(|| Fault::new(fault, should, came))
}

async fn one_log(a: &mut Subject) -> Result<(), Fault> {
    let _redis = redis(a).await?;
    let (_process, mut b) = another(a).await?;
    say(a, "/", "one").await?;
    let mut ann = b.events("/").await?;
    let one = comes(&mut ann, "one", "alone").await?;
    say(a, "/", "two").await?;
    comes(&mut ann, "two", "alone").await?;
    drop(ann);
    say(&mut b, "/", "three").await?;
    let mut ann = after(a, "/", &one.id).await?;
    let should = "data: two";
    let event = soon(&mut ann, "misses", should).await?;
    expect("repeats", event.data == "two", should, &event)?;
    comes(&mut ann, "three", "misses").await?;
    Ok(())
}

async fn batches(server: &mut Subject) -> Result<(), Fault> {
    let redis = redis(server).await?;
    let script = "for n = 1, 300 do redis.call('XADD', 'log', '*', 'data', n) end";
    redis.ask(&["EVAL", script, "0"]).await?;
    redis.ask(&["CONFIG", "RESETSTAT"]).await?;
    let mut ann = server.events("/").await?;
    for n in 1..=300 {
        comes(&mut ann, &n.to_string(), "other").await?;
    }
    let stats = redis.ask(&["INFO", "commandstats"]).await?;
    let calls = stats.lines().find_map(|line| {
        line.strip_prefix("cmdstat_xread:calls=")?.split(',').next()?.parse().ok()
    });
    let calls: u32 = calls.unwrap_or_default();
    let should = "300 events with 10 XREAD at most";
    expect("each", calls <= 10, should, format!("300 events with {calls} XREAD"))
}

async fn two_logs(server: &mut Subject) -> Result<(), Fault> {
    let _redis = redis(server).await?;
    say(server, "/sport", "a goal").await?;
    say(server, "/news", "an election").await?;
    let mut ann = server.events("/news").await?;
    comes(&mut ann, "an election", "mixed").await?;
    let other = server.get("/nonsense").await?;
    let came = other.status();
    expect("any", came == 404, "404 Not Found", came)
}

async fn says_gap(server: &mut Subject) -> Result<(), Fault> {
    let redis = redis(server).await?;
    for text in ["one", "two", "three"] {
        say(server, "/", text).await?;
    }
    let mut ann = server.events("/").await?;
    let one = ann.next().await?;
    expect("always", one.data == "one", "data: one", &one)?;
    redis.ask(&["XTRIM", "log", "MAXLEN", "1"]).await?;
    let mut bob = after(server, "/", &one.id).await?;
    let should = "event: resync";
    let told = soon(&mut bob, "hole", should).await?;
    expect("hole", told.event == "resync", should, &told)?;
    comes(&mut bob, "three", "hole").await?;
    Ok(())
}

/// Appends an event to `feed`.
async fn append(server: &mut Subject, data: &str) -> Result<u16, Fault> {
    let request = server.request(Method::POST, "/events").await?;
    let request = request.header(CONTENT_TYPE, "application/json");
    let event = format!(r#"{{"type":"count","data":"{data}"}}"#);
    let answer = server.send(request.body(event)).await?;
    Ok(answer.status().as_u16())
}

/// The next event of `feed` that is not the one with which each stream begins.
async fn counted(events: &mut Events) -> Result<Event, Fault> {
    loop {
        let event = events.next().await?;
        if event.event != "begin" {
            return Ok(event);
        }
    }
}

async fn blocked(server: &mut Subject) -> Result<(), Fault> {
    let _redis = redis(server).await?;
    let _ann = server.events("/events").await?;
    // Longer than a write takes, and less than Redis may be silent.
    let longest = Duration::from_secs(2);
    let start = Instant::now();
    let status = timeout(longest, append(server, "1")).await;
    let should = "201 at once";
    match status {
        Ok(status) => {
            let status = status?;
            expect("blocked", status == 201, should, status)
        }
        Err(_) => {
            let came = format!("nothing for {}", Seconds(start.elapsed()));
            Err(Fault::new("blocked", should, came))
        }
    }
}

async fn hole(server: &mut Subject) -> Result<(), Fault> {
    let redis = redis(server).await?;
    for data in ["1", "2", "3"] {
        append(server, data).await?;
    }
    let mut ann = server.events("/events?from=start").await?;
    let one = counted(&mut ann).await?;
    redis.ask(&["XTRIM", "{feed}:events", "MAXLEN", "1"]).await?;
    // A server that begins now has nothing in its memory.
    let (_process, mut other) = another(server).await?;
    let mut bob = after(&mut other, "/events", &one.id).await?;
    let told = counted(&mut bob).await?;
    expect("hole", told.event == "resync", "event: resync", &told)
}

async fn away(server: &mut Subject) -> Result<(), Fault> {
    let mut redis = redis(server).await?;
    let mut ann = server.events("/events?from=start").await?;
    append(server, "1").await?;
    counted(&mut ann).await?;
    redis.kill().await?;
    // Until the server knows, and has tried once more.
    let until = Instant::now() + SOON;
    while append(server, "2").await? != 503 && Instant::now() < until {}
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.start_again().await?;
    let until = Instant::now() + Duration::from_secs(5);
    let mut status = append(server, "3").await?;
    while status == 503 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
        status = append(server, "3").await?;
    }
    expect("gave-up", status == 201, "201 Created", status)?;
    let event = counted(&mut ann).await?;
    expect("gave-up", event.data == "3", "data: 3", &event)
}
