//! Readers that are far behind, or that do not read, cost the program a bounded memory.

use std::collections::HashMap;

use eventsource_stream::Event;
use tempfile::tempdir;
use tests::follow::Reading;
use tests::{Dechunker, within};
use tokio::io::AsyncReadExt;

use crate::client::{Feed, assert_strictly_growing};
use crate::wire::fill;

/// Bytes of the file in memory, as in `examples/feed/log_file.rs`.
const CACHE: u64 = 64 << 20;

/// Fails unless these are the notes that [`fill`] has posted, once, those of each connection
/// in order. Returns how many they are.
fn assert_filled<'a>(notes: impl IntoIterator<Item = &'a Event>) -> usize {
    let mut next = HashMap::new();
    let mut count = 0;
    for note in notes {
        let mut numbers = note.data.split(':').map(|part| part.parse::<usize>());
        let mut number = || numbers.next().unwrap().unwrap();
        let expected = next.entry(number()).or_insert(0);
        assert_eq!(number(), *expected, "in order, and once");
        *expected += 1;
        count += 1;
    }
    count
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_is_100_000_events_behind_gets_them_all_in_bounded_memory() {
    const EVENTS: usize = 100_000;
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    // This reader has come in time, but reads nothing.
    let mut stuck = feed.reader_that_never_reads("/events").await;
    fill(&feed, 400, 4_000, 500).await;
    let before = feed.memory();
    fill(&feed, 400, EVENTS - 4_000, 500).await;
    feed.note("the end").await;
    let behind = async || {
        let reader = feed.listen("/events?from=start").await;
        reader.all_to("the end").await
    };
    let (one, two) = tokio::join!(behind(), behind());
    let grown = feed.memory().saturating_sub(before);
    eprintln!("{grown} bytes more");
    // The events that wait for `stuck` would alone be 50 MB.
    assert!(grown < CACHE + (32 << 20), "{grown} bytes more");
    assert_eq!(one.len(), EVENTS + 1);
    assert!(one == two, "the same for both");
    assert_strictly_growing(one.iter().map(|event| &event.id));
    // In two parts, because `fill` began again with its numbers.
    assert_eq!(assert_filled(&one[..4_000]), 4_000);
    assert_eq!(assert_filled(&one[4_000..EVENTS]), EVENTS - 4_000);

    // In the end `stuck` reads, and misses nothing.
    let mut wire = Vec::new();
    let mut reading = Reading::default();
    let mut events = Vec::new();
    let mut chunks = Dechunker::default();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a head", stuck.read_u8()).await.unwrap());
    }
    while events.len() <= EVENTS {
        wire.clear();
        within("bytes", stuck.read_buf(&mut wire)).await.unwrap();
        events.extend(reading.read(&chunks.read(&wire)));
    }
    assert!(events == one, "the same for the reader that was stuck");
}
