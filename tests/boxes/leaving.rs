//! The reader leaves: when the server behind a box learns of it, `tests/recorded/boxes-leaving.*`.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Middlebox, Program, is_whole, scripted, until};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::gaps::{COMMENT, Case, Reader, Server, rows};
use crate::record::{assert_recorded, boxes, time};

/// In place of 15 seconds.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A server that has learned nothing after this learns it late, if at all.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How long the whole run waits for it.
const LONG: Duration = Duration::from_secs(70);

/// Few measure at once, because a busy machine is late by itself; all wait at once.
static FEW: Semaphore = Semaphore::const_new(4);

/// Lines that are said to help, or that do harm.
const LINES: [Case; 3] = [
    Case {
        name: "nginx",
        configuration: "right",
        added: Some(("location / {", "proxy_ignore_client_abort on;")),
    },
    Case {
        name: "haproxy",
        configuration: "right",
        added: Some(("backend program", "option abortonclose")),
    },
    Case {
        name: "caddy",
        configuration: "right",
        added: Some(("reverse_proxy 127.0.0.1:8698 {", "flush_interval -1")),
    },
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies: tests/boxes/install"]
async fn a_server_learns_of_a_reader_that_left_at_once_or_with_the_next_bytes() {
    let rows = rows(Case::all(&LINES), row).await;
    assert_recorded("leaving", &rows, &[("leaving", cells)]);
}

/// A model thinks, its only reader leaves, and `llm` gives it up five seconds after it has
/// learned of that. Its heartbeat comes every 15 seconds.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies: tests/boxes/install, takes half a minute"]
async fn behind_some_boxes_a_model_that_thinks_is_left_with_the_second_heartbeat() {
    let times = join_all(boxes().iter().map(|name| thinks_on(name))).await;
    for (name, time) in boxes().iter().zip(times) {
        eprintln!("{name}: {time:?}");
        let seconds = match *name {
            "nginx" | "caddy" | "varnish" | "nghttpx" => 3..12,
            "haproxy" | "apache" | "lighttpd" | "h2o" => 15..40,
            _ => panic!("no box {name}"),
        };
        assert!(seconds.contains(&time.as_secs()), "{name}: {time:?}");
    }
}

/// For how long the model thinks on, after its reader has left.
async fn thinks_on(name: &'static str) -> Duration {
    let model = scripted::Server::start().await;
    let base = model.url("/v1");
    let variables = [("OPENAI_BASE_URL", &*base), ("OPENAI_MODEL", "some")];
    let llm = Program::start_with("llm", &variables).await;
    let held = Middlebox::start(name, "right", &llm.url).await;
    let question = llm.request("POST", "/answers").json(&json!({ "prompt": "?" }));
    let answer = llm.send(question).await;
    let id = answer.headers()["location"].to_str().unwrap();
    let mut reader = Reader::ask(&held.url, &format!("/{id}")).await;
    let mut asked = model.asked().await;
    asked.stream("").await;
    let _ = reader.end(Duration::from_secs(1)).await;
    drop(reader);
    asked.is_left().await
}

async fn row(case: Case) -> Value {
    let long = if is_whole() { LONG } else { AT_ONCE };
    let permit = FEW.acquire().await.unwrap();
    let busy = learns(case, "/busy", AT_ONCE).await;
    let beating = heartbeats(case).await;
    drop(permit);
    let silent = learns(case, "/silent", long).await;
    let mut row = json!({
        "box": case.name,
        "configuration": case.title(),
        "silent_at_once": silent.is_some_and(|time| time < AT_ONCE),
        "busy": busy.is_some(),
        "heartbeat": beating.is_some(),
    });
    let mut note = |name: &str, time: Option<Duration>| {
        if let Some(time) = time {
            row[name] = json!(time.as_micros() as u64);
        }
    };
    note("silent_us", silent);
    note("busy_us", busy);
    if let Some(heartbeats) = beating {
        row["heartbeats"] = json!(heartbeats);
    }
    row
}

/// How long it takes after a reader has left until Salvo drops its stream.
async fn learns(case: Case, path: &str, at_most: Duration) -> Option<Duration> {
    let mut server = Server::start().await;
    let _held = read_for_a_while(case, path, &server).await;
    let left = Instant::now();
    let dropped = server.dropped(at_most).await?;
    Some(dropped.saturating_duration_since(left))
}

/// With which heartbeat after the reader has left Salvo drops its stream: 0 is at once.
async fn heartbeats(case: Case) -> Option<usize> {
    let mut server = Server::start().await;
    let path = format!("/heartbeat?every={}", HEARTBEAT.as_millis());
    let _held = read_for_a_while(case, &path, &server).await;
    let written = server.written();
    server.dropped(HEARTBEAT * 10).await?;
    Some((server.written() - written) / COMMENT.len())
}

/// A reader reads for a while, and leaves: all that has come is read, so that its goodbye is
/// a FIN, as a browser's.
async fn read_for_a_while(
    case: Case,
    path: &str,
    server: &Server,
) -> Option<Middlebox> {
    let (held, url) = case.start(server).await;
    let mut reader = Reader::ask(&url, path).await;
    until("the first event", async || server.written() > 0).await;
    // A box may hold it back, so a second is enough for it.
    let _ = timeout(Duration::from_secs(1), reader.event(0)).await;
    let _ = reader.end(Duration::from_millis(200)).await;
    held
}

/// Silent, busy, and with which heartbeat.
fn cells(row: &Value) -> Option<Vec<String>> {
    let shown = |name: &str| row[name].as_u64().map(time);
    let heartbeats = row["heartbeats"].as_u64().map(|count| count.to_string());
    let cells = [shown("silent_us"), shown("busy_us"), heartbeats];
    Some(cells.into_iter().map(|cell| cell.unwrap_or("–".into())).collect())
}
