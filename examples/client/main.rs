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
//! Each attempt begins at the URL that you gave, so that a redirect can change its mind
//! (Chromium 148 goes straight to where a 301 has led it). An ID outlives the connection, as
//! it does in Chromium; by the standard's letter, the ID buffer of a new stream is empty, and
//! its first event without an ID would forget it. What you give with `-H` goes to no other
//! origin.
//!
//! What it leaves out: POST, HTTP/2, cookies, compression, credentials that have to be
//! renewed, and a place to keep the last event ID until the next start: that is in its
//! output.

mod parser;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::{self, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url, redirect};

use parser::{Event, Parser, TooLarge};

/// The reconnection time of a stream that sets none: what browsers take.
const RETRY: Duration = Duration::from_secs(3);
/// The longest reconnection time, or `Retry-After`, that is believed.
const MAX_RETRY: Duration = Duration::from_secs(3600);
/// The shortest wait: `retry: 0` with a server that is down would be an attack.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// Waits do not double beyond this, so that a server that is back is noticed.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// As browsers do.
const MAX_REDIRECTS: usize = 20;

const HELP: &str = "\
Prints the events of a stream of Server-Sent Events, and reconnects when it is lost.

    client [OPTIONS] URL

    --json                print each event as a JSON object on one line, with
                          type, data and lastEventId
    --last-event-id ID    ask for what came after this event
    -H, --header 'N: V'   send this header, too; as often as you like
    --idle SECONDS        reconnect when nothing came for so long, which should be
                          longer than the server's heartbeat (60)
    --max-event BYTES     give up where an event is larger (16777216)
    --max-attempts N      give up when so many attempts in a row brought no event
                          (never)
    -h, --help            print this

A stream that ends or is lost, and 408, 425, 429 and 5xx, are tried again: after the time
that the stream's `retry` says, or 3 s; after twice that where there was still no event,
and so on, to 60 s, and up to half as long again by chance; never before Retry-After.

Events go to stdout, all else to stderr. Exit codes:
    0  the server said that it is over (204), Ctrl-C, or nobody reads stdout any more
    1  the arguments are wrong, or stdout cannot be written to
    2  refused for good: the status, the type, or a redirect is wrong
    3  gave up after --max-attempts
    4  an event is larger than --max-event
";

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(Some(options)) => options,
        Ok(None) => {
            drop(io::stdout().write_all(HELP.as_bytes())); // it may be a closed pipe
            return ExitCode::SUCCESS;
        }
        Err(why) => return ended(End(Exit::Usage, format!("{why}; see --help"))),
    };
    tokio::spawn(async {
        stopped().await;
        process::exit(Exit::Over as i32)
    });
    match follow(options).await {
        Ok(never) => match never {},
        Err(end) => ended(end),
    }
}

/// Why the program ends.
struct End(Exit, String);

#[derive(Clone, Copy)]
enum Exit {
    Over = 0,
    Usage = 1,
    Refused = 2,
    GaveUp = 3,
    TooLarge = 4,
}

fn ended(End(exit, why): End) -> ExitCode {
    if !why.is_empty() {
        say(&why);
    }
    ExitCode::from(exit as u8)
}

struct Options {
    url: Url,
    headers: HeaderMap,
    last_event_id: String,
    json: bool,
    idle: Duration,
    max_event: usize,
    max_attempts: u32,
}

