//! The exercises of `hello.md`.

use std::time::{Duration, Instant};

use crate::fault::{Fault, expect};
use crate::subject::{Subject, has_status};

checks! {
    "hello-two-lines" => two_lines;
    "hello-lift-off" => lift_off;
    "hello-heartbeat" => heartbeat;
    "hello-one-newline" => one_newline;
    "hello-head" => head;
    "hello-from-nothing" => from_nothing;
}

/// A moment in which the next event of a stream of one a second may come, on a busy machine.
const SOON: Duration = Duration::from_secs(3);

async fn two_lines(server: &mut Subject) -> Result<(), Fault> {
    const BOTH: &str = "data: hello 1\ndata: again";
    let mut ann = server.events("/").await?;
    let first = ann.next().await?;
    if first.data == "hello 1" {
        let second = ann.next().await?;
        let came = format!("{first}\n\n{second}");
        expect("apart", second.data != "again", BOTH, came)?;
    }
    expect("lines", first.data == "hello 1\nagain", BOTH, &first)
}

async fn lift_off(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/").await?;
    for data in ["3", "2", "1", "lift-off"] {
        let event = ann.next().await?;
        expect("count", event.data == data, format!("data: {data}"), &event)?;
    }
    let more = ann.within(SOON).await?;
    let came = more.map_or("nothing".into(), |event| event.to_string());
    expect("end", ann.ended(), "the end of the stream", came)
}

async fn heartbeat(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/").await?;
    let mut lines = Vec::new();
    while lines.iter().filter(|line: &&String| line.starts_with("data")).count() < 2
    {
        let Some(line) = ann.line().await? else {
            return Err(Fault::new("closed", "data: hello 2", lines.join("\n")));
        };
        lines.push(line);
    }
    let came = lines.join("\n");
    let should = "data: hello 1\n\n:\n\n:\n\ndata: hello 2";
    let last = lines.last().map(String::as_str);
    expect("event", last == Some("data: hello 2"), should, &came)?;
    let comments = lines.iter().filter(|line| line.starts_with(':')).count();
    expect("comments", comments >= 2, should, came)
}

async fn one_newline(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/").await?;
    let first = ann.line().await?.unwrap_or_default();
    let second = ann.line().await?.unwrap_or_default();
    let should = "data: hello 1\n\n";
    expect("empty", second.is_empty(), should, format!("{first}\n{second}"))
}

async fn head(server: &mut Subject) -> Result<(), Fault> {
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = server.raw(request, Some("\r\n\r\n")).await?;
    let (head, _) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let lower = head.to_ascii_lowercase();
    let field = |name: &str| {
        let mut lines = lower.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(own, _)| *own == name).map(|(_, value)| value.trim())
    };
    let kind = field("content-type").is_some_and(|kind| {
        kind.split(';').next().map(str::trim_end) == Some("text/event-stream")
    });
    expect("kind", kind, "Content-Type: text/event-stream", head)?;
    let length = field("content-length");
    expect("length", length.is_none(), "Content-Type: text/event-stream", head)?;
    let cache = field("cache-control").is_some_and(|value| value.contains("no-"));
    expect("cache", cache, "Cache-Control: no-cache", head)?;
    let buffer = field("x-accel-buffering") == Some("no");
    expect("buffer", buffer, "X-Accel-Buffering: no", head)?;
    server.events("/").await?.next().await?;
    Ok(())
}

async fn from_nothing(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/").await?;
    let first = ann.next().await?;
    let start = Instant::now();
    expect("count", first.data == "hello 1", "data: hello 1", &first)?;
    let second = ann.next().await?;
    let pause = start.elapsed();
    expect("count", second.data == "hello 2", "data: hello 2", &second)?;
    let is_slow = pause > Duration::from_millis(500);
    let came = format!("{} ms", pause.as_millis());
    expect("pace", is_slow, "1000 ms", came)?;
    let bob = async {
        let mut bob = server.events("/").await?;
        bob.next().await
    };
    let own = bob.await.map_err(|fault| Fault { name: "second".into(), ..fault })?;
    expect("second", own.data == "hello 1", "data: hello 1", &own)?;
    let other = server.get("/nope").await?;
    has_status(&other, 404).map_err(|fault| Fault { name: "path".into(), ..fault })
}
