//! The exercises of the pages `async-….md`.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::events::Events;
use crate::fault::{Fault, expect};
use crate::subject::{Subject, has_status};

checks! {
    "async-one-count" => one_count;
    "async-blocking" => blocking;
    "async-one-lock" => one_lock;
    "async-ask-first" => ask_first;
    "async-readers" => readers;
}

/// How long a program of `waiting` may take, on a busy machine.
const LONG: Duration = Duration::from_secs(15);
/// How soon a server notices that a reader has left.
const SOON: Duration = Duration::from_secs(3);

/// The number that is the data of the next event.
async fn number(events: &mut Events) -> Result<u64, Fault> {
    let event = events.next().await?;
    let number = event.data.parse();
    number.map_err(|_| Fault::new("apart", "a number", event))
}

async fn one_count(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks").await?;
    number(&mut ann).await?;
    let before = number(&mut ann).await?;
    let mut bob = server.events("/ticks").await?;
    let same = number(&mut bob).await?;
    let is_same = (before..=before + 2).contains(&same);
    expect("apart", is_same, format!("data: {before}"), format!("data: {same}"))?;
    number(&mut ann).await?;
    let after = number(&mut ann).await?;
    let should = format!("data: {}", before + 2);
    let is_slow = after <= before + 3;
    expect("faster", is_slow, should, format!("data: {after}"))
}

/// Runs a program of `waiting`, whose stdout must have this line.
async fn prints(
    server: &mut Subject,
    fault: &str,
    line: &str,
) -> Result<(), Fault> {
    server.patience(LONG);
    let (printed, _) = server.run(&[])?.ended().await?;
    expect(fault, printed.lines().any(|own| own == line), line, &printed)
}

async fn blocking(server: &mut Subject) -> Result<(), Fault> {
    prints(server, "held", "both at once: 2 s").await
}

async fn one_lock(server: &mut Subject) -> Result<(), Fault> {
    prints(server, "lost", "in one step: 10").await
}

async fn ask_first(server: &mut Subject) -> Result<(), Fault> {
    prints(server, "lost", "ask first: Ok(\"hi\")").await
}

/// The number of readers that the server says it has.
async fn count(server: &mut Subject) -> Result<String, Fault> {
    let answer = server.get("/readers").await?;
    has_status(&answer, 200)?;
    let text = answer.text().await;
    let text = text.map_err(|error| Fault::new("count", "2", error))?;
    Ok(text.trim().to_string())
}

async fn readers(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/ticks").await?;
    let mut bob = server.events("/ticks").await?;
    ann.next().await?;
    bob.next().await?;
    let two = count(server).await?;
    expect("count", two == "2", "2", two)?;
    drop(bob);
    let start = Instant::now();
    let mut left = count(server).await?;
    while left != "1" && start.elapsed() < SOON {
        sleep(Duration::from_millis(50)).await;
        left = count(server).await?;
    }
    expect("stays", left == "1", "1", left)
}
