//! Where a reader begins, and its `resync` when the feed does not know its ID.

use futures_util::future::join_all;
use tests::redis::Redis;
use tests::within;

use super::{STREAM, feed, feed_with, two};
use crate::client::Reader;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_reader_with_an_unknown_id_gets_one_resync_and_continues() {
    let redis = Redis::start().await;
    let server = feed(&redis).await;
    let ids = ["1000-10", "1000-20", "1001-0"];
    for (id, data) in ids.iter().zip(["1", "2", "3"]) {
        redis.ask(&["XADD", STREAM, id, "type", "n", "data", data]).await;
    }
    let malformed: [&[u8]; _] = [
        b"banana",
        b"1000",
        b"1000-",
        b"-10",
        b"1000-10-0",
        b"+1000-10",
        b"01000-10",
        b"1000-010",
        b"1000-10 1",
        b"1000-1x",
        b"18446744073709551616-0",
        b"1000-18446744073709551616",
        b"-",
        b"+",
        b"$",
        b"*",
        b"(1000-10",
        b"\xff\xfe",
        "１000-10".as_bytes(),
        b"1000-10, 1000-20",
        b"0x3e8-10",
        b"1000--10",
    ];
    let expired: [&[u8]; _] =
        [b"0-1", b"1000-0", b"1000-8", b"999-18446744073709551615"];
    let after_1: [&[u8]; _] = [b"1000-11", b"1000-15", b"1000-18"];
    let after_2: [&[u8]; _] = [b"1000-21", b"1000-18446744073709551614"];
    let after_3: [&[u8]; _] = [
        b"1001-1",
        b"9999-0",
        b"18446744073709551615-0",
        b"18446744073709551615-18446744073709551615",
    ];
    let cases = [
        ("malformed", &malformed[..], "1000-9", 1),
        ("expired", &expired, "1000-9", 1),
        ("unknown", &after_1, "1000-10", 2),
        ("unknown", &after_2, "1000-20", 3),
        ("unknown", &after_3, "1001-0", 4),
    ];
    let mut readers = Vec::new();
    for (reason, ids, after, first) in cases {
        for id in ids {
            let what = String::from_utf8_lossy(id).into_owned();
            let mut reader = Reader::after(&server, id).await;
            let told = within(&what, reader.resync(reason)).await;
            assert_eq!(told, after, "{what}");
            readers.push((what, reader, first));
        }
    }
    // Readers with the ID of an event, or the one right before an event, get no resync.
    for (id, first) in [
        ("1000-9", 1),
        ("1000-10", 2),
        ("1000-19", 2),
        ("1000-20", 3),
        ("1000-18446744073709551615", 3),
        ("1001-0", 4),
    ] {
        readers.push((id.into(), Reader::after(&server, id).await, first));
    }
    server.note("4").await;
    for (what, reader, first) in &mut readers {
        assert_eq!(reader.numbers_to(4).await, *first, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn when_the_events_are_deleted_every_reader_gets_a_resync() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let deletions: [&[&str]; _] = [&["DEL", STREAM], &["FLUSHALL"]];
    for deletion in deletions {
        for follows_at_once in [true, false] {
            let mut readers = Vec::new();
            for server in &servers {
                readers.push(Reader::now(server).await);
                readers.push(Reader::now(server).await);
            }
            let last = servers[0].note("before").await;
            for reader in &mut readers {
                assert_eq!(reader.data().await, "before");
            }
            redis.ask(deletion).await;
            if follows_at_once {
                servers[1].note("next").await;
            }
            let reason = if follows_at_once { "expired" } else { "unknown" };
            for reader in &mut readers {
                reader.resync(reason).await;
            }
            // A reader that is away meanwhile gets one, too.
            readers.push(Reader::after(&servers[0], &last).await);
            readers.last_mut().unwrap().resync(reason).await;
            if !follows_at_once {
                servers[1].note("next").await;
            }
            servers[0].note("last").await;
            for reader in &mut readers {
                assert_eq!(reader.data().await, "next");
                assert_eq!(reader.data().await, "last");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_reader_cut_off_before_the_first_event_misses_nothing() {
    let mut redis = Redis::start().await;
    let mut server = feed(&redis).await;
    let reader = Reader::now(&server).await;
    assert_eq!(reader.reading.last_event_id, "0-0");
    let start = Reader::start(&server).await;
    assert_eq!(start.reading.last_event_id, "0-0");
    drop((reader, start));
    redis.kill();
    redis.start_again().await;
    server.stop();
    server = feed(&redis).await;
    let mut again = Reader::after(&server, "0-0").await;
    server.note("first").await;
    assert_eq!(again.data().await, "first");
    server.stop();
    let server = feed(&redis).await;
    let mut late = Reader::after(&server, "0-0").await;
    assert_eq!(late.data().await, "first");
    server.note("second").await;
    assert_eq!(late.data().await, "second");
    let mut later = Reader::after(&server, "0-0").await;
    assert_eq!(later.data().await, "first");
    assert_eq!(later.data().await, "second");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn readers_from_the_start_miss_no_first_event() {
    const ROUNDS: usize = 50;
    let redis = Redis::start_with(&[("databases", &ROUNDS.to_string())]).await;
    for round in 0..ROUNDS {
        // Each round has a database of its own, which is empty.
        let url = format!("{}/{round}", redis.url());
        let server = feed_with(&redis, &[("REDIS_URL", &url)]).await;
        // Where the disk keeps Redis waiting for longer than 3 s, a reader gets 503, and asks
        // again like any client.
        let come = async |_| {
            let mut stream = server.get("/events?from=start").await;
            while stream.status() == 503 {
                stream = server.get("/events?from=start").await;
            }
            Reader::let_in(stream).await
        };
        let (mut readers, _) = tokio::join!(
            within("all readers", join_all((0..20).map(come))),
            server.note("first")
        );
        server.note("second").await;
        for reader in &mut readers {
            assert_eq!(reader.data().await, "first", "{}", reader.text);
            assert_eq!(reader.data().await, "second", "{}", reader.text);
        }
    }
}
