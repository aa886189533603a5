//! Cures for a page whose stream ends, in browsers.

use std::time::Duration;

use futures_util::stream;
use salvo::prelude::*;
use salvo::sse;
use tests::{Browser, pause, serve, until};

use crate::browser::{Asked, WATCH, note, run, site, text};
use crate::code;
use crate::server::{Item, done};

/// A stream that says `done`, and ends.
#[derive(Clone, Default)]
struct Done(Asked);

#[handler]
impl Done {
    async fn handle(&self, req: &Request, res: &mut Response) {
        note(&self.0, req);
        let event = done().retry(Duration::from_millis(100));
        sse::stream(res, stream::iter([Item::Ok(event)]));
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_that_closes_at_the_last_event_does_not_come_back() {
    for browser in Browser::both().await {
        for (code, times) in [("", 2), (&*code("done.js"), 1)] {
            let done = Done::default();
            browser.open(&serve(site(done.clone())).await).await;
            let open = "const source = new EventSource('events');";
            run(&browser, open, code).await;
            let asked = || done.0.lock().unwrap().len();
            until("the stream is asked for", async || asked() >= times).await;
            if times == 1 {
                pause(WATCH).await;
                assert_eq!(asked(), 1, "{}", browser.name());
            }
        }
    }
}

/// An event and the end, which says `done` or not: a box has made an end of a break.
struct Half {
    is_done: bool,
}

#[handler]
impl Half {
    async fn handle(&self, res: &mut Response) {
        let last = self.is_done.then(|| Item::Ok(done()));
        sse::stream(res, stream::iter([text("a")].into_iter().chain(last)));
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_that_reads_by_fetch_takes_an_end_without_the_last_event_for_a_break()
{
    for browser in Browser::both().await {
        for (is_done, expected) in [(true, "a,whole"), (false, "a,broke off")] {
            browser.open(&serve(site(Half { is_done })).await).await;
            browser.until("!!window.createParser").await;
            let read = code("done-fetch.js");
            let read = format!(
                "try {{ {read} show('whole'); }} \
                catch (error) {{ show(error.message); }}"
            );
            run(&browser, "", &read).await;
            browser.until(&format!("seen.join() === '{expected}'")).await;
        }
    }
}
