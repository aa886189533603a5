//! A client of Server-Sent Events that survives: it prints the events of a stream, comes
//! back when the connection is lost, and goes on where it was.
//!
//!     cargo run --example client -- http://127.0.0.1:8698/ticks
//!     cargo run --example client -- --help
//!
//! Start `cargo run --example tick` in another terminal for it, end that, and start it
//! again: the client waits for it. Chapter 9.
//!
//! It reads a stream exactly as a browser does (`parser.rs`). Where EventSource gives up,
//! it goes on, and where EventSource waits for ever, it gives up:
//!
//! | what happens | EventSource | this client |
//! | --- | --- | --- |
//! | the stream ends, or the connection is lost or refused | tries again after `retry` | the same, each time later, until an event arrives |
//! | nothing arrives any more | waits | tries again after `--idle` |
//! | 204 | stops | the same, exit code 0 |
//! | 408, 425, 429 or 5xx | stops | tries again, not before `Retry-After` |
//! | another status, or 200 with another type | stops | the same, exit code 2 |
//! | 301, 302, 303, 307 or 308 | follows; see below | the same |
//! | an event without an end | waits for the end | exit code 4 |
//!
//! Each attempt begins at the URL that you gave, because a redirect may lead elsewhere by
//! then (Chromium 148 goes straight to where a 301 has led it). An ID outlives the
//! connection, as it does in Chromium; by the standard's letter, the ID buffer of a new
//! stream is empty, and its first event without an ID would forget it. A header that you
//! give with `-H` goes to no other origin.
//!
//! Left out: POST, HTTP/2, cookies, compression, credentials that have to be renewed, and a
//! place to keep the last event ID until the next start; the output has it.

mod options;
mod output;
mod parser;

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::process::{self, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Response, redirect};

use options::{HELP, Options};
use output::{Output, say};
use parser::{Parser, TooLarge};

/// The reconnection time of a stream that sets none. Browsers use the same.
const RETRY: Duration = Duration::from_secs(3);
/// The longest reconnection time, or `Retry-After`, that is believed.
const MAX_RETRY: Duration = Duration::from_secs(3600);
/// The shortest wait: `retry: 0` with a server that is down would be an attack.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// Waits do not double beyond this, so that a server that is back is noticed.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How many redirects in a row are followed, as many as browsers follow.
const MAX_REDIRECTS: usize = 20;

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
    match follow(options).await {
        Ok(never) => match never {},
        Err(end) => report(end),
    }
}

/// The end of the program, and its reason for the person at the terminal.
struct End(Exit, String);

#[derive(Clone, Copy)]
enum Exit {
    Over = 0,
    Usage = 1,
    Refused = 2,
    GaveUp = 3,
    TooLarge = 4,
}

/// Says why the program ends, and returns its exit code.
fn report(End(code, why): End) -> ExitCode {
    if !why.is_empty() {
        say(&why);
    }
    ExitCode::from(code as u8)
}

