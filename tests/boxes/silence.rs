//! A stream on which nothing comes, and one that its server cuts: `tests/recorded/boxes-silence.*`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Browser, is_whole};

use crate::gaps::{Case, End, Reader, Server, put, replaced, rows};
use crate::record::{assert_recorded, time};

/// How long the whole run waits. The longest limit of a default is lighttpd's, 360 seconds.
const LONG: Duration = Duration::from_secs(400);
/// In place of [`LONG`], every day.
const SHORT: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies: tests/boxes/install"]
async fn a_box_cuts_a_silent_stream_or_not_and_none_with_a_heartbeat() {
    let rows = rows(Case::all(&[]), row).await;
    assert_recorded("silence", &rows, &[("silence", cells)]);
}

/// A page reads by itself, and hears of a server that breaks off.
const READ: &str = "fetch('/cut').then(answer => answer.text())
    .then(() => window.heard = 'end', () => window.heard = 'error')";
/// EventSource comes back in any case.
const LISTEN: &str = "window.opened = 0,
    new EventSource('/cut').onopen = () => window.opened += 1";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromedriver, firefox-esr and proxies: tests/boxes/install"]
async fn behind_some_boxes_fetch_takes_a_server_that_breaks_off_for_the_end() {
    let cases = [
        ("none", "default", "error"),
        ("nginx", "default", "end"),
        ("nginx", "right", "error"),
        ("haproxy", "right", "error"),
        ("caddy", "right", "end"),
        ("h2o", "right", "end"),
    ];
    for browser in Browser::both().await {
        for (name, configuration, heard) in cases {
            let server = Server::start().await;
            let case = Case { name, configuration, added: None };
            let (_held, url) = case.start(&server).await;
            browser.open(&format!("{url}/page")).await;
            browser.eval(&format!("({READ}, true)")).await;
            eprintln!("{name} {configuration}");
            browser.until(&format!("window.heard === '{heard}'")).await;
            if name == "caddy" {
                browser.eval(&format!("({LISTEN}, true)")).await;
                browser.until("window.opened === 2").await;
            }
        }
    }
}

async fn row(case: Case) -> Value {
    let server = Server::start().await;
    let (_held, url) = case.start_changed(&server, |text| limited(case, text)).await;
    // Four to a limit, as 15 seconds are to 60.
    let heartbeat = if is_whole() { 15_000 } else { 500 };
    let long = if is_whole() { LONG } else { SHORT };
    let beating = async {
        let path = format!("/heartbeat?every={heartbeat}");
        Reader::ask(&url, &path).await.end(long).await
    };
    let breaking = async { Reader::ask(&url, "/cut").await.end(long).await };
    let silent = async {
        let mut reader = Reader::ask(&url, "/silent").await;
        let start = Instant::now();
        (reader.end(long).await, start.elapsed())
    };
    let (beats, breaks, (ends, after)) = tokio::join!(beating, breaking, silent);
    let word = |end: Option<End>| end.map_or("open", End::word);
    let mut row = json!({
        "box": case.name,
        "configuration": case.title(),
        "silent": word(ends),
        "with_heartbeat": word(beats),
        "server_breaks_off": word(breaks),
    });
    if ends.is_some() {
        row["silent_us"] = json!(after.as_micros() as u64);
    }
    row
}

/// Every day, two seconds in place of the limit.
fn limited(case: Case, text: String) -> String {
    if is_whole() {
        return text;
    }
    match (case.name, case.configuration) {
        ("nginx", "default") => put(text, "location / {", "proxy_read_timeout 2s;"),
        ("nginx", _) => {
            replaced(text, "proxy_read_timeout 60s", "proxy_read_timeout 2s")
        }
        ("haproxy", "default") => {
            replaced(text, "timeout server 50000", "timeout server 2s")
        }
        ("haproxy", _) => replaced(text, "timeout server 60s", "timeout server 2s"),
        ("caddy", "right") => replaced(text, "read_timeout 60s", "read_timeout 2s"),
        _ => text, // Caddy's default has no limit.
    }
}

/// When a silent stream is cut, and how that looks; whether a heartbeat keeps it open; and
/// how it looks when the server breaks off.
fn cells(row: &Value) -> Option<Vec<String>> {
    let after = row["silent_us"].as_u64().map_or("–".into(), time);
    let kept = if row["with_heartbeat"] == "open" { "✓" } else { "–" };
    let sign = |name: &str| match row[name].as_str() {
        Some("cut") => "✂",
        Some("end") => "■",
        _ => "–",
    };
    let signs = [sign("silent"), kept, sign("server_breaks_off")];
    Some([vec![after], signs.map(str::to_string).to_vec()].concat())
}
