//! Streams over HTTP/1.1, 2 and 3 where a network is bad: delays under loss, a stream
//! that nobody reads among its siblings, a NAT that forgets, and a reader who moves.
//!
//!     cargo build --release -p protocols && unshare -Urn target/release/protocols
//!
//! Root needs no `unshare`. It takes five minutes.

mod client;
mod delay;
#[path = "../../../tests/harness/link.rs"]
mod link;
mod networks;
mod server;
mod siblings;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::thread;

use anyhow::Result;
use clap::Parser;
use record::{anchored, publish};

#[derive(Parser)]
struct Arguments {
    /// Writes the tables into a file.
    #[arg(long)]
    save: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    link::leave_network();
    eprintln!("networks and siblings: one minute");
    let waiting = thread::spawn(|| networks::rows(networks::Times::RECORDED));
    let siblings = siblings::rows()?;
    let networks = waiting.join().expect("no panic")?;
    let [delays, runs] = delay::rows()?;
    let table = [
        anchored("delays", &delays),
        anchored("runs", &runs),
        anchored("siblings", &siblings),
        anchored("networks", &networks),
    ]
    .join("\n");
    let command = "cargo run --release -p protocols";
    publish(command, &table, arguments.save.as_deref())
}
