//! Events that are too many or too old are removed, and a reader that misses them is told.

use std::time::Duration;

use eventsource_stream::Event;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;
use tempfile::tempdir;
use tests::follow::Reading;
use tests::{Dechunker, pause, until, within};
use tokio::io::AsyncReadExt;

use crate::client::{Feed, assert_strictly_growing, before};
use crate::wire::{fill, raw_stream};

#[tokio::test]
async fn a_reader_away_too_long_gets_one_resync_and_all_that_is_kept() {
    let folder = tempdir().unwrap();
    let variables = [("FEED_KEEP", "10")];
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let ids = feed.notes(1..=30).await;
    // Start again, so that the events are on the disk only.
    feed.stop();
    feed = Feed::start_with(folder.path(), &variables).await;
    assert_eq!(feed.look(&ids[19]).await, None);
    assert!(feed.look(&ids[20]).await.is_some());
    let kept: Vec<_> = (21..=31).map(|number| number.to_string()).collect();
    for (round, last) in [&ids[0], &ids[10], &ids[18]].into_iter().enumerate() {
        let mut late = feed.back(last).await;
        let after = before(&ids[20]);
        assert_eq!(late.resync("expired").await, after.clone());
        if round == 0 {
            assert_eq!(late.notes_to("30").await, kept[..10]);
        }
        // A reader that is cut off after the resync is not told again.
        let mut again = feed.back(&after).await;
        assert_eq!(again.notes_to("30").await, kept[..10]);
    }
    // A reader whose event is kept gets no resync.
    for had in 21..=29 {
        let mut reader = feed.back(&ids[had - 1]).await;
        assert_eq!(reader.notes_to("30").await, kept[had - 20..10]);
    }
    // A reader that is up to date gets none either, while time goes on.
    let mut all = feed.back(&ids[29]).await;
    all.begin().await;
    feed.note("31").await;
    assert_eq!(all.note().await, "31");
    assert_eq!(feed.look(&ids[20]).await, None, "one came, and one went");
}

#[tokio::test]
async fn events_that_are_too_old_are_removed_but_the_newest_stays() {
    let folder = tempdir().unwrap();
    let variables = [("FEED_AGE", "2")];
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let ids = feed.notes(1..=5).await;
    let mut idle = feed.listen("/events").await;
    idle.begin().await;
    until("the old ones go", async || feed.look(&ids[3]).await.is_none()).await;
    pause(Duration::from_secs(3)).await;
    assert!(feed.look(&ids[4]).await.is_some(), "the newest stays");
    // The old events are gone from the memory of the process that wrote them, too.
    let mut late = feed.back(&ids[1]).await;
    assert_eq!(late.resync("expired").await, before(&ids[4]));
    assert_eq!(late.note().await, "5");
    feed.stop();
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let mut late = feed.back(&ids[1]).await;
    assert_eq!(late.resync("expired").await, before(&ids[4]));
    assert_eq!(late.note().await, "5");
    // A reader that has the newest event has missed nothing, however old it is.
    let mut up_to_date = feed.back(&ids[4]).await;
    let mut now = feed.listen("/events").await;
    assert_eq!(now.begin().await, ids[4]);
    pause(Duration::from_secs(2)).await;
    feed.note("6").await;
    for reader in [&mut late, &mut up_to_date, &mut now] {
        assert_eq!(reader.note().await, "6");
    }
    until("it goes, too", async || feed.look(&ids[4]).await.is_none()).await;
    feed.stop();
    feed = Feed::start_with(folder.path(), &variables).await;
    feed.note("7").await;
    assert_eq!(late.reading.last_event_id, up_to_date.reading.last_event_id);
    let mut back = feed.back(&late.reading.last_event_id).await;
    assert_eq!(back.note().await, "7");
}

/// Or else the file would grow without end, though it keeps no more events.
#[tokio::test]
async fn keys_are_removed_with_their_events() {
    const KEYS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("keys");
    let folder = tempdir().unwrap();
    let feed = Feed::start_with(folder.path(), &[("FEED_KEEP", "10")]).await;
    for number in 1..=50 {
        let number = number.to_string();
        feed.note_once(&format!("key-{number}"), &number).await;
    }
    let ids = feed.notes(51..=55).await;
    drop(feed);
    let database = Database::open(folder.path().join("feed.redb")).unwrap();
    let keys = database.begin_read().unwrap().open_table(KEYS).unwrap();
    let keys: Vec<_> = keys
        .iter()
        .unwrap()
        .map(|entry| entry.unwrap().0.value().to_string())
        .collect();
    assert_eq!(keys, ["key-46", "key-47", "key-48", "key-49", "key-50"]);
    drop(database);
    let feed = Feed::start_with(folder.path(), &[("FEED_KEEP", "10")]).await;
    assert!(feed.look(&ids[0]).await.is_some());
    feed.note_once("key-45", "another").await;
}

#[tokio::test]
async fn a_slow_reader_that_retention_overtakes_gets_one_resync() {
    const EVENTS: usize = 4_000;
    let folder = tempdir().unwrap();
    let feed = Feed::start_with(folder.path(), &[("FEED_KEEP", "1000")]).await;
    let mut slow = raw_stream(&feed, "/events").await;
    fill(&feed, 40, EVENTS, 4_000).await;
    feed.note("the end").await;
    let mut wire = Vec::new();
    let mut reading = Reading::default();
    let mut events: Vec<Event> = Vec::new();
    let mut chunks = Dechunker::default();
    while events.last().is_none_or(|event| event.data != "the end") {
        wire.clear();
        if within("bytes", slow.read_buf(&mut wire)).await.unwrap_or(0) == 0 {
            // It took nothing for half a minute, and was cut off. It comes back.
            let back = feed.back(&reading.last_event_id).await;
            events.extend(back.all_to("the end").await);
            break;
        }
        events.extend(reading.read(&chunks.read(&wire)));
    }
    let resyncs: Vec<_> =
        (0..events.len()).filter(|&at| events[at].event == "resync").collect();
    let [resync] = resyncs[..] else { panic!("{} resyncs", resyncs.len()) };
    let data: Value = serde_json::from_str(&events[resync].data).unwrap();
    assert_eq!(data["reason"], "expired");
    assert_eq!(data["after"], *events[resync].id);
    assert!(resync < EVENTS && events.len() < EVENTS, "it was overtaken");
    // The events after the resync have no hole.
    let start = feed.listen("/events?from=start").await;
    let kept = start.all_to("the end").await;
    let got = &events[events.len() - kept.len()..];
    assert!(kept.len() == 1_000 && *got == kept);
    assert_strictly_growing(events.iter().map(|event| &event.id));
    assert!(events.len() - resync > 1_000);
}
