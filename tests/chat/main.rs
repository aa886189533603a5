//! Chapters 5 and 6: what `chat` does for its readers, and what nobody can do to it.

mod naive;
mod slow;

use std::process::Stdio;
use std::time::{Duration, Instant};

use eventsource_stream::Event;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt};
use tests::{Events, Program, Recording, pause, until, within};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// As in `examples/chat/main.rs`.
const HISTORY: usize = 1_024;
const MAX_USERS: usize = 16_384;
const MAX_MESSAGE: usize = 4_096;
const MAX_ANNOUNCED: usize = 100;
const HEARTBEAT: Duration = Duration::from_secs(15);
const GRACE: Duration = Duration::from_secs(5);

/// Somebody in the room: an id, and a stream.
struct User<'a> {
    chat: &'a Program,
    id: String,
    name: String,
    events: Events,
    /// The id of the last event, as an EventSource keeps it.
    last: String,
}

impl<'a> User<'a> {
    async fn join(chat: &'a Program) -> Self {
        Self::join_at(chat, "/chat").await
    }

    async fn join_at(chat: &'a Program, path: &str) -> Self {
        Self::welcome(chat, chat.events(path).await).await
    }

    /// Connects again, as an EventSource does that has lost its connection.
    async fn back(chat: &'a Program, id: &str, last: &str) -> Self {
        let request = chat.request("GET", &format!("/chat?as={id}"));
        let events = chat.events_of(request.header("last-event-id", last)).await;
        Self::welcome(chat, events).await
    }

    async fn welcome(chat: &'a Program, mut events: Events) -> Self {
        let user = events.next().await.expect("the first event");
        assert_eq!(user.event, "user");
        let name = events.next().await.expect("the second event");
        assert_eq!(name.event, "name");
        Self { chat, id: user.data, name: name.data, events, last: user.id }
    }

    async fn say(&self, text: &str) {
        let request = self.chat.request("POST", &format!("/chat/{}", self.id));
        let answer = self.chat.send(request.body(text.to_string())).await;
        assert_eq!(answer.status(), 204);
    }

    async fn next(&mut self) -> Event {
        let event = self.events.next().await.expect("the stream goes on");
        self.last.clone_from(&event.id);
        event
    }

    /// The next event as one text: its type and its data.
    async fn hears(&mut self) -> String {
        let event = self.next().await;
        format!("{} {}", event.event, event.data)
    }

    /// The data of the next message; what the room says in between is skipped.
    async fn message(&mut self) -> String {
        loop {
            let event = self.next().await;
            if event.event == "message" {
                return event.data;
            }
        }
    }
}

#[tokio::test]
async fn the_bytes_are_those_of_the_transcript() {
    let chat = Program::start("chat").await;
    let at = |n: u8| format!("/chat?as={}", format!("{n:02x}").repeat(16));
    let mut ann = Recording::of(chat.get(&at(0xa1)).await);
    let welcome = ann.chunk().await.to_string();
    let (_, rest) = welcome.split_once("id: ").unwrap();
    let epoch = rest[..16].to_string();

    let bob = User::join_at(&chat, &at(0xb2)).await;
    ann.chunk().await;
    bob.say("hello?").await;
    ann.chunk().await;
    chat.poster(&at(0xa1).replace("?as=", "/")).await.post("Hi, Bob!", 1).await;
    ann.chunk().await;
    bob.say("I have to go.\nSee you!").await;
    ann.chunk().await;
    drop(bob);
    ann.chunk().await;
    ann.mask(&epoch, "8f2a61c09b7d43e5");
    ann.assert("chat");
}

#[tokio::test]
async fn two_talk() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let mut bob = User::join(&chat).await;
    assert_eq!((&*ann.name, &*bob.name), ("User#1", "User#2"));
    assert_eq!(ann.hears().await, "joined User#2");
    bob.say("hi").await;
    assert_eq!(ann.hears().await, "message <User#2>: hi");
    ann.say("hi yourself").await;
    assert_eq!(bob.hears().await, "message <User#1>: hi yourself");
}

