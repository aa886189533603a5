//! A client of Server-Sent Events that survives: it prints the events of a stream, comes
//! back when the connection is lost, and goes on where it was.
//!
//!     cargo run --example client -- http://127.0.0.1:8698/ticks
//!     cargo run --example client -- --help
//!
//! Start `cargo run --example tick` in another terminal for it, end that, and start it
//! again: the client waits for it. Chapter 9.
//!
//! It reads a stream as the standard says (`parser.rs`). Where EventSource gives up,
//! it goes on, and where EventSource waits forever, it gives up:
//!
//! | what happens | EventSource | this client |
//! | --- | --- | --- |
//! | the stream ends, or the connection is lost or refused | tries again after `retry` | the same, each time later, until an event arrives |
//! | nothing arrives any more | waits | tries again after `--idle` |
//! | 204 | stops | the same, exit code 0 |
//! | 408, 425, 429 or 5xx | stops | tries again, not before `Retry-After` |
//! | another status, or 200 with another type | stops | the same, exit code 2 |
//! | 301, 302, 303, 307 or 308 | follows; see below | the same |
//! | a content coding that nobody asked for | decodes it | exit code 2 |
//! | a certificate that is wrong | stops | the same, exit code 2 |
//! | an event without an end | waits for the end | exit code 4 |
//! | nobody can read the output any more | | exit code 0 |
//!
//! Each attempt begins at the URL that you gave, because a redirect may lead elsewhere by
//! then (Chromium goes straight to where a 301 has led it, as `faults` shows). An ID outlives the
//! connection, as it does in Chromium; by the standard's letter, the ID buffer of a new
//! stream is empty, and its first event without an ID would forget it. A header that you
//! give with `-H` goes to no other origin.
//!
//! It goes through the proxy that `http_proxy`, `https_proxy` or `all_proxy` names, and says
//! so; `no_proxy` lists the hosts that it reaches directly.
//!
//! Left out: POST, HTTP/2, cookies, compression, credentials that have to be renewed, and a
//! place to keep the last event ID until the next start; the output has it.

mod answer;
mod connection;
mod failure;
mod options;
mod output;
mod parser;

use std::convert::Infallible;
use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use answer::MAX_RETRY;
use connection::{Connector, explain, silence};
use failure::{End, Exit, Failure};
use options::{HELP, Options};
use output::{Output, say};
use parser::Parser;

/// The reconnection time of a stream that sets none. Chromium takes the same.
const RETRY: Duration = Duration::from_secs(3);
/// The shortest wait: `retry: 0` with a server that is down would be an attack.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// Waits do not double beyond this, so that a server that is back is noticed.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(Some(options)) => options,
        Ok(None) => {
            drop(io::stdout().write_all(HELP.as_bytes())); // stdout may be a closed pipe
            return ExitCode::SUCCESS;
        }
        Err(why) => return report(End(Exit::Usage, format!("{why}; see --help"))),
    };
    tokio::spawn(async {
        stopped().await;
        process::exit(Exit::Over as i32)
    });
    // A stream of heartbeats writes nothing, and so would never notice.
    #[cfg(unix)]
    thread::spawn(|| {
        output::wait_until_nobody_reads();
        process::exit(Exit::Over as i32)
    });
    match follow(options).await {
        Ok(never) => match never {},
        Err(end) => report(end),
    }
}

/// Says why the program ends, and returns its exit code.
fn report(End(code, why): End) -> ExitCode {
    if !why.is_empty() {
        say(&why);
    }
    ExitCode::from(code as u8)
}

/// Follows the stream for as long as there is hope.
async fn follow(options: Options) -> Result<Infallible, End> {
    let connector = Connector::new(&options)?;
    let mut output = Output::new(options.json);
    let mut parser = Parser::new(options.max_event, options.last_event_id.clone());
    let mut fruitless = 0; // attempts in a row that have brought no event
    loop {
        let Attempt { is_fruitful, why, retry_after } =
            attempt(&connector, &options, &mut parser, &mut output).await?;
        parser.end();
        fruitless = if is_fruitful { 0 } else { fruitless + 1 };
        if fruitless >= options.max_attempts {
            return Err(End(Exit::GaveUp, format!("{why}; giving up")));
        }
        let retry = parser.retry().unwrap_or(RETRY);
        let wait = backoff(retry, fruitless, retry_after.unwrap_or_default());
        say(&format!("{why}; trying again in {:.1} s", wait.as_secs_f64()));
        tokio::time::sleep(wait).await;
    }
}

/// How an attempt has ended that another attempt follows.
struct Attempt {
    /// Whether it brought an event, or heartbeats for some time.
    is_fruitful: bool,
    /// The reason why it ended.
    why: String,
    /// How long the server asks us to stay away, if it does.
    retry_after: Option<Duration>,
}

/// How long to wait before the next attempt: never less than the reconnection time (9.2.3)
/// or than `Retry-After`, up to a day, and longer each time that there was no event, as the
/// standard allows. Chance keeps apart the readers that have lost the server at the same
/// moment.
fn backoff(retry: Duration, fruitless: u32, retry_after: Duration) -> Duration {
    let retry = retry.clamp(MIN_WAIT, MAX_RETRY);
    let doubled = retry.saturating_mul(1 << fruitless.saturating_sub(1).min(20));
    let wait = doubled.min(retry.max(MAX_WAIT)).max(retry_after);
    wait.mul_f64(rand::random_range(1.0..1.5))
}

/// Connects once, and prints events until there are no more.
async fn attempt(
    connector: &Connector,
    options: &Options,
    parser: &mut Parser,
    output: &mut Output,
) -> Result<Attempt, End> {
    let mut is_fruitful = false;
    let connected = connector.connect(options, parser.last_event_id()).await;
    let mut response = match connected {
        Ok(response) => response,
        Err(failure) => return into_attempt(failure, is_fruitful),
    };
    say(&format!("connected{}", connector.via(response.url())));
    let start = Instant::now();
    // ANCHOR: watch
    let failure = loop {
        // The clock runs while we read: if our own output has to wait, for a pager or a
        // slow program, the server is not to blame.
        let bytes = match timeout(options.idle, response.chunk()).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => break Failure::retry("the stream has ended"),
            Ok(Err(error)) => break explain(error),
            Err(_) => break silence(options.idle),
        };
        is_fruitful |= start.elapsed() > options.idle / 2;
        let mut events = parser.feed(&bytes);
        while let Some(event) = events.next()? {
            output.event(&event)?;
            is_fruitful = true;
        }
        // A program that reads our output gets these events now, not with the next ones.
        output.flush()?;
    };
    // ANCHOR_END: watch
    into_attempt(failure, is_fruitful)
}

fn into_attempt(failure: Failure, is_fruitful: bool) -> Result<Attempt, End> {
    match failure {
        Failure::Retry(why, retry_after) => {
            Ok(Attempt { is_fruitful, why, retry_after })
        }
        Failure::Final(end) => Err(end),
    }
}

/// Waits for Ctrl-C, or for SIGTERM.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    drop(tokio::signal::ctrl_c().await);
}
