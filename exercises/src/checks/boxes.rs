//! The exercises of `boxes.md`: what a server owes its readers behind a box. The check is the
//! box.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::CACHE_CONTROL;
use tokio::time::Instant;

use crate::events::Events;
use crate::fault::{Fault, Seconds, expect};
use crate::subject::{Subject, has_status};

checks! {
    "boxes-last-event" => last_event;
    "boxes-heartbeat" => heartbeat;
    "boxes-no-store" => no_store;
}

/// The box cuts a stream that is silent for so long.
const SILENCE: Duration = Duration::from_secs(2);
/// The second event is due after 4.5 s.
const LATEST: Duration = Duration::from_millis(5_400);

/// The number that an event begins with, if it is a message.
async fn number(events: &mut Events, wanted: u64) -> Result<(), Fault> {
    let event = events.next().await?;
    let should = format!("data: {wanted} …");
    expect("early", event.event.is_empty(), &should, &event)?;
    let first = event.data.split(' ').next();
    expect("other", first == Some(&wanted.to_string()), should, &event)
}

async fn last_event(server: &mut Subject) -> Result<(), Fault> {
    let should = "event: end\ndata: 3";
    let mut ann = server.events("/events?every=20&count=3").await?;
    for wanted in 1..=3 {
        number(&mut ann, wanted).await?;
    }
    let Some(line) = ann.line().await? else {
        return Err(Fault::new("missing", should, "the end of the stream"));
    };
    let mut lines = vec![line];
    while let Some(line) = ann.line().await? {
        lines.push(line);
    }
    let has = |name: &str| {
        lines.iter().any(|line| line.split(':').next() == Some(name))
    };
    let came = lines.join("\n");
    expect("missing", has("event") || has("data"), should, &came)?;
    expect("unnamed", has("event"), should, &came)?;
    expect("empty", has("data"), should, &came)
}

async fn heartbeat(server: &mut Subject) -> Result<(), Fault> {
    server.patience(SILENCE);
    let mut ann = server.events("/events?every=4500&count=2&heartbeat=1000").await?;
    number(&mut ann, 1).await?;
    let began = Instant::now();
    let mut comments = 0;
    loop {
        let line = match ann.line().await {
            Err(fault) if fault.name == "silent" => {
                let name = if comments == 0 { "never" } else { "once" };
                return Err(Fault::new(name, ":", "silence"));
            }
            line => line?.unwrap_or_default(),
        };
        if line.starts_with("data: 2 ") {
            break;
        }
        expect("closed", !ann.ended(), "data: 2 …", "the end of the stream")?;
        comments += usize::from(line.starts_with(':'));
        let time = began.elapsed();
        expect("late", time < LATEST, "data: 2 …", Seconds(time))?;
    }
    let mut bob = server.events("/events?every=300&count=9&heartbeat=1000").await?;
    while let Some(line) = bob.line().await? {
        expect("busy", !line.starts_with(':'), "data: …", &line)?;
    }
    Ok(())
}

async fn no_store(server: &mut Subject) -> Result<(), Fault> {
    for (method, fault) in [(Method::GET, "stored"), (Method::HEAD, "head")] {
        let request = server.request(method, "/events?every=20&count=1").await?;
        let answer = server.send(request).await?;
        has_status(&answer, 200)?;
        let values = answer.headers().get_all(CACHE_CONTROL);
        let values: Vec<_> = values.iter().filter_map(|one| one.to_str().ok()).collect();
        let values = values.join(", ");
        let is_kept_out = values
            .split(',')
            .any(|value| value.trim().eq_ignore_ascii_case("no-store"));
        let came = format!("cache-control: {values}");
        expect(fault, is_kept_out, "cache-control: no-store", came)?;
    }
    Ok(())
}
