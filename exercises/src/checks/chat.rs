//! The exercises of `chat.md`.

use std::time::Duration;

use reqwest::{Method, Response};

use crate::events::{Event, Events};
use crate::fault::{Fault, expect};
use crate::subject::Subject;

checks! {
    "chat-first" => first;
    "chat-reasons" => reasons;
    "chat-secret" => secret;
    "chat-log" => log;
    "chat-here" => here;
    "chat-me" => me;
    "chat-nickname" => nickname;
    "chat-look-first" => look_first;
    "chat-unknown" => unknown;
    "chat-own" => own;
    "chat-foreign" => foreign;
    "chat-room" => room;
}

const ANN: &str = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";
const BOB: &str = "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2";
const CIA: &str = "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3";
/// As many bytes as `chat_naive` refuses.
const TOO_LONG: usize = 65_537;

/// The stream of a user, who shows this id.
pub async fn join(server: &mut Subject, id: &str) -> Result<Events, Fault> {
    server.events(&format!("/chat?as={id}")).await
}

/// Says something as a user, who must be allowed to.
pub async fn say(server: &mut Subject, id: &str, text: &str) -> Result<(), Fault> {
    let answer = server.post(&format!("/chat/{id}"), text.to_string()).await?;
    let status = answer.status();
    expect("status", status.is_success(), "204 No Content", status)
}

/// The next message. Events of other types are skipped.
pub async fn message(events: &mut Events) -> Result<Event, Fault> {
    loop {
        let event = events.next().await?;
        if matches!(event.event.as_str(), "" | "message") {
            return Ok(event);
        }
    }
}

/// The next event of this type. Others are skipped, but no message.
async fn next_of(events: &mut Events, kind: &str) -> Result<Event, Event> {
    let mut last = Event::default();
    while let Ok(event) = events.next().await {
        if event.event == kind {
            return Ok(event);
        }
        last = event;
    }
    Err(last)
}

/// Goes on if an answer blames the client for a mistake.
fn refuses(fault: &str, answer: &Response) -> Result<(), Fault> {
    let is_refused = answer.status().is_client_error();
    expect(fault, is_refused, "a status from 400 to 499", answer.status())
}

async fn first(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/chat").await?;
    let user = ann.next().await?;
    let is_user = user.event == "user";
    expect("number", is_user, "event: user\ndata: 1", &user)?;
    let mut bob = server.events("/chat").await?;
    let other = bob.next().await?;
    let is_other = other.event == "user" && other.data != user.data;
    expect("number", is_other, "event: user\ndata: 2", &other)?;
    say(server, &other.data, "from bob").await?;
    let heard = ann.next().await?;
    let should = format!("data: <User#{}>: from bob", other.data);
    expect("number", should == format!("data: {}", heard.data), should, &heard)?;
    say(server, &user.data, "from ann").await?;
    let heard = bob.next().await?;
    let should = format!("data: <User#{}>: from ann", user.data);
    expect("echo", should == format!("data: {}", heard.data), should, &heard)
}

async fn reasons(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/chat").await?;
    ann.next().await?;
    let mistakes: [(&str, Vec<u8>); 3] = [
        ("/chat/ann", b"hello".to_vec()),
        ("/chat/1", vec![0xff]),
        ("/chat/1", vec![b'x'; TOO_LONG]),
    ];
    for (path, body) in mistakes {
        match server.post(path, body).await {
            Err(fault) if fault.name == "unreachable" => {
                let should = "a status from 400 to 499";
                return Err(Fault::new("riddle", should, "no answer"));
            }
            answer => refuses("riddle", &answer?)?,
        }
    }
    say(server, "2", "hello").await?;
    message(&mut ann).await.map(drop)
}

async fn secret(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = join(server, ANN).await?;
    let number = ann.next().await?;
    let mut bob = join(server, BOB).await?;
    bob.next().await?;
    let answer = server.post(&format!("/chat/{}", number.data), "me?").await?;
    refuses("number", &answer)?;
    say(server, BOB, "hello").await?;
    let heard = message(&mut ann).await?;
    let is_safe = !heard.data.contains(BOB) && heard.data.contains("hello");
    expect("leak", is_safe, "a message without the secret", &heard)?;
    let again = join(server, ANN).await?.next().await?;
    expect("again", again.data == number.data, &number, &again)
}

