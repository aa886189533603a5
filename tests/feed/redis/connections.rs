//! A server has few connections to Redis, and asks few questions, for any number of readers.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::redis::Redis;
use tests::until;

use super::{add_numbers, feed, two};
use crate::client::Reader;

/// The connections to Redis, apart from the one that asks.
async fn connections(redis: &Redis) -> Vec<String> {
    let list = redis.ask(&["CLIENT", "LIST", "TYPE", "normal"]).await;
    let list = list.as_str().unwrap();
    let others = list.lines().filter(|line| !line.contains(" cmd=client|list "));
    others.map(str::to_string).collect()
}

async fn assert_few_connections(redis: &Redis) {
    let waits = |line: &String| line.contains(" cmd=xread ");
    until("one of few connections waits for events", async || {
        let connections = connections(redis).await;
        assert!(connections.len() <= 3, "{connections:#?}");
        connections.iter().filter(|line| waits(line)).count() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn all_readers_of_a_server_share_one_connection_that_waits() {
    const READERS: usize = 200;
    let redis = Redis::start().await;
    let server = feed(&redis).await;
    add_numbers(&redis, 1, 1_000, 10_000, 10).await;
    let later = feed(&redis).await; // it has none of these in memory
    drop(server);
    until("the other server has gone", async || {
        connections(&redis).await.len() <= 3
    })
    .await;
    let come = (0..READERS).map(async |reader| match reader % 2 {
        0 => Reader::now(&later).await,
        _ => Reader::start(&later).await,
    });
    let mut readers = join_all(come).await;
    assert_few_connections(&redis).await;
    for reader in readers.iter_mut().skip(1).step_by(2) {
        assert_eq!(reader.numbers_to(1_000).await, 1);
    }
    assert_few_connections(&redis).await;
    later.note("1001").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "1001");
    }
    // There are no more of them either when all have been closed once.
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until("the log says that Redis is back", async || {
        later.said("Redis is back") >= 1
    })
    .await;
    later.note("1002").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "1002");
    }
    assert_few_connections(&redis).await;
}

/// Waits until both servers wait for events again, and returns how often Redis has got each
/// of these commands since the last call.
async fn asked(redis: &Redis) -> Value {
    until("both servers wait", async || {
        let connections = connections(redis).await;
        let waits = |line: &&String| line.contains(" flags=b ");
        connections.iter().filter(waits).count() == 2
    })
    .await;
    let asked = redis.ask(&["INFO", "commandstats"]).await;
    redis.ask(&["CONFIG", "RESETSTAT"]).await;
    let calls = |line: &str| {
        let (command, rest) =
            line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls: usize = rest.split_once(',')?.0.parse().unwrap();
        let is_asked = ["evalsha", "xadd", "xread"].contains(&command);
        is_asked.then(|| (command.to_string(), calls))
    };
    asked.as_str().unwrap().lines().filter_map(calls).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn each_event_costs_a_server_one_bell_and_one_question() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let mut readers =
        [Reader::now(&servers[0]).await, Reader::now(&servers[1]).await];
    servers[0].note("0").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "0");
    }
    asked(&redis).await;
    for number in 1..=10 {
        servers[0].note(&number.to_string()).await;
        for reader in &mut readers {
            assert_eq!(reader.data().await, number.to_string());
        }
    }
    // This takes less time than one XREAD waits, and than passes between two sweeps.
    let expected = json!({ "xadd": 10, "xread": 20, "evalsha": 20 });
    assert_eq!(asked(&redis).await, expected);
    // A batch of events costs the same.
    add_numbers(&redis, 11, 210, 1_000, 10).await;
    for reader in &mut readers {
        assert_eq!(reader.numbers_to(210).await, 11);
    }
    let expected = json!({ "xadd": 200, "xread": 2, "evalsha": 2 });
    assert_eq!(asked(&redis).await, expected);
}
