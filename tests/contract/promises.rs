//! The promises. Each is a function that starts a program, and fails where the program
//! does not keep its promise.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::Response;
use serde_json::Value;
use tests::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::silence;
use crate::streams::{Act, Running, Stream};

/// How long a program may take to end.
const END: Duration = Duration::from_secs(5);
/// How many readers there are when a program is asked to end.
const READERS: usize = 20;

/// A request that is refused: its method and path, the status, the header `Allow`, and a
/// part of the reason.
pub type Refusal =
    (&'static str, &'static str, u16, Option<&'static str>, &'static str);

pub async fn a_taken_or_bad_address_is_one_clear_line(name: &str) {
    let running = Running::start(name).await;
    running.program.assert_bad_addresses_are_one_clear_line(name);
}

pub async fn the_head_names_a_stream_and_forbids_to_keep_it_back(
    name: &str,
    stream: Stream,
) {
    let running = Running::start(name).await;
    let opening = running.prepare(stream).await;
    let answer = running.open(&opening).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
}

/// These paths, and the stream, are asked for with GET and with HEAD. Nothing but the length
/// of the body, or how it travels, may be missing.
pub async fn head_is_answered_as_get_is_without_a_body(
    name: &str,
    paths: &[&str],
    stream: Stream,
) {
    let running = Running::start(name).await;
    let stream = running.prepare(stream).await;
    for path in paths.iter().copied().chain([&*stream.path]) {
        let mut socket = running.program.socket().await;
        let head = format!(
            "HEAD {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let end = socket.read_to_string(&mut answer);
        within("the end of an answer", end).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        let after_head = answer.split_once("\r\n\r\n").map(|(_, rest)| rest);
        assert_eq!(after_head, Some(""), "{path}: {answer}");
        let answer = answer.to_lowercase();
        let get = running.program.get(path).await;
        for (name, value) in get.headers() {
            let own = ["date", "content-length", "transfer-encoding"];
            let value = value.to_str().unwrap().to_lowercase();
            let is_there = answer.contains(&format!("\r\n{name}: {value}\r\n"));
            assert!(is_there || own.contains(&name.as_str()), "{name}: {answer}");
        }
    }
}

pub async fn silence_is_filled_with_comments(name: &str, _: Stream, _: &str) {
    silence::is_filled(name).await;
}

pub async fn other_paths_and_methods_get_a_reason(name: &str, refusals: &[Refusal]) {
    let running = Running::start(name).await;
    for (method, path, status, allow, reason) in refusals {
        for (accept, form, sign) in [
            ("application/json", "application/json", "{"),
            ("text/html", "text/html", "<html"),
            ("text/plain", "text/plain", "code"),
            ("*/*", "", ""),
        ] {
            let shown = format!("{method} {path}, {accept}");
            let request = running.program.request(method, path);
            let answer =
                running.program.send(request.header("accept", accept)).await;
            assert_eq!(answer.status(), *status, "{shown}");
            let header = |name: &str| {
                let value = answer.headers().get(name)?;
                Some(value.to_str().unwrap().to_string())
            };
            assert_eq!(header("allow").as_deref(), *allow, "{shown}");
            let kind = header("content-type").unwrap();
            assert!(kind.starts_with(form), "{shown}: {kind}");
            let text = answer.text().await.unwrap();
            assert!(text.len() > 20, "{shown}: {text}");
            assert!(text.contains(sign) && text.contains(reason), "{shown}: {text}");
            if accept == "application/json" {
                let body: Value = serde_json::from_str(&text).unwrap();
                // `model` says it as OpenAI does.
                let error = &body["error"];
                let brief = error.get("brief").or(error.get("message"));
                let brief = brief.and_then(Value::as_str).expect("a reason");
                assert!(
                    brief.contains(reason) && !brief.is_empty(),
                    "{shown}: {text}"
                );
            }
        }
    }
}

pub async fn the_page_asks_for_a_relative_address(name: &str, parts: &[&str]) {
    let running = Running::start(name).await;
    for part in parts {
        running.program.assert_page_with(part).await;
    }
    let page = running.program.get("/").await.text().await.unwrap();
    for call in ["EventSource(", "stream(", "fetch(", "from "] {
        let absolute = ["'/", "`/"].map(|quote| format!("{call}{quote}"));
        let is_absolute = absolute.iter().any(|absolute| page.contains(absolute));
        assert!(!is_absolute, "{absolute:?}: {page}");
    }
}

/// A stream of which somebody reads.
struct Reader {
    stream: Response,
    text: String,
}

impl Reader {
    /// Reads a chunk; false at the end, which must be a clean one.
    async fn more(&mut self) -> bool {
        let chunk = within("a chunk, or the end", self.stream.chunk()).await;
        let Some(chunk) = chunk.expect("the stream is whole") else { return false };
        self.text += str::from_utf8(&chunk).unwrap();
        true
    }
}

/// Each reader has read this much, `first`, when the signal comes, and `is_whole` looks at
/// all that it has read in the end.
#[cfg(unix)]
pub async fn asked_to_end_it_ends_its_streams_whole_and_then_itself(
    name: &str,
    stream: Stream,
    act: Act,
    first: &str,
    is_whole: fn(&str),
) {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut running = Running::start(name).await;
        let opening = running.prepare(stream).await;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let stream = running.open(&opening).await;
            readers.push(Reader { stream, text: String::new() });
        }
        // This reader does not even notice.
        let mut stuck = running.open_and_never_read(&opening).await;
        let _asked = running.act(act).await;
        for reader in &mut readers {
            while !reader.text.contains(first) {
                assert!(reader.more().await, "the stream goes on");
            }
        }
        let start = Instant::now();
        running.program.signal(signal);
        for reader in &mut readers {
            while reader.more().await {}
            is_whole(&reader.text);
        }
        assert_eq!(running.program.exit_code().await, Some(0));
        assert!(start.elapsed() < END, "{:?}", start.elapsed());
        let mut bytes = Vec::new();
        within("the end", stuck.read_to_end(&mut bytes)).await.unwrap();
        assert!(bytes.ends_with(b"\r\n0\r\n\r\n"), "the last chunk");
        let stderr = running.program.stderr();
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}
