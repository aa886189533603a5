//! A Redis that takes no writes: a replica, a node of a cluster, one that has no disk.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tests::redis::{Gate, Redis, Relay};
use tests::{Ended, pause, run, until};

use super::{STREAM, add_numbers, assert_refused, feed, feed_with};
use crate::client::{Feed, Reader};

/// Replicates without a pause before the first copy.
const AT_ONCE: [(&str, &str); 1] = [("repl-diskless-sync-delay", "0")];

async fn replica_of(primary: &Redis) -> Redis {
    let replica = Redis::start_with(&AT_ONCE).await;
    replica.replicate(primary).await;
    let events = primary.count(&["XLEN", STREAM]).await;
    until("the replica has all events", async || {
        let info = replica.ask(&["INFO", "replication"]).await;
        info.as_str().unwrap().contains("master_link_status:up")
            && replica.count(&["XLEN", STREAM]).await == events
    })
    .await;
    replica
}

/// As soon as the address leads to the new primary, writers and readers go on. Before, they
/// may see the old one for a while, which has become a replica and keeps its connections.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn after_a_failover_writers_go_on_though_the_old_primary_keeps_connections() {
    for writes_meanwhile in [true, false] {
        let old = Redis::start_with(&AT_ONCE).await;
        let relay = Relay::to(&old).await;
        let server = feed_with(&old, &[("REDIS_URL", &relay.url())]).await;
        let mut reader = Reader::start(&server).await;
        server.note("1").await;
        assert_eq!(reader.data().await, "1");
        let new = replica_of(&old).await;
        new.promote().await;
        old.replicate(&new).await;
        if writes_meanwhile {
            for key in [None, Some("2")] {
                assert_refused(server.post_note("2", key).await, 503, "Redis").await;
            }
        }
        until("it is noticed", async || {
            server.stderr().contains("is a replica: events can be read")
        })
        .await;
        assert_refused(server.post_note("2", Some("2")).await, 503, "READONLY")
            .await;
        assert_eq!(server.said("Redis is back"), 0, "it is not, for writers");
        relay.lead_to(&new);
        until("the event is stored", async || {
            server.post_note("2", Some("2")).await.status() == 201
        })
        .await;
        assert_eq!(reader.data().await, "2");
        server.note("3").await;
        assert_eq!(reader.data().await, "3");
        assert_eq!(new.count(&["XLEN", STREAM]).await, 3);
        assert_eq!(reader.text.matches("resync").count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_server_on_a_replica_says_so_and_serves_readers() {
    let primary = Redis::start_with(&AT_ONCE).await;
    let there = feed(&primary).await;
    add_numbers(&primary, 1, 3, 100, 10).await;
    let replica = replica_of(&primary).await;
    let here = feed(&replica).await;
    let warning = format!("{} is a replica: events can be read", replica.addr());
    assert!(here.stderr().contains(&warning), "{}", here.stderr());
    let mut readers = [Reader::start(&here).await, Reader::now(&here).await];
    assert_eq!(readers[0].numbers_to(3).await, 1);
    for key in [None, Some("key")] {
        let why = "READONLY: this Redis is a replica";
        assert_refused(here.post_note("4", key).await, 503, why).await;
    }
    there.note("4").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "4");
    }
    // Refused writers have cost the readers nothing.
    assert_eq!(here.said("Redis is lost"), 0);
    replica.promote().await;
    until("it has become a primary", async || {
        here.post_note("5", Some("5")).await.status() == 201
    })
    .await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "5");
    }
}

