//! Where the program cannot run, it ends with one clear line, and no file is overwritten.

use std::fs;
use std::path::Path;
use std::process::Stdio;

#[cfg(unix)]
use nix::sys::signal::Signal;
use redb::{Database, TableDefinition};
use tempfile::tempdir;
#[cfg(unix)]
use tests::follow::Random;
use tests::{Ended, Process, example};

use crate::client::Feed;

/// The file of the log, as in `examples/feed/log_file.rs`.
const FILE: &str = "feed.redb";

/// Starts the program where it cannot run. It must end with one clear line; this returns it.
async fn refused(variables: &[(&str, &str)]) -> String {
    let mut feed = example("feed");
    feed.env("ADDR", "127.0.0.1:0").envs(variables.iter().copied());
    feed.stdout(Stdio::piped());
    let Ended { code, stdout, stderr } = Process::spawn(feed).ended().await;
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let first = feed.note("one").await;
    let path = folder.path().to_str().unwrap();
    let line = refused(&[("FEED_DIR", path)]).await;
    assert!(line.contains(path) && line.contains("another process"), "{line}");
    // The first server has not noticed.
    feed.note("two").await;
    let notes = feed.listen("/events?from=start").await.notes_to("two").await;
    assert_eq!(notes, ["one", "two"]);
    // When the first server has been killed, the folder is free.
    drop(feed);
    assert!(Feed::start(folder.path()).await.look(&first).await.is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn a_damaged_or_foreign_file_is_refused_and_not_overwritten() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let mut broken: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), vec![]),
        ("text".into(), b"Dear diary,\n".repeat(1_000)),
        ("a picture".into(), png.to_vec()),
        ("a large picture".into(), [&png[..], &[7; 100_000]].concat()),
        (
            "another database".into(),
            [&b"SQLite format 3\0"[..], &[0; 8_176]].concat(),
        ),
        ("nothing but zeros".into(), vec![0; 1 << 20]),
    ];
    // A log after a clean end, and one after a kill.
    for is_clean in [true, false] {
        let folder = tempdir().unwrap();
        let mut feed = Feed::start(folder.path()).await;
        for n in 0..200 {
            feed.note(&format!("these words, {n}: {}", "…".repeat(100))).await;
        }
        if is_clean {
            feed.signal(Signal::SIGTERM);
            assert_eq!(feed.exit_code().await, Some(0));
        }
        drop(feed);
        let log = fs::read(folder.path().join(FILE)).unwrap();
        let name = |fault: &str| format!("{fault}, clean: {is_clean}");
        broken.push((name("half"), log[..log.len() / 2].to_vec()));
        broken.push((name("a byte is missing"), log[..log.len() - 1].to_vec()));
        broken.push((name("the head alone"), log[..4_096].to_vec()));
        let mut other = log.clone();
        let words = b"these words, ";
        let places: Vec<_> = (0..log.len() - words.len())
            .filter(|&at| log[at..].starts_with(words))
            .collect();
        assert!(places.len() >= 200);
        places.iter().for_each(|&at| other[at] ^= 1);
        broken.push((name("other letters"), other));
        let mut garbage = log.clone();
        let mut random = Random(7);
        let middle = log.len() / 8..log.len() * 7 / 8;
        garbage[middle].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        broken.push((name("garbage in the middle"), garbage));
    }
    let mut changed = Vec::new();
    for (name, bytes) in broken {
        let folder = tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, &bytes).unwrap();
        // Start it twice, as a service manager would.
        for _ in 0..2 {
            let line =
                refused(&[("FEED_DIR", folder.path().to_str().unwrap())]).await;
            assert!(line.contains(file.to_str().unwrap()), "{name}: {line}");
            assert!(line.contains("not overwritten"), "{name}: {line}");
        }
        // redb notes in its head that the file is in need of a repair, and that is all.
        let now = fs::read(&file).unwrap();
        let places =
            (0..bytes.len().min(now.len())).filter(|&at| bytes[at] != now[at]);
        let others: Vec<_> = places.collect();
        let is_noted = matches!(others[..], [] | [0..512]);
        if now.len() != bytes.len() || !is_noted {
            changed.push(format!("{name}: {} bytes, others: {others:?}", now.len()));
        }
    }
    assert_eq!(changed, [""; 0], "none is overwritten");
}

/// A log whose tables mean something else would be read wrongly, and written to.
#[tokio::test]
async fn a_log_of_another_version_is_refused() {
    const FEED: TableDefinition<&str, u64> = TableDefinition::new("feed");
    for version in [Some(2), Some(0), None] {
        let folder = tempdir().unwrap();
        Feed::start(folder.path()).await.note("one").await;
        let database = Database::open(folder.path().join(FILE)).unwrap();
        let write = database.begin_write().unwrap();
        let mut table = write.open_table(FEED).unwrap();
        match version {
            Some(version) => drop(table.insert("version", version).unwrap()),
            None => drop(table.remove("version").unwrap()),
        }
        drop(table);
        write.commit().unwrap();
        drop(database);
        let line = refused(&[("FEED_DIR", folder.path().to_str().unwrap())]).await;
        assert!(line.contains(&format!("a log of version {version:?}")), "{line}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_one_clear_line() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for dir in
        [&*file, &file.join("below"), Path::new("/proc"), Path::new("/proc/x")]
    {
        let dir = dir.to_str().unwrap();
        let line = refused(&[("FEED_DIR", dir)]).await;
        assert!(line.contains(dir), "{line}");
    }
    // A folder that is not there yet is made.
    let new = folder.path().join("new/feed");
    Feed::start(&new).await.note("hi").await;
    assert!(new.join(FILE).exists());
}

#[tokio::test]
async fn bad_numbers_are_one_clear_line() {
    let folder = tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for name in ["FEED_KEEP", "FEED_AGE"] {
        for value in ["0", "-1", "", "many", "1.5", "4294967297", "1e3"] {
            let line = refused(&[("FEED_DIR", path), (name, value)]).await;
            assert!(line.contains(name), "{line}");
            assert!(line.ends_with(&format!("{value}\n")), "{line}");
        }
    }
}
