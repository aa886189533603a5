//! The lines of `page.md` for a page that has a copy of the module.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Browser, serve};

const PAGE: &str = include_str!("../pages/copied.html");
const MODULE: &str = include_str!("../../examples/page/stream.js");

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(PAGE)
}

#[handler]
async fn module() -> Text<&'static str> {
    Text::Js(MODULE)
}

/// A price on the first connection, another one on that after a 502, and then 204. It notes
/// after which event each request goes on.
#[derive(Clone, Default)]
struct Prices(Arc<Mutex<Vec<String>>>);

#[handler]
impl Prices {
    async fn handle(&self, req: &Request, res: &mut Response) {
        let header = req.header::<String>("last-event-id");
        let after = header.or_else(|| req.query("after")).unwrap_or_default();
        self.0.lock().unwrap().push(after.clone());
        let price = match (after.as_str(), self.0.lock().unwrap().len()) {
            ("", _) => SseEvent::default().id("1").text("1.20"),
            ("1", 2) => {
                res.status_code(StatusCode::BAD_GATEWAY);
                return;
            }
            ("1", _) => SseEvent::default().id("2").text("1.30"),
            _ => {
                res.status_code(StatusCode::NO_CONTENT);
                return;
            }
        };
        let price = price.name("price").retry(Duration::from_millis(100));
        sse::stream(res, stream::iter([Ok::<_, std::io::Error>(price)]));
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_with_a_copy_of_the_module_survives_a_deploy_and_sees_the_end() {
    for browser in Browser::both().await {
        let prices = Prices::default();
        let router = Router::new().get(page);
        let router = router.push(Router::with_path("stream.js").get(module));
        let router = router.push(Router::with_path("events").get(prices.clone()));
        browser.open(&serve(router).await).await;
        let shown = "document.body.innerText.trim().split(/\\s*\\n\\s*/).join(': ')";
        browser.until(&format!("{shown} == '1.30: ended status 204'")).await;
        assert_eq!(browser.eval("prices.lastEventId").await, "2");
        let asked = prices.0.lock().unwrap();
        // The 502 closed EventSource, a look saw that all is well, and a new one went on.
        assert_eq!(asked[..3], ["", "1", "1"]);
        assert!(asked[3..].iter().all(|after| ["1", "2"].contains(&after.as_str())));
    }
}
