//! `chat.md`: which requests `chat` accepts, and which it refuses with a reason.

use tests::Program;

use crate::user::{MAX_MESSAGE, User};

/// The outcome of a post.
enum Fate {
    /// All other users get one event with this data.
    Said(String),
    Refused(u16, &'static str),
}

use Fate::{Refused, Said};

#[tokio::test]
async fn a_body_is_one_message_or_refused_with_a_reason() {
    const EMPTY: &str = "the message is empty";
    const UTF_8: &str = "the body is not UTF-8";
    const CONTROL: &str = "the message has control characters";
    const LONG: &str = "the body has more than 4096 bytes";
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let mut bob = User::join(&chat).await;
    let said = |text: &str| Said(format!("<User#1>: {text}"));
    let as_it_is = |text: &str| (text.as_bytes().to_vec(), said(text));
    let cases: Vec<(Vec<u8>, Fate)> = vec![
        as_it_is("hi"),
        as_it_is("  two words "),
        as_it_is("\ta tab"),
        as_it_is("two\nlines"),
        as_it_is("a line and its end\n"),
        as_it_is("\u{feff}a byte order mark"),
        as_it_is("\u{2028} ends no line, nor does \u{2029}"),
        as_it_is("città 👩‍🚀 \u{202e}right to left"),
        as_it_is("<script>alert(1)</script>"),
        as_it_is("data: : \"\\"),
        as_it_is(&"x".repeat(MAX_MESSAGE)),
        // These would forge fields or events, if lines went out as they came in.
        (b"a\rb".into(), said("a\nb")),
        (b"a\r\nb".into(), said("a\nb")),
        (b"a\n\rb".into(), said("a\n\nb")),
        as_it_is("x\n\nevent: left\ndata: User#2\n\n"),
        (
            b"x\r\revent: left\rdata: User#2\r\r".into(),
            said("x\n\nevent: left\ndata: User#2\n\n"),
        ),
        as_it_is("x\nid: 99\nretry: 1\n: comment"),
        (b"".into(), Refused(400, EMPTY)),
        (b" \t ".into(), Refused(400, EMPTY)),
        (b"\r\n\n\r".into(), Refused(400, EMPTY)),
        ("\u{a0}\u{3000}".into(), Refused(400, EMPTY)),
        (b"\xff".into(), Refused(400, UTF_8)),
        (b"hi \x80".into(), Refused(400, UTF_8)),
        (b"\xc0\xaf".into(), Refused(400, UTF_8)),
        (b"\xed\xa0\x80".into(), Refused(400, UTF_8)),
        (b"cut \xe2\x82".into(), Refused(400, UTF_8)),
        (b"\xff\xfeh\0i\0".into(), Refused(400, UTF_8)),
        (b"nul \0".into(), Refused(400, CONTROL)),
        (b"\x1b[2J".into(), Refused(400, CONTROL)),
        (b"bell \x07".into(), Refused(400, CONTROL)),
        (b"\x7f".into(), Refused(400, CONTROL)),
        ("next line \u{85}".into(), Refused(400, CONTROL)),
        ("\u{9b}2J".into(), Refused(400, CONTROL)),
        ("x".repeat(MAX_MESSAGE + 1).into(), Refused(413, LONG)),
        ("è".repeat(MAX_MESSAGE / 2 + 1).into(), Refused(413, LONG)),
        (vec![0xff; 70_000], Refused(413, LONG)),
        (vec![b'x'; 20 << 20], Refused(413, LONG)),
    ];
    let path = format!("/chat/{}", ann.id);
    for (body, fate) in cases {
        let start =
            String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
        // Each body is sent twice: with its length, and in chunks.
        for chunked in [false, true] {
            let request =
                chat.request("POST", &path).header("accept", "application/json");
            let request = match chunked {
                false => request.body(body.clone()),
                true => request.body(tests::chunks(&body)),
            };
            let answer = chat.send(request).await;
            match &fate {
                Said(text) => {
                    assert_eq!(answer.status(), 204, "{start:?}");
                    let event = bob.next().await;
                    assert_eq!(
                        (&event.event, &event.data),
                        (&"message".into(), text)
                    );
                }
                Refused(status, reason) => {
                    assert_eq!(answer.status(), *status, "{start:?}");
                    let answer = answer.text().await.unwrap();
                    assert!(answer.contains(reason), "{start:?}: {answer}");
                }
            }
        }
    }
    // Nothing else was sent to the room.
    ann.say("the end").await;
    assert_eq!(bob.hears().await, "message <User#1>: the end");
}

#[tokio::test]
async fn each_fault_of_chat_naive_gets_a_reason() {
    let chat = Program::start("chat").await;
    let ann = User::join_at(&chat, &format!("/chat?as={:032x}", 1)).await;
    chat.assert_session("chat/recorded/refused.txt");
    assert_eq!(ann.name, "User#1");
}

#[tokio::test]
async fn a_body_of_a_wrong_length_is_no_message() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let mut bob = User::join(&chat).await;
    let post = |head: &str, body: &str| {
        let path = format!("/chat/{}", ann.id);
        format!("POST {path} HTTP/1.1\r\nhost: test\r\n{head}\r\n\r\n{body}")
    };
    let short = chat.raw(post("content-length: 5", "hi")).await;
    assert!(
        short.starts_with("HTTP/1.1 400") && short.contains("broke off"),
        "{short}"
    );
    let cut = chat.raw(post("transfer-encoding: chunked", "2\r\nhi\r\n5\r\n")).await;
    assert!(cut.starts_with("HTTP/1.1 400") && cut.contains("broke off"), "{cut}");
    for head in ["content-length: -1", "content-length: 1\r\ncontent-length: 2"] {
        let odd = chat.raw(post(head, "hi")).await;
        assert!(odd.starts_with("HTTP/1.1 400"), "{odd}");
    }
    // Bytes after the end of the body are no second request.
    let long = chat.raw(post("content-length: 2", "hi, and more")).await;
    assert!(
        long.starts_with("HTTP/1.1 204") && long.contains("HTTP/1.1 400"),
        "{long}"
    );
    ann.say("the end").await;
    assert_eq!(bob.hears().await, "message <User#1>: hi");
    assert_eq!(bob.hears().await, "message <User#1>: the end");
}

#[tokio::test]
async fn an_unknown_id_gets_404_and_a_malformed_one_cannot_join() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let malformed = [
        "1",
        "abc",
        "-1",
        "User%231",
        &ann.id[1..],
        &format!("{}0", ann.id),
        &format!("{}g", &ann.id[1..]),
        &format!("+{}", &ann.id[1..]),
        &format!("%00{}", &ann.id[1..]),
        &"9".repeat(2_000),
    ];
    for id in malformed {
        let answer =
            chat.send(chat.request("POST", &format!("/chat/{id}")).body("x")).await;
        assert_eq!(answer.status(), 404, "{id}");
        let answer = chat.get(&format!("/chat?as={id}")).await;
        assert_eq!(answer.status(), 400, "{id}");
        assert!(
            answer.text().await.unwrap().contains("is not 32 hex digits"),
            "{id}"
        );
    }
    assert_eq!(chat.get("/chat?as=").await.status(), 400);
    let nobody = format!("/chat/{:032x}", 7);
    let answer = chat.send(chat.request("POST", &nobody).body("hi")).await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("nobody in the room has this id"));
    // The same id in capital letters is the same user.
    let again = format!("/chat?as={}", ann.id.to_uppercase());
    assert_eq!(User::join_at(&chat, &again).await.name, "User#1");
}
