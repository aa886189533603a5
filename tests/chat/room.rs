//! Chapter 6: the log of the room, looked at from inside.

use std::sync::Arc;

use salvo::sse::SseEvent;
use tests::within;

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
