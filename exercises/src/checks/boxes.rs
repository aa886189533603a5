//! The exercises of `boxes.md`: what a server owes its readers behind a box. The check is the
//! box.

use std::time::Duration;

use reqwest::header::CACHE_CONTROL;
use tokio::time::Instant;

use crate::fault::{Fault, expect};
use crate::subject::Subject;

checks! {
    "boxes-heartbeat" => heartbeat;
    "boxes-last-event" => last_event;
    "boxes-no-store" => no_store;
}

/// The box cuts a stream that is silent for so long.
const SILENCE: Duration = Duration::from_secs(2);
/// The time for which the stream has to live behind the box.
const LIFE: Duration = Duration::from_secs(5);

async fn heartbeat(server: &mut Subject) -> Result<(), Fault> {
    server.patience(SILENCE);
    let mut ann = server.events("/").await?;
    let began = Instant::now();
    while began.elapsed() < LIFE {
        match ann.line().await {
            Err(fault) if fault.name == "silent" => {
                return Err(Fault::new("cut", ":", "silence"));
            }
            Err(fault) => return Err(fault),
            Ok(None) => return Err(Fault::new("closed", ":", "")),
            Ok(Some(line)) => {
                // A block without data is no event (9.2.6), whatever else stands in it.
                let is_data = line.split(':').next() == Some("data");
                expect("event", !is_data, ":", line)?;
            }
        }
    }
    Ok(())
}

async fn last_event(server: &mut Subject) -> Result<(), Fault> {
    let should = "event: end\ndata: 3";
    let mut ann = server.events("/ticks").await?;
    for wanted in ["1", "2", "3"] {
        let number = ann.next().await?;
        let is_number = number.event.is_empty() && number.data == wanted;
        expect("early", is_number, format!("data: {wanted}"), number)?;
    }
    let mut lines = Vec::new();
    while let Some(line) = ann.line().await? {
        if line.is_empty() && !lines.is_empty() {
            break;
        }
        if !line.is_empty() && !line.starts_with(':') {
            lines.push(line);
        }
    }
    let value = |name: &str| {
        let mut fields =
            lines.iter().map(|line| line.split_once(':').unwrap_or((line, "")));
        let (_, value) = fields.rfind(|(field, _)| *field == name)?;
        Some(value.strip_prefix(' ').unwrap_or(value))
    };
    let came = lines.join("\n");
    if lines.is_empty() {
        return Err(Fault::new("missing", should, "the end of the stream"));
    }
    expect("unnamed", value("event").is_some(), should, &came)?;
    expect("empty", value("data").is_some(), should, &came)?;
    expect("type", value("event") == Some("end"), should, &came)?;
    expect("number", value("data") == Some("3"), should, &came)?;
    let more = ann.next().await;
    match more {
        Err(fault) if fault.name == "closed" => Ok(()),
        Err(fault) => Err(fault),
        Ok(event) => Err(Fault::new("open", "the end of the stream", event)),
    }
}

async fn no_store(server: &mut Subject) -> Result<(), Fault> {
    let ann = server.events("/ticks").await?;
    let values = ann.headers().get_all(CACHE_CONTROL);
    let values: Vec<_> = values.iter().filter_map(|one| one.to_str().ok()).collect();
    let values = values.join(", ");
    let mut words = values.split(',').map(str::trim);
    let has = words.any(|word| word.eq_ignore_ascii_case("no-store"));
    let came = format!("cache-control: {values}");
    expect("stored", has, "cache-control: no-store", came)
}