/// A cluster of one node, and the port at which it meets others.
async fn cluster() -> (Redis, String) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let bus = free.local_addr().unwrap().port().to_string();
    drop(free);
    let node = Redis::start_with(&[
        ("cluster-enabled", "yes"),
        ("cluster-port", &bus),
        ("cluster-require-full-coverage", "no"),
    ])
    .await;
    node.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    until("the node serves its slots", async || {
        let info = node.ask(&["CLUSTER", "INFO"]).await;
        info.as_str().unwrap().contains("cluster_state:ok")
    })
    .await;
    (node, bus)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn when_a_cluster_moves_the_log_the_node_that_has_it_is_named() {
    let (here, _) = cluster().await;
    let (there, bus) = cluster().await;
    let nodes = [here, there];
    let server = feed(&nodes[0]).await;
    let mut reader = Reader::start(&server).await;
    server.note_once("1", "1").await;
    assert_eq!(reader.data().await, "1");
    // The slot of the log is given to the other node.
    let slot = nodes[0].count(&["CLUSTER", "KEYSLOT", STREAM]).await.to_string();
    let id = nodes[1].ask(&["CLUSTER", "MYID"]).await.as_str().unwrap().to_string();
    nodes[1].ask(&["CLUSTER", "FLUSHSLOTS"]).await;
    let [ip, port] = ["127.0.0.1", &nodes[1].addr()[10..]];
    nodes[0].ask(&["CLUSTER", "MEET", ip, port, &bus]).await;
    until("the nodes have met", async || {
        let known = nodes[0].ask(&["CLUSTER", "NODES"]).await;
        known.as_str().unwrap().contains(&id)
    })
    .await;
    nodes[0].ask(&["DEL", STREAM, "{feed}:keys", "{feed}:keys-in-order"]).await;
    nodes[0].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]).await;
    let moved =
        format!("MOVED: this Redis is of a cluster, in which {}", nodes[1].addr());
    until("the node that has the log is named", async || {
        let answer = server.post_note("2", None).await;
        answer.status() == 503 && answer.text().await.unwrap().contains(&moved)
    })
    .await;
    let Ended { code, stderr, .. } = run("feed", &[("REDIS_URL", &nodes[0].url())]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&moved) && stderr.lines().count() == 1, "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_redis_that_refuses_to_write_is_quoted_and_said_in_words() {
    let redis = Redis::start().await;
    let server = feed(&redis).await;
    let mut reader = Reader::start(&server).await;
    redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    for key in [None, Some("key")] {
        let why = "NOREPLICAS: Redis has fewer replicas";
        assert_refused(server.post_note("x", key).await, 503, why).await;
    }
    redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    server.note("after").await;
    assert_eq!(reader.data().await, "after");
    assert_eq!(server.said("Redis is lost"), 0);

    // A replica that has lost its primary, and is not to say what it has.
    redis.ask(&["CONFIG", "SET", "replica-serve-stale-data", "no"]).await;
    redis.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    until("the reason is said", async || {
        let answer = server.get("/events?from=start").await;
        let why = "MASTERDOWN: this Redis is a replica that has lost its primary";
        answer.status() == 503 && answer.text().await.unwrap().contains(why)
    })
    .await;
    redis.promote().await;
    until("the event is stored", async || {
        server.post_note("again", Some("again")).await.status() == 201
    })
    .await;
    assert_eq!(reader.data().await, "again");
}

