//! EventSource behind a service worker.

use std::sync::{Arc, Mutex};

use salvo::http::HeaderValue;
use salvo::prelude::*;
use tests::{Browser, serve, until};

use crate::eventsource::{empty_page, finite};

/// The last event IDs that readers brought.
#[derive(Clone, Default)]
struct Brought(Arc<Mutex<Vec<Option<String>>>>);

#[handler]
impl Brought {
    async fn handle(&self, req: &Request, res: &mut Response) {
        self.0.lock().unwrap().push(req.header("last-event-id"));
        finite(res, "retry: 10\nid: 7\ndata: a\n\n");
    }
}

/// A worker that answers the requests of its pages: all of them, or all but streams.
#[handler]
async fn worker(req: &Request, res: &mut Response) {
    let lets_pass: bool = req.query("lets_pass").unwrap();
    res.headers_mut()
        .insert("content-type", HeaderValue::from_static("text/javascript"));
    let lines = include_str!("../symptoms/code/worker.js").lines();
    let kept = lines.filter(|line| lets_pass || !line.contains("accept"));
    let claim = "self.onactivate = (event) => event.waitUntil(clients.claim());";
    res.body([claim].into_iter().chain(kept).collect::<Vec<_>>().join("\n"));
}

/// In Chromium; in the others the worker's own request brings it.
#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and webkit2gtk-driver"]
async fn a_service_worker_that_answers_for_a_stream_loses_its_last_event_id() {
    for browser in Browser::all().await {
        for lets_pass in [false, true] {
            let brought = Brought::default();
            let router = Router::new()
                .get(empty_page)
                .push(Router::with_path("worker.js").get(worker))
                .push(Router::with_path("stream").get(brought.clone()));
            browser.open(&serve(router).await).await;
            let register = format!(
                "navigator.serviceWorker.register('worker.js?lets_pass={lets_pass}')"
            );
            browser.eval(&format!("({register}, 0)")).await;
            browser.until("!!navigator.serviceWorker.controller").await;
            browser.eval("(window.source = new EventSource('stream'), 0)").await;
            let seen = || brought.0.lock().unwrap().clone();
            until("two attempts", async || seen().len() >= 2).await;
            let brings = lets_pass || browser.name() != "Chromium";
            let second = brings.then(|| "7".to_string());
            let what = format!("{}, lets streams pass: {lets_pass}", browser.name());
            assert_eq!(seen()[..2], [None, second], "{what}");
        }
    }
}
