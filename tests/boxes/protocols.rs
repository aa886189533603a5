//! Many streams of one page over HTTP/2, and one of them that nobody reads.

use std::convert::Infallible;
use std::fs;
use std::time::Duration;

use futures_util::stream::{StreamExt, iter, pending, repeat, unfold};
use salvo::http::HeaderValue;
use salvo::prelude::*;
use tests::{Browser, Nginx, pause, serve, until};

/// How long a test watches that something does not happen.
const WATCH: Duration = Duration::from_secs(2);

/// nginx with HTTP/2 as it comes, before these routes.
async fn over_http_2(router: Router) -> Nginx {
    let server = serve(router).await;
    let key = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let configuration = |addr: &str| {
        format!(
            "daemon off; pid nginx.pid; events {{}}
            http {{
                access_log off;
                server {{
                    listen {addr} ssl http2;
                    ssl_certificate server.crt;
                    ssl_certificate_key server.key;
                    location / {{
                        proxy_pass {server};
                        proxy_http_version 1.1;
                        proxy_buffering off;
                    }}
                }}
            }}"
        )
    };
    let starting = Nginx::start_with(configuration, |folder| {
        fs::write(folder.join("server.crt"), key.cert.pem()).unwrap();
        fs::write(folder.join("server.key"), key.signing_key.serialize_pem())
            .unwrap();
    });
    let mut nginx = starting.await;
    nginx.url = nginx.url.replace("http://", "https://");
    nginx
}

fn as_events(res: &mut Response) {
    let kind = HeaderValue::from_static("text/event-stream");
    res.headers_mut().insert("content-type", kind);
}

/// A stream that is open and says nothing more.
#[handler]
async fn quiet(res: &mut Response) {
    as_events(res);
    res.stream(iter([Ok::<_, Infallible>(":\n\n")]).chain(pending()));
}

/// A number each 50 ms.
#[handler]
async fn numbers(res: &mut Response) {
    as_events(res);
    res.stream(unfold(0, async |number| {
        pause(Duration::from_millis(50)).await;
        let event = format!("data: {number}\n\n");
        Some((Ok::<_, Infallible>(event), number + 1))
    }));
}

/// As many bytes as its reader takes.
#[handler]
async fn much(res: &mut Response) {
    res.stream(repeat(()).map(|()| Ok::<_, Infallible>("x".repeat(16_384))));
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(
        "<!doctype html><title>many</title><script>
        window.open_ones = 0;
        window.errors = 0;
        window.all = [];
        window.open_more = (count) => {
            for (let n = 0; n < count; n += 1) {
                const source = new EventSource(`quiet?${all.length}`);
                source.onopen = () => { open_ones += 1; };
                source.onerror = () => { errors += 1; };
                all.push(source);
            }
        };
        window.heard = 0;
        window.listen = () => {
            new EventSource('numbers').onmessage = () => { heard += 1; };
        };
        window.unread = [];
        window.leave_unread = async () => {
            const stop = new AbortController();
            const { body } = await fetch(`much?${unread.length}`, { signal: stop.signal });
            unread.push({ stop, body });
        };
        window.ask = () => {
            window.answered = false;
            fetch('small', { method: 'POST' }).then(() => { answered = true; });
        };
        </script>",
    )
}

fn routes() -> Router {
    Router::new()
        .get(page)
        .push(Router::with_path("small").post(page))
        .push(Router::with_path("quiet").get(quiet))
        .push(Router::with_path("numbers").get(numbers))
        .push(Router::with_path("much").get(much))
}

#[tokio::test]
#[ignore = "needs nginx, chromedriver and firefox-esr"]
async fn over_http_2_nginx_carries_128_streams_of_a_page_and_every_further_request_waits()
 {
    let nginx = over_http_2(routes()).await;
    for browser in Browser::both().await {
        browser.open(&nginx.url).await;
        browser.until("!!window.open_more").await;
        browser.eval("(open_more(129), 0)").await;
        browser.until("open_ones === 128").await;
        browser.eval("(ask(), 0)").await;
        browser.never("open_ones > 128 || answered || errors > 0", WATCH).await;
        browser.eval("(all[0].close(), all[1].close(), 0)").await;
        browser.until("open_ones === 129 && answered && errors === 0").await;
    }
}

#[tokio::test]
#[ignore = "needs nginx and chromedriver"]
async fn in_chromium_three_bodies_that_nobody_reads_stop_every_stream_of_the_connection()
 {
    let nginx = over_http_2(routes()).await;
    let browser = Browser::start().await;
    browser.open(&nginx.url).await;
    browser.until("!!window.listen").await;
    browser.eval("(listen(), 0)").await;
    browser.until("heard > 3").await;
    let goes_on = async || {
        let heard = browser.eval("heard").await;
        browser.until(&format!("heard > {heard} + 20")).await;
    };
    for count in 1..=2 {
        browser.eval("(leave_unread(), 0)").await;
        browser.until(&format!("unread.length === {count}")).await;
        goes_on().await;
    }
    browser.eval("(leave_unread(), 0)").await;
    // The third one gets what the others left of the connection's window.
    let stops = async || {
        let heard = browser.eval("heard").await;
        pause(WATCH).await;
        browser.eval("heard").await == heard
    };
    until("the stream stops", stops).await;
    browser.eval("(unread[0].stop.abort(), 0)").await;
    goes_on().await;
}

#[tokio::test]
#[ignore = "needs nginx and firefox-esr"]
async fn in_firefox_six_bodies_that_nobody_reads_stop_nothing() {
    let nginx = over_http_2(routes()).await;
    let browser = Browser::firefox().await;
    browser.open(&nginx.url).await;
    browser.until("!!window.listen").await;
    browser.eval("(listen(), 0)").await;
    for count in 1..=6 {
        browser.eval("(leave_unread(), 0)").await;
        browser.until(&format!("unread.length === {count}")).await;
        let heard = browser.eval("heard").await;
        browser.until(&format!("heard > {heard} + 40")).await;
    }
}
