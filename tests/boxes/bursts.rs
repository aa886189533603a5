//! What boxes count that hold events back: bytes, or time? `tests/recorded/boxes-bursts.*`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::{Middlebox, assert_text_but_numbers, until};

use crate::measure::{Probe, delivery, look_again, probes, warm};
use crate::record::{self, number, time};

/// The boxes whose default holds events back.
const HOLDING: [&str; 3] = ["nginx", "haproxy", "lighttpd"];
/// The sizes of events in bytes, and the milliseconds between two of them.
const CASES: [(usize, u64); 6] =
    [(23, 10), (23, 50), (23, 300), (600, 50), (1_000, 50), (6_000, 50)];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies: tests/boxes/install"]
async fn a_default_holds_back_bytes_or_time_as_recorded() {
    let server = probes().await;
    let mut rows = Vec::new();
    for name in record::boxes().iter().filter(|name| HOLDING.contains(name)) {
        let middlebox = Middlebox::start(name, "default", &server).await;
        warm(&middlebox.url).await;
        let url = &middlebox.url;
        let measured = CASES.map(|(bytes, every)| {
            look_again("bursts", async move || row(name, url, bytes, every).await)
        });
        rows.extend(join_all(measured).await);
    }
    record::assert_recorded("bursts", &rows, &[("rows", cells)]);
}

async fn row(name: &str, url: &str, bytes: usize, every: u64) -> Value {
    let probe = Probe {
        events: (3_000 / every) as u32,
        every: Duration::from_millis(every),
        bytes,
        over_ethernet: true,
        ..Probe::SMALL
    };
    let look = probe.look(url).await;
    json!({
        "box": name,
        "configuration": "default",
        "case": format!("{bytes} bytes, {every} ms"),
        "delivery": delivery(&look),
        "bytes": bytes,
        "every_ms": every,
        "together": look.together(),
        "p50_us": look.p50_us(),
        "max_us": look.max_us(),
    })
}

fn cells(row: &Value) -> Option<Vec<String>> {
    Some(vec![
        number(row, "bytes").to_string(),
        format!("{} ms", number(row, "every_ms")),
        number(row, "together").to_string(),
        time(number(row, "p50_us")),
        time(number(row, "max_us")),
    ])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies: tests/boxes/install, strace, root"]
async fn haproxy_tells_the_kernel_that_more_will_follow_each_event() {
    let server = probes().await;
    let default = sent(&server, "default").await;
    assert!(default.contains("MSG_MORE"), "{default}");
    let right = sent(&server, "right").await;
    assert!(!right.contains("MSG_MORE"), "{right}");
    let text = format!("{default}\n{right}\n");
    assert_text_but_numbers("boxes/recorded/haproxy-sends.txt", &text);
}

/// The call with which HAProxy sends an event, as strace sees it.
async fn sent(server: &str, configuration: &str) -> String {
    let haproxy = Middlebox::start("haproxy", configuration, server).await;
    warm(&haproxy.url).await;
    let master = haproxy.id();
    let children = format!("/proc/{master}/task/{master}/children");
    let worker = fs::read_to_string(children).unwrap();
    let file = haproxy.folder.path().join("strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-e", "trace=sendto", "-p", worker.trim(), "-o"])
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .expect("strace");
    let call = || {
        let log = fs::read_to_string(&file).unwrap_or_default();
        let mut lines = log.lines().filter(|line| line.contains("data: "));
        // The last event goes with the end of the stream, and is sent at once.
        let line = lines.find(|line| !line.contains("\\n0\\r"))?;
        Some(line[line.find("sendto")?..].to_string())
    };
    until("strace sees an event", async || {
        Probe { events: 4, ..Probe::SMALL }.look(&haproxy.url).await;
        call().is_some()
    })
    .await;
    kill(Pid::from_raw(strace.id() as i32), Signal::SIGTERM).unwrap();
    strace.wait().unwrap();
    call().expect("an event")
}
