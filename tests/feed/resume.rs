//! Where a reader begins: with the next event, after its last one, or after an ID that the
//! feed does not know.

use std::time::SystemTime;

use reqwest::header::HeaderValue;
use tempfile::tempdir;
use tests::{until, within};

use crate::client::{Feed, Reader, before, parts};

#[tokio::test]
async fn a_reader_cut_off_before_the_first_event_misses_nothing() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    for expected in [vec!["one", "two"], vec!["three"]] {
        let mut reader = feed.listen("/events").await;
        let last = reader.begin().await;
        assert_eq!(reader.reading.read(b"\n"), [], "the begin is no event");
        drop(reader);
        for note in &expected {
            feed.note(note).await;
        }
        let mut back = feed.back(&last).await;
        assert_eq!(back.notes_to(expected.last().unwrap()).await, expected);
    }
}

/// An ID alone, without data, counts in Chromium, and not in Firefox, Safari and many libraries.
#[tokio::test]
async fn the_first_event_gives_a_place_to_a_client_that_wants_data_with_an_id() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let first = feed.note("one").await;
    let newest = feed.note("two").await;
    for (last, path, place) in [
        ("", "/events", &*newest),
        ("", "/events?from=start", &before(&first)),
        // Whoever comes back is where it was, whatever the feed knows of its event.
        (&first, "/events", &first),
        ("", &format!("/events?after={first}"), &first),
        ("5-5", "/events", "5-5"),
        ("9999999999999-0", "/events", "9999999999999-0"),
    ] {
        let mut reader = feed.listen_after(last, path).await;
        assert_eq!(reader.begin().await, place, "{last} {path}");
        let block = format!("event: begin\ndata:\nid: {place}\nretry: 1000\n\n");
        assert!(reader.text.starts_with(&block), "{}", reader.text);
    }
    // If this one had a place before it is told, it might never be.
    let mut lost = feed.back("banana").await;
    lost.resync("malformed").await;
    assert!(lost.text.starts_with("event: resync\n"), "{}", lost.text);
    let (block, _) = lost.text.split_once("\n\n").unwrap();
    assert!(block.contains("\nretry:"), "{block}");
}

#[tokio::test]
async fn a_parameter_that_the_stream_does_not_know_is_named_and_refused() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let id = feed.note("one").await;
    for name in ["last-event-id", "lastEventID", "Last-Event-ID", "From", "id", ""] {
        for known in ["", "from=start&", &format!("after={id}&")] {
            let answer = feed.get(&format!("/events?{known}{name}={id}")).await;
            assert_eq!(answer.status(), 400, "{known}{name}");
            let why = answer.text().await.unwrap();
            assert!(
                why.contains(&format!("no parameter `{name}`")),
                "{name}: {why}"
            );
        }
    }
    for path in [
        "/events?",
        "/events?from=start&reader=0123456789abcdef0123456789abcdef",
        "/events?after=0-0&lastEventId=0-0&from=start",
    ] {
        assert_ne!(feed.listen(path).await.begin().await, "", "{path}");
    }
}

#[tokio::test]
async fn a_reader_without_an_id_starts_with_the_next_event() {
    let folder = tempdir().unwrap();
    let mut feed = Feed::start(folder.path()).await;
    feed.note("old").await;
    let newest = feed.note("older than the reader").await;
    for is_new in [true, false] {
        let mut now = feed.listen("/events").await;
        assert_eq!(now.begin().await, newest);
        let mut start = feed.listen("/events?from=start").await;
        assert_eq!(start.note().await, "old");
        if is_new {
            drop((now, start));
            feed.stop();
            feed = Feed::start(folder.path()).await;
            continue;
        }
        let id = feed.note("new").await;
        let event = now.next().await;
        assert_eq!((&*event.data, event.id), ("new", id));
    }
}

/// Fails unless a reader with this last event ID gets a `resync` with this reason, which goes
/// on after this event, and then the events with these IDs. The ID comes in the header, and
/// in the URL.
async fn assert_gets_resync(
    feed: &Feed,
    last: &[u8],
    reason: &str,
    after: &str,
    rest: &[String],
) {
    let header = HeaderValue::from_bytes(last).unwrap();
    let get = |path: &str| feed.request("GET", path);
    let mut query = "/events?after=".to_string();
    for byte in last {
        query += &format!("%{byte:02x}");
    }
    for request in [
        get("/events").header("last-event-id", header.clone()),
        get("/events?from=start").header("last-event-id", header),
        get(&query),
    ] {
        let stream = feed.send(request).await;
        let mut reader = Reader::of(stream);
        let text = String::from_utf8_lossy(last);
        assert_eq!(within(&text, reader.resync(reason)).await, after, "{text}");
        for id in rest {
            assert_eq!(reader.next().await.id, *id, "{text}: no hole after it");
        }
    }
}

