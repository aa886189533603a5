//! The sessions that the pages of `feed.md` and `servers.md` show.

use std::fs;

use tests::redis::Redis;
use tests::{Program, assert_text_but_numbers, run, session};

/// The sessions run on a log of their own, and their IDs are times.
#[tokio::test]
async fn the_sessions_of_chapter_8_are_as_recorded() {
    for (file, keep) in
        [("session", "9"), ("resync", "2"), ("twice", "9"), ("refused", "9")]
    {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let settings = [("FEED_DIR", dir), ("FEED_KEEP", keep)];
        let feed = Program::start_with("feed", &settings).await;
        let file = format!("feed/recorded/{file}.txt");
        assert_text_but_numbers(&file, &feed.session(&file));
    }
}

#[test]
fn a_file_that_is_no_log_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("feed.redb");
    fs::write(&file, "hello\n").unwrap();
    let dir = folder.path().to_str().unwrap();
    let ended = run("feed", &[("FEED_DIR", dir), ("ADDR", "127.0.0.1:0")]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), "hello\n");
    let commands = "$ mkdir other; echo hello > other/feed.redb\n\
                    $ FEED_DIR=other cargo run -q --example feed";
    let said = ended.stderr.replace(dir, "other");
    tests::assert_recorded(
        "feed/recorded/damaged.txt",
        &format!("{commands}\n{said}$ rm -r other\n"),
    );
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_sessions_of_chapter_14_are_as_recorded() {
    let redis = Redis::start().await;
    let url = redis.url();
    let a = Program::start_with("feed", &[("REDIS_URL", &url)]).await;
    let b = Program::start_with("feed", &[("REDIS_URL", &url)]).await;
    // Print answers as in a terminal.
    let port = redis.addr().rsplit_once(':').unwrap().1.to_string();
    let cli = format!("redis-cli --no-raw -p {port}");
    let raw = format!("$(redis-cli -p {port}");
    let instead = [
        ("http://127.0.0.1:8698", a.url.as_str()),
        ("http://127.0.0.1:8699", b.url.as_str()),
        ("$(redis-cli -p 6380", &raw),
        ("redis-cli -p 6380", &cli),
    ];
    for file in [
        "feed/recorded/servers.txt",
        "feed/recorded/streams.txt",
        "feed/recorded/hole.txt",
    ] {
        assert_text_but_numbers(file, &session(file, &instead));
    }
}
