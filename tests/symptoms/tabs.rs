//! One stream for all tabs of a page.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Browser, root, serve, until};

use crate::browser::{Asked, note, run, site};
use crate::code;
use crate::server::Item;

/// A stream of numbers. While the server is away, a proxy answers in its place.
#[derive(Clone, Default)]
struct Ticks {
    asked: Asked,
    is_away: Arc<AtomicBool>,
}

#[handler]
impl Ticks {
    async fn handle(&self, req: &Request, res: &mut Response) {
        note(&self.asked, req);
        if self.is_away.load(Ordering::Relaxed) {
            res.status_code(StatusCode::BAD_GATEWAY);
            return;
        }
        let is_away = self.is_away.clone();
        let ticks = tokio::time::interval(Duration::from_millis(100));
        let ticks = stream::unfold((ticks, 1), async |(mut ticks, n)| {
            ticks.tick().await;
            let event = SseEvent::default().text(n.to_string()).id(n.to_string());
            Some((Item::Ok(event.retry(Duration::from_millis(100))), (ticks, n + 1)))
        });
        let is_here =
            move |_: &Item| future::ready(!is_away.load(Ordering::Relaxed));
        sse::stream(res, ticks.take_while(is_here));
    }
}

/// A module that the reader has copied.
#[handler]
async fn module(req: &Request) -> Text<String> {
    let file = root().join("examples/page").join(&req.uri().path()[1..]);
    Text::Js(std::fs::read_to_string(file).unwrap())
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn one_tab_holds_the_stream_for_all_and_comes_back_after_a_502() {
    let ticks = Ticks::default();
    let mut site = site(ticks.clone());
    for name in ["shared.js", "stream.js"] {
        site = site.push(Router::with_path(name).get(module));
    }
    let url = serve(site).await;
    let browser = Browser::start().await;
    let mut tabs = vec![browser.tab().await];
    for n in 0..3 {
        if n > 0 {
            tabs.push(browser.new_tab().await);
        }
        browser.open(&url).await;
        run(&browser, "", &code("one-stream.js")).await;
        browser.until("seen.length > 3").await;
    }
    let count = || ticks.asked.lock().unwrap().len();
    assert_eq!(count(), 1);
    ticks.is_away.store(true, Ordering::Relaxed);
    until("a 502", async || count() == 2).await;
    ticks.is_away.store(false, Ordering::Relaxed);
    for tab in tabs {
        browser.to_tab(tab).await;
        browser.eval("(seen.length = 0)").await;
        browser.until("seen.length > 3").await;
    }
    let asked = ticks.asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    let after: u64 = asked[2]["after"].parse().unwrap();
    assert!(after > 3, "{after}");
}
