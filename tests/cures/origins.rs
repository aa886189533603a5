//! Pages of other origins: CORS.

use salvo::Router;
use tests::{Browser, Program, serve};

#[tokio::test]
async fn one_other_origin_is_admitted_and_no_third_one() {
    let ticks = Program::start("cure_cors").await;
    for (origin, admitted) in [
        ("http://localhost:5173", Some("http://localhost:5173")),
        ("http://localhost:5174", None),
        ("http://localhost:5173.example", None),
        ("null", None),
    ] {
        let request = ticks.request("GET", "/").header("origin", origin);
        let answer = ticks.send(request).await;
        let allowed = answer.headers().get("access-control-allow-origin");
        assert_eq!(
            allowed.map(|value| value.to_str().unwrap()),
            admitted,
            "{origin}"
        );
        assert_eq!(answer.headers()["vary"], "origin");
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn a_page_of_the_admitted_origin_reads_the_stream_and_another_one_is_closed() {
    let vite = serve(Router::new()).await;
    let other = serve(Router::new()).await;
    let ticks = Program::start_with("cure_cors", &[("PAGES", &vite)]).await;
    for browser in Browser::both().await {
        for (pages, state) in [(&vite, 1), (&other, 2)] {
            browser.open(&format!("{pages}/page")).await;
            let source = format!("window.source = new EventSource('{}')", ticks.url);
            browser.eval(&format!("({source}, 0)")).await;
            browser.until(&format!("source.readyState == {state}")).await;
        }
    }
}
