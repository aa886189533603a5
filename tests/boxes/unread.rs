//! A reader that reads nothing: how much a box takes for it, `tests/recorded/boxes-unread.*`.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Middlebox, Program, pause};

use crate::gaps::{CAP, Case, End, Reader, Server, rows};
use crate::processes::processes;
use crate::record::{assert_recorded, number};

/// The limit of `edge.rs` for a reader that takes nothing.
const LIMIT: Duration = Duration::from_secs(30);
/// A server that has not written for this long is blocked, or done.
const STILL: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies: tests/boxes/install"]
async fn a_box_takes_everything_for_a_reader_that_reads_nothing_or_blocks_the_server()
 {
    let mut all = Vec::new();
    for case in Case::all(&[]) {
        all.push((case, "/large"));
        if (case.name, case.configuration) == ("nginx", "default") {
            all.push((case, "/large?header=true"));
        }
    }
    // Few at once: memory and disk are measured, and a busy machine takes its time.
    let mut measured = Vec::new();
    for some in all.chunks(4) {
        measured.extend(rows(some.to_vec(), row).await);
    }
    assert_recorded("unread", &measured, &[("unread", cells)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx, takes half a minute"]
async fn a_program_leaves_a_reader_that_takes_nothing_and_never_behind_a_box_that_does()
 {
    let boxes = Program::start("boxes").await;
    let default = Middlebox::start("nginx", "default", &boxes.url).await;
    let right = Middlebox::start("nginx", "right", &boxes.url).await;
    // Few bytes for nginx's disk, and more than all kernels hold.
    let path = "/events?every=25&bytes=65536&count=100000&header=no";
    let mut readers = Vec::new();
    for (url, is_left) in
        [(&boxes.url, true), (&right.url, true), (&default.url, false)]
    {
        readers.push((Reader::ask(url, path).await, url, is_left));
    }
    pause(LIMIT + Duration::from_secs(10)).await;
    for (mut reader, url, is_left) in readers {
        let end = reader.end(Duration::from_secs(2)).await;
        assert_eq!(end, is_left.then_some(End::Cut), "{url}");
    }
}

async fn row((case, path): (Case, &str)) -> Value {
    let server = Server::start().await;
    let here = |text: String| match case.name {
        // Its files of 1 MB are closed as soon as they are written.
        "lighttpd" => format!("server.upload-dirs = (\"/tmp/boxes\")\n{text}"),
        _ => text,
    };
    let (held, url) = case.start_changed(&server, here).await;
    let before = held.as_ref().map(taken).unwrap_or_default();
    let _reader = Reader::ask(&url, path).await;
    let mut written = 0;
    let mut since = Instant::now();
    while written == 0 || since.elapsed() < STILL {
        pause(Duration::from_millis(100)).await;
        if server.written() > written {
            written = server.written();
            since = Instant::now();
        }
    }
    let after = held.as_ref().map(taken).unwrap_or_default();
    let mut title = case.title();
    if path.contains("header") {
        title += " + X-Accel-Buffering: no";
    }
    json!({
        "box": case.name,
        "configuration": title,
        "server_is_blocked": written < CAP,
        "written_bytes": written,
        "memory_bytes": after.memory.saturating_sub(before.memory),
        "disk_bytes": after.disk.saturating_sub(before.disk),
    })
}

/// Bytes that a box has in memory and in files.
#[derive(Default)]
struct Taken {
    memory: u64,
    disk: u64,
}

fn taken(middlebox: &Middlebox) -> Taken {
    let mut memory = 0;
    let mut files: HashMap<(u64, u64), u64> = HashMap::new();
    let mut paths: Vec<PathBuf> = listed(middlebox.folder.path());
    for process in processes(middlebox.id()) {
        // Files that are deleted and open as well.
        paths.extend(listed(format!("/proc/{process}/fd")));
        let status = fs::read_to_string(format!("/proc/{process}/status"));
        for line in status.unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            if let Some("RssAnon:" | "RssShmem:") = words.next() {
                let kib: u64 = words.next().unwrap().parse().unwrap();
                memory += kib << 10;
            }
        }
    }
    for path in paths {
        if let Ok(found) = fs::metadata(path)
            && found.is_file()
        {
            files.insert((found.dev(), found.ino()), found.blocks() * 512);
        }
    }
    Taken { memory, disk: files.values().sum() }
}

fn listed(folder: impl AsRef<std::path::Path>) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The bytes that the server could write, and where in the box they are, in MiB.
fn cells(row: &Value) -> Option<Vec<String>> {
    let mib = |name: &str| number(row, name) >> 20;
    let written = match row["server_is_blocked"] == true {
        true => mib("written_bytes").to_string(),
        false => format!("≥ {}", mib("written_bytes")),
    };
    // Less is what a process takes for anything.
    let shown = |mib: u64| if mib < 16 { "–".into() } else { mib.to_string() };
    Some(vec![written, shown(mib("memory_bytes")), shown(mib("disk_bytes"))])
}
