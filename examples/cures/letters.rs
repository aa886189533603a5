//! A stream of bytes as text: it is decoded line by line, and not chunk by chunk.
//!
//!     cargo run --example cure_letters http://127.0.0.1:8698/
//!
//! A chunk may end in the middle of a letter, and a line never does.

use std::{env, error::Error};

/// Bytes of the longest line. Without a bound, a line that never ends fills the memory.
const LONGEST: usize = 1 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("cure_letters URL")?;
    let mut answer = reqwest::get(url).await?.error_for_status()?;
    let mut unread = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        unread.extend_from_slice(&chunk);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            print!("{}", String::from_utf8_lossy(&line));
        }
        if unread.len() > LONGEST {
            return Err("a line is too long".into());
        }
    }
    Ok(())
}
