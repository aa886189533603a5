//! A disk whose sync fails, and a clock that jumps: `tests/preload/faults.c` makes them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use nix::errno::Errno;
use tempfile::{TempDir, tempdir};
use tests::{allow_open_files, pause, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Feed, Reader, assert_strictly_growing, before, id, parts};

/// A disk and a clock that a test can spoil, for the programs that it starts with them.
struct Faults(TempDir);

impl Faults {
    fn new() -> Self {
        let faults = Self(tempdir().unwrap());
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o", &faults.path("faults.so")]);
        let source = tests::root().join("tests/preload/faults.c");
        assert!(cc.arg(source).status().unwrap().success());
        faults
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    async fn start(&self, folder: &Path) -> Feed {
        const FILES: [(&str, &str); 6] = [
            ("LD_PRELOAD", "faults.so"),
            ("FAIL_SYNC", "sync"),
            ("SLOW_SYNC", "slow"),
            ("FOLDER_SYNCS", "folders"),
            ("CLOCK_AHEAD", "clock"),
            ("STOP_WRITER", "writer"),
        ];
        let files = FILES.map(|(variable, name)| (variable, self.path(name)));
        let variables =
            files.each_ref().map(|(variable, path)| (*variable, &**path));
        Feed::start_with(folder, &variables).await
    }

    /// Lets the next sync fail with this error.
    fn fail_sync(&self, error: Errno) {
        self.write("sync", error as i64);
    }

    /// Lets each sync take so many milliseconds.
    fn slow_down(&self, milliseconds: i64) {
        self.write("slow", milliseconds);
    }

    /// Sets the clock so many seconds ahead, or behind.
    fn set_clock(&self, seconds: i64) {
        self.write("clock", seconds);
    }

    /// Replaces the file at once, because the program may look at any time.
    fn write(&self, name: &str, number: i64) {
        fs::write(self.path("new"), number.to_string()).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }
}

/// The events are stored though the sync has failed. Writers repeat them, because they were
/// told of the failure; no reader gets one twice, or not at all.
#[tokio::test]
async fn a_sync_that_fails_costs_no_reader_an_event() {
    let folder = tempdir().unwrap();
    let faults = Faults::new();
    let mut feed = faults.start(folder.path()).await;
    let mut readers = Vec::new();
    for path in ["/events", "/events?from=start"] {
        let mut reader = feed.listen(path).await;
        reader.begin().await;
        readers.push(reader);
    }
    let mut ids = feed.notes(1..=2).await;
    for (error, status, clock) in
        [(Errno::EIO, 503, 0), (Errno::ENOSPC, 507, -60 * 60)]
    {
        // While the clock is behind, the next ID is the one right after the newest.
        faults.set_clock(clock);
        for number in 0..5 {
            let key = format!("{status}-{number}");
            faults.fail_sync(error);
            assert_eq!(feed.post_note(&key, Some(&key)).await.status(), status);
            ids.push(feed.note("goes on").await);
            ids.push(id(feed.post_note(&key, Some(&key)).await).await);
        }
    }
    // Many events are stored together, and none of them is acknowledged at first.
    faults.fail_sync(Errno::EIO);
    let posting = (0..50).map(async |number| {
        let key = format!("many-{number}");
        let mut answer = feed.post_note(&key, Some(&key)).await;
        let has_failed = answer.status() == 503;
        if has_failed {
            answer = feed.post_note(&key, Some(&key)).await;
        }
        (has_failed, id(answer).await)
    });
    let many = join_all(posting).await;
    assert!(many.iter().any(|(has_failed, _)| *has_failed));
    ids.extend(many.into_iter().map(|(_, id)| id));
    ids.push(feed.note("the end").await);
    ids.sort_by_key(|id| parts(id));
    for last in &ids[..ids.len() - 1] {
        readers.push(feed.back(last).await);
    }
    for life in 0..2 {
        readers.push(feed.listen("/events?from=start").await);
        for reader in readers.drain(..) {
            let last = &reader.reading.last_event_id;
            let had = ids.iter().position(|id| id == last).map_or(0, |at| at + 1);
            let came = reader.all_to("the end").await;
            assert!(came.iter().all(|event| event.event == "note"), "{came:?}");
            assert!(came.iter().map(|event| &event.id).eq(&ids[had..]), "{came:?}");
        }
        if life == 0 {
            feed.stop();
            feed = faults.start(folder.path()).await;
        }
    }
}

#[tokio::test]
async fn ids_only_grow_when_the_clock_is_set_back() {
    let folder = tempdir().unwrap();
    let faults = Faults::new();
    let mut feed = faults.start(folder.path()).await;
    let mut reader = feed.listen("/events?from=start").await;
    let mut ids = feed.notes(1..=3).await;
    let (ms, n) = parts(&ids[2]);
    faults.set_clock(-60 * 60);
    ids.extend(feed.notes(4..=6).await);
    assert_eq!(reader.notes_to("6").await.len(), 6);
    feed.stop();
    feed = faults.start(folder.path()).await;
    ids.extend(feed.notes(7..=9).await);
    // Until the clock has caught up, IDs are counted on.
    let counted = (1..=6).map(|more| format!("{ms}-{}", n + more));
    assert!(counted.eq(ids[3..].iter().cloned()), "{ids:?}");
    faults.set_clock(0);
    ids.push(feed.note("10").await);
    assert!(parts(&ids[9]).0 > ms);
    assert_strictly_growing(&ids);
    let mut back = feed.back(&reader.reading.last_event_id).await;
    assert_eq!(back.notes_to("10").await, ["7", "8", "9", "10"]);
    let all = feed.listen("/events?from=start").await.all_to("10").await;
    assert!(all.iter().map(|event| &event.id).eq(&ids));
}

#[tokio::test]
async fn a_clock_that_jumps_a_week_ahead_and_back_makes_events_old_and_ids_still_grow()
 {
    const DAY: i64 = 24 * 60 * 60;
    let folder = tempdir().unwrap();
    let faults = Faults::new();
    let mut feed = faults.start(folder.path()).await;
    let mut reader = feed.listen("/events?from=start").await;
    let mut ids = feed.notes(1..=3).await;
    faults.set_clock(8 * DAY);
    until("the old ones go", async || feed.look(&ids[1]).await.is_none()).await;
    assert!(feed.look(&ids[2]).await.is_some(), "the newest stays");
    ids.push(feed.note("4").await);
    let (future, _) = parts(&ids[3]);
    assert!(future - parts(&ids[2]).0 >= 8 * DAY as u64 * 1_000);
    assert_eq!(feed.look(&ids[2]).await, None, "it is no longer the newest");
    faults.set_clock(0);
    ids.extend(feed.notes(5..=6).await);
    assert_eq!(reader.notes_to("6").await, ["1", "2", "3", "4", "5", "6"]);
    feed.stop();
    feed = faults.start(folder.path()).await;
    ids.extend(feed.notes(7..=8).await);
    assert!(ids[4..].iter().all(|id| parts(id).0 == future), "{ids:?}");
    let mut back = feed.back(&ids[5]).await;
    assert_eq!(back.notes_to("8").await, ["7", "8"]);
    // Events of a time that the clock has not reached yet stay until a week after it.
    faults.set_clock(14 * DAY);
    ids.push(feed.note("9").await);
    assert_strictly_growing(&ids);
    let kept = feed.listen("/events?from=start").await.all_to("9").await;
    assert!(kept.iter().map(|event| &event.id).eq(&ids[3..]), "{kept:?}");
    let mut late = feed.back(&ids[0]).await;
    assert_eq!(late.resync("expired").await, before(&ids[3]));
}

/// The heartbeat, which makes a reader look again, comes too late to hide it.
#[tokio::test]
async fn readers_get_at_once_what_a_failed_sync_has_stored() {
    let folder = tempdir().unwrap();
    let faults = Faults::new();
    let feed = faults.start(folder.path()).await;
    let mut reader = feed.listen("/events").await;
    reader.begin().await;
    for number in 1..=3 {
        faults.fail_sync(Errno::EIO);
        let note = number.to_string();
        assert_eq!(feed.post_note(&note, None).await.status(), 503);
        assert_eq!(reader.note().await, note);
    }
    assert!(!reader.text.contains("\n:\n"), "{}", reader.text);
}

/// While the file is opened again, all readers have to wait. They do not get a thread each.
#[tokio::test]
async fn whoever_looks_at_events_waits_for_one_of_few_threads() {
    const MAX_READS: usize = 16; // as in `examples/feed/store.rs`
    let folder = tempdir().unwrap();
    let faults = Faults::new();
    let feed = faults.start(folder.path()).await;
    let id = feed.note("one").await;
    assert!(feed.look(&id).await.is_some());
    let at_rest = feed.threads();
    // The first sync fails, and the next one, of the file that is opened again, takes long.
    faults.slow_down(600_000);
    faults.fail_sync(Errno::EIO);
    let posting = async {
        assert_eq!(feed.post_note("two", None).await.status(), 503);
    };
    let moment = Duration::from_millis(200);
    let looking = async {
        let waits = async || timeout(moment, feed.look(&id)).await.is_err();
        until("who looks has to wait", waits).await;
        let leave = (0..80).map(|_| timeout(moment, feed.get("/events/1-0")));
        join_all(leave).await; // without their answers
        let stay = (0..60).map(async |number| match number % 3 {
            0 => drop(feed.look(&id).await),
            1 => drop(Reader::start(&feed).await),
            _ => drop(Reader::after(&feed, "malformed").await),
        });
        let counting = async {
            let mut most = 0;
            for _ in 0..10 {
                pause(moment).await;
                most = most.max(feed.threads());
            }
            faults.slow_down(0);
            most
        };
        tokio::join!(join_all(stay), counting).1
    };
    let ((), most) = tokio::join!(posting, looking);
    assert!(most > at_rest, "they wait");
    assert!(most <= at_rest + MAX_READS, "{most} threads, {at_rest} at rest");
}

/// Without its writer, the program would answer 503 for ever. So a service manager gets to
/// know of it.
#[tokio::test]
async fn when_the_thread_that_writes_fails_the_program_ends() {
    let folder = tempdir().unwrap();
    let faults = Faults::new();
    let mut feed = faults.start(folder.path()).await;
    let id = feed.note("one").await;
    faults.write("writer", 1);
    assert_eq!(feed.exit_code().await, Some(1));
    assert!(feed.stderr().contains("the thread that writes has failed"));
    faults.write("writer", 0);
    let feed = faults.start(folder.path()).await;
    assert!(feed.look(&id).await.is_some());
    feed.note("two").await;
}

/// A file is in its folder for sure when the folder was synced.
#[tokio::test]
async fn a_new_log_is_synced_with_its_folder_and_an_old_one_is_there_already() {
    let folder = tempdir().unwrap();
    let faults = Faults::new();
    let syncs = || fs::read(faults.path("folders")).unwrap_or_default().len();
    let mut feed = faults.start(folder.path()).await;
    assert_eq!(syncs(), 1);
    feed.stop();
    faults.start(folder.path()).await;
    assert_eq!(syncs(), 1);
    faults.start(&folder.path().join("new/folder")).await;
    assert_eq!(syncs(), 4, "the new folders are in theirs");
}

#[tokio::test]
#[ignore = "needs 18,500 open files"]
async fn more_posts_than_may_wait_for_a_slow_disk_are_refused_with_the_reason() {
    /// As in `examples/feed/disk.rs`: that many wait, and that many are being stored.
    const MAX_WAITING: usize = 4_096;
    const GROUP: usize = 1_024;
    allow_open_files(2 * (MAX_WAITING + GROUP) as u64);
    let folder = tempdir().unwrap();
    let faults = Faults::new();
    let feed = faults.start(folder.path()).await;
    faults.slow_down(600_000);
    let body = r#"{"type":"note","data":"x"}"#;
    let post = format!(
        "POST /events HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut posting = Vec::new();
    for _ in 0..MAX_WAITING + GROUP + 200 {
        let mut socket = feed.socket().await;
        socket.write_all(post.as_bytes()).await.unwrap();
        posting.push(socket);
    }
    // Some are refused, while all the others wait.
    let mut refused = 0;
    let status = async |socket: &mut TcpStream| {
        let mut head = [0; 12];
        within("an answer", socket.read_exact(&mut head)).await.unwrap();
        String::from_utf8(head.to_vec()).unwrap()
    };
    let mut answer = String::new();
    let mut last = posting.pop().unwrap();
    within("a refusal", last.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("the disk is too slow"), "{answer}");
    faults.slow_down(0);
    for mut socket in posting {
        match &*status(&mut socket).await {
            "HTTP/1.1 503" => refused += 1,
            other => assert_eq!(other, "HTTP/1.1 201"),
        }
    }
    assert!((199..200 + GROUP).contains(&refused), "{refused}");
    feed.note("it goes on").await;
}