async fn log(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = join(server, ANN).await?;
    let bob = join(server, BOB).await?;
    say(server, BOB, "one").await?;
    let one = message(&mut ann).await?;
    expect("id", !one.id.is_empty(), "an event with an id", &one)?;
    drop(ann);
    say(server, BOB, "two").await?;
    let mut cia = join(server, CIA).await?;
    let mut ann = back(server, &one.id).await?;
    say(server, BOB, "three").await?;
    for text in ["two", "three"] {
        let heard = message(&mut ann).await?;
        let should = format!("data: <User#2>: {text}");
        expect("gap", heard.data.ends_with(text), should, &heard)?;
    }
    let heard = message(&mut cia).await?;
    drop(bob);
    let should = "data: <User#2>: three";
    expect("old", heard.data.ends_with("three"), should, &heard)
}

/// The events that come before those of the user's own words.
async fn welcome(server: &mut Subject, id: &str) -> Result<Vec<Event>, Fault> {
    let mut events = join(server, id).await?;
    say(server, id, "I am here").await?;
    let mut first = Vec::new();
    loop {
        let event = events.next().await?;
        if event.event == "own" {
            return Ok(first);
        }
        first.push(event);
    }
}

async fn here(server: &mut Subject) -> Result<(), Fault> {
    for (id, count) in [(ANN, 1), (BOB, 2), (CIA, 3), (ANN, 3)] {
        let events = welcome(server, id).await?;
        let should = format!("event: here\ndata: {count}");
        let came = events.last().map_or(String::new(), Event::to_string);
        let Some(here) = events.into_iter().find(|event| event.event == "here")
        else {
            return Err(Fault::new("here", should, came));
        };
        expect("count", here.data == count.to_string(), should, &here)?;
    }
    Ok(())
}

async fn me(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = join(server, ANN).await?;
    let bob = join(server, BOB).await?;
    say(server, BOB, "/me waves").await?;
    let heard = message(&mut ann).await?;
    expect("deed", heard.data == "* User#2 waves", "data: * User#2 waves", &heard)?;
    for text in ["/men at work", "/me", "hello /me"] {
        say(server, BOB, text).await?;
        let heard = message(&mut ann).await?;
        let should = format!("<User#2>: {text}");
        let is_same = heard.data == should;
        expect("likeness", is_same, format!("data: {should}"), &heard)?;
    }
    drop(bob);
    Ok(())
}

async fn nickname(server: &mut Subject) -> Result<(), Fault> {
    let mut cia = join(server, CIA).await?;
    let mut ann = server.events(&format!("/chat?as={ANN}&name=Ann")).await?;
    let is = async |events: &mut Events, kind: &str, data: &str| {
        let should = format!("event: {kind}\ndata: {data}");
        match next_of(events, kind).await {
            Ok(event) => expect("name", event.data == data, should, &event),
            Err(last) => Err(Fault::new("name", should, last)),
        }
    };
    is(&mut cia, "name", "User#1").await?;
    is(&mut ann, "name", "Ann#2").await?;
    is(&mut cia, "joined", "Ann#2").await?;
    say(server, ANN, "hello").await?;
    let heard = message(&mut cia).await?;
    expect("name", heard.data == "<Ann#2>: hello", "data: <Ann#2>: hello", &heard)?;
    for name in ["", "Ann%3E", &"x".repeat(21)] {
        let answer = server.get(&format!("/chat?as={BOB}&name={name}")).await?;
        refuses("forged", &answer)?;
    }
    Ok(())
}

async fn look_first(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = join(server, ANN).await?;
    let bob = join(server, BOB).await?;
    // While these come, Ann's reader looks for more, and finds nothing.
    say(server, BOB, "one").await?;
    say(server, BOB, "two").await?;
    let soon = Duration::from_secs(2);
    let mut heard = ann.within(soon).await?;
    while heard.as_ref().is_some_and(|event| !event.data.ends_with("two")) {
        heard = ann.within(soon).await?;
    }
    drop(bob);
    expect("late", heard.is_some(), "data: <User#2>: two", "nothing for 2 s")
}

async fn unknown(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = join(server, ANN).await?;
    let mut bob = join(server, BOB).await?;
    say(server, BOB, "one").await?;
    let one = message(&mut ann).await?;
    say(server, BOB, "two").await?;
    let two = message(&mut ann).await?;
    bob.next().await?;
    // An id that is known fills the gap, and nothing else.
    let heard = message(&mut back(server, &one.id).await?).await?;
    expect("untold", heard.data == two.data, &two, &heard)?;
    let made_up = missed(server, "banana").await;
    told("untold", made_up, &one)?;
    let (epoch, position) = two.id.rsplit_once('-').unwrap_or((&two.id, "0"));
    let position: u64 = position.parse().unwrap_or_default();
    let future = missed(server, &format!("{epoch}-{}", position + 1)).await;
    told("future", future, &one)
}

