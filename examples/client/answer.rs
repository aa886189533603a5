//! Tells a stream from a refusal that may pass, and from one that will not.

use std::mem::take;
use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::{self, HeaderMap, HeaderName};

use super::failure::{End, Exit, Failure};

/// The longest reconnection time, or `Retry-After`, that is believed. A server that asks
/// for more has made a mistake, and nobody would notice that the client still waits.
pub const MAX_RETRY: Duration = Duration::from_secs(24 * 3600);

/// Passes a response on if it is a stream. `last_event_id` is the one that was sent.
pub fn check(response: Response, last_event_id: &str) -> Result<Response, Failure> {
    let status = response.status();
    let headers = response.headers();
    let answered = format!("the server answered {status}");
    match status.as_u16() {
        200 if !is_event_stream(headers) => Err(Failure::refused(format!(
            "its type is {:?}, not text/event-stream",
            joined(headers, header::CONTENT_TYPE)
        ))),
        200 if is_encoded(headers) => Err(Failure::refused(format!(
            "its content coding is {:?}, and this client decodes none",
            joined(headers, header::CONTENT_ENCODING)
        ))),
        200 => Ok(response),
        204 => {
            let over = "204: the server says that it is over".into();
            Err(Failure::Final(End(Exit::Over, over)))
        }
        408 | 425 | 429 | 500..=599 => {
            Err(Failure::Retry(answered, retry_after(headers)))
        }
        431 => Err(Failure::refused(format!(
            "{answered}; the last event ID has {} bytes",
            last_event_id.len()
        ))),
        _ => Err(Failure::refused(answered)),
    }
}

/// All values of a header, as one text.
fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name).iter();
    let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    texts.collect::<Vec<_>>().join(", ")
}

/// Whether a response is a stream of events, as the Fetch standard finds its type: of
/// several, the last one that is valid. Its parameters do not matter: a stream is UTF-8
/// anyway (9.2.5).
fn is_event_stream(headers: &HeaderMap) -> bool {
    let types = joined(headers, header::CONTENT_TYPE);
    let last = elements(&types)
        .map(|one| one.split(';').next().unwrap_or_default().trim_ascii())
        .filter(|one| is_valid(one) && one != &"*/*")
        .last();
    last.is_some_and(|last| last.eq_ignore_ascii_case("text/event-stream"))
}

/// Splits a list at its commas, apart from those in quotation marks.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    list.split(move |c| {
        match c {
            _ if take(&mut is_escaped) => {}
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            ',' => return !is_quoted,
            _ => {}
        }
        false
    })
}

/// Whether a text is a type and a subtype, each a token of HTTP.
fn is_valid(essence: &str) -> bool {
    let is_token = |text: &str| {
        let mark = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
    };
    essence
        .split_once('/')
        .is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
}

/// Whether a response has a content coding, although none was asked for.
fn is_encoded(headers: &HeaderMap) -> bool {
    let codings = joined(headers, header::CONTENT_ENCODING);
    let mut codings = codings.split(',').map(str::trim_ascii);
    codings.any(|one| !one.is_empty() && !one.eq_ignore_ascii_case("identity"))
}

/// Reads `Retry-After`, which is a number of seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let wait = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are a long time, too.
        text.parse().map_or(MAX_RETRY, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(SystemTime::now()).ok()?
    };
    Some(wait.min(MAX_RETRY))
}
