//! Servers are killed, readers move between them, and nginx stands before them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::Client;
use serde_json::json;
use tests::follow::{Follower, Random};
use tests::redis::Redis;
use tests::{Nginx, Run, pause, root, within};
use tokio::sync::watch::channel;

use super::{
    SOON, STREAM, assert_same, feed, feed_with, follow, reached, two, write,
};
use crate::client::{Feed, Reader, parts};

/// 10 kills, or 200 with `WHOLE=1`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn no_event_is_lost_or_repeated_over_many_kills() {
    let run = Run::start();
    let kills = run.size(200, 10);
    let last = 50 * kills;
    let redis = Redis::start().await;
    let mut server = feed(&redis).await;
    let (to, at) = channel(server.url.clone());
    let (done, mut progress) = channel(0);
    let writer = tokio::spawn(write(at.clone(), last, done));
    let cut = Follower::from_start(&at).with_cuts(run.seed, 20_000);
    let followers = [Follower::from_start(&at), cut];
    let followers = followers.map(|follower| tokio::spawn(follow(follower, last)));
    let mut random = Random(run.seed);
    for kill in 0..kills {
        reached(&mut progress, kill * 50 + random.below(50)).await;
        // Kill it at a random moment, in the middle of a write or not.
        pause(Duration::from_micros(random.below(3_000) as u64)).await;
        server.stop();
        server = feed(&redis).await;
        to.send_replace(server.url.clone());
    }
    let writer = writer.await.unwrap();
    for follower in followers {
        let follower = follower.await.unwrap();
        assert!(follower.seen.connections > kills / 2);
        assert_same(&follower, &writer);
    }
    assert_eq!(redis.count(&["XLEN", STREAM]).await, last);
    let what = format!("{kills} kills of feed on Redis, {last} events");
    run.done("kills-redis", &what, &["redis-server --version"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn readers_that_move_between_two_servers_see_every_event_once() {
    const EVENTS: usize = 2_000;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    // Both write the same, so that each event is stored once by one of them.
    let (_to, at) = channel(servers[0].url.clone());
    let (_to_other, at_other) = channel(servers[1].url.clone());
    let (done, mut progress) = channel(0);
    let writer = tokio::spawn(write(at, EVENTS, done));
    let other = tokio::spawn(write(at_other, EVENTS, channel(0).0));
    let (moved, at) = channel(servers[0].url.clone());
    let followers: Vec<_> = (0..4)
        .map(|seed| Follower::from_start(&at).with_cuts(seed, 1_000 << seed))
        .chain([Follower::from_start(&at)])
        .map(|follower| tokio::spawn(follow(follower, EVENTS)))
        .collect();
    let mut random = Random(2);
    let mut move_at = 0;
    let mut moves = 0;
    while move_at < EVENTS {
        reached(&mut progress, move_at).await;
        moves += 1;
        moved.send_replace(servers[moves % 2].url.clone());
        move_at += 1 + random.below(8);
    }
    let writer = writer.await.unwrap();
    let other = other.await.unwrap();
    assert_eq!(writer.ids, other.ids);
    for follower in followers {
        let follower = follower.await.unwrap();
        assert!(follower.seen.connections > moves / 10, "{moves} moves");
        assert_same(&follower, &writer);
    }
    assert_eq!(redis.count(&["XLEN", STREAM]).await, EVENTS);
}

/// nginx before two servers, as the book sets it up.
async fn nginx_before(servers: &[Feed; 2]) -> Nginx {
    let file = root().join("examples/feed/nginx.conf");
    let lines = fs::read_to_string(file).unwrap();
    let [a, b] = servers.each_ref().map(addr);
    Nginx::start(|front| {
        let places = [("8698", a), ("8699", b), ("8690", front)];
        places.iter().fold(lines, |lines, (port, addr)| {
            lines.replace(&format!("127.0.0.1:{port}"), addr)
        })
    })
    .await
}

fn addr(server: &Feed) -> &str {
    server.url.strip_prefix("http://").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server and nginx"]
async fn behind_nginx_a_server_may_be_killed_at_any_time() {
    const EVENTS: usize = 2_000;
    let redis = Redis::start().await;
    let mut servers = two(&redis).await;
    let nginx = nginx_before(&servers).await;
    let (_to, at) = channel(nginx.url.clone());
    let (done, mut progress) = channel(0);
    let follower = tokio::spawn(follow(Follower::from_start(&at), EVENTS));
    let writer = tokio::spawn(write(at, EVENTS, done));
    for kill in 1..20 {
        reached(&mut progress, kill * 100).await;
        let server = &mut servers[kill % 2];
        server.stop();
        *server = feed_with(&redis, &[("ADDR", addr(server))]).await;
    }
    let writer = writer.await.unwrap();
    let follower = follower.await.unwrap();
    assert_same(&follower, &writer);
    assert!(follower.seen.connections > 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server and nginx"]
async fn more_streams_fit_through_nginx_than_its_512_connections() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let nginx = nginx_before(&servers).await;
    let client = Client::new();
    let come = (0..600).map(async |_| {
        let request = client.get(format!("{}/events", nginx.url));
        Reader::let_in(within("a stream", request.send()).await.unwrap()).await
    });
    let mut readers = join_all(come).await;
    servers[0].note("to all").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "to all");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn all_readers_see_one_order_whoever_writes_where() {
    const WRITERS: usize = 8;
    const EACH: usize = 150;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let read = async |reader: usize| {
        let mut stream = Reader::start(&servers[reader % 2]).await;
        let mut events = Vec::new();
        while events.len() < WRITERS * EACH {
            let event = stream.next().await;
            events.push((event.id, event.data));
            // Half of the readers move to the other server, each after so many events.
            if reader >= 2 && events.len() % reader == 0 {
                let (last, _) = &events[events.len() - 1];
                let to = events.len() / reader + reader;
                stream = Reader::after(&servers[to % 2], last).await;
            }
        }
        events
    };
    let write = async |writer: usize| {
        for number in 0..EACH {
            servers[writer % 2].note(&format!("{writer} {number}")).await;
        }
    };
    let (read, ()) = tokio::join!(join_all((0..5).map(read)), async {
        join_all((0..WRITERS).map(write)).await;
    });
    for events in &read {
        assert_eq!(events, &read[0]);
        assert!(events.is_sorted_by_key(|(id, _)| parts(id)));
        let ids: BTreeSet<_> = events.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), WRITERS * EACH);
        let mut next = BTreeMap::new();
        for (_, data) in events {
            let (writer, number) = data.split_once(' ').unwrap();
            let next: &mut usize = next.entry(writer).or_default();
            assert_eq!(number, next.to_string(), "writer {writer}");
            *next += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn the_program_ends_soon_while_redis_is_paused_or_gone() {
    for is_gone in [false, true] {
        let mut redis = Redis::start().await;
        let mut server = feed(&redis).await;
        let first = server.note("first").await;
        let mut readers =
            [Reader::now(&server).await, Reader::after(&server, &first).await];
        if is_gone {
            redis.kill();
        } else {
            redis.pause();
        }
        let request = server.request("POST", "/events");
        let request = request.json(&json!({ "type": "note", "data": "x" }));
        // This request comes before the signal or right after it. It must not keep the
        // program from ending.
        let posting = tokio::spawn(request.send());
        let mut come = Reader::after(&server, "1-1").await;
        let start = Instant::now();
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code().await, Some(0));
        let took = start.elapsed();
        assert!(took < SOON, "{took:?}");
        for reader in readers.iter_mut().chain([&mut come]) {
            // Bytes that a reader had not read yet come first.
            let end = async {
                while let Some(_more) = reader.stream.chunk().await? {}
                reqwest::Result::Ok(())
            };
            within("an end", end).await.expect("a clean one");
        }
        drop(within("an answer, or none", posting).await);
    }
}
