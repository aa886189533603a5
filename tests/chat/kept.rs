//! The page of `chat` when its reader leaves it for another page and comes back, and when the
//! server refuses it. Run these with `cargo test -p tests --test chat kept -- --ignored`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use salvo::prelude::*;
use tests::{Browser, Events, Program, page_of, serve, until};

const CONNECTED: &str =
    "document.querySelector('#state').textContent == 'connected'";

/// The browser keeps the page as it is, with its stream, if the page lets it.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_reader_who_follows_a_link_leaves_at_once_and_comes_back_to_the_same_page()
{
    let chat = Program::start("chat").await;
    let tick = Program::start("tick").await;
    let id = "a".repeat(32);
    let mut ann = chat.events(&format!("/chat?as={id}")).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", chat.url)).await;
    browser.until(CONNECTED).await;
    next_of(&mut ann, "joined").await;
    browser.eval("(window.mark = 'kept', 0)").await;
    browser.eval(&format!("(location.href = '{}/', 0)", tick.url)).await;
    // Some seconds later, and not when the browser has dropped the page.
    assert_eq!(next_of(&mut ann, "left").await, "User#2");

    let say = chat.request("POST", &format!("/chat/{id}")).body("are you there?");
    assert!(chat.send(say).await.status().is_success());
    browser.until("document.title == 'tick'").await;
    browser.eval("(history.back(), 0)").await;
    browser.until("window.mark == 'kept'").await;
    browser.until(CONNECTED).await;
    let log = "document.querySelector('#log').textContent";
    browser.until(&format!("{log}.includes('are you there?')")).await;
    next_of(&mut ann, "joined").await;
}

/// The data of the next event of this type.
async fn next_of(events: &mut Events, kind: &str) -> String {
    loop {
        let event = events.next().await.expect("the stream goes on");
        if event.event == kind {
            return event.data;
        }
    }
}

/// A server of streams that is full, and notes when it was asked.
#[derive(Clone, Default)]
struct Full(Arc<Mutex<Vec<Instant>>>);

#[handler]
impl Full {
    async fn handle(&self, res: &mut Response) {
        self.0.lock().unwrap().push(Instant::now());
        res.status_code(StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_chat_page_waits_longer_each_time_that_it_is_refused() {
    let full = Full::default();
    let chat = Router::with_path("chat").get(full.clone());
    let browser = Browser::start().await;
    browser.open(&serve(Router::new().push(chat).push(page_of("chat"))).await).await;
    let asked = || full.0.lock().unwrap().clone();
    until("four attempts", async || asked().len() >= 4).await;
    let asked = asked();
    for (pair, least) in asked.windows(2).zip([1, 2, 4]) {
        let waited = pair[1] - pair[0];
        assert!(waited >= Duration::from_secs(least), "{waited:?} < {least} s");
    }
}
