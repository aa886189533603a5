//! A box is told to read its configuration again while streams run:
//! `tests/recorded/boxes-reload.*`.

use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::{is_whole, pause, within};
use tokio::task::block_in_place;

use crate::gaps::{Case, DISTANCE, End, Reader, Server, replaced, rows};
use crate::processes::processes;
use crate::record::{assert_recorded, number, time};

/// This is before the end of the stream that runs, which takes six seconds or more.
const MEANWHILE: Duration = Duration::from_secs(4);

/// Events of the stream that runs. In the whole run it takes 15 seconds, because lighttpd
/// cuts streams some seconds after it was told to reload.
fn events() -> usize {
    if is_whole() { 300 } else { 120 }
}

/// Lines that end streams some time after a reload, and one that ends them at once.
const LINES: [Case; 3] = [
    Case {
        name: "nginx",
        configuration: "right",
        added: Some(("daemon off;", "worker_shutdown_timeout 1s;")),
    },
    Case {
        name: "haproxy",
        configuration: "right",
        added: Some(("hard-stop-after 10m", "hard-stop-after 1s")),
    },
    Case {
        name: "caddy",
        configuration: "right",
        added: Some(("reverse_proxy 127.0.0.1:8698 {", "flush_interval -1")),
    },
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies: tests/boxes/install"]
async fn a_stream_lives_through_a_reload_of_its_box_or_is_cut() {
    let mut cases = Case::all(&LINES);
    cases.retain(|case| case.name != "none");
    let rows = rows(cases, row).await;
    assert_recorded("reload", &rows, &[("reload", cells)]);
}

async fn row(case: Case) -> Value {
    let server = Server::start().await;
    let once = |text: String| match case.added {
        // The line of the configuration itself: nginx takes no second one.
        Some(("daemon off;", _)) => {
            replaced(text, "worker_shutdown_timeout 10m;", "")
        }
        _ => text,
    };
    let (held, url) = case.start_changed(&server, once).await;
    let held = held.expect("a box");
    let mut running = Reader::ask(&url, &format!("/busy?count={}", events())).await;
    let _ = running.end(DISTANCE * 10).await;
    let old = processes(held.id());
    block_in_place(|| held.reload());
    let newcomer = async {
        pause(DISTANCE * 10).await;
        let mut reader = Reader::ask(&url, "/busy?count=1").await;
        reader.end(MEANWHILE).await == Some(End::Whole)
    };
    let two = two_workers(held.id(), &old);
    let (running, served, two) = tokio::join!(gap(running), newcomer, two);
    let (reader, gap, end) = running;
    let expected: Vec<usize> = (0..events()).collect();
    let came = reader.events();
    json!({
        "box": case.name,
        "configuration": case.title(),
        "end": end.word(),
        "all_once_and_in_order": came == expected,
        "newcomer_is_served_meanwhile": served,
        "old_worker_stays_for_its_streams": two && end == End::Whole,
        "sent": expected.len(),
        "came": came.len(),
        "longest_gap_us": gap.as_micros() as u64,
    })
}

/// Whether a new process soon runs beside one of the old ones, other than the first.
async fn two_workers(first: Pid, old: &[i32]) -> bool {
    for _ in 0..MEANWHILE.as_secs() {
        pause(Duration::from_secs(1)).await;
        let now = processes(first);
        let (stayed, new): (Vec<i32>, _) =
            now.iter().partition(|id| old.contains(id));
        if stayed.len() > 1 && !new.is_empty() {
            return true;
        }
    }
    false
}

/// Reads to the end, and returns the longest time in which nothing came.
async fn gap(mut reader: Reader) -> (Reader, Duration, End) {
    let mut longest = Duration::ZERO;
    let end = loop {
        let since = Instant::now();
        let end = within("more", reader.read()).await;
        longest = longest.max(since.elapsed());
        if let Some(end) = end {
            break end;
        }
    };
    (reader, longest, end)
}

/// Whether all events came, the longest gap, how it ended, whether newcomers were served,
/// and whether an old worker stayed.
fn cells(row: &Value) -> Option<Vec<String>> {
    let all = match row["all_once_and_in_order"] == true {
        true => "✓".into(),
        false => format!("{} / {}", number(row, "came"), number(row, "sent")),
    };
    let end = if row["end"] == "cut" { "✂" } else { "■" };
    let yes = |name: &str| if row[name] == true { "✓" } else { "–" };
    Some(vec![
        all,
        end.into(),
        time(number(row, "longest_gap_us")),
        yes("newcomer_is_served_meanwhile").into(),
        yes("old_worker_stays_for_its_streams").into(),
    ])
}
