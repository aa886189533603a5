//! The client that everybody writes first: it prints the events of a stream, and connects
//! again when the stream ends. Five things are wrong with it on purpose.
//!
//!     cargo run --example client_first -- http://127.0.0.1:8698/ticks
//!
//! Chapter 9 shows each of them, and the lines that put it right. `client` has all of that.

#[allow(dead_code)] // the steps of the chapter need the rest of it
mod parser;

use std::env;
use std::error::Error;

use parser::Parser;

/// The most bytes that one event may have.
const MAX_EVENT: usize = 16 << 20;

// ANCHOR: main
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("usage: client URL")?;
    let client = reqwest::Client::new();
    let parser = Parser::new(MAX_EVENT, String::new());
    let mut reader = Reader { client, url, parser };
    loop {
        if let Err(error) = reader.read().await {
            eprintln!("{error}");
        }
        reader.parser.end();
    }
}
// ANCHOR_END: main

// ANCHOR: read
struct Reader {
    client: reqwest::Client,
    url: String,
    parser: Parser,
}

impl Reader {
    /// Connects, and prints the events until the connection ends.
    async fn read(&mut self) -> Result<(), Box<dyn Error>> {
        let request = self.client.get(&self.url);
        let mut response = request.send().await?;
        while let Some(bytes) = response.chunk().await? {
            let mut events = self.parser.feed(&bytes);
            while let Some(event) = events.next()? {
                println!("{}: {}", event.event_type, event.data);
            }
        }
        Ok(())
    }
}
// ANCHOR_END: read
