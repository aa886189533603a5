//! Redis is killed, paused, busy, full or replaced by its replica.

use std::time::Instant;

use tests::follow::{Follower, Random, Writer};
use tests::redis::Redis;
use tests::until;
use tokio::sync::watch::channel;

use super::{SOON, STREAM};
use super::{assert_refused, assert_same, feed, follow, reached, two, write};
use crate::client::{Feed, Reader};

/// Writes 2,000 events while Redis is lost so many times, each time after at most `apart` more
/// events. Fails unless both a steady reader and one with cuts get them all. `lose` gets the
/// number of the loss.
async fn lose_redis(
    times: usize,
    apart: usize,
    seed: u64,
    lose: impl AsyncFn(&mut Redis, &Feed, usize),
) -> Writer {
    const EVENTS: usize = 2_000;
    let mut redis = Redis::start().await;
    let server = feed(&redis).await;
    let (_to, at) = channel(server.url.clone());
    let (done, mut progress) = channel(0);
    let writer = tokio::spawn(write(at.clone(), EVENTS, done));
    let steady = tokio::spawn(follow(Follower::from_start(&at), EVENTS));
    let cut = Follower::from_start(&at).with_cuts(seed, 4_000);
    let cut = tokio::spawn(follow(cut, EVENTS));
    let mut random = Random(seed);
    for time in 1..=times {
        let lost_at = *progress.borrow() + 1 + random.below(apart);
        reached(&mut progress, lost_at).await;
        lose(&mut redis, &server, time).await;
        until("the log says that Redis is back", async || {
            server.said("Redis is back") >= time
        })
        .await;
    }
    let writer = writer.await.unwrap();
    let steady = steady.await.unwrap();
    let cut = cut.await.unwrap();
    assert_same(&steady, &writer);
    assert_same(&cut, &writer);
    assert_eq!(steady.seen.connections, 1);
    assert_eq!(redis.count(&["XLEN", STREAM]).await, EVENTS);
    assert_eq!(server.said("Redis is lost"), times);
    assert_eq!(server.said("Redis is back"), times);
    writer
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn acknowledged_events_survive_when_redis_is_killed_10_times() {
    let writer = lose_redis(10, 150, 3, async |redis, server, kill| {
        redis.kill();
        until("the log says that Redis is lost", async || {
            server.said("Redis is lost") >= kill
        })
        .await;
        let answer = server.post_note("x", None).await;
        assert_refused(answer, 503, "Redis cannot be reached").await;
        redis.start_again().await;
    });
    assert!(writer.await.failed > 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn connections_that_redis_closes_cost_no_reader_anything() {
    let all = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    lose_redis(20, 80, 12, async |redis, _, _| {
        redis.ask(&all).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn while_redis_is_gone_heartbeats_go_on_and_requests_get_the_reason() {
    let mut redis = Redis::start().await;
    let server = feed(&redis).await;
    let first = server.note("first").await;
    let mut here = Reader::start(&server).await;
    assert_eq!(here.data().await, "first");
    redis.kill();
    until("the log says that Redis is lost", async || {
        server.said("Redis is lost") == 1
    })
    .await;
    let why = "Redis cannot be reached";
    assert_refused(server.post_note("lost", None).await, 503, why).await;
    assert_refused(server.post_note("lost", Some("key")).await, 503, why).await;
    assert_refused(server.get("/events?from=start").await, 503, why).await;
    assert_refused(server.get(&format!("/events/{first}")).await, 503, why).await;
    // A reader that comes now is let in, and waits.
    let mut come = Reader::after(&server, &first).await;
    let mut new = Reader::now(&server).await;
    for reader in [&mut here, &mut come, &mut new] {
        let before = reader.text.len();
        reader.chunk().await;
        assert_eq!(&reader.text[before..], ":\n");
    }
    redis.start_again().await;
    until("the log says that it is back", async || {
        server.said("Redis is back") == 1
    })
    .await;
    server.note("second").await;
    for reader in [&mut here, &mut come, &mut new] {
        assert_eq!(reader.data().await, "second");
    }
    assert_eq!(server.said("Redis is lost"), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn readers_get_a_resync_when_a_killed_redis_forgets_events() {
    let mut redis = Redis::start_with(&[("appendonly", "no")]).await;
    let server = feed(&redis).await;
    let mut reader = Reader::now(&server).await;
    let mut last = String::new();
    for number in 1..=3 {
        last = server.note(&number.to_string()).await;
        assert_eq!(reader.data().await, number.to_string());
    }
    redis.kill();
    redis.start_again().await;
    assert_eq!(reader.resync("unknown").await, "0-0");
    until("the server writes again", async || {
        server.post_note("4", Some("4")).await.status() == 201
    })
    .await;
    assert_eq!(reader.data().await, "4");
    let mut absent = Reader::after(&server, last).await;
    absent.resync("expired").await;
    assert_eq!(absent.data().await, "4");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn after_a_failover_that_lost_an_event_all_readers_get_a_resync_and_no_repeats()
 {
    for follows_at_once in [true, false] {
        let at_once = [("repl-diskless-sync-delay", "0")];
        let mut primary = Redis::start_with(&at_once).await;
        let mut replica = Redis::start().await;
        let servers = two(&primary).await;
        let mut readers = Vec::new();
        for server in &servers {
            readers.push(Reader::start(server).await);
            readers.push(Reader::now(server).await);
        }
        servers[0].note("1").await;
        let kept = servers[1].note("2").await;
        let port = primary.addr().replace("127.0.0.1:", "");
        replica.ask(&["REPLICAOF", "127.0.0.1", &port]).await;
        until("the replica has both", async || {
            replica.count(&["XLEN", STREAM]).await == 2
        })
        .await;
        // Cut the replica off. The primary acknowledges one more event.
        replica.ask(&["REPLICAOF", "NO", "ONE"]).await;
        let lost = servers[0].note("lost").await;
        for reader in &mut readers {
            for data in ["1", "2", "lost"] {
                assert_eq!(reader.data().await, data);
            }
        }
        replica.take_over(&mut primary).await;
        if follows_at_once {
            until("a server writes again", async || {
                servers[0].post_note("3", Some("3")).await.status() == 201
            })
            .await;
        }
        for reader in &mut readers {
            assert_eq!(reader.resync("unknown").await, kept);
        }
        // So does a reader that was away meanwhile, unless it never had the lost event.
        let later = feed(&replica).await;
        for server in servers.iter().chain([&later]) {
            let mut back = Reader::after(server, &lost).await;
            assert_eq!(back.resync("unknown").await, kept);
            readers.extend([back, Reader::after(server, &kept).await]);
        }
        if !follows_at_once {
            servers[0].note("3").await;
        }
        servers[1].note("4").await;
        for reader in &mut readers {
            assert_eq!(reader.data().await, "3");
            assert_eq!(reader.data().await, "4");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn while_redis_is_paused_requests_fail_soon_and_readers_wait() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let mut readers = Vec::new();
    for server in &servers {
        readers.push(Reader::now(server).await);
        readers.push(Reader::start(server).await);
    }
    servers[0].note("before").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "before");
    }
    redis.pause();
    let start = Instant::now();
    let (once, keyed, page) = tokio::join!(
        servers[0].post_note("x", None),
        servers[1].post_note("meanwhile", Some("key")),
        servers[1].get("/events?from=start"),
    );
    let took = start.elapsed();
    assert!(took < SOON, "{took:?}");
    for answer in [once, keyed, page] {
        assert_eq!(answer.status(), 503);
        let text = answer.text().await.unwrap();
        assert!(text.contains("timed out") || text.contains("Redis"), "{text}");
    }
    // Requests fail soon also when Redis is known to be lost.
    let start = Instant::now();
    let again = servers[1].post_note("meanwhile", Some("key")).await;
    assert_eq!(again.status(), 503);
    assert!(start.elapsed() < SOON);
    redis.resume();
    until("both servers write again", async || {
        let mut stored = true;
        for server in &servers {
            let answer = server.post_note("meanwhile", Some("key")).await;
            stored &= answer.status() == 201;
        }
        stored
    })
    .await;
    servers[0].note("after").await;
    for reader in &mut readers {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|data| data != "after") {
            seen.push(reader.data().await);
        }
        // The event without a key may have been stored, though its client could not know.
        seen.retain(|data| data != "x");
        assert_eq!(seen, ["meanwhile", "after"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_reader_that_comes_while_redis_is_busy_gets_its_events_afterwards() {
    /// This takes longer than the server waits for an answer, and less time than the
    /// connection that waits for events does.
    const BUSY: &str = "for _ = 1, 150000000 do end return 'done'";
    let redis = Redis::start_with(&[("busy-reply-threshold", "10")]).await;
    let server = feed(&redis).await;
    let first = server.note("1").await;
    server.note("2").await;
    let mut here = Reader::after(&server, &first).await;
    assert_eq!(here.data().await, "2");
    // This server has none of these events in memory.
    let later = feed(&redis).await;
    let (busy, come) = tokio::join!(redis.ask(&["EVAL", BUSY, "0"]), async {
        until("Redis is busy", async || {
            let answer = later.post_note("3", Some("key")).await;
            answer.status() == 503 && answer.text().await.unwrap().contains("BUSY")
        })
        .await;
        Reader::after(&later, &first).await
    });
    assert_eq!(busy, "done");
    let mut come = come;
    assert_eq!(come.data().await, "2");
    server.note_once("key", "3").await;
    assert_eq!(come.data().await, "3");
    assert_eq!(here.data().await, "3");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn when_redis_is_full_writers_get_a_507_and_readers_stay() {
    let redis = Redis::start_with(&[("maxmemory-policy", "noeviction")]).await;
    let server = feed(&redis).await;
    let mut reader = Reader::now(&server).await;
    server.note("before").await;
    assert_eq!(reader.data().await, "before");
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let why = "Redis has used all memory";
    assert_refused(server.post_note("x", None).await, 507, why).await;
    assert_refused(server.post_note("x", Some("key")).await, 507, why).await;
    let mut start = Reader::start(&server).await;
    assert_eq!(start.data().await, "before");
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    server.note_once("key", "after").await;
    assert_eq!(reader.data().await, "after");
    assert_eq!(start.data().await, "after");
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 2);
    assert_eq!(server.said("Redis is lost"), 0);
}