// ANCHOR: follow
/// Follows the stream for as long as there is hope.
async fn follow(options: Options) -> Result<Infallible, End> {
    let client = client(&options)?;
    let mut output = Output::new(options.json);
    let mut parser = Parser::new(options.max_event, options.last_event_id.clone());
    let mut fruitless = 0; // attempts in a row that have brought no event
    loop {
        let Attempt { is_fruitful, why, retry_after } =
            attempt(&client, &options, &mut parser, &mut output).await?;
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
// ANCHOR_END: follow

// ANCHOR: backoff
/// How long to wait before the next attempt: never less than the reconnection time (9.2.3)
/// or than `Retry-After`, and longer each time that there was no event, as the standard
/// allows. Chance keeps apart the readers that have lost the server at the same moment.
fn backoff(retry: Duration, fruitless: u32, retry_after: Duration) -> Duration {
    let retry = retry.clamp(MIN_WAIT, MAX_RETRY);
    let doubled = retry.saturating_mul(1 << fruitless.saturating_sub(1).min(20));
    let wait = doubled.min(retry.max(MAX_WAIT)).max(retry_after);
    wait.mul_f64(rand::random_range(1.0..1.5))
}
// ANCHOR_END: backoff

// ANCHOR: client
fn client(options: &Options) -> Result<Client, End> {
    let origin = options.url.origin();
    let has_headers = !options.headers.is_empty();
    let redirects = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if has_headers && attempt.url().origin() != origin {
            attempt.error("it redirects to another origin, and -H is not for that")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .redirect(redirects)
        .referer(false)
        .connect_timeout(CONNECT)
        .read_timeout(options.idle) // and no timeout for the whole response
        .build()
        .map_err(|error| End(Exit::Usage, format!("cannot connect: {error}")))
}
// ANCHOR_END: client

// ANCHOR: connect
/// Connects, and returns the response if it is a stream.
async fn connect(
    client: &Client,
    options: &Options,
    last_event_id: &str,
) -> Result<Response, Failure> {
    let mut request = client
        .get(options.url.clone())
        .header(header::ACCEPT, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-cache")
        .headers(options.headers.clone());
    if !last_event_id.is_empty() {
        match HeaderValue::from_bytes(last_event_id.as_bytes()) {
            Ok(id) => request = request.header("last-event-id", id),
            Err(_) => say("no header can have this last event ID: it is not sent"),
        }
    }
    let response =
        request.send().await.map_err(|error| explain(error, options.idle))?;
    let refused = |why| Err(Failure::Final(End(Exit::Refused, why)));
    let status = response.status();
    match status.as_u16() {
        200 => {
            let value = response.headers().get(header::CONTENT_TYPE);
            let content_type =
                String::from_utf8_lossy(value.map_or(b"", HeaderValue::as_bytes));
            // Its parameters do not matter: a stream is UTF-8 anyway (9.2.5).
            let essence = content_type.split(';').next().unwrap_or_default().trim();
            if essence.eq_ignore_ascii_case("text/event-stream") {
                return Ok(response);
            }
            refused(format!("its type is {content_type:?}, not text/event-stream"))
        }
        204 => {
            let over = "204: the server says that it is over".into();
            Err(Failure::Final(End(Exit::Over, over)))
        }
        408 | 425 | 429 | 500..=599 => {
            let why = format!("the server answered {status}");
            Err(Failure::Retry(why, retry_after(response.headers())))
        }
        _ => refused(format!("the server answered {status}")),
    }
}

/// Reads `Retry-After`, which is a number of seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(SystemTime::now()).ok()?
        }
    };
    Some(wait.min(MAX_RETRY))
}
// ANCHOR_END: connect

// ANCHOR: read
/// Connects once, and prints events until there are no more.
async fn attempt(
    client: &Client,
    options: &Options,
    parser: &mut Parser,
    output: &mut Output,
) -> Result<Attempt, End> {
    let mut is_fruitful = false;
    let mut response = match connect(client, options, parser.last_event_id()).await {
        Ok(response) => response,
        Err(failure) => return failure.into_attempt(is_fruitful),
    };
    say("connected");
    let start = Instant::now();
    let failure = loop {
        let bytes = match response.chunk().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break Failure::Retry("the stream has ended".into(), None),
            Err(error) => break explain(error, options.idle),
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
    failure.into_attempt(is_fruitful)
}
// ANCHOR_END: read

/// An answer that is no stream, or the end of a stream.
enum Failure {
    /// Another attempt may do better, but not before this time has passed.
    Retry(String, Option<Duration>),
    Final(End),
}

impl Failure {
    fn into_attempt(self, is_fruitful: bool) -> Result<Attempt, End> {
        match self {
            Self::Retry(why, retry_after) => {
                Ok(Attempt { is_fruitful, why, retry_after })
            }
            Self::Final(end) => Err(end),
        }
    }
}

impl From<TooLarge> for End {
    fn from(error: TooLarge) -> Self {
        Self(Exit::TooLarge, error.to_string())
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self(Exit::Over, String::new()),
            _ => Self(Exit::Usage, format!("cannot write: {error}")),
        }
    }
}

/// Explains an error of the connection to a person, and decides whether it is final.
fn explain(error: reqwest::Error, idle: Duration) -> Failure {
    let error = error.without_url(); // a password may be in it
    let mut cause: &dyn Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_redirect() || error.is_builder() {
        return Failure::Final(End(Exit::Refused, cause.to_string()));
    }
    let why = match (error.is_connect(), error.is_timeout()) {
        (true, true) => format!("no connection in {CONNECT:?}"),
        (true, false) => format!("no connection: {cause}"),
        (false, true) => format!("nothing came for {idle:?}"),
        (false, false) => format!("the connection is lost: {cause}"),
    };
    Failure::Retry(why, None)
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
