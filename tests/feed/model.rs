//! A model of the log in a few lines: what each reader must see, from what was acknowledged
//! alone. Whatever happens, readers of the program see the same.

use eventsource_stream::Event;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::Value;
use tempfile::tempdir;
use tests::within;
use tokio::runtime::Runtime;

use crate::client::{Feed, Reader, before, id, parts};

/// How many events the log keeps.
const KEEP: usize = 8;

/// The log as it must be.
#[derive(Default)]
struct Log {
    /// The IDs and data of all events that there ever were.
    all: Vec<(String, String)>,
    /// How many of the oldest events are not kept any more.
    gone: usize,
    /// How many events there were when the server started.
    old: usize,
}

impl Log {
    fn append(&mut self, id: &str, data: &str) {
        self.all.push((id.into(), data.into()));
        self.gone = self.gone.max(self.all.len().saturating_sub(KEEP));
    }

    /// The ID of the newest event.
    fn newest(&self) -> String {
        self.all.last().map_or("0-0".into(), |(id, _)| id.clone())
    }

    /// The ID right before the oldest event that is kept.
    fn start(&self) -> String {
        self.all.get(self.gone).map_or("0-0".into(), |(oldest, _)| before(oldest))
    }

    /// Types, IDs and data of the events that a reader with this ID gets, up to now.
    fn after(&self, last: &str) -> Vec<[String; 3]> {
        let note = |(id, data): &(String, String)| {
            ["note".into(), id.clone(), data.clone()]
        };
        // How many events are no newer than this ID, which may be the ID of no event.
        let had = self.all.partition_point(|(id, _)| parts(id) <= parts(last));
        let is_event = match had {
            0 => last == "0-0",
            had => self.all[had - 1].0 == last,
        };
        // The server remembers the last event that has gone, if it went since its start.
        let is_remembered = had == self.gone && (had == 0 || self.old <= had);
        // Nothing fits between `5-1` and `5-2`.
        let is_right_before = had >= self.gone
            && self.all.get(had).is_some_and(|(id, _)| before(id) == last);
        if is_event && (had > self.gone || is_remembered) || is_right_before {
            return self.all[had..].iter().map(note).collect();
        }
        let (reason, after) = match had > self.gone {
            true => ("unknown", self.all[had - 1].0.clone()),
            false => ("expired", self.start()),
        };
        let data = format!("{reason} after {after}");
        let kept = self.all[had.max(self.gone)..].iter().map(note);
        [["resync".into(), after, data]].into_iter().chain(kept).collect()
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Posts so many new events, one after the other.
    Post(usize),
    /// Posts an event again, with its key: the one that is so many before the newest.
    Again(usize),
    /// Posts another event with the key of the one that is so many before the newest.
    Clash(usize),
    /// A reader comes, or comes back, and reads all there is.
    Come(usize),
    /// Does the same, but hangs up after so many bytes.
    Glimpse(usize, usize),
    /// A reader that is there reads all there is.
    Read(usize),
    /// A reader goes, without reading the events that have come.
    Cut(usize),
    /// A reader that is away changes its last event ID: to that of an event so many before the
    /// newest, with so much added to its parts.
    Stray(usize, usize, u64, u64),
    /// Kills the server, and starts it again.
    Kill,
}

const READERS: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let reader = 0..READERS;
    prop_oneof![
        4 => (1..6usize).prop_map(Op::Post),
        1 => (9..20usize).prop_map(Op::Post),
        1 => (0..12usize).prop_map(Op::Again),
        1 => (0..12usize).prop_map(Op::Clash),
        3 => reader.clone().prop_map(Op::Come),
        2 => (reader.clone(), 0..400usize).prop_map(|(r, k)| Op::Glimpse(r, k)),
        2 => reader.clone().prop_map(Op::Read),
        2 => reader.clone().prop_map(Op::Cut),
        2 => (reader, 0..12usize, 0..4u64, prop_oneof![0..3u64, Just(u64::MAX)])
            .prop_map(|(r, back, ms, n)| Op::Stray(r, back, ms, n)),
        1 => Just(Op::Kill),
    ]
}

/// A reader in the model: its last event ID, and its stream while it has one.
struct Somebody {
    path: &'static str,
    last: String,
    stream: Option<Reader>,
}

/// Writes an event as the model does.
fn told(event: Event) -> [String; 3] {
    let Event { event, id, data, .. } = event;
    if event != "resync" {
        return [event, id, data];
    }
    let data: Value = serde_json::from_str(&data).unwrap();
    let text = |name: &str| data[name].as_str().unwrap();
    let data = format!("{} after {}", text("reason"), text("after"));
    [event, id, data]
}

/// Reads the expected events, and no more.
async fn read(who: &mut Somebody, expected: Vec<[String; 3]>) {
    let stream = who.stream.as_mut().unwrap();
    for expected in expected {
        assert_eq!(told(stream.next().await), expected);
    }
    assert_eq!(stream.events, [], "and no more");
    who.last.clone_from(&stream.reading.last_event_id);
}

/// Ends a stream that was cut. It has brought some of the expected events, from the first on.
fn cut(who: &mut Somebody, expected: &[[String; 3]], got: Vec<Event>) {
    assert!(got.len() <= expected.len(), "{got:?}, {expected:?}");
    for (event, expected) in got.into_iter().zip(expected) {
        assert_eq!(&told(event), expected);
    }
    who.stream = None;
}

