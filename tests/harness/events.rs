//! A stream of events, as a client of the format sees it.

use std::pin::Pin;
use std::time::Duration;

use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures_util::{Stream, StreamExt};
use reqwest::Response;
use tokio::time::timeout;

use crate::wait::{started, within};

/// A stream of events.
pub struct Events(Pin<Box<dyn Stream<Item = Parsed> + Send>>);

type Parsed = Result<Event, EventStreamError<reqwest::Error>>;

impl Events {
    /// Reads the body of this response.
    pub fn of(response: Response) -> Self {
        Self(Box::pin(response.bytes_stream().eventsource()))
    }

    /// The next event, or `None` where the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        let event = within("an event", self.0.next()).await;
        event.map(|event| event.expect("a whole event"))
    }

    /// Reads to the end, and returns whether it is a clean one: with a last chunk, not a cut.
    pub async fn end(&mut self) -> bool {
        while let Some(event) = self.0.next().await {
            if event.is_err() {
                return false;
            }
        }
        true
    }

    /// The next event that says that the book has been built again.
    pub async fn build(&mut self) -> Event {
        started("a build of the book", async {
            loop {
                let event = self.0.next().await.expect("the stream goes on");
                let event = event.expect("a whole event");
                if event.event == "build" {
                    return event;
                }
            }
        })
        .await
    }

    /// The data of the next event, which must come.
    pub async fn data(&mut self) -> String {
        self.next().await.expect("the stream goes on").data
    }

    /// Asserts that for this long no event comes, and that the stream stays open.
    pub async fn stays_quiet_for(&mut self, time: Duration) {
        if let Ok(came) = timeout(time, self.0.next()).await {
            panic!("the stream had to stay open and quiet for {time:?}: {came:?}");
        }
    }
}
