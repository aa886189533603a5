//! A user of the room, as a client sees it, and the bounds of the program.

use std::time::Duration;

use eventsource_stream::Event;
use tests::{Events, Program};

// The bounds of the program, as in `examples/chat/`.
pub const HISTORY: usize = 1_024;
pub const MAX_USERS: usize = 16_384;
pub const MAX_MESSAGE: usize = 4_096;
pub const MAX_ANNOUNCED: usize = 100;
pub const HEARTBEAT: Duration = Duration::from_secs(15);
pub const GRACE: Duration = Duration::from_secs(5);

/// A user in the room: an id, and a stream.
pub struct User<'a> {
    pub chat: &'a Program,
    pub id: String,
    pub name: String,
    pub events: Events,
    /// The id of the last event, as an EventSource keeps it.
    pub last: String,
}

impl<'a> User<'a> {
    pub async fn join(chat: &'a Program) -> Self {
        Self::join_at(chat, "/chat").await
    }

    pub async fn join_at(chat: &'a Program, path: &str) -> Self {
        Self::welcome(chat, chat.events(path).await).await
    }

    /// Connects again, as an EventSource does that has lost its connection.
    pub async fn back(chat: &'a Program, id: &str, last: &str) -> Self {
        let request = chat.request("GET", &format!("/chat?as={id}"));
        let events = chat.events_of(request.header("last-event-id", last)).await;
        Self::welcome(chat, events).await
    }

    pub async fn welcome(chat: &'a Program, mut events: Events) -> Self {
        let user = events.next().await.expect("the first event");
        assert_eq!(user.event, "user");
        let name = events.next().await.expect("the second event");
        assert_eq!(name.event, "name");
        Self { chat, id: user.data, name: name.data, events, last: user.id }
    }

    pub async fn say(&self, text: &str) {
        let request = self.chat.request("POST", &format!("/chat/{}", self.id));
        let answer = self.chat.send(request.body(text.to_string())).await;
        assert_eq!(answer.status(), 204);
    }

    /// The next event that comes from somebody else.
    pub async fn next(&mut self) -> Event {
        loop {
            let event = self.next_of_all().await;
            if event.event != "own" {
                return event;
            }
        }
    }

    /// The next event, which may stand for one's own words.
    pub async fn next_of_all(&mut self) -> Event {
        let event = self.events.next().await.expect("the stream goes on");
        self.last.clone_from(&event.id);
        event
    }

    /// The next event as one text: its type and its data.
    pub async fn hears(&mut self) -> String {
        let event = self.next().await;
        format!("{} {}", event.event, event.data)
    }

    /// The data of the next message. Other events in between are skipped.
    pub async fn message(&mut self) -> String {
        loop {
            let event = self.next().await;
            if event.event == "message" {
                return event.data;
            }
        }
    }
}
