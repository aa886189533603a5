//! The exercises of `faults.md`.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use tokio::time::timeout;

use crate::fault::{Fault, expect};
use crate::subject::{Subject, has_status};

checks! {
    "faults-cut-in-crlf" => cut_in_crlf;
    "faults-comments" => comments;
    "faults-times" => times;
    "faults-no-yield" => no_yield;
    "faults-ids" => ids;
    "faults-cut" => cut;
}

/// How long the whole body of an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
const STREAM: &str = "/streams/check";

/// The body of an answer, and whether it has ended with its last chunk.
struct Body {
    text: String,
    is_whole: bool,
}

/// Reads the stream of a fault until it ends, or is cut.
async fn body(server: &mut Subject, path: &str) -> Result<Body, Fault> {
    let mut response = server.get(path).await?;
    has_status(&response, 200)?;
    let mut bytes = Vec::new();
    let read = async {
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return true,
                Err(_) => return false, // the connection is gone before the last chunk
            }
        }
    };
    let is_whole = timeout(PATIENCE, read).await;
    let is_whole =
        is_whole.map_err(|_| Fault::silent("the end of the stream", PATIENCE))?;
    Ok(Body { text: String::from_utf8_lossy(&bytes).into_owned(), is_whole })
}

/// Gives the stream of the check a script, and returns the status of the answer.
async fn script(server: &mut Subject, script: &str) -> Result<StatusCode, Fault> {
    let request = server.request(Method::PUT, STREAM).await?;
    Ok(server.send(request.body(script.to_string())).await?.status())
}

/// The same, where the script is one that the server has to take.
async fn play(server: &mut Subject, words: &str) -> Result<(), Fault> {
    let status = script(server, words).await?;
    if status.is_success() {
        return Ok(());
    }
    Err(Fault::new("status", "201 Created", format_args!("{words}: {status}")))
}

async fn cut_in_crlf(server: &mut Subject) -> Result<(), Fault> {
    let body = body(server, "/faults/cut-in-crlf").await?;
    let should = "id: 1\r\ndata: event 1\r\n\r";
    let came = format!("{:?}", body.text);
    expect("bytes", body.text == should, format_args!("{should:?}"), came)?;
    expect("whole", !body.is_whole, "a cut", "a last chunk")
}

async fn comments(server: &mut Subject) -> Result<(), Fault> {
    let closed = || Fault::new("closed", ": …", "the end of the stream");
    let mut events = server.events("/faults/comments").await?;
    let mut event = Vec::new();
    loop {
        let line = events.line().await?.ok_or_else(closed)?;
        expect("first", !line.starts_with(':'), "data: event 1", &line)?;
        if line.is_empty() {
            break;
        }
        event.push(line);
    }
    let holds = event.iter().any(|line| line == "data: event 1");
    expect("first", holds, "data: event 1", event.join("\n"))?;
    let mut comments = 0;
    while comments < 2 {
        let line = events.line().await?.ok_or_else(closed)?;
        comments += usize::from(line.starts_with(':'));
        let holds = line.is_empty() || line.starts_with(':');
        expect("event", holds, ": …", line)?;
    }
    Ok(())
}

async fn times(server: &mut Subject) -> Result<(), Fault> {
    play(server, "cut-between-events*3 204").await?;
    for (attempt, status) in [(1, 200), (2, 200), (3, 200), (4, 204), (5, 204)] {
        let came = server.get(STREAM).await?.status();
        let holds = came.as_u16() == status;
        expect("count", holds, status, format_args!("{attempt}: {came}"))?;
    }
    play(server, "500 502*2 404").await?;
    for status in [500, 502, 502, 404, 404] {
        let came = server.get(STREAM).await?.status();
        expect("count", came.as_u16() == status, status, came)?;
    }
    for words in ["good*0", "good*10", "good*many", "good*"] {
        let came = script(server, words).await?;
        let came = format!("{words}: {came}");
        expect("refused", came.contains(": 400"), "400 Bad Request", came)?;
    }
    Ok(())
}

/// Whether the body of a stream is whole. Its bytes have to be these, even if it is not.
async fn is_whole(
    server: &mut Subject,
    path: &str,
    should: &str,
) -> Result<bool, Fault> {
    let should_be = format!("{should:?}");
    let body = match body(server, path).await {
        // Not even the head has arrived.
        Err(fault) if fault.name == "unreachable" => {
            return Err(Fault::new("lost", should_be, fault.came));
        }
        body => body?,
    };
    let came = format!("{:?}", body.text);
    expect("lost", body.text == should, should_be, came)?;
    Ok(body.is_whole)
}

async fn no_yield(server: &mut Subject) -> Result<(), Fault> {
    let should = "id: 1\ndata: event 1\n\n";
    is_whole(server, "/faults/cut-between-events", should).await?;
    Ok(())
}

/// The id of the first event after the one that tells of the attempt.
async fn first_id(server: &Subject, request: RequestBuilder) -> Result<String, Fault> {
    let mut events = server.events_of(request).await?;
    loop {
        let event = events.next().await?;
        if event.event.is_empty() {
            return Ok(event.id);
        }
    }
}

async fn ids(server: &mut Subject) -> Result<(), Fault> {
    play(server, "good").await?;
    let path = format!("{STREAM}?after=2");
    let request = server.request(Method::GET, &path).await?;
    let id = first_id(server, request).await?;
    expect("url", id == "3", "id: 3", format_args!("id: {id}"))?;
    let request = server.request(Method::GET, &path).await?;
    let id = first_id(server, request.header("last-event-id", "7")).await?;
    expect("again", id == "8", "id: 8", format_args!("id: {id}"))
}

async fn cut(server: &mut Subject) -> Result<(), Fault> {
    let should = "id: 1\ndata: event 1\n\nid: 2\ndata: event 2\n";
    let is_whole = is_whole(server, "/faults/cut-mid-event", should).await?;
    expect("whole", !is_whole, "a cut", "a last chunk")
}