/// Ann's stream, when she comes back with this id.
async fn back(server: &mut Subject, last: &str) -> Result<Events, Fault> {
    let path = format!("/chat?as={ANN}");
    let request = server.request(Method::GET, &path).await?;
    server.events_of(request.header("last-event-id", last)).await
}

/// The event after those that welcome a reader with this id, and the first message.
async fn missed(server: &mut Subject, last: &str) -> Result<(Event, Event), Fault> {
    server.patience(Duration::from_secs(2));
    let mut events = back(server, last).await?;
    let told = loop {
        let event = events.next().await?;
        if !matches!(event.event.as_str(), "user" | "name") {
            break event;
        }
    };
    let first = message(&mut events).await?;
    Ok((told, first))
}

/// Goes on if a reader has been told that its id is unknown, and got the first message.
fn told(
    fault: &str,
    missed: Result<(Event, Event), Fault>,
    first: &Event,
) -> Result<(), Fault> {
    let should = format!("event: missed\ndata: unknown\n\n{first}");
    match missed {
        Ok((told, message)) => {
            let is_told = told.event == "missed" && told.data == "unknown";
            let is_first = message.data == first.data;
            let came = format!("{told}\n\n{message}");
            expect(fault, is_told && is_first, should, came)
        }
        Err(other) => Err(Fault::new(fault, should, other.came)),
    }
}

async fn own(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = join(server, ANN).await?;
    let bob = join(server, BOB).await?;
    say(server, ANN, "one").await?;
    say(server, BOB, "two").await?;
    let mut has_own = false;
    let last = loop {
        let event = ann.next().await?;
        expect("echo", !event.data.contains("one"), "data: <User#2>: two", &event)?;
        if event.data.ends_with("two") {
            break event;
        }
        has_own |= event.data.is_empty() && !event.id.is_empty();
    };
    drop(bob);
    expect("lost", has_own, "an event with an id and empty data", &last)
}

/// The headers that a browser adds to a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

async fn foreign(server: &mut Subject) -> Result<(), Fault> {
    let ann = join(server, ANN).await?;
    let here = server.url("").await?;
    let other = "http://other.example";
    let cases: [(&str, Headers, bool); 6] = [
        ("foreign", &[("sec-fetch-site", "cross-site"), ("origin", other)], false),
        ("foreign", &[("sec-fetch-site", "same-site"), ("origin", other)], false),
        ("network", &[("origin", other)], false),
        ("own", &[("sec-fetch-site", "same-origin"), ("origin", &here)], true),
        ("own", &[("origin", &here)], true),
        ("own", &[], true),
    ];
    for (fault, headers, is_ours) in cases {
        let path = format!("/chat/{ANN}");
        let mut request = server.request(Method::POST, &path).await?.body("hello");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let status = server.send(request).await?.status();
        let is_right = if is_ours { status.is_success() } else { status == 403 };
        let should = if is_ours { "204 No Content" } else { "403 Forbidden" };
        expect(fault, is_right, should, status)?;
    }
    drop(ann);
    // A request without CORS has no `Origin`.
    let request = server.request(Method::GET, "/chat").await?;
    let request = request.header("sec-fetch-site", "cross-site");
    let status = server.send(request).await?.status();
    expect("foreign", status == 403, "403 Forbidden", status)
}

async fn room(server: &mut Subject) -> Result<(), Fault> {
    let mut ann = server.events("/").await?;
    let mut bob = server.events("/").await?;
    let post = async |server: &mut Subject, text: &str| {
        let answer = server.post("/", text.to_string()).await?;
        let is_taken = answer.status().is_success();
        let should = "a status from 200 to 299";
        expect("gone", is_taken, should, answer.status())
    };
    let text = "one\ndata: two";
    post(server, text).await?;
    for events in [&mut ann, &mut bob] {
        let heard = events.next().await?;
        let should = "data: one\ndata: data: two";
        expect("lines", heard.data == text, should, &heard)?;
    }
    drop(bob);
    for text in ["three", "four", "five"] {
        post(server, text).await?;
        ann.next().await?;
    }
    Ok(())
}
