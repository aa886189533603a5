//! The exercises of `tick.md`.

use crate::fault::{Fault, expect};
use crate::subject::Subject;

checks! {
    "tick-from-seven" => from_seven;
    "tick-each-reader" => each_reader;
}

async fn from_seven(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks").await?;
    let first = ann.next().await?;
    expect("first", first.data == "7", "data: 7", &first)?;
    let second = ann.next().await?;
    expect("second", second.data == "8", "data: 8", &second)
}

async fn each_reader(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks").await?;
    let first = ann.next().await?;
    expect("first", first.data == "1", "data: 1", &first)?;
    let mut bob = server.events("/ticks").await?;
    let first = bob.next().await?;
    expect("shared", first.data == "1", "data: 1", &first)
}
