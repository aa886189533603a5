//! Boxes that hold events back: they count bytes, or time. `tests/recorded/boxes-bursts.*`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::{Line, Link, Middlebox, assert_text_but_numbers, until};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

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
    record::assert_recorded("bursts", &rows, &[("default", cells)]);
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies: tests/boxes/install, root"]
async fn on_a_long_line_haproxy_holds_an_event_back_for_longer() {
    // A round trip takes 100 ms, and an event is half of that on its way.
    let delay = Duration::from_millis(50);
    let held = lone_event(delay, "default").await;
    assert!(held > delay + Duration::from_millis(250), "{held:?}");
    let passed = lone_event(delay, "right").await;
    assert!(passed < held - Duration::from_millis(200), "{passed:?}");
}

/// The delay of an event between two silences, from HAProxy at the other end of a line.
async fn lone_event(delay: Duration, configuration: &'static str) -> Duration {
    let link = Link::new(Line { delay, ..Line::default() });
    let (started, port) = oneshot::channel();
    let (end, is_over) = oneshot::channel::<()>();
    let there = link.inside(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = probes().await;
            let everywhere = |text: String| text.replace("127.0.0.1:8690", "*:8690");
            let haproxy = Middlebox::start_changed(
                "haproxy",
                configuration,
                &server,
                everywhere,
            );
            let haproxy = haproxy.await;
            warm(&haproxy.url).await;
            let url = &haproxy.url;
            started.send(url.rsplit(':').next().unwrap().to_string()).unwrap();
            drop(is_over.await);
        })
    });
    let url = format!("http://{}:{}", link.there, port.await.unwrap());
    let probe = Probe { events: 2, every: Duration::from_secs(1), ..Probe::SMALL };
    let look = probe.look(&url).await;
    drop(end);
    there.join().unwrap();
    Duration::from_micros(look.events[0].delay_us())
}
