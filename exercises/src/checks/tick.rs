//! The exercises of `tick.md`.

use std::time::Duration;

use crate::fault::{Fault, expect};
use crate::subject::{Subject, has_status};

checks! {
    "tick-from-seven" => from_seven;
    "tick-ends" => ends;
    "tick-from-query" => from_query;
    "tick-named" => named;
    "tick-each-reader" => each_reader;
    "tick-from-nothing" => from_nothing;
}

/// A moment in which the next event of a stream of one a second comes, on a busy machine.
const SOON: Duration = Duration::from_secs(3);

async fn from_seven(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks").await?;
    let first = ann.next().await?;
    expect("first", first.data == "7", "data: 7", &first)?;
    let second = ann.next().await?;
    expect("second", second.data == "8", "data: 8", &second)
}

async fn ends(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks").await?;
    let mut data = Vec::new();
    while let Some(event) = ann.within(SOON).await? {
        data.push(format!("data: {}", event.data));
        expect("open", data.len() < 4, "the end of the stream", data.join("\n\n"))?;
    }
    let came = data.join("\n\n");
    expect("open", ann.ended(), "the end of the stream", &came)?;
    let should = "data: 1\n\ndata: 2\n\ndata: 3";
    expect("count", came == should, should, &came)
}

async fn from_query(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks?from=7").await?;
    for data in ["7", "8"] {
        let event = ann.next().await?;
        expect("from", event.data == data, format!("data: {data}"), &event)?;
    }
    let mut bob = server.events("/ticks").await?;
    let first = bob.next().await?;
    expect("plain", first.data == "1", "data: 1", &first)?;
    has_status(&server.get("/ticks?from=x").await?, 400)
}

async fn named(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks").await?;
    let first = ann.next().await?;
    let is_message = ["", "message"].contains(&&*first.event);
    expect("named", is_message, "data: 1", &first)
}

async fn each_reader(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks").await?;
    let first = ann.next().await?;
    expect("first", first.data == "1", "data: 1", &first)?;
    let mut bob = server.events("/ticks").await?;
    let first = bob.next().await?;
    expect("shared", first.data == "1", "data: 1", &first)
}

async fn from_nothing(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks").await?;
    let buffering = ann.headers().get("x-accel-buffering");
    let buffering = buffering.and_then(|value| value.to_str().ok());
    let came = format!("X-Accel-Buffering: {}", buffering.unwrap_or_default());
    expect("buffer", buffering == Some("no"), "X-Accel-Buffering: no", came)?;
    for data in ["1", "2"] {
        let event = ann.next().await?;
        expect("count", event.data == data, format!("data: {data}"), &event)?;
    }
    let mut bob = server.events("/ticks").await?;
    let first = bob.next().await?;
    expect("shared", first.data == "1", "data: 1", &first)
}
