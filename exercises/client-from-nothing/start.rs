//! A client of Server-Sent Events: it prints each event, and connects again when the stream
//! ends.

#[allow(dead_code)] // until you use it
mod parser;

use std::env;
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("usage: client URL")?;
    let response = reqwest::get(&url).await?;
    eprintln!("{}", response.status());
    Ok(())
}