#[tokio::test]
async fn nobody_hears_themself() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let mut bob = User::join(&chat).await;
    let mut cia = User::join(&chat).await;
    for round in 0..3 {
        ann.say(&format!("ann {round}")).await;
        bob.say(&format!("bob {round}")).await;
        cia.say(&format!("cia {round}")).await;
    }
    for round in 0..3 {
        let [a, b, c] = [
            format!("<User#1>: ann {round}"),
            format!("<User#2>: bob {round}"),
            format!("<User#3>: cia {round}"),
        ];
        assert_eq!([ann.message().await, ann.message().await], [&*b, &*c]);
        assert_eq!([bob.message().await, bob.message().await], [&*a, &*c]);
        assert_eq!([cia.message().await, cia.message().await], [&*a, &*b]);
    }
}

#[tokio::test]
async fn fifty_who_talk_at_once_hear_the_same_in_the_same_order() {
    const USERS: usize = 50;
    const EACH: usize = 4;
    let chat = Program::start("chat").await;
    let mut users = Vec::new();
    for _ in 0..USERS {
        users.push(User::join(&chat).await);
    }
    join_all(users.iter().map(async |user| {
        for n in 0..EACH {
            user.say(&n.to_string()).await;
        }
    }))
    .await;
    // Everything that was said, in the order in which somebody heard it.
    let mut order = Vec::new();
    let mut heard = join_all(users.iter_mut().map(async |user| {
        let mut heard = Vec::new();
        while heard.len() < (USERS - 1) * EACH {
            let event = user.next().await;
            if event.event == "message" {
                heard.push((position(&event.id), event.data));
            }
        }
        heard
    }))
    .await;
    for heard in &heard {
        assert!(heard.is_sorted(), "in the order of their ids");
        order.extend_from_slice(heard);
    }
    order.sort();
    order.dedup();
    assert_eq!(order.len(), USERS * EACH, "an id is the same for all");
    for (user, heard) in users.iter().zip(&mut heard) {
        let mine = format!("<{}>: ", user.name);
        let others = order.iter().filter(|(_, text)| !text.starts_with(&mine));
        assert!(others.eq(heard.iter()), "{}", user.name);
    }
}

fn position(event_id: &str) -> u64 {
    event_id.split_once('-').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn who_joins_and_who_leaves_is_announced() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    assert_eq!(ann.hears().await, "joined User#2");
    let left = Instant::now();
    let id = bob.id.clone();
    drop(bob);
    assert_eq!(ann.hears().await, "left User#2");
    assert!(left.elapsed() >= GRACE, "there was time to come back");
    let answer = chat.send(chat.request("POST", &format!("/chat/{id}")).body("boo"));
    assert_eq!(answer.await.status(), 404, "an old id is nobody's");
}

#[tokio::test]
async fn a_crowd_is_not_announced() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let mut others = Vec::new();
    for _ in 0..MAX_ANNOUNCED + 10 {
        others.push(User::join(&chat).await);
    }
    others.last().unwrap().say("hi").await;
    for n in 0..MAX_ANNOUNCED - 1 {
        assert_eq!(ann.hears().await, format!("joined User#{}", n + 2));
    }
    let number = MAX_ANNOUNCED + 11;
    assert_eq!(ann.hears().await, format!("message <User#{number}>: hi"));
}

#[tokio::test]
async fn a_reconnect_keeps_the_user_and_fills_the_gap() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let mut bob = User::join(&chat).await;
    let (id, last) = (ann.id, ann.last);
    drop(ann.events);
    bob.say("are you there?").await;
    let mut ann = User::back(&chat, &id, &last).await;
    assert_eq!((&*ann.name, &*ann.id), ("User#1", &*id));
    assert_eq!(ann.hears().await, "joined User#2");
    assert_eq!(ann.hears().await, "message <User#2>: are you there?");
    // Bob saw nothing of it, although the time to come back is over.
    pause(GRACE + Duration::from_millis(500)).await;
    ann.say("I was away").await;
    assert_eq!(bob.hears().await, "message <User#1>: I was away");
}