impl Options {
    /// What the arguments say, or `None` where they ask for help.
    fn read() -> Result<Option<Self>, Box<dyn Error>> {
        use lexopt::prelude::*;
        let (mut url, mut headers) = (None, HeaderMap::new());
        let (mut last_event_id, mut json) = (String::new(), false);
        let (mut idle, mut max_event) = (60.0, 16 << 20);
        let mut max_attempts = u32::MAX;
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Value(value) if url.is_none() => url = Some(value.string()?),
                Long("json") => json = true,
                Long("last-event-id") => last_event_id = args.value()?.string()?,
                Short('H') | Long("header") => {
                    let (name, value) = a_header(&args.value()?.string()?)?;
                    headers.append(name, value);
                }
                Long("idle") => idle = args.value()?.parse()?,
                Long("max-event") => max_event = args.value()?.parse()?,
                Long("max-attempts") => max_attempts = args.value()?.parse()?,
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        let url = url.ok_or("no URL")?;
        let url = Url::parse(&url)
            .ok()
            .filter(|url| ["http", "https"].contains(&url.scheme()))
            .ok_or_else(|| format!("{url} is no URL of http or https"))?;
        let idle = Duration::try_from_secs_f64(idle)
            .ok()
            .filter(|idle| !idle.is_zero())
            .ok_or("--idle is no time")?;
        if HeaderValue::from_bytes(last_event_id.as_bytes()).is_err() {
            return Err("--last-event-id has what no header can have".into());
        }
        if max_attempts == 0 {
            return Err("--max-attempts is at least 1".into());
        }
        let options = Self {
            url,
            headers,
            last_event_id,
            json,
            idle,
            max_event,
            max_attempts,
        };
        Ok(Some(options))
    }
}

/// `Name: value` as a header.
fn a_header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    // The value may be a secret: it is not shown.
    let (name, value) = line.split_once(':').ok_or("-H is not 'Name: value'")?;
    let value = HeaderValue::from_str(value.trim());
    match (name.trim().parse::<HeaderName>(), value) {
        (Ok(name), _) if name == "last-event-id" => {
            Err("use --last-event-id".into())
        }
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(format!("-H {name}: has what no header can have")),
    }
}

// ANCHOR: follow
/// Follows the stream for as long as there is hope.
async fn follow(options: Options) -> Result<Infallible, End> {
    let client = client(&options)?;
    let mut output = Output::new(options.json);
    let mut parser = Parser::new(options.max_event, options.last_event_id.clone());
    let mut vain = 0; // attempts in a row that have brought no event
    loop {
        let mut good = false;
        let attempt =
            attempt(&client, &options, &mut parser, &mut output, &mut good).await;
        let (why, asked) = match attempt {
            Ok(why) => (why, None),
            Err(Failure::Retry(why, asked)) => (why, asked),
            Err(Failure::Final(end)) => return Err(end),
        };
        parser.end();
        vain = if good { 0 } else { vain + 1 };
        if vain >= options.max_attempts {
            return Err(End(Exit::GaveUp, format!("{why}; giving up")));
        }
        let retry = parser.retry().unwrap_or(RETRY);
        let wait = backoff(retry, vain, asked.unwrap_or_default());
        say(&format!("{why}; trying again in {:.1} s", wait.as_secs_f64()));
        tokio::time::sleep(wait).await;
    }
}

/// What becomes of an attempt that does not go well.
enum Failure {
    /// Worth another attempt, but not before this time.
    Retry(String, Option<Duration>),
    Final(End),
}
// ANCHOR_END: follow

// ANCHOR: backoff
/// How long to wait before the next attempt: never less than the reconnection time (9.2.3),
/// and longer each time that there was no event, as the standard allows. Chance keeps
/// readers apart who have lost the server at the same moment.
fn backoff(retry: Duration, vain: u32, asked: Duration) -> Duration {
    let retry = retry.clamp(MIN_WAIT, MAX_RETRY);
    let doubled = retry.saturating_mul(1 << vain.saturating_sub(1).min(20));
    let wait = doubled.min(retry.max(MAX_WAIT)).max(asked);
    wait.mul_f64(rand::random_range(1.0..1.5))
}
// ANCHOR_END: backoff

