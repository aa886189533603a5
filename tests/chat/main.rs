//! `chat.md` and `slow.md`: what `chat` does for its readers, and what nobody can do to it. Here:
//! users who talk, leave and come back. `bodies` has the messages that are refused, `edge`
//! the limits of connections, `foreign` the guard, `readers` those who are slow, many or gone,
//! `log` the log of the room, `page` and `kept` the page in a browser, `naive` the faults of
//! `chat_naive`, and `slow` what Tokio and Salvo do.

mod bodies;
mod edge;
mod foreign;
mod kept;
mod log;
mod naive;
mod page;
mod readers;
mod slow;
mod user;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tests::{Program, Recording, pause};

use user::{GRACE, HISTORY, MAX_ANNOUNCED, User};

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
async fn two_users_hear_each_other() {
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
async fn fifty_users_who_talk_at_once_hear_the_same_in_the_same_order() {
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
    // All messages, in the order of their ids.
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
async fn joining_and_leaving_is_announced() {
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
    drop(ann.events);
    bob.say("are you there?").await;
    let id = ann.id.clone();
    let mut ann = User::back(&chat, &ann.id, &ann.last).await;
    assert_eq!((&*ann.name, &*ann.id), ("User#1", &*id));
    assert_eq!(ann.hears().await, "joined User#2");
    assert_eq!(ann.hears().await, "message <User#2>: are you there?");
    // Bob was told nothing of this, although the time to come back is over.
    pause(GRACE + Duration::from_millis(500)).await;
    ann.say("I was away").await;
    assert_eq!(bob.hears().await, "message <User#1>: I was away");
}

#[tokio::test]
async fn a_user_who_comes_back_late_gets_a_new_number_and_still_not_their_own_words()
{
    let chat = Program::start("chat").await;
    let mut bob = User::join(&chat).await;
    let ann = User::join(&chat).await;
    ann.say("I am off").await;
    drop(ann.events);
    for heard in ["joined User#2", "message <User#2>: I am off", "left User#2"] {
        assert_eq!(bob.hears().await, heard);
    }
    bob.say("bye").await;
    let mut ann = User::back(&chat, &ann.id, &ann.last).await;
    assert_eq!(ann.name, "User#3");
    assert_eq!(bob.hears().await, "joined User#3");
    assert_eq!(ann.hears().await, "message <User#1>: bye");
    bob.say("oh, hello").await;
    assert_eq!(ann.hears().await, "message <User#1>: oh, hello");
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

#[tokio::test]
async fn a_page_with_a_new_event_source_names_its_last_event_in_the_url() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    bob.say("one").await;
    bob.say("two").await;
    let path = format!("/chat?as={}&after={}", ann.id, ann.last);
    let mut again = User::join_at(&chat, &path).await;
    assert_eq!(again.hears().await, "joined User#2");
    assert_eq!(again.hears().await, "message <User#2>: one");
    // When the new EventSource reconnects, its header is newer than the id in its URL.
    let request = chat.request("GET", &path).header("last-event-id", &again.last);
    let mut again = User::welcome(&chat, chat.events_of(request).await).await;
    assert_eq!(again.hears().await, "message <User#2>: two");
}

#[tokio::test]
async fn missed_events_that_are_no_longer_kept_are_counted() {
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
async fn a_user_never_misses_their_own_words() {
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
async fn a_reader_with_an_unknown_id_gets_all_that_is_kept_and_is_told() {
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
    let id = ann.id;
    let last = ann.last;
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