#[tokio::test]
async fn a_reader_with_an_unknown_id_gets_one_resync_and_continues() {
    let folder = tempdir().unwrap();
    let variables = [("FEED_KEEP", "5")];
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let ids = feed.notes(1..=8).await;
    let kept = &ids[3..];
    let start = before(&ids[3]);
    let (ms, n) = parts(&ids[7]);
    for from_disk in [false, true] {
        if from_disk {
            feed.stop();
            feed = Feed::start_with(folder.path(), &variables).await;
        }
        let malformed: [&[u8]; 18] = [
            b"x",
            b"1",
            b"-",
            b"1-",
            b"-1",
            b"+1-0",
            b"01-0",
            b"1-00",
            b"1-+0",
            b"1--0",
            b"1-0-0",
            b"1.0-0",
            b"0x1-0",
            b"18446744073709551616-0",
            b"0-18446744073709551616",
            "1-\u{664}".as_bytes(),
            b"\xff\xfe",
            &[b'9'; 2_000],
        ];
        for id in malformed {
            assert_gets_resync(&feed, id, "malformed", &start, kept).await;
        }
        let max = u64::MAX;
        for id in [
            format!("{max}-{max}"),
            format!("{max}-0"),
            format!("{}-0", 1u64 << 63),
            format!("{}-{max}", (1u64 << 63) - 1),
            format!("{ms}-{}", n + 1),
            format!("{}-0", ms + 1),
            format!("{ms}-{max}"),
            "9999999999999-0".into(),
        ] {
            // These are newer than all events: as far as the feed knows, nothing follows.
            assert_gets_resync(&feed, id.as_bytes(), "unknown", &ids[7], &[]).await;
        }
        // These are from long ago, or from another log.
        for id in ["0-0", "0-1", "1-0", "1764001234567-0", &ids[0]] {
            if !from_disk && (id == "0-0" || id == ids[0]) {
                continue; // in memory there is more
            }
            assert_gets_resync(&feed, id.as_bytes(), "expired", &start, kept).await;
        }
    }
    // A URL can bring IDs that no header can have.
    for id in ["1-0%20", "%201-0", "1-0%0a", "%00", "1-0%00"] {
        let mut reader = feed.listen(&format!("/events?after={id}")).await;
        within(id, reader.resync("malformed")).await;
    }
    let mut ahead = feed.back("9999999999999-0").await;
    assert_eq!(ahead.resync("unknown").await, ids[7]);
    feed.note("9").await;
    assert_eq!(ahead.note().await, "9", "and nothing before it");
    assert_eq!(feed.look("x").await, None);
    assert_eq!(feed.look(&format!("{}-{}", u64::MAX, u64::MAX)).await, None);
    assert_eq!(feed.look("0-0").await, None);
}

#[tokio::test]
async fn a_reader_with_an_id_between_two_events_gets_one_resync() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let first = feed.note("one").await;
    let (ms, _) = parts(&first);
    until("the clock leaves room for an ID", async || {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        now.as_millis() as u64 > ms + 1
    })
    .await;
    let second = feed.note("two").await;
    assert!(ms + 1 < parts(&second).0);
    let between = format!("{}-7", ms + 1);
    assert_gets_resync(&feed, between.as_bytes(), "unknown", &first, &[second])
        .await;
}

#[tokio::test]
async fn on_an_empty_log_only_its_start_is_known() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let mut now = feed.listen("/events").await;
    assert_eq!(now.begin().await, "0-0");
    let mut start = feed.listen("/events?from=start").await;
    assert_eq!(start.begin().await, "0-0");
    let mut known = feed.back("0-0").await;
    let mut unknown = feed.back("5-5").await;
    assert_eq!(unknown.resync("unknown").await, "0-0");
    let mut malformed = feed.back("x").await;
    assert_eq!(malformed.resync("malformed").await, "0-0");
    feed.note("one").await;
    for reader in [now, start, known, unknown, malformed].iter_mut() {
        assert_eq!(reader.note().await, "one");
    }
    known = feed.back("0-0").await;
    assert_eq!(known.note().await, "one");
}

#[tokio::test]
async fn the_last_event_id_header_wins_over_the_url() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let ids = feed.notes(1..=4).await;
    let after = format!("/events?after={}", ids[0]);
    for (header, path, expected) in [
        ("", &*after, "2"),
        (&*ids[2], &after, "4"),
        (&ids[2], "/events?after=x", "4"),
        (&ids[2], "/events?after=", "4"),
        (&ids[2], "/events?from=start", "4"),
        ("", "/events?after=&from=start", "1"),
        ("", &format!("{after}&from=start"), "2"),
        // Two libraries say it so, and one that is older first.
        ("", &format!("/events?lastEventId={}", ids[2]), "4"),
        ("", &format!("/events?lastEventId={}&from=start", ids[0]), "2"),
        ("", &format!("{after}&lastEventId={}", ids[2]), "2"),
        ("", &format!("/events?after=&lastEventId={}", ids[0]), "2"),
        (&ids[2], &format!("/events?lastEventId={}", ids[0]), "4"),
    ] {
        let mut reader = feed.listen_after(header, path).await;
        assert_eq!(reader.note().await, expected, "{header}, {path}");
    }
    // An empty header counts as none.
    for (path, expected) in
        [("/events?from=start", "1"), (&after, "2"), ("/events?after=", "5")]
    {
        let request = feed.request("GET", path).header("last-event-id", "");
        let stream = feed.send(request).await;
        let mut reader = Reader::of(stream);
        if expected == "5" {
            reader.begin().await;
            feed.note("5").await;
        }
        assert_eq!(reader.note().await, expected, "{path}");
    }
    let also = format!("{after}&from=x");
    for path in ["/events?from=x", "/events?from=", "/events?from=Start", &also] {
        let answer = feed.get(path).await;
        assert_eq!(answer.status(), 400, "{path}");
        assert!(answer.text().await.unwrap().contains("from"), "{path}");
    }
}
