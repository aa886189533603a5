//! Readers who are not simply let in: pages of other origins, and those with a token.

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

/// A login of this program, with this header.
async fn enter(program: &Program, header: &str) -> reqwest::Response {
    let request = program.request("POST", "/").header("authorization", header);
    program.send(request).await
}

#[tokio::test]
async fn a_token_becomes_a_cookie_that_opens_the_stream() {
    let stream = Program::start_with("cure_cookie", &[("TOKEN", "secret")]).await;
    assert_eq!(stream.get("/").await.status(), 401);
    for wrong in ["Bearer other", "Bearer ", "secret", "Bearer secret; HttpOnly"] {
        assert_eq!(enter(&stream, wrong).await.status(), 401, "{wrong}");
    }
    let answer = enter(&stream, "Bearer secret").await;
    assert_eq!(answer.status(), 204);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert_eq!(cookie, "token=secret; Path=/; HttpOnly; SameSite=Strict");
    for (cookie, status) in [
        ("token=secret", 200),
        ("theme=dark; token=secret", 200),
        ("token=other", 401),
        ("not_token=secret", 401),
    ] {
        let request = stream.request("GET", "/").header("cookie", cookie);
        assert_eq!(stream.send(request).await.status(), status, "{cookie}");
    }
    // Without a token of its own, it admits nobody.
    let stream = Program::start("cure_cookie").await;
    assert_eq!(enter(&stream, "Bearer ").await.status(), 401);
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn an_eventsource_is_admitted_after_its_page_has_shown_the_token() {
    let stream = Program::start_with("cure_cookie", &[("TOKEN", "secret")]).await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/page", stream.url)).await;
        let open = "window.source = new EventSource('/')";
        browser.eval(&format!("({open}, 0)")).await;
        browser.until("source.readyState == 2").await;
        let headers = "{ Authorization: 'Bearer secret' }";
        let enter = format!("fetch('/', {{ method: 'POST', headers: {headers} }})");
        browser.eval(&format!("({enter}.then(() => {{ {open} }}), 0)")).await;
        browser.until("source.readyState == 1").await;
        assert_eq!(browser.eval("document.cookie").await, "", "no script reads it");
    }
}
