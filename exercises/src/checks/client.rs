//! The exercises of `client.md`. The program is a client, so the check is its server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::fault::{Fault, Seconds, expect};
use crate::server::{Asked, Server};
use crate::subject::{Run, Subject};

checks! {
    "client-wait" => wait;
    "client-longer" => longer;
    "client-id" => id;
    "client-answers" => answers;
    "client-silence" => silence;
    "client-only" => only;
    "client-gives-up" => gives_up;
    "client-time" => time;
    "client-resets" => longer;
    "client-id-alone" => id_alone;
    "client-from-nothing" => from_nothing;
}

/// How long a client may take for something that it does at once.
const SOON: Duration = Duration::from_secs(3);

/// Answers the next request with a stream that ends, and returns when it has ended.
async fn serve(server: &Server, body: &str) -> Result<Instant, Fault> {
    let mut asked = server.asked().await?;
    asked.stream(body).await?;
    let ended = Instant::now();
    asked.close().await?;
    Ok(ended)
}

/// The next request, unless the client ends before: then this is its fault.
async fn again(
    server: &Server,
    client: &mut Run,
    fault: &str,
) -> Result<Asked, Fault> {
    let should = "another request";
    tokio::select! {
        asked = server.asked_within(SOON) => {
            asked?.ok_or_else(|| Fault::new(fault, should, "no request"))
        }
        ended = client.ended() => {
            Err(Fault::new(fault, should, code(ended?.1)))
        }
    }
}

/// The client must end with this exit code, and ask no more.
async fn ends(
    server: &Server,
    client: &mut Run,
    exit: i32,
    fault: &str,
) -> Result<(), Fault> {
    let should = code(Some(exit));
    tokio::select! {
        asked = server.asked() => {
            asked?;
            Err(Fault::new(fault, should, "another request"))
        }
        ended = client.ended() => {
            let (_, came) = ended?;
            expect(fault, came == Some(exit), should, code(came))
        }
    }
}

fn code(code: Option<i32>) -> String {
    match code {
        Some(code) => format!("the end, with exit code {code}"),
        None => "the end, by a signal".into(),
    }
}

fn after(time: Duration) -> String {
    format!("a request after {}", Seconds(time))
}

async fn wait(client: &mut Subject) -> Result<(), Fault> {
    let server = Server::start().await?;
    let _client = client.run(&[&server.url("/")])?;
    let mut asked = server.asked().await?;
    // Twice, because a busy machine may look like a client that waits.
    for retry in [400, 900] {
        asked.stream(format!("retry: {retry}\ndata: a\n\n")).await?;
        let retry = Duration::from_millis(retry);
        let ended = Instant::now();
        asked.close().await?;
        // Half as much again by chance, and the rest for a busy machine.
        let longest = Duration::from_millis(2_500);
        let Some(next) = server.asked_within(longest).await? else {
            return Err(Fault::new("own-time", after(retry), "no request"));
        };
        let waited = ended.elapsed();
        expect("busy", waited >= retry, after(retry), after(waited))?;
        asked = next;
    }
    Ok(())
}

async fn longer(client: &mut Subject) -> Result<(), Fault> {
    let server = Server::start().await?;
    let _client = client.run(&[&server.url("/")])?;
    serve(&server, "retry: 100\ndata: a\n\n").await?;
    for _ in 0..2 {
        serve(&server, ": no event\n\n").await?;
    }
    let mut asked = server.asked().await?;
    // The first doubling may come one attempt later.
    for least in [400, 800].map(Duration::from_millis) {
        asked.stream(": no event\n\n").await?;
        let ended = Instant::now();
        asked.close().await?;
        asked = server.asked().await?;
        let waited = ended.elapsed();
        let should = format!("{} or later", after(least));
        expect("same", waited >= least, should, after(waited))?;
    }
    asked.stream("data: b\n\n").await?;
    let ended = Instant::now();
    asked.close().await?;
    server.asked().await?;
    let waited = ended.elapsed();
    let should = after(Duration::from_millis(100));
    expect("no-reset", waited < Duration::from_millis(800), should, after(waited))
}

async fn id(client: &mut Subject) -> Result<(), Fault> {
    let server = Server::start().await?;
    let mut client = client.run(&[&server.url("/")])?;
    let mut asked = server.asked().await?;
    let header = asked.header("last-event-id");
    expect("empty", header.is_none(), "no Last-Event-ID", last(header))?;
    asked.stream("retry: 0\nid: é7\ndata: a\n\nid: é8\ndata: not who").await?;
    asked.close().await?;
    let asked = again(&server, &mut client, "lost").await?;
    let header = asked.header("last-event-id");
    let should = last(Some("é7"));
    expect("lost", header == Some("é7"), should, last(header))
}

fn last(id: Option<&str>) -> String {
    match id {
        Some(id) => format!("Last-Event-ID: {id}"),
        None => "no Last-Event-ID".into(),
    }
}

