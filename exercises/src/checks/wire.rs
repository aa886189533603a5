//! The exercises of `wire.md`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::fault::{Fault, expect};
use crate::subject::{Subject, has_status};

checks! {
    "wire-finish" => finish;
    "wire-chunk-random" => chunk_random;
    "wire-retry" => retry;
    "wire-decode-each-chunk" => decode_each_chunk;
    "wire-one-space" => one_space;
    "wire-crlf" => crlf;
    "wire-parser" => parser;
}

/// How long the whole body of an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest piece that `?chunk=random` may send.
const LONGEST: usize = 16;

/// The streams of the exercise in which a parser is written: bytes, and the data, the type
/// and the last event ID of each event in them.
#[rustfmt::skip]
const STREAMS: &[(&str, &[[&str; 3]])] = &[
    ("data: a\n\n", &[["a", "message", ""]]),
    ("data: a\n\ndata: b\n\n", &[["a", "message", ""], ["b", "message", ""]]),
    ("data: a\ndata: b\n\n", &[["a\nb", "message", ""]]),
    ("data: a\r\ndata: b\r\n\r\n", &[["a\nb", "message", ""]]),
    ("data: a\rdata: b\r\r", &[["a\nb", "message", ""]]),
    ("data: a\rdata: b\ndata: c\r\n\n", &[["a\nb\nc", "message", ""]]),
    ("data: a\n\rdata: b\r\n\n", &[["a", "message", ""], ["b", "message", ""]]),
    ("data:a\n\n", &[["a", "message", ""]]),
    ("data:  a \n\n", &[[" a ", "message", ""]]),
    ("data:\ta: b\n\n", &[["\ta: b", "message", ""]]),
    ("data\n\n", &[["", "message", ""]]),
    ("data: a\ndata\n\n", &[["a\n", "message", ""]]),
    (": nobody sees this\n\ndata: a\n: nor this\n\n", &[["a", "message", ""]]),
    ("Data: a\ndatum: b\n data: c\ndata : d\n\n", &[]),
    ("data: never dispatched\n", &[]),
    ("data: never dispatched", &[]),
    ("event: price\ndata: 42\n\ndata: 43\n\n", &[["42", "price", ""], ["43", "message", ""]]),
    ("data: 42\nevent: a\nevent: price\n\n", &[["42", "price", ""]]),
    ("event: ping\n\ndata: a\n\n", &[["a", "message", ""]]),
    ("event\ndata: a\n\n", &[["a", "message", ""]]),
    ("id: 7\ndata: a\n\ndata: b\n\n", &[["a", "message", "7"], ["b", "message", "7"]]),
    ("id: 7\n\ndata: a\n\n", &[["a", "message", "7"]]),
    ("id: 7\ndata: a\n\nid\ndata: b\n\n", &[["a", "message", "7"], ["b", "message", ""]]),
    ("id: a\0b\ndata: c\n\n", &[["c", "message", ""]]),
    ("\u{feff}data: a\n\n", &[["a", "message", ""]]),
    ("\u{feff}\u{feff}data: a\n\n", &[]),
    (":\n\u{feff}data: a\n\n", &[]),
    ("data: \u{20ac} \u{1f642}\n\n", &[["\u{20ac} \u{1f642}", "message", ""]]),
    ("data: a\u{2028}b\u{85}c\n\n", &[["a\u{2028}b\u{85}c", "message", ""]]),
];

/// Keeps the bytes of a stream.
async fn put(
    server: &mut Subject,
    path: &str,
    bytes: impl Into<reqwest::Body>,
) -> Result<(), Fault> {
    let request = server.request(Method::PUT, path).await?.body(bytes);
    let status = server.send(request).await?.status();
    if status.is_success() {
        return Ok(());
    }
    Err(Fault::new("status", "201 Created", status))
}

/// The answer to these bytes, fed to the parser so many at a time, and its text.
async fn parsed(
    server: &mut Subject,
    bytes: &[u8],
    chunk: usize,
) -> Result<(Value, String), Fault> {
    let path = format!("/parse?chunk={chunk}");
    let response = server.post(&path, bytes.to_vec()).await?;
    has_status(&response, 200)?;
    let text = timeout(PATIENCE, response.text()).await;
    let text = text.map_err(|_| Fault::silent("JSON", PATIENCE))?;
    let text = text.map_err(Fault::unable)?;
    Ok((serde_json::from_str(&text).unwrap_or_default(), text))
}

/// Looks for an event with this data and no other one in the bytes, fed whole, and so many
/// at a time.
async fn has_data(
    server: &mut Subject,
    fault: &str,
    bytes: &str,
    data: &str,
    chunks: &[usize],
) -> Result<(), Fault> {
    for chunk in chunks {
        let (answer, text) = parsed(server, bytes.as_bytes(), *chunk).await?;
        let came = &answer["events"];
        let holds = came.as_array().is_some_and(|events| events.len() == 1)
            && came[0]["data"] == data;
        expect(
            fault,
            holds,
            json!({ "data": data }),
            format_args!("{bytes:?}, chunk={chunk}: {text}"),
        )?;
    }
    Ok(())
}

async fn finish(server: &mut Subject) -> Result<(), Fault> {
    for (fault, bytes) in
        [("lost", "data: a\n"), ("unended", "data: a"), ("lost", "data: a\n\n")]
    {
        put(server, "/wire/finish", bytes).await?;
        let events = server.events("/wire/finish").await?.rest().await?;
        let holds = events.len() == 1 && events[0].data == "a";
        let sent = server.get("/wire/finish").await?.text().await;
        let sent = sent.map_err(Fault::unable)?;
        let came = format!("PUT {bytes:?}, GET {sent:?}");
        expect(fault, holds, format_args!("{:?}", "data: a\n\n"), came)?;
    }
    Ok(())
}

