//! The arguments of `client`.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

pub const HELP: &str = "\
Prints the events of a stream of Server-Sent Events, and reconnects when it is lost.

    client [OPTIONS] URL

    --json                print each event as a JSON object on one line, with
                          type, data and lastEventId
    --last-event-id ID    ask for what came after this event
    -H, --header 'N: V'   send this header, too; as often as you like
    --idle SECONDS        reconnect when nothing came for so long, which should be
                          longer than the server's heartbeat (60)
    --max-event BYTES     give up where an event is larger, with its type, its data and
                          its id (16777216)
    --max-attempts N      give up when so many attempts in a row brought no event
                          (never)
    -h, --help            print this

A stream that ends or is lost, and 408, 425, 429 and 5xx, are tried again: after the time
that the stream's `retry` says, or 3 s; after twice that where there was still no event,
and so on, to 60 s, and up to half as long again by chance; never before Retry-After.
Of `retry` and Retry-After, no more than a day is believed.

HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case, say through
which proxy; the client says so, too, without a password that is in there.

Events go to stdout, all else to stderr. Exit codes:
    0  the server said that it is over (204), Ctrl-C, or nobody reads stdout any more
    1  the arguments are wrong, or stdout cannot be written to
    2  refused for good: the status, the type, the content coding, the certificate, or
       a redirect is wrong; also 431, where the last event ID is too long for the server
    3  gave up after --max-attempts
    4  an event is larger than --max-event
";

pub struct Options {
    pub url: Url,
    /// The headers of `-H`.
    pub headers: HeaderMap,
    /// Empty where there is none.
    pub last_event_id: String,
    pub json: bool,
    pub idle: Duration,
    /// In bytes.
    pub max_event: usize,
    /// The client gives up after so many attempts in a row that bring no event.
    pub max_attempts: u32,
}

impl Options {
    /// Reads the arguments. Returns `None` where they ask for help.
    pub fn read() -> Result<Option<Self>, String> {
        Self::parse(lexopt::Parser::from_env()).map_err(explain)
    }

    fn parse(mut args: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;
        let mut url = None;
        let mut headers = HeaderMap::new();
        let mut last_event_id = String::new();
        let mut json = false;
        let mut idle = 60.0;
        let mut max_event = 16 << 20;
        let mut max_attempts = u32::MAX;
        while let Some(arg) = args.next()? {
            match arg {
                Value(value) if url.is_none() => url = Some(value.string()?),
                Long("json") => json = true,
                Long("last-event-id") => last_event_id = args.value()?.string()?,
                Short('H') | Long("header") => {
                    let (name, value) = parse_header(&args.value()?.string()?)?;
                    headers.append(name, value);
                }
                Long("idle") => idle = args.value()?.parse()?,
                Long("max-event") => max_event = args.value()?.parse()?,
                Long("max-attempts") => max_attempts = args.value()?.parse()?,
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        let url = url.ok_or("no URL")?;
        let url = Url::parse(&url)
            .ok()
            .filter(|url| ["http", "https"].contains(&url.scheme()))
            .ok_or("that is not a URL of http or https")?;
        let idle = Duration::try_from_secs_f64(idle)
            .ok()
            .filter(|idle| !idle.is_zero())
            .ok_or("--idle is not a time")?;
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

/// Says what is wrong with the arguments, and shows none of them: a password may stand in
/// any, in the wrong place, too. Only an option that looks like one is named.
fn explain(error: lexopt::Error) -> String {
    use lexopt::Error::*;
    match error {
        UnexpectedArgument(_) => "more than one URL".into(),
        UnexpectedValue { option, .. } => format!("{option} takes no value"),
        ParsingFailed { .. } => "an option has a value that is not a number".into(),
        NonUnicodeValue(_) => "an argument is not in UTF-8".into(),
        UnexpectedOption(option) if !looks_like_an_option(&option) => {
            "there is an option that does not exist".into()
        }
        other => other.to_string(),
    }
}

fn looks_like_an_option(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Reads a header from `Name: value`.
fn parse_header(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = line.split_once(':').ok_or("-H is not 'Name: value'")?;
    let value = HeaderValue::from_str(value.trim());
    match (name.trim().parse::<HeaderName>(), value) {
        (Ok(name), _) if name == "last-event-id" => Err("use --last-event-id"),
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err("-H has what no header can have"),
    }
}
