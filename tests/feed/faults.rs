//! A disk whose sync fails, and a clock that jumps: `tests/preload/faults.c` makes them.

use std::fs;
use std::path::Path;
use std::process::Command;

use futures_util::future::join_all;
use nix::errno::Errno;
use tempfile::{TempDir, tempdir};
use tests::until;

use crate::client::{Feed, assert_strictly_growing, before, id, parts};

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
        let [library, sync, clock] =
            ["faults.so", "sync", "clock"].map(|name| self.path(name));
        let variables = [
            ("LD_PRELOAD", &*library),
            ("FAIL_SYNC", &sync),
            ("CLOCK_AHEAD", &clock),
        ];
        Feed::start_with(folder, &variables).await
    }

    /// Lets the next sync fail with this error.
    fn fail_sync(&self, error: Errno) {
        self.write("sync", error as i64);
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