#[tokio::test]
async fn who_stays_away_too_long_gets_a_new_number_and_still_no_words_of_their_own()
{
    let chat = Program::start("chat").await;
    let mut bob = User::join(&chat).await;
    let ann = User::join(&chat).await;
    ann.say("I am off").await;
    let (id, last) = (ann.id, ann.last);
    drop(ann.events);
    for heard in ["joined User#2", "message <User#2>: I am off", "left User#2"] {
        assert_eq!(bob.hears().await, heard);
    }
    bob.say("bye").await;
    let mut ann = User::back(&chat, &id, &last).await;
    assert_eq!(ann.name, "User#3");
    assert_eq!(bob.hears().await, "joined User#3");
    assert_eq!(ann.hears().await, "message <User#1>: bye");
    bob.say("oh, hello").await;
    assert_eq!(ann.hears().await, "message <User#1>: oh, hello");
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_write() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    for (site, status) in [
        ("same-origin", 204),
        ("none", 204),
        ("same-site", 403),
        ("cross-site", 403),
        ("banana", 403),
    ] {
        let request = chat.request("POST", &format!("/chat/{}", ann.id)).body("hi");
        let answer = chat.send(request.header("sec-fetch-site", site)).await;
        assert_eq!(answer.status(), status, "{site}");
    }
}

#[tokio::test]
async fn a_page_that_made_a_new_event_source_says_after_what() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    bob.say("one").await;
    bob.say("two").await;
    let path = format!("/chat?as={}&after={}", ann.id, ann.last);
    let mut again = User::join_at(&chat, &path).await;
    assert_eq!(again.hears().await, "joined User#2");
    assert_eq!(again.hears().await, "message <User#2>: one");
    // When the new EventSource reconnects, its header knows more than its address.
    let request = chat.request("GET", &path).header("last-event-id", &again.last);
    let mut again = User::welcome(&chat, chat.events_of(request).await).await;
    assert_eq!(again.hears().await, "message <User#2>: two");
}

#[tokio::test]
async fn what_is_no_longer_kept_is_counted() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    assert_eq!(ann.hears().await, "joined User#2");
    let mut poster = chat.poster(&format!("/chat/{}", bob.id)).await;
    poster.post("again", HISTORY + 7).await;
    let mut back = User::back(&chat, &ann.id, &ann.last).await;
    assert_eq!(back.hears().await, "missed 7");
    for _ in 0..HISTORY {
        assert_eq!(back.hears().await, "message <User#2>: again");
    }
    bob.say("the end").await;
    assert_eq!(back.hears().await, "message <User#2>: the end");
}

#[tokio::test]
async fn ones_own_words_are_never_missed() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let mut poster = chat.poster(&format!("/chat/{}", ann.id)).await;
    let bob = User::join(&chat).await;
    assert_eq!(ann.hears().await, "joined User#2");
    for _ in 0..4 {
        poster.post("monologue", HISTORY / 2).await;
        bob.say("mhm").await;
        assert_eq!(ann.hears().await, "message <User#2>: mhm");
    }
    poster.post("monologue", 3).await;
    let mut ann = User::back(&chat, &ann.id, &ann.last).await;
    bob.say("bye").await;
    assert_eq!(ann.hears().await, "message <User#2>: bye");
}

