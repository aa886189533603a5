//! A replay asks Redis for each event once, whatever the sizes of events.

use tests::redis::Redis;

use super::{STREAM, add_numbers, feed};
use crate::client::Reader;

/// The bytes that Redis has sent to its clients.
async fn sent(redis: &Redis) -> usize {
    let stats = redis.ask(&["INFO", "stats"]).await;
    let stats = stats.as_str().unwrap();
    let line =
        stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.unwrap().parse().unwrap()
}

/// Has a server that has nothing in memory send all events, and fails if Redis has sent much
/// more than these bytes for it.
async fn assert_read_once(redis: &Redis, last: usize, stored: usize) {
    let server = feed(redis).await;
    let before = sent(redis).await;
    let mut reader = Reader::start(&server).await;
    assert_eq!(reader.numbers_to(last).await, 1);
    let read = sent(redis).await - before;
    eprintln!("Redis sent {read} bytes for {stored}");
    assert!(read * 10 <= stored * 13, "{read} bytes for {stored}");
    assert!(read * 2 >= stored, "{read} bytes for {stored}: it was in memory");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_replay_reads_each_event_once() {
    /// Bytes that Redis sends around a number.
    const AROUND: usize = 65;
    for sizes in [
        vec![(2_000, 4_000)],
        vec![(20_000, 6)],
        vec![(2_000, 600)],
        vec![(700, 10), (500, 4_000), (1_000, 10), (300, 4_000), (40, 2_000)],
        [vec![(3, 10), (2, 4_090)]; 1].concat().repeat(200),
    ] {
        let redis = Redis::start().await;
        let mut next = 1;
        let mut stored = 0;
        for (count, bytes) in sizes {
            add_numbers(&redis, next, next + count - 1, 100_000, bytes).await;
            next += count;
            stored += count * (bytes + AROUND);
        }
        assert_read_once(&redis, next - 1, stored).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn entries_of_60_kb_that_other_programs_added_are_read_once() {
    const SCRIPT: &str = r"
        for i = 1, 200 do
            redis.call('XADD', KEYS[1], '*', 'blob', string.rep('x', 60000))
        end";
    let redis = Redis::start().await;
    redis.ask(&["EVAL", SCRIPT, "1", STREAM]).await;
    add_numbers(&redis, 1, 1, 100_000, 10).await;
    assert_read_once(&redis, 1, 200 * 60_000).await;
}