/// The chunks of a stream, as the server has sent them.
async fn chunks(server: &mut Subject, path: &str) -> Result<Vec<Vec<u8>>, Fault> {
    let mut response = server.get(path).await?;
    has_status(&response, 200)?;
    let mut chunks = Vec::new();
    let read = async {
        while let Some(chunk) = response.chunk().await? {
            chunks.push(chunk.to_vec());
        }
        Ok::<_, reqwest::Error>(())
    };
    match timeout(PATIENCE, read).await {
        Err(_) => Err(Fault::silent("the end of the stream", PATIENCE)),
        Ok(Err(error)) => Err(Fault::new("unreachable", "a chunk", error)),
        Ok(Ok(())) => Ok(chunks),
    }
}

async fn chunk_random(server: &mut Subject) -> Result<(), Fault> {
    let bytes = "data: a line of some length\n".repeat(20) + "\n";
    put(server, "/wire/random", bytes.clone()).await?;
    let mut before = Vec::new();
    for _ in 0..2 {
        let chunks = chunks(server, "/wire/random?chunk=random").await?;
        let came = chunks.concat();
        let holds = came == bytes.as_bytes();
        let count = |bytes: usize| format!("{bytes} bytes");
        expect("bytes", holds, count(bytes.len()), count(came.len()))?;
        let lengths: Vec<_> = chunks.iter().map(Vec::len).collect();
        // The last one is what is left.
        let all = &lengths[..lengths.len().saturating_sub(1)];
        let holds = all.iter().all(|length| *length <= LONGEST)
            && all.iter().any(|length| *length != all[0])
            && lengths != before;
        expect("lengths", holds, "1-16, random", format_args!("{lengths:?}"))?;
        before = lengths;
    }
    Ok(())
}

async fn retry(server: &mut Subject) -> Result<(), Fault> {
    for (fault, bytes, retry) in [
        ("retry", "retry: 5000\n\n", json!(5000)),
        ("retry", "data: a\n\n", json!(null)),
        ("retry", "retry: 5000\nretry: 700\n\n", json!(700)),
        ("digits", "retry: +5\n\n", json!(null)),
        ("digits", "retry: 3 s\n\n", json!(null)),
        ("kept", "retry: 5000\nretry: soon\n\n", json!(5000)),
        ("kept", "retry: 5000\nretry\n\n", json!(5000)),
    ] {
        for chunk in [1, 1_000] {
            let (answer, text) = parsed(server, bytes.as_bytes(), chunk).await?;
            let holds = answer.get("retry").is_some_and(|came| *came == retry);
            let should = json!({ "retry": retry });
            expect(fault, holds, should, format_args!("{bytes:?}: {text}"))?;
        }
    }
    Ok(())
}

async fn decode_each_chunk(server: &mut Subject) -> Result<(), Fault> {
    has_data(server, "pieces", "data: \u{20ac}\n\n", "\u{20ac}", &[1_000, 1, 2])
        .await
}

async fn one_space(server: &mut Subject) -> Result<(), Fault> {
    for (fault, bytes, data) in [
        ("taken", "data: a\n\n", "a"),
        ("colon", "data:none\n\n", "none"),
        ("taken", "data:  two\n\n", " two"),
        ("taken", "data: end  \n\n", "end  "),
        ("taken", "data:\ttab\n\n", "\ttab"),
        ("colon", "data:a: b\n\n", "a: b"),
    ] {
        has_data(server, fault, bytes, data, &[1_000]).await?;
    }
    Ok(())
}

async fn crlf(server: &mut Subject) -> Result<(), Fault> {
    let crlf = "data: a\r\ndata: b\r\n\r\n";
    has_data(server, "twice", "data: a\ndata: b\n\n", "a\nb", &[1_000, 1]).await?;
    has_data(server, "twice", crlf, "a\nb", &[1_000]).await?;
    has_data(server, "cr", "data: a\rdata: b\r\r", "a\nb", &[1_000, 1]).await?;
    has_data(server, "border", crlf, "a\nb", &[1, 8]).await
}

async fn parser(server: &mut Subject) -> Result<(), Fault> {
    for (n, (bytes, events)) in STREAMS.iter().enumerate() {
        let fault = if n == 0 { "nothing" } else { "rule" };
        let events = events.iter().map(|[data, event, id]| {
            json!({ "type": event, "data": data, "lastEventId": id })
        });
        let events = Value::from(events.collect::<Vec<_>>());
        for chunk in [1_000, 1, 3] {
            let (answer, text) = parsed(server, bytes.as_bytes(), chunk).await?;
            let came = format!("{bytes:?}, chunk={chunk}: {text}");
            expect(fault, answer["events"] == events, &events, came)?;
        }
    }
    let not_utf8 = b"data: \xff \xf0\x9f\n\n";
    let (answer, text) = parsed(server, not_utf8, 1).await?;
    let should = "\u{fffd} \u{fffd}";
    let holds = answer["events"][0]["data"] == should;
    expect("rule", holds, should, format_args!("\"data: \\xff \\xf0\\x9f\": {text}"))?;
    let (answer, text) = parsed(server, b"id: 1\n\nid: 2\n", 1).await?;
    let should = json!({ "lastEventId": "1" });
    let holds = answer["lastEventId"] == "1";
    expect("rule", holds, should, format_args!("\"id: 1\\n\\nid: 2\\n\": {text}"))
}