/// Kills the connection of a server that its requests share, and no other.
async fn kill_the_shared_connection(redis: &Redis) {
    let list = redis.ask(&["CLIENT", "LIST", "TYPE", "normal"]).await;
    let list = list.as_str().unwrap().lines();
    let mut shared = list.filter(|line| {
        !line.contains(" cmd=xread ") && !line.contains(" cmd=client|list ")
    });
    let line = shared.next().expect("a connection");
    let id = line.strip_prefix("id=").unwrap().split(' ').next().unwrap();
    assert_eq!(redis.count(&["CLIENT", "KILL", "ID", id]).await, 1);
    assert_eq!(shared.next(), None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_request_on_a_dead_connection_gives_it_up() {
    let redis = Redis::start().await;
    let server = feed(&redis).await;
    let mut reader = Reader::now(&server).await;
    for number in 1..=3 {
        let number = number.to_string();
        kill_the_shared_connection(&redis).await;
        let start = Instant::now();
        until("the event is stored", async || {
            server.post_note(&number, Some(&number)).await.status() == 201
        })
        .await;
        // Five seconds later, the connection that waits would find out.
        let took = start.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?}");
        assert_eq!(reader.data().await, number);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_server_that_has_lost_redis_tries_less_and_less_often() {
    let mut redis = Redis::start().await;
    let relay = Relay::to(&redis).await;
    let server = feed_with(&redis, &[("REDIS_URL", &relay.url())]).await;
    server.note("1").await;
    redis.kill();
    until("the log says that Redis is lost", async || {
        server.said("Redis is lost") == 1
    })
    .await;
    let before = relay.connections();
    pause(Duration::from_secs(4)).await;
    // After 0.1, 0.3, 0.7, 1.5 and 3.1 s, two connections each.
    let tried = relay.connections() - before;
    assert!((2..=12).contains(&tried), "{tried}");
    redis.start_again().await;

    // The same where each connection is of use only until something is asked on it.
    until("Redis is back", async || server.said("Redis is back") == 1).await;
    redis.ask(&["ACL", "SETUSER", "default", "-xread"]).await;
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until("that is noticed", async || server.said("Redis is lost") == 2).await;
    let before = relay.connections();
    pause(Duration::from_secs(4)).await;
    let tried = relay.connections() - before;
    assert!((2..=12).contains(&tried), "{tried}");
    redis.ask(&["ACL", "SETUSER", "default", "+xread"]).await;
    goes_on(&server).await;
}

async fn goes_on(server: &Feed) {
    let mut reader = Reader::now(server).await;
    until("the event is stored", async || {
        server.post_note("on", Some("on")).await.status() == 201
    })
    .await;
    while reader.next().await.data != "on" {}
}

/// The heartbeat, which makes a reader look again, comes too late to hide it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn readers_that_wait_for_redis_go_on_as_soon_as_it_is_back() {
    let mut redis = Redis::start().await;
    let first = feed(&redis).await.note("1").await;
    feed(&redis).await.note("2").await;
    let server = feed(&redis).await; // has none of them in memory
    redis.kill();
    until("the log says that Redis is lost", async || {
        server.said("Redis is lost") == 1
    })
    .await;
    let mut reader = Reader::after(&server, &first).await;
    redis.start_again().await;
    assert_eq!(reader.data().await, "2");
    assert!(!reader.text.contains("\n:\n"), "{}", reader.text);
}

/// How often Redis was asked for a page.
async fn pages(redis: &Redis) -> usize {
    let asked = redis.ask(&["INFO", "commandstats"]).await;
    let asked = asked.as_str().unwrap();
    let calls =
        asked.split_once("cmdstat_evalsha:calls=").map_or("0", |(_, rest)| rest);
    calls.split(',').next().unwrap().parse().unwrap()
}

/// An event comes after a reader has looked, and before it waits. It wakes the reader all the
/// same. (Otherwise, the next event or a heartbeat would.)
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn no_reader_sleeps_through_an_event_that_comes_while_it_looks() {
    const READERS: usize = 10;
    let redis = Redis::start().await;
    let relay = Relay::to(&redis).await;
    let there = feed(&redis).await;
    let here = feed_with(&redis, &[("REDIS_URL", &relay.url())]).await;
    let mut seen = Reader::now(&here).await;
    for round in 0..10 {
        // This server does not hear of the first event, so it asks Redis what comes after it.
        let before = pages(&redis).await;
        relay.let_pass(Gate::Shut);
        let first = there.note("first").await;
        let come = (0..READERS).map(|_| Reader::after(&here, &first));
        let mut readers = join_all(come).await;
        let asked = async |more: usize| {
            // The server `there` asks once for each event that it hears of.
            until("Redis has been asked", async || {
                pages(&redis).await >= before + READERS + more
            })
            .await;
        };
        asked(1).await;
        // The answers say: nothing. Before they arrive, something comes after all.
        there.note("second").await;
        asked(2).await;
        relay.let_pass(Gate::Waiting);
        asked(3).await;
        relay.let_pass(Gate::Open);
        for reader in &mut readers {
            assert_eq!(reader.note().await, "second");
            assert!(
                !reader.text.contains("\n:\n"),
                "round {round}: {}",
                reader.text
            );
        }
        assert_eq!(seen.notes_to("second").await, ["first", "second"]);
    }
}