async fn follow_the_model(ops: &[Op]) {
    let folder = tempdir().unwrap();
    let variables = [("FEED_KEEP", &*KEEP.to_string())];
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let mut log = Log::default();
    let mut unread = 0;
    // One reader begins with the next event, the others with the first.
    let mut readers = ["/events", "/events?from=start", "/events?from=start"]
        .map(|path| Somebody { path, last: String::new(), stream: None });

    /// The ID in the first block for a reader that comes, and the events that follow.
    fn coming(log: &Log, who: &Somebody) -> (String, Vec<[String; 3]>) {
        let begin = match (&*who.last, who.path) {
            ("", "/events") => log.newest(),
            ("", _) => log.start(),
            (last, _) => last.into(),
        };
        let expected = log.after(&begin);
        (begin, expected)
    }

    for op in ops {
        match *op {
            Op::Post(count) => {
                for _ in 0..count {
                    let data = log.all.len().to_string();
                    let id = id(feed.post_note(&data, Some(&data)).await).await;
                    assert!(parts(&id) > parts(&log.newest()), "{id}");
                    log.append(&id, &data);
                    unread += 1;
                    // Let all readers that are there read before the log overtakes them.
                    if unread < KEEP / 2 {
                        continue;
                    }
                    unread = 0;
                    for who in readers.iter_mut().filter(|who| who.stream.is_some())
                    {
                        let expected = log.after(&who.last);
                        read(who, expected).await;
                    }
                }
            }
            Op::Again(back) | Op::Clash(back) => {
                let Some(at) = log.all.len().checked_sub(back + 1) else { continue };
                let (known, data) = log.all[at].clone();
                let key = &*data;
                // An event that is not kept any more is forgotten, with its key.
                if at < log.gone {
                    continue;
                }
                if let Op::Again(_) = op {
                    let answer = feed.post_note(&data, Some(key)).await;
                    assert_eq!(id(answer).await, known);
                } else {
                    let answer = feed.post_note("another", Some(key)).await;
                    assert_eq!(answer.status(), 422);
                }
            }
            Op::Come(reader) => {
                let who = &mut readers[reader];
                if who.stream.is_some() {
                    continue;
                }
                let (begin, expected) = coming(&log, who);
                let mut stream = feed.listen_after(&who.last, who.path).await;
                assert_eq!(stream.begin().await, begin);
                who.stream = Some(stream);
                read(who, expected).await;
            }
            Op::Glimpse(reader, count) => {
                let who = &mut readers[reader];
                if who.stream.is_some() {
                    continue;
                }
                let (_, expected) = coming(&log, who);
                let mut stream = feed.listen_after(&who.last, who.path).await;
                let mut left = count;
                let mut got = Vec::new();
                // Do not wait for more than will come.
                while left > 0 && got.len() < expected.len() {
                    let chunk = within("bytes", stream.stream.chunk()).await;
                    let mut chunk = chunk.unwrap().unwrap();
                    chunk.truncate(left);
                    left -= chunk.len();
                    got.extend(stream.reading.read(&chunk));
                }
                who.last = stream.reading.last_event_id;
                cut(who, &expected, got);
            }
            Op::Read(reader) => {
                let who = &mut readers[reader];
                if who.stream.is_some() {
                    let expected = log.after(&who.last);
                    read(who, expected).await;
                }
            }
            Op::Cut(reader) => readers[reader].stream = None,
            Op::Stray(reader, back, more_ms, more_n) => {
                let Some(at) = log.all.len().checked_sub(back + 1) else { continue };
                let (ms, n) = parts(&log.all[at].0);
                let who = &mut readers[reader];
                if who.stream.is_none() {
                    who.last =
                        format!("{}-{}", ms + more_ms, n.saturating_add(more_n));
                }
            }
            Op::Kill => {
                feed.stop();
                for who in &mut readers {
                    // Some of the events that were on their way may still arrive.
                    let Some(stream) = &mut who.stream else { continue };
                    let expected = log.after(&who.last);
                    while let Ok(Some(chunk)) =
                        within("the end", stream.stream.chunk()).await
                    {
                        stream.events.extend(stream.reading.read(&chunk));
                    }
                    who.last.clone_from(&stream.reading.last_event_id);
                    let got = std::mem::take(&mut stream.events).into();
                    cut(who, &expected, got);
                }
                log.old = log.all.len();
                feed = Feed::start_with(folder.path(), &variables).await;
            }
        }
    }
    // In the end, all readers come, and read all there is.
    for who in &mut readers {
        let (_, expected) = match &who.stream {
            Some(_) => (String::new(), log.after(&who.last)),
            None => {
                let coming = coming(&log, who);
                let stream = feed.listen_after(&who.last, who.path).await;
                who.stream = Some(stream);
                coming
            }
        };
        read(who, expected).await;
    }
}

#[test]
fn every_reader_sees_what_a_simple_model_says() {
    let runtime = Runtime::new().unwrap();
    let config = Config {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    proptest!(config, |(ops in vec(op(), 1..40))| {
        runtime.block_on(follow_the_model(&ops));
    });
}
