//! `slow.md`: the log of the room, looked at from inside.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use salvo::sse::SseEvent;
use tests::within;
use tokio::time::timeout;

use crate::user::HISTORY;

#[allow(dead_code)] // the rest of it is for requests
#[path = "../../examples/chat/room.rs"]
mod room;

use room::{Kind, MAX_USERS, Reader, Room};

const ANN: u128 = 1;
const BOB: u128 = 2;

/// A reader, and the events that welcome them.
async fn join(room: &Arc<Room>, id: u128, last: Option<&str>) -> (Reader, String) {
    let joined = room.join(id, last.map(str::as_bytes));
    let mut reader = joined.unwrap_or_else(|_| panic!("the room has a place"));
    let welcome = next(&mut reader).await;
    (reader, welcome)
}

/// The next bytes for a reader, as text.
async fn next(reader: &mut Reader) -> String {
    let bytes = within("bytes", reader.next()).await;
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The ID in an event.
fn id(event: &str) -> String {
    let id = event.lines().find_map(|line| line.strip_prefix("id: "));
    id.expect("an event has an ID").to_string()
}

fn text(text: &str) -> SseEvent {
    SseEvent::default().text(text)
}

#[tokio::test]
async fn however_many_come_and_go_the_messages_stay() {
    let room = Room::new(MAX_USERS);
    let last = id(&join(&room, ANN, None).await.1);
    room.publish(BOB, Kind::Message, text("important"));
    for n in 0..10 * HISTORY {
        room.publish(BOB, Kind::Announcement, text(&format!("joined {n}")));
    }
    room.publish(BOB, Kind::Message, text("the end"));
    let (mut back, _) = join(&room, ANN, Some(&last)).await;
    assert!(next(&mut back).await.starts_with("data: important\n"));
    let mut announced = 0;
    loop {
        let event = next(&mut back).await;
        if event.starts_with("data: the end\n") {
            break;
        }
        assert!(event.starts_with("data: joined "), "{event}");
        announced += 1;
    }
    assert!(
        (1..=HISTORY).contains(&announced),
        "{announced}: they have a bound, too"
    );
}

#[tokio::test]
async fn messages_that_are_gone_are_counted_wherever_announcements_lie() {
    let room = Room::new(MAX_USERS);
    let last = id(&join(&room, ANN, None).await.1);
    for n in 0..HISTORY + 7 {
        room.publish(BOB, Kind::Message, text(&format!("message {n}")));
        if n % 2 == 0 {
            room.publish(BOB, Kind::Announcement, text(&format!("joined {n}")));
        }
    }
    let (mut back, _) = join(&room, ANN, Some(&last)).await;
    // Seven messages are gone, and the four announcements among them.
    assert!(next(&mut back).await.contains("event: missed\ndata: 10\n"));
    let mut messages = 7..HISTORY + 7;
    while !messages.is_empty() {
        let event = next(&mut back).await;
        if event.starts_with("data: message ") {
            let n = messages.next().unwrap();
            assert!(event.starts_with(&format!("data: message {n}\n")), "{event}");
        }
    }
}

/// Each reader looks for more at the very moment at which the next event is published. One
/// that looks first and asks to be woken afterwards misses some of them, until the
/// heartbeat after 15 seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_event_waits_for_a_heartbeat_however_close_it_comes() {
    const READERS: usize = 3;
    const ROUNDS: usize = 20_000;
    let room = Room::new(MAX_USERS);
    let read = Arc::new(AtomicUsize::new(0));
    let mut readers = Vec::new();
    for id in 10..10 + READERS as u128 {
        let (mut reader, _) = join(&room, id, None).await;
        let read = read.clone();
        readers.push(tokio::spawn(async move {
            let mut rounds = 0;
            while rounds < ROUNDS {
                let soon = timeout(Duration::from_secs(10), reader.next()).await;
                let event = soon.expect("an event soon after it was published");
                rounds += usize::from(event.starts_with(b"data: "));
                read.fetch_add(
                    usize::from(event.starts_with(b"data: ")),
                    Ordering::SeqCst,
                );
            }
        }));
    }
    for round in 1..=ROUNDS {
        room.publish(BOB, Kind::Message, text("now"));
        while read.load(Ordering::SeqCst) < round * READERS {
            let failed = readers.iter().any(|reader| reader.is_finished());
            assert!(
                !failed || round == ROUNDS,
                "an event was late in round {round}"
            );
            tokio::task::yield_now().await;
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
