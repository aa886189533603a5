//! What boxes count that hold events back: bytes, or time? `tests/recorded/boxes-bursts.*`.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::Middlebox;

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
