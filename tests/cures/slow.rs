//! Readers who fall behind: the bounded room, and the broadcast that tells them.

use tests::{Events, Program, within};
use tokio::io::AsyncReadExt;

/// Messages for which the room keeps 64 places a reader, and the kernel a few mebibytes.
const MESSAGES: usize = 600;
/// Bytes of each.
const LENGTH: usize = 60_000;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_room_with_bounded_queues_lets_go_of_a_reader_who_does_not_read() {
    let room = Program::start("cure_room").await;
    let mut ann = room.events("/").await;
    let mut slow = room.reader_that_never_reads("/").await;
    let mut bob = room.poster("/").await;
    let text = "x".repeat(LENGTH);
    let before = room.memory();
    for _ in 0..MESSAGES / 20 {
        bob.post(&text, 20).await;
        for _ in 0..20 {
            assert_eq!(ann.data().await, text);
        }
    }
    let grown = room.memory().saturating_sub(before);
    assert!(grown < (MESSAGES * LENGTH / 3) as u64, "{grown} bytes more");

    // It reads at last: whole messages, a clean end, and it may come back.
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n0\r\n\r\n") {
        let read = slow.read_buf(&mut heard);
        assert!(within("the end of the stream", read).await.unwrap() > 0);
    }
    let mut slow = room.events("/").await;
    bob.post("welcome back", 1).await;
    assert_eq!(slow.data().await, "welcome back");
}

#[tokio::test]
async fn a_reader_of_a_broadcast_is_told_how_many_messages_were_missed() {
    let room = Program::start("cure_lagged").await;
    let mut slow = Events::of(room.get("/").await);
    let mut bob = room.poster("/").await;
    bob.post(&"x".repeat(LENGTH), MESSAGES).await;
    bob.post("the last", 1).await;
    let mut received = 0;
    let mut missed = 0;
    loop {
        let event = slow.next().await.expect("the stream goes on");
        match &*event.event {
            "missed" => missed += event.data.parse::<usize>().unwrap(),
            _ => received += 1,
        }
        if event.data == "the last" {
            break;
        }
    }
    assert!(missed > 0, "the reader was too fast");
    assert_eq!(received + missed, MESSAGES + 1, "{missed} missed");
}