#[tokio::test]
async fn a_last_event_id_that_is_not_ours_gets_all_there_is_and_is_told() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    bob.say("hi").await;
    let epoch = ann.last.split_once('-').unwrap().0;
    let forged = [
        "1",
        "-",
        "-1",
        "banana",
        "0000000000000000-1",
        epoch,
        &format!("{epoch}-"),
        &format!("{epoch}--1"),
        &format!("{epoch}-1x"),
        &format!("{epoch}-4"),
        &format!("{epoch}-18446744073709551615"),
        &format!("{epoch}-18446744073709551616"),
        &format!("{epoch}-1-1"),
        &"9".repeat(5_000),
    ];
    for last in forged {
        let mut ann = User::back(&chat, &ann.id, last).await;
        assert_eq!(ann.hears().await, "missed unknown", "{last}");
        assert_eq!(ann.hears().await, "joined User#2", "{last}");
        assert_eq!(ann.hears().await, "message <User#2>: hi", "{last}");
    }
}

#[tokio::test]
async fn after_a_restart_a_reader_is_told_that_something_may_be_missing() {
    let mut chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let (id, last) = (ann.id, ann.last);
    drop(ann.events);
    chat.stop();
    let chat = Program::start("chat").await;
    let bob = User::join(&chat).await;
    bob.say("good morning").await;
    let mut ann = User::back(&chat, &id, &last).await;
    assert_eq!(ann.name, "User#2", "numbers are given anew");
    assert_eq!(ann.hears().await, "missed unknown");
    assert_eq!(ann.hears().await, "joined User#1");
    assert_eq!(ann.hears().await, "message <User#1>: good morning");
}

#[tokio::test]
async fn a_second_stream_of_a_user_takes_the_place_of_the_first() {
    let chat = Program::start("chat").await;
    let mut bob = User::join(&chat).await;
    let mut ann = User::join(&chat).await;
    assert_eq!(bob.hears().await, "joined User#2");
    let left = Instant::now();
    let again = User::join_at(&chat, &format!("/chat?as={}", ann.id)).await;
    assert_eq!(again.name, ann.name);
    assert!(ann.events.next().await.is_none(), "the first stream ends, whole");
    drop(again);
    assert_eq!(bob.hears().await, "left User#2", "once, and nothing before it");
    assert!(left.elapsed() >= GRACE);
}

