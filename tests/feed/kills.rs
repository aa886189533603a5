//! The program is killed again and again, and a connection breaks after each of its bytes:
//! readers see every event once.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use tempfile::tempdir;
use tests::follow::{Follower, Random, Reading, Writer};
use tests::{Dechunker, Run, pause, within};
use tokio::io::AsyncReadExt;
use tokio::sync::watch::{Sender, channel};
use tokio::time::timeout;

use crate::client::{Feed, assert_strictly_growing};
use crate::wire::raw_stream;

/// 10 kills, or 200 with `WHOLE=1`.
#[tokio::test]
async fn no_event_is_lost_or_repeated_over_many_kills() {
    let run = Run::start();
    let kills = run.size(200, 10);
    let last = 50 * kills;
    let seed = run.seed;
    let mut random = Random(seed);
    let folder = tempdir().unwrap();
    let mut feed = Feed::start(folder.path()).await;
    let (moved, at) = channel(feed.url.clone());
    let mut writer = Writer::new(&at);
    let mut steady = Follower::from_start(&at);
    let mut shaky = Follower::from_start(&at).with_cuts(seed, 4_000);
    let written = Sender::new(0);

    let writing = async {
        for number in 1..=last {
            writer.write_to(number).await;
            written.send_replace(number);
        }
    };
    let killing = async {
        let mut written = written.subscribe();
        for kill in 0..kills {
            // Kill it after a random event and a random moment, in the middle of a write or
            // not.
            let number = kill * 50 + random.below(50);
            let reached = written.wait_for(|&written| written >= number);
            within("events", reached).await.unwrap();
            pause(Duration::from_micros(random.below(8_000) as u64)).await;
            feed.stop();
            if kill % 4 == 0 {
                // Kill it again while it starts.
                let time = Duration::from_millis(random.below(30) as u64);
                drop(timeout(time, Feed::start(folder.path())).await);
            }
            feed = Feed::start(folder.path()).await;
            moved.send_replace(feed.url.clone());
        }
    };
    tokio::join!(writing, killing, steady.follow_to(last), shaky.follow_to(last));

    eprintln!(
        "{} posts repeated, {} and {} connections",
        writer.failed, steady.seen.connections, shaky.seen.connections
    );
    assert!(writer.failed > 0 && steady.seen.connections > kills / 2);
    assert!(shaky.seen.connections > steady.seen.connections);
    // Kill it once more, when nothing is being written.
    feed.stop();
    let feed = Feed::start(folder.path()).await;
    moved.send_replace(feed.url.clone());
    let mut again = Follower::from_start(&at);
    again.follow_to(last).await;
    let acknowledged: Vec<_> = (1..).zip(writer.ids.iter().cloned()).collect();
    for seen in [&steady.seen, &shaky.seen, &again.seen] {
        seen.assert_whole();
        assert_eq!(seen.events, acknowledged);
    }
    assert_strictly_growing(&writer.ids);
    stream::iter(&acknowledged)
        .for_each_concurrent(16, async |(number, id)| {
            let event = feed.look(id).await.expect("what was acknowledged");
            let data = number.to_string();
            assert_eq!(event, json!({ "id": id, "type": "count", "data": data }));
        })
        .await;
    run.done("kills", &format!("{kills} kills of feed, {last} events"), &[]);
}

/// Notes for a test in which the bytes matter: lines, other alphabets, and text that could
/// be taken for a field.
const NOTES: [&str; 12] = [
    "one",
    "two\nlines",
    "",
    "città 👩‍🚀 日本",
    "\n",
    " a space",
    "id: 5-5\n\nevent: resync",
    "\u{feff}mark",
    ": no comment",
    "control \u{1}",
    "two\n\nthree",
    "the end",
];

#[tokio::test]
async fn a_connection_may_break_after_any_byte() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    for note in NOTES {
        feed.note(note).await;
    }
    let path = "/events?from=start";
    let mut wire = Vec::new();
    let mut whole = raw_stream(&feed, path).await;
    let events_in =
        |wire: &[u8]| Reading::default().read(&Dechunker::payload(wire)).len();
    while events_in(&wire) < NOTES.len() {
        within("a byte", whole.read_buf(&mut wire)).await.unwrap();
    }
    let cut_after = async |count: usize| {
        let mut bytes = vec![0; count];
        let mut socket = raw_stream(&feed, path).await;
        within("bytes", socket.read_exact(&mut bytes)).await.unwrap();
        drop(socket);
        let mut reading = Reading::default();
        let mut events = reading.read(&Dechunker::payload(&bytes));
        let mut again = feed.listen_after(&reading.last_event_id, path).await;
        while events.len() < NOTES.len() {
            events.push(again.next().await);
        }
        assert_eq!(again.events, [], "nothing comes twice: {count}");
        let data: Vec<_> = events.iter().map(|event| &*event.data).collect();
        assert_eq!(data, NOTES, "cut after {count} bytes");
        assert!(events.iter().all(|event| event.event == "note"));
    };
    assert!(wire.len() > 500, "{}", wire.len());
    stream::iter(0..=wire.len()).for_each_concurrent(16, cut_after).await;
}