// ANCHOR: client
fn client(options: &Options) -> Result<Client, End> {
    let (origin, private) = (options.url.origin(), !options.headers.is_empty());
    let redirects = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if private && attempt.url().origin() != origin {
            attempt.error("it redirects to another origin, and -H is not for that")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .redirect(redirects)
        .referer(false)
        .connect_timeout(CONNECT)
        .read_timeout(options.idle) // never a timeout of the whole
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
            let kind = response.headers().get(header::CONTENT_TYPE);
            let kind =
                String::from_utf8_lossy(kind.map_or(b"", HeaderValue::as_bytes));
            // Parameters do not matter: it is UTF-8 anyway (9.2.5).
            let essence = kind.split(';').next().unwrap_or_default().trim();
            if essence.eq_ignore_ascii_case("text/event-stream") {
                return Ok(response);
            }
            refused(format!("its type is {kind:?}, not text/event-stream"))
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

/// What `Retry-After` asks for: seconds or a date.
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
/// Connects once, prints the events, and returns why there are no more. It was good if
/// there was an event, or heartbeats for some time.
async fn attempt(
    client: &Client,
    options: &Options,
    parser: &mut Parser,
    output: &mut Output,
    good: &mut bool,
) -> Result<String, Failure> {
    let mut response = connect(client, options, parser.last_event_id()).await?;
    say("connected");
    let start = Instant::now();
    loop {
        let bytes = response.chunk().await;
        let bytes = bytes.map_err(|error| explain(error, options.idle))?;
        let Some(bytes) = bytes else { return Ok("the stream has ended".into()) };
        *good |= start.elapsed() > options.idle / 2;
        let mut events = parser.feed(&bytes);
        while let Some(event) = events.next()? {
            output.event(&event)?;
            *good = true;
        }
        // Whoever reads this does not wait for the next piece.
        output.flush()?;
    }
}
// ANCHOR_END: read

impl From<TooLarge> for Failure {
    fn from(error: TooLarge) -> Self {
        Self::Final(End(Exit::TooLarge, error.to_string()))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Final(match error.kind() {
            ErrorKind::BrokenPipe => End(Exit::Over, String::new()),
            _ => End(Exit::Usage, format!("cannot write: {error}")),
        })
    }
}

/// What a person can understand of an error on the way, and whether it is the last one.
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

/// Where events are printed.
struct Output {
    to: BufWriter<io::Stdout>,
    json: bool,
}

impl Output {
    fn new(json: bool) -> Self {
        Self { to: BufWriter::new(io::stdout()), json }
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let Event { event_type, data, last_event_id } = event;
        let to = &mut self.to;
        if self.json {
            return writeln!(
                to,
                r#"{{"type":{},"data":{},"lastEventId":{}}}"#,
                Json(event_type),
                Json(data),
                Json(last_event_id),
            );
        }
        write!(to, "{}", Plain(event_type))?;
        if !last_event_id.is_empty() {
            write!(to, " (id {})", Plain(last_event_id))?;
        }
        let mut before = ": ";
        for line in data.split('\n') {
            write!(to, "{before}{}", Plain(line))?;
            before = "\n    ";
        }
        writeln!(to)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// What can take over a terminal, or show a text in another order than it is written:
/// control characters and marks of direction.
fn takes_over(letter: char) -> bool {
    letter.is_control() && letter != '\t'
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Text for a terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        escape(f, self.0, takes_over, |f, letter| {
            write!(f, "{}", letter.escape_unicode())
        })
    }
}

/// Text as JSON has it, and safe for a terminal, too.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let special =
            |letter| matches!(letter, '"' | '\\' | '\t') || takes_over(letter);
        f.write_str("\"")?;
        escape(f, self.0, special, |f, letter| match letter {
            '"' | '\\' => write!(f, "\\{letter}"),
            '\n' => f.write_str("\\n"),
            '\t' => f.write_str("\\t"),
            // None of them needs more than four digits.
            letter => write!(f, "\\u{:04x}", u32::from(letter)),
        })?;
        f.write_str("\"")
    }
}

fn escape(
    f: &mut fmt::Formatter,
    mut text: &str,
    special: impl Fn(char) -> bool,
    write: impl Fn(&mut fmt::Formatter, char) -> fmt::Result,
) -> fmt::Result {
    while let Some(at) = text.find(&special) {
        let (plain, rest) = text.split_at(at);
        f.write_str(plain)?;
        let mut letters = rest.chars();
        letters.next().map_or(Ok(()), |letter| write(f, letter))?;
        text = letters.as_str();
    }
    f.write_str(text)
}

/// Tells the person at the terminal something, if there is one.
fn say(what: &str) {
    drop(writeln!(io::stderr(), "client: {}", Plain(what)));
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
