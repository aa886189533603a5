//! `chat.md`: how the chat that everybody writes first fails. Each test shows a fault; those
//! in the files beside this one show the cure.

use tests::{Program, until};

/// A handler that panics sends no answer, so the client does not learn the reason.
async fn assert_panics(session: &str) {
    let chat = Program::start("chat_naive").await;
    chat.assert_session(&format!("chat_naive/recorded/{session}"));
    until("the panic", async || chat.stderr().contains("panicked at")).await;
}

#[tokio::test]
async fn an_id_that_is_no_number_gets_no_answer() {
    assert_panics("id.txt").await;
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_gets_no_answer() {
    assert_panics("utf8.txt").await;
}

#[tokio::test]
async fn a_long_body_gets_no_answer() {
    assert_panics("long.txt").await;
}

async fn say(chat: &Program, id: &str, text: &str) {
    let request = chat.request("POST", &format!("/chat/{id}"));
    let answer = chat.send(request.body(text.to_string())).await;
    assert_eq!(answer.status(), 204);
}

#[tokio::test]
async fn anybody_can_speak_as_anybody() {
    let chat = Program::start("chat_naive").await;
    let mut ann = chat.events("/chat").await;
    assert_eq!(ann.data().await, "1");
    let mut bob = chat.events("/chat").await;
    assert_eq!(bob.data().await, "2");
    // Neither Ann nor Bob sends these: 1 is Ann's number, and nobody has 99.
    chat.assert_session("chat_naive/recorded/anybody.txt");
    assert_eq!(bob.data().await, "<User#1>: I resign");
    assert_eq!(bob.data().await, "<User#99>: who am I?");
    assert_eq!(ann.data().await, "<User#99>: who am I?");
}

#[tokio::test]
async fn after_a_reconnect_nobody_knows_you_and_the_gap_stays() {
    let chat = Program::start("chat_naive").await;
    let mut ann = chat.events("/chat").await;
    assert_eq!(ann.data().await, "1");
    drop(ann);
    let mut bob = chat.events("/chat").await;
    assert_eq!(bob.data().await, "2");
    say(&chat, "2", "Ann, are you there?").await;
    let mut ann = chat.events("/chat").await;
    assert_eq!(ann.data().await, "3");
    say(&chat, "2", "next").await;
    assert_eq!(ann.data().await, "<User#2>: next");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_stops_reading_fills_the_memory() {
    let chat = Program::start("chat_naive").await;
    let mut ann = chat.events("/chat").await;
    assert_eq!(ann.data().await, "1");
    let _stuck = chat.reader_that_never_reads("/chat").await;
    let mut poster = chat.poster("/chat/99").await;
    let before = chat.memory();
    for _ in 0..100 {
        poster.post(&"x".repeat(1_000), 400).await;
        for _ in 0..400 {
            ann.data().await;
        }
    }
    let grown = chat.memory().saturating_sub(before);
    assert!(grown > 20 << 20, "40 MB were sent, and {grown} bytes are kept");
}
