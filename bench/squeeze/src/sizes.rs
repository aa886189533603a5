//! The bytes of an event, without compression and with each encoder. Each event must be
//! whole once its piece has come: an encoder that holds one back fails here.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use flate2::{Compress, Compression, FlushCompress};
use record::anchored;

use crate::compressed::{Decoder, ENCODERS, Encoder, STREAMS, Server, events};

pub async fn table() -> Result<String> {
    let mut rows = String::new();
    for stream in STREAMS {
        let events = events(stream)?;
        let plain: usize = events.iter().map(String::len).sum();
        let each = |bytes: usize| bytes as f64 / events.len() as f64;
        write!(rows, "| {stream} | {} | {:.0}", events.len(), each(plain))?;
        for encoder in ENCODERS.iter().filter(|encoder| encoder.name != "none") {
            let bytes = bytes(encoder, &events).await?;
            write!(rows, " | {:.0}", each(bytes))?;
        }
        writeln!(rows, " | {:.0} |", each(shared(&events)?))?;
    }
    let names = ENCODERS.iter().map(|encoder| encoder.name);
    let names: Vec<_> = names.filter(|name| *name != "none").collect();
    let head = format!(
        "| stream | events | plain | {} | gzip 6, once for all |\n|{}\n",
        names.join(" | "),
        " --- | --: |".to_string() + &" --: |".repeat(names.len() + 2),
    );
    Ok(format!("{head}{}", anchored("sizes", &rows)))
}

/// The bytes of a stream that this encoder has made of these events, a piece for each.
async fn bytes(encoder: &Encoder, events: &[String]) -> Result<usize> {
    let mut body = Server::start(encoder, events.to_vec()).answer().await?;
    let mut decoder = Decoder::of(encoder)?;
    let mut bytes = 0;
    let mut sent = String::new();
    for event in events {
        sent += event;
        let piece = body.next().await?.unwrap_or_default();
        bytes += piece.len();
        let text = decoder.text(&piece)?;
        ensure!(text == sent.as_bytes(), "{} holds back {event:?}", encoder.name);
    }
    while let Some(piece) = body.next().await? {
        bytes += piece.len();
    }
    Ok(bytes)
}

/// The bytes of the same events where each one is compressed once, for all readers: it may
/// refer to nothing before it, because they have not all read that.
fn shared(events: &[String]) -> Result<usize> {
    let mut encoder = Compress::new(Compression::new(6), false);
    let mut bytes = 0;
    for event in events {
        let mut piece = Vec::with_capacity(2 * event.len() + 64);
        encoder.compress_vec(event.as_bytes(), &mut piece, FlushCompress::Full)?;
        ensure!(piece.len() < piece.capacity(), "the piece is whole");
        bytes += piece.len();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_heartbeat_is_flushed_as_an_event_is() {
        let events = ["data: 1\n\n", ":\n\n", ":\n\n"].map(String::from);
        for encoder in &ENCODERS {
            bytes(encoder, &events).await.unwrap();
        }
    }
}
