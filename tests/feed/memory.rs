//! Readers that are far behind, or that do not read, cost the program a bounded memory.

use std::collections::HashMap;

use eventsource_stream::Event;
use tempfile::tempdir;
use tests::follow::Reading;
use tests::{Dechunker, Run, within};
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

/// 100,000 events behind with `WHOLE=1`, or else 6,000 that are larger.
#[tokio::test]
async fn readers_far_behind_get_all_events_in_bounded_memory() {
    let run = Run::start();
    let last = run.size(100_000, 6_000);
    let length = run.size(500, 4_000);
    let first = run.size(4_000, 1_200);
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    // These readers have come in time, but read nothing.
    let mut all_stuck = Vec::new();
    for _ in 0..20 {
        all_stuck.push(feed.reader_that_never_reads("/events").await);
    }
    fill(&feed, 400, first, length).await;
    let before = feed.memory();
    fill(&feed, 400, last - first, length).await;
    feed.note("the end").await;
    let behind = async || {
        let reader = feed.listen("/events?from=start").await;
        reader.all_to("the end").await
    };
    let (one, two) = tokio::join!(behind(), behind());
    let grown = feed.memory().saturating_sub(before);
    eprintln!("{grown} bytes more");
    // The events that wait for each of them would be 20 MB or more.
    assert!(grown < CACHE + (32 << 20), "{grown} bytes more");
    assert_eq!(one.len(), last + 1);
    assert!(one == two, "the same for both");
    assert_strictly_growing(one.iter().map(|event| &event.id));
    // In two parts, because `fill` began again with its numbers.
    assert_eq!(assert_filled(&one[..first]), first);
    assert_eq!(assert_filled(&one[first..last]), last - first);

    // In the end one of them reads, and misses nothing.
    let mut stuck = all_stuck.swap_remove(0);
    let mut wire = Vec::new();
    let mut reading = Reading::default();
    let mut events = Vec::new();
    let mut chunks = Dechunker::default();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a head", stuck.read_u8()).await.unwrap());
    }
    while events.len() <= last {
        wire.clear();
        if within("bytes", stuck.read_buf(&mut wire)).await.unwrap_or(0) == 0 {
            break;
        }
        events.extend(reading.read(&chunks.read(&wire)));
    }
    if events.len() <= last {
        // It took nothing for half a minute, and was cut off. It comes back.
        let back = feed.back(&reading.last_event_id).await;
        events.extend(back.all_to("the end").await);
    }
    assert!(events == one, "the same for the reader that was stuck");
    let what = format!("{last} events of {length} bytes behind: {grown} bytes more");
    run.done("memory", &what, &[]);
}