/// What somebody posts, and what comes of it.
enum Fate {
    /// Everybody gets this one event.
    Said(String),
    Refused(u16, &'static str),
}

use Fate::{Refused, Said};

#[tokio::test]
async fn a_body_is_one_message_or_refused_with_a_reason() {
    const EMPTY: &str = "the message is empty";
    const UTF_8: &str = "the body is not UTF-8";
    const CONTROL: &str = "the message has control characters";
    const LONG: &str = "a message has 4096 bytes at most";
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
        // What would forge fields or events, if lines went out as they came in.
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
        // Once with its length, and once in chunks of a length that is told as they come.
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
    // Nothing else has come of all this.
    ann.say("the end").await;
    assert_eq!(bob.hears().await, "message <User#1>: the end");
}

#[tokio::test]
async fn each_fault_has_its_answer() {
    let chat = Program::start("chat").await;
    let ann = User::join_at(&chat, &format!("/chat?as={:032x}", 1)).await;
    chat.assert_session("chat/recorded/refused.txt");
    assert_eq!(ann.name, "User#1");
}

#[tokio::test]
async fn a_wrong_length_is_no_message() {
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
    // What is too much is no second request, either.
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
async fn an_id_that_is_nobodys_gets_404_and_a_malformed_one_cannot_join() {
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
    let answer =
        chat.send(chat.request("POST", &nobody).body(vec![b'x'; 20 << 20])).await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("nobody in the room has this id"));
    // The same id in other letters is the same user.
    let again = format!("/chat?as={}", ann.id.to_uppercase());
    assert_eq!(User::join_at(&chat, &again).await.name, "User#1");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_never_reads_costs_a_constant_and_nobody_else_anything() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    assert_eq!(ann.hears().await, "joined User#2");
    let _stuck = chat.reader_that_never_reads("/chat").await;
    assert_eq!(ann.hears().await, "joined User#3");
    let mut poster = chat.poster(&format!("/chat/{}", bob.id)).await;
    // The log is full of long messages before the count begins: it has its bound, too.
    let mut batch = async |text: &str, count: usize| {
        poster.post(text, count).await;
        for _ in 0..count {
            assert_eq!(ann.next().await.data, format!("<User#2>: {text}"));
        }
    };
    for _ in 0..3 {
        batch(&"x".repeat(1_000), HISTORY / 2).await;
    }
    let before = chat.memory();
    for _ in 0..400 {
        batch(&"x".repeat(100), 500).await;
    }
    let grown = chat.memory().saturating_sub(before);
    assert!(grown <= 8 << 20, "200,000 messages, and {grown} bytes more");
}

#[tokio::test]
async fn the_kernel_takes_much_for_a_reader_that_reads_nothing_yet() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    assert_eq!(ann.hears().await, "joined User#2");
    let mut late = chat.reader_that_never_reads("/chat").await;
    assert_eq!(ann.hears().await, "joined User#3");
    let mut poster = chat.poster(&format!("/chat/{}", bob.id)).await;
    for _ in 0..10 {
        poster.post("hello?", HISTORY / 2).await;
        for _ in 0..HISTORY / 2 {
            assert_eq!(ann.hears().await, "message <User#2>: hello?");
        }
    }
    // Five times what the log keeps, and nothing of it is lost.
    let mut bytes = Vec::new();
    within("everything", async {
        while bytes.windows(6).filter(|window| window == b"hello?").count()
            < 5 * HISTORY
        {
            late.read_buf(&mut bytes).await.unwrap();
        }
    })
    .await;
    assert!(!String::from_utf8(bytes).unwrap().contains("event: missed"));
}

#[tokio::test]
async fn a_slow_curl_misses_events_and_is_told_how_many() {
    const MESSAGES: usize = 20_000;
    let chat = Program::start("chat").await;
    let mut curl = tokio::process::Command::new("curl")
        .args(["-sN", "--limit-rate", "1M", &format!("{}/chat", chat.url)])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let mut line =
        async || within("a line", lines.next_line()).await.unwrap().unwrap();
    assert_eq!(line().await, "event: user");

    let ann = User::join(&chat).await;
    let mut poster = chat.poster(&format!("/chat/{}", ann.id)).await;
    for _ in 0..MESSAGES / 100 {
        poster.post(&"x".repeat(4_000), 100).await;
    }
    ann.say("the end").await;
    let (mut heard, mut missed, mut first) = (0, 0, None);
    loop {
        match line().await {
            end if end == "data: <User#2>: the end" => break,
            event if event == "event: missed" => {
                let count = line().await;
                first.get_or_insert_with(|| format!("{event}\n{count}\n"));
                missed +=
                    count.strip_prefix("data: ").unwrap().parse::<usize>().unwrap();
            }
            message if message.starts_with("data: <User#2>: x") => heard += 1,
            _ => {}
        }
    }
    assert!(missed > 0, "all {heard} were heard");
    tests::assert_text_but_numbers("chat/recorded/missed.txt", &first.unwrap());
    assert_eq!(heard + missed, MESSAGES, "each message is heard or counted");
}

/// Ends a connection without a word to the server, as a phone does that loses its network.
/// (Linux calls it "repair", and lets root do it.)
#[cfg(target_os = "linux")]
fn vanish(socket: tokio::net::TcpStream) {
    setsockopt(&socket, sockopt::TcpRepair, &1).expect("root may do this");
    drop(socket);
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "needs root"]
async fn who_vanishes_is_found_by_the_heartbeat() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let bob = chat.reader_that_never_reads("/chat").await;
    assert_eq!(ann.hears().await, "joined User#2");
    let sockets = chat.sockets();
    vanish(bob);
    let start = Instant::now();
    // Nothing tells the server, until it writes.
    pause(Duration::from_secs(3)).await;
    assert_eq!(chat.sockets(), sockets);
    until("a write fails", async || chat.sockets() < sockets).await;
    assert!(start.elapsed() > HEARTBEAT - Duration::from_secs(1));
    assert_eq!(ann.hears().await, "left User#2");
}

