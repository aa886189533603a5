//! The configurations of `examples/boxes`, as they stand.

use futures_util::{StreamExt, stream};
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Events, Middlebox, serve, within};

type Item = Result<SseEvent, std::convert::Infallible>;

/// An event, and silence.
#[handler]
async fn one(res: &mut Response) {
    let first = Item::Ok(SseEvent::default().text("1"));
    sse::stream(res, stream::iter([first]).chain(stream::pending()));
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn behind_each_right_configuration_the_first_event_comes_at_once() {
    let server = serve(Router::with_path("one").get(one)).await;
    for name in Middlebox::ALL {
        eprintln!("{name}: {}", Middlebox::version(name));
        let middlebox = Middlebox::start(name, "right", &server).await;
        let asked = reqwest::Client::new()
            .get(format!("{}/one", middlebox.url))
            .header("accept", "text/event-stream")
            .send();
        let answer = within("a head", asked).await.unwrap();
        assert_eq!(Events::of(answer).data().await, "1", "{name}");
    }
}
