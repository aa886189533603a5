//! Writers and readers on an ordinary day: one order for all, a reader that is cut off, and
//! the bytes of the stream.

use std::time::Duration;

use eventsource_stream::Event;
use futures_util::future::join_all;
use tempfile::tempdir;
use tests::{Recording, pause, until, within};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use crate::client::{Feed, assert_strictly_growing, parts};
use crate::wire::raw_stream;

#[tokio::test]
async fn writers_at_once_make_one_order_that_all_readers_see() {
    const WRITERS: usize = 32;
    const EACH: usize = 40;
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(feed.listen("/events?from=start").await);
    }
    let writing = join_all((0..WRITERS).map(async |writer| {
        let mut ids = Vec::new();
        for n in 0..EACH {
            ids.push(feed.note(&format!("{writer}: {n}")).await);
        }
        assert_strictly_growing(&ids);
        ids
    }));
    let reading = join_all(readers.iter_mut().map(async |reader| {
        let mut seen = Vec::new();
        while seen.len() < WRITERS * EACH {
            let Event { id, data, .. } = reader.next().await;
            seen.push((id, data));
        }
        seen
    }));
    let (written, seen) = tokio::join!(writing, reading);
    assert_strictly_growing(seen[0].iter().map(|(id, _)| id));
    assert!(seen.iter().all(|same| *same == seen[0]), "one order for all");
    let mut once: Vec<_> = written
        .iter()
        .enumerate()
        .flat_map(|(writer, ids)| {
            let note = move |(n, id): (usize, &String)| {
                (parts(id), id.clone(), format!("{writer}: {n}"))
            };
            ids.iter().enumerate().map(note)
        })
        .collect();
    once.sort();
    assert!(once.into_iter().map(|(_, id, data)| (id, data)).eq(seen[0].clone()));
}

#[tokio::test]
async fn a_write_to_a_reader_has_a_bound_from_memory_and_from_disk() {
    const MAX_CHUNK: usize = 32 << 10; // as in `examples/feed/log.rs`
    let folder = tempdir().unwrap();
    let mut feed = Feed::start(folder.path()).await;
    for number in 0..40 {
        feed.note(&format!("{number:.<4000}")).await;
    }
    for _ in 0..2 {
        let mut stream = raw_stream(&feed, "/events?from=start").await;
        let mut largest = 0;
        let mut text = String::new();
        while !text.contains("data: 39.") {
            text.clear();
            within("a chunk's size", stream.read_line(&mut text)).await.unwrap();
            let size = usize::from_str_radix(text.trim_end(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            within("a chunk", stream.read_exact(&mut chunk)).await.unwrap();
            text = String::from_utf8(chunk).unwrap();
            largest = largest.max(size);
        }
        assert!(largest <= MAX_CHUNK, "{largest}");
        assert!(largest > MAX_CHUNK - 5_000, "several go together: {largest}");
        feed.stop();
        feed = Feed::start(folder.path()).await;
    }
}

#[tokio::test]
async fn one_reader_can_be_cut_off_and_the_others_stay() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let at = |n: u128| format!("/events?reader={n:032x}");
    let delete = async |path: &str, origin: &str| {
        let request = feed.request("DELETE", path);
        let request = request.header("origin", origin);
        feed.send(request).await.status().as_u16()
    };
    let own = &*feed.url;
    let ann = format!("/readers/{:032x}", 0xa1);
    let bob = format!("/readers/{:032x}", 0xb2);
    assert_eq!(delete(&ann, own).await, 404, "she is not there yet");
    let mut ann_reads = feed.listen(&at(0xa1)).await;
    let mut bob_reads = feed.listen(&at(0xb2)).await;
    let mut nobody_reads = feed.listen("/events").await;
    for reader in [&mut ann_reads, &mut bob_reads, &mut nobody_reads] {
        reader.begin().await;
    }
    assert_eq!(delete(&ann, "http://example.com").await, 403);
    feed.note("one").await;
    assert_eq!(ann_reads.note().await, "one");
    assert_eq!(delete(&ann, own).await, 204);
    assert!(!within("the end", ann_reads.more()).await, "and a clean one");
    assert_eq!(delete(&ann, own).await, 404);
    feed.note("two").await;
    for reader in [&mut bob_reads, &mut nobody_reads] {
        assert_eq!(reader.notes_to("two").await, ["one", "two"]);
    }
    // Ann comes back, and has missed nothing.
    let last = ann_reads.reading.last_event_id;
    let mut again = feed.listen_after(&last, &at(0xa1)).await;
    assert_eq!(again.note().await, "two");
    // A second stream of the same reader ends the first.
    let mut second = feed.listen(&at(0xa1)).await;
    second.begin().await;
    assert!(!within("the end", again.more()).await);
    drop(again);
    feed.note("three").await;
    assert_eq!(second.note().await, "three");
    assert_eq!(delete(&ann, own).await, 204, "the second is the one that is known");
    assert!(!within("the end", second.more()).await);
    // A reader that leaves by itself is forgotten.
    drop(bob_reads);
    until("the reader is gone", async || delete(&bob, own).await == 404).await;
    for id in ["", "1", "x", &"g".repeat(32), &"A".repeat(32), &"+1".repeat(16)] {
        let answer = feed.get(&format!("/events?reader={id}")).await;
        assert_eq!(answer.status(), 400, "{id}");
        assert!(answer.text().await.unwrap().contains("32 hex digits"), "{id}");
    }
}

#[tokio::test]
async fn the_bytes_are_those_of_the_transcript() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let mut stream = Recording::of(feed.get("/events").await);
    stream.chunk().await;
    let mut ids = Vec::new();
    for note in ["It has begun to rain.", "It rains on:\ntake an umbrella."] {
        // The recording is replayed with these pauses.
        pause(Duration::from_millis(300)).await;
        ids.push(feed.note(note).await);
        stream.chunk().await;
    }
    stream.mask(&ids[0], "1764001234567-0");
    stream.mask(&ids[1], "1764001234868-0");
    stream.assert("feed");
}

/// Two servers with a file each are not one log: the ID of one says nothing to the other.
#[tokio::test]
async fn a_reader_that_moves_to_a_server_with_a_log_of_its_own_gets_a_resync() {
    let folders = [tempdir().unwrap(), tempdir().unwrap()];
    let ann = Feed::start(folders[0].path()).await;
    let bob = Feed::start(folders[1].path()).await;
    let before = bob.note("before").await;
    let last = ann.note("one").await;
    ann.note("never seen").await;
    bob.note("after").await;
    let mut reader = bob.back(&last).await;
    assert_eq!(reader.resync("unknown").await, before);
    assert_eq!(reader.next().await.data, "after");
}
