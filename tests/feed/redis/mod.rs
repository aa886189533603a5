//! `servers.md`: many servers of `feed` on one Redis, and their readers when a server is
//! killed, Redis is killed, or another program writes there.

use std::time::Duration;

use reqwest::Response;
use tests::follow::{Follower, Writer};
use tests::redis::Redis;
use tests::within;
use tokio::sync::watch;

use crate::client::Feed;

mod connections;
mod failover;
mod failures;
mod foreign;
mod keys;
mod replay;
mod resume;
mod retention;
mod servers;
mod start;

/// The key of the stream, as in `examples/feed/redis_connections.rs`.
const STREAM: &str = "{feed}:events";

/// How long a request may take when Redis does not answer: `PATIENCE` there, and some more.
const SOON: Duration = Duration::from_secs(5);

/// Starts a server of this Redis.
async fn feed(redis: &Redis) -> Feed {
    feed_with(redis, &[]).await
}

async fn feed_with(redis: &Redis, variables: &[(&str, &str)]) -> Feed {
    let url = redis.url();
    Feed::start_in(&[&[("REDIS_URL", &*url)], variables].concat()).await
}

/// Starts two servers of this Redis.
async fn two(redis: &Redis) -> [Feed; 2] {
    [feed(redis).await, feed(redis).await]
}

async fn assert_refused(answer: Response, status: u16, why: &str) {
    assert_eq!(answer.status(), status);
    let text = answer.text().await.unwrap();
    assert!(text.contains(why), "{text}");
}

/// Writes 1 to `last`, and tells each that is acknowledged.
async fn write(
    at: watch::Receiver<String>,
    last: usize,
    done: watch::Sender<usize>,
) -> Writer {
    let mut writer = Writer::new(&at);
    for number in 1..=last {
        writer.write().await;
        done.send_replace(number);
    }
    writer
}

async fn follow(mut follower: Follower, last: usize) -> Follower {
    follower.follow_to(last).await;
    follower
}

/// Waits until so many events have been acknowledged.
async fn reached(done: &mut watch::Receiver<usize>, number: usize) {
    let reached = done.wait_for(|done| *done >= number);
    within("more events", reached).await.unwrap();
}

/// Fails unless a follower has seen exactly what a writer has had acknowledged.
fn assert_same(follower: &Follower, writer: &Writer) {
    follower.seen.assert_whole();
    let written: Vec<_> = (1..).zip(writer.ids.iter().cloned()).collect();
    assert_eq!(follower.seen.events, written);
}

/// A Redis that removes events in steps of ten, so that trimming shows with few of them.
async fn redis_with_small_nodes() -> Redis {
    Redis::start_with(&[("stream-node-max-entries", "10")]).await
}

/// Has Redis itself add the numbers of a range, each with so many bytes.
async fn add_numbers(
    redis: &Redis,
    from: usize,
    to: usize,
    keep: usize,
    bytes: usize,
) {
    const SCRIPT: &str = r"
        for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
            local data = i .. string.rep(' ', ARGV[4] - #tostring(i))
            redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'type', 'n', 'data', data)
        end";
    let [from, to, keep, bytes] = [from, to, keep, bytes].map(|n| n.to_string());
    redis.ask(&["EVAL", SCRIPT, "1", STREAM, &from, &to, &keep, &bytes]).await;
}