#[tokio::test]
#[ignore = "needs 17,000 open files"]
async fn a_full_room_says_so_and_lets_its_users_back_in() {
    tests::allow_open_files(MAX_USERS as u64 + 200);
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let mut others = Vec::new();
    let mut head = [0; 15];
    for _ in 1..MAX_USERS {
        let mut socket = chat.socket().await;
        socket.write_all(b"GET /chat HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        within("a head", socket.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        others.push(socket);
    }
    let answer = chat.get("/chat").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("the room is full"));
    ann = User::back(&chat, &ann.id, &ann.last).await;
    assert_eq!(ann.name, "User#1");
    // Whoever leaves makes room.
    others.truncate(MAX_USERS / 2);
    until("there is room", async || chat.get("/chat").await.status() == 200).await;
}

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let chat = Program::start("chat").await;
    let mut answer = chat.get("/chat").await;
    let start = Instant::now();
    let mut bytes = String::new();
    while !bytes.ends_with("\n:\n\n") {
        let chunk = within("a heartbeat", answer.chunk()).await.unwrap().unwrap();
        bytes += str::from_utf8(&chunk).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{bytes}");
    assert!(bytes.starts_with("event: user\n"), "{bytes}");
}

#[tokio::test]
async fn the_head_names_a_stream_and_forbids_to_keep_it_back() {
    let chat = Program::start("chat").await;
    let answer = chat.get("/chat").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
}

#[cfg(unix)]
#[tokio::test]
async fn asked_to_end_it_ends_its_streams_whole_and_then_itself() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut chat = Program::start("chat").await;
        let mut readers = Vec::new();
        for _ in 0..20 {
            readers.push(User::join(&chat).await.events);
        }
        // One that does not even notice.
        let mut stuck = chat.reader_that_never_reads("/chat").await;
        let asked = Instant::now();
        chat.signal(signal);
        for reader in &mut readers {
            while let Some(event) = reader.next().await {
                assert_eq!(event.event, "joined");
            }
        }
        assert_eq!(chat.exit_code().await, Some(0));
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let mut bytes = Vec::new();
        within("the end", stuck.read_to_end(&mut bytes)).await.unwrap();
        assert!(bytes.ends_with(b"\r\n0\r\n\r\n"), "the last chunk");
        assert!(!chat.stderr().contains("panicked"), "{}", chat.stderr());
    }
}

#[tokio::test]
async fn other_paths_and_methods_get_a_reason() {
    let chat = Program::start("chat").await;
    for (method, path, status, allow) in [
        ("GET", "/nope", 404, None),
        ("POST", "/", 405, Some("GET")),
        ("PUT", "/chat", 405, Some("GET")),
        ("GET", "/chat/1", 405, Some("POST")),
    ] {
        let request =
            chat.request(method, path).header("accept", "application/json");
        let answer = chat.send(request).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        let allowed =
            answer.headers().get("allow").map(|value| value.to_str().unwrap());
        assert_eq!(allowed, allow, "{method} {path}");
        assert!(answer.text().await.unwrap().contains("\"brief\""));
    }
}

#[tokio::test]
async fn the_page_asks_for_a_relative_address() {
    let chat = Program::start("chat").await;
    chat.assert_page_with("new EventSource(`chat?as=").await;
}

#[tokio::test]
async fn a_taken_or_bad_address_is_one_clear_line() {
    let chat = Program::start("chat").await;
    chat.assert_bad_addresses_are_one_clear_line("chat");
}