async fn answers(subject: &mut Subject) -> Result<(), Fault> {
    let server = Server::start().await?;
    let url = server.url("/");
    let mut client = subject.run(&[&url])?;
    serve(&server, "retry: 0\ndata: a\n\n").await?;
    server.asked().await?.answer("503 Service Unavailable").await?;
    let asked = again(&server, &mut client, "hasty").await?;
    asked.answer("204 No Content").await?;
    ends(&server, &mut client, 0, "over").await?;

    let mut client = subject.run(&[&url])?;
    serve(&server, "retry: 0\ndata: a\n\n").await?;
    server.asked().await?.answer("404 Not Found").await?;
    ends(&server, &mut client, 2, "refused").await?;

    let mut client = subject.run(&[&url])?;
    let mut asked = server.asked().await?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n";
    asked.write(&format!("{head}retry: 0\ndata: a page\n\n")).await?;
    asked.close().await?;
    ends(&server, &mut client, 2, "page").await?;

    let mut client = subject.run(&[&url])?;
    let mut asked = server.asked().await?;
    let kind = "content-type: text/event-stream;charset=utf-8";
    asked.write(&format!("HTTP/1.1 200 OK\r\n{kind}\r\n\r\ndata: b\n\n")).await?;
    let line = client.line_within(SOON).await;
    let has_line = line.as_ref().is_some_and(|line| line.contains('b'));
    expect("charset", has_line, "message: b", line.unwrap_or_default())
}

async fn silence(client: &mut Subject) -> Result<(), Fault> {
    let idle = Duration::from_secs(1);
    client.set("IDLE", "1")?;
    let server = Server::start().await?;
    let mut client = client.run(&[&server.url("/")])?;
    let mut asked = server.asked().await?;
    asked.stream("retry: 0\ndata: a\n\n").await?;
    for _ in 0..7 {
        sleep(idle / 4).await;
        asked.write(":\n").await?;
    }
    let early = server.asked_within(Duration::from_millis(100)).await?;
    let should = "no other request while comments come";
    expect("impatient", early.is_none(), should, "another request")?;
    let _silent = again(&server, &mut client, "waits").await?;
    // This one gets no answer.
    again(&server, &mut client, "no-head").await?;
    Ok(())
}

async fn only(subject: &mut Subject) -> Result<(), Fault> {
    let server = Server::start().await?;
    let url = server.url("/");
    let body = "event: news\ndata: one\n\ndata: two\n\nevent: news\ndata: three\n\n";
    let mut client = subject.run(&[&url, "news"])?;
    let mut asked = server.asked().await?;
    asked.stream(body).await?;
    client.line().await?;
    let line = client.line().await?;
    expect("all", line.ends_with("three"), "news: three", line)?;
    drop(client);

    let mut client = subject.run(&[&url])?;
    let mut asked = server.asked().await?;
    asked.stream(body).await?;
    client.line_within(SOON).await;
    let line = client.line_within(SOON).await.unwrap_or_default();
    expect("untyped", line.ends_with("two"), "message: two", line)
}

async fn gives_up(client: &mut Subject) -> Result<(), Fault> {
    let server = Server::start().await?;
    let mut client = client.run(&[&server.url("/")])?;
    let event = "retry: 0\ndata: a\n\n";
    serve(&server, event).await?;
    for failures in [2, 3] {
        for _ in 0..failures {
            let asked = again(&server, &mut client, "in-all").await?;
            asked.answer("503 Service Unavailable").await?;
        }
        if failures == 2 {
            let mut asked = again(&server, &mut client, "in-all").await?;
            asked.stream(event).await?;
            asked.close().await?;
        }
    }
    ends(&server, &mut client, 3, "never").await
}

async fn time(client: &mut Subject) -> Result<(), Fault> {
    let server = Server::start().await?;
    let mut client = client.run(&["--json", &server.url("/")])?;
    let mut asked = server.asked().await?;
    asked.stream("data: a\n\n").await?;
    let line = client.line().await?;
    let event: Value = serde_json::from_str(&line)
        .map_err(|error| Fault::new("no-json", "one JSON object", error))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Fault::unable)?;
    let should = format!("\"at\":{}", now.as_millis());
    let Some(at) = event["at"].as_u64() else {
        return Err(Fault::new("no-time", should, line));
    };
    let at = Duration::from_millis(at);
    let off = now.abs_diff(at);
    expect("other-unit", off < Duration::from_secs(60), should, line)
}

async fn id_alone(client: &mut Subject) -> Result<(), Fault> {
    let server = Server::start().await?;
    let _client = client.run(&[&server.url("/")])?;
    serve(&server, "retry: 0\nid: 7\n\n").await?;
    let asked = server.asked().await?;
    let header = asked.header("last-event-id");
    expect("lost", header == Some("7"), last(Some("7")), last(header))
}

async fn from_nothing(client: &mut Subject) -> Result<(), Fault> {
    let server = Server::start().await?;
    let mut client = client.run(&[&server.url("/")])?;
    let mut asked = server.asked().await?;
    asked.stream("retry: 100\ndata: one\n\n").await?;
    let line = client.line_within(SOON).await.unwrap_or_default();
    expect("nothing", line.contains("one"), "message: one", line)?;
    // The first byte of an é, and then the second one.
    for part in [&b"data: \xc3"[..], b"\xa9\n\n"] {
        asked.socket.write_all(part).await.map_err(Fault::unable)?;
        sleep(Duration::from_millis(50)).await;
    }
    let line = client.line_within(SOON).await.unwrap_or_default();
    expect("torn", line.contains("é"), "message: é", line)?;
    asked.close().await?;
    again(&server, &mut client, "once").await?;
    Ok(())
}
