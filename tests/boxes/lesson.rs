//! Single lines of configurations: which of nginx's does what to a stream, and which one of
//! HAProxy's does nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use salvo::http::HeaderValue;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Events, Middlebox, serve, within};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

type Item = Result<SseEvent, salvo::Error>;

/// How long a test watches that nothing comes.
const WATCH: Duration = Duration::from_millis(1_500);
/// A time in which what is passed on comes.
const GLANCE: Duration = Duration::from_millis(400);
/// `data: ` and two line ends.
const FRAME: usize = 8;

/// An event of so many bytes at once, and another one for each ring of the bell: as large, or
/// of so many bytes `then`.
struct Large(Arc<Notify>);

#[handler]
impl Large {
    async fn handle(&self, req: &mut Request, res: &mut Response) {
        let bytes = req.query::<usize>("bytes").expect("a size");
        if req.query::<bool>("header").is_some() {
            let no = HeaderValue::from_static("no");
            res.headers_mut().insert("x-accel-buffering", no);
        }
        let bell = Arc::clone(&self.0);
        let first = Item::Ok(event(bytes));
        let then = req.query::<usize>("then").unwrap_or(bytes);
        let rung = move |()| {
            let bell = Arc::clone(&bell);
            async move {
                bell.notified().await;
                Item::Ok(event(then))
            }
        };
        let rings = stream::repeat(()).then(rung);
        sse::stream(res, stream::iter([first]).chain(rings));
    }
}

/// An event that takes so many bytes on the wire; with none, it is a heartbeat.
fn event(bytes: usize) -> SseEvent {
    if bytes == 0 {
        return SseEvent::default().comment("");
    }
    SseEvent::default().text("x".repeat(bytes - FRAME))
}

/// An event, and an error in the middle of the body when the bell rings.
struct BreaksOff(Arc<Notify>);

#[handler]
impl BreaksOff {
    async fn handle(&self, res: &mut Response) {
        let bell = Arc::clone(&self.0);
        let first = Item::Ok(event(6_000));
        let error = async move {
            bell.notified().await;
            Err(salvo::Error::other("the server breaks off"))
        };
        sse::stream(res, stream::iter([first]).chain(stream::once(error)));
    }
}

/// An event, and silence.
#[handler]
async fn quiet(res: &mut Response) {
    let first = Item::Ok(SseEvent::default().text("1"));
    sse::stream(res, stream::iter([first]).chain(stream::pending()));
}

async fn serve_all(bell: Arc<Notify>) -> String {
    let router = Router::new()
        .push(Router::with_path("sized").get(Large(Arc::clone(&bell))))
        .push(Router::with_path("breaks-off").get(BreaksOff(bell)))
        .push(Router::with_path("quiet").get(quiet));
    serve(router).await
}

/// nginx as its documentation begins, with these lines more.
async fn nginx(server: &str, lines: &str) -> Middlebox {
    let add = |text: String| {
        assert!(text.contains("proxy_pass"), "{text}");
        text.replace("proxy_pass", &format!("{lines} proxy_pass"))
    };
    Middlebox::start_changed("nginx", "default", server, add).await
}

async fn events(url: &str) -> Events {
    Events::of(within("a head", reqwest::get(url)).await.unwrap())
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_with_http_1_1_passes_small_events_and_holds_back_the_end_of_a_large_one()
 {
    let bell = Arc::new(Notify::new());
    let server = serve_all(Arc::clone(&bell)).await;
    let chunked = nginx(&server, "proxy_http_version 1.1;").await;
    let mut small =
        events(&format!("{}/sized?bytes=1000&then=20", chunked.url)).await;
    assert_eq!(small.data().await.len(), 1000 - FRAME);
    for _ in 0..3 {
        bell.notify_one();
        assert_eq!(small.data().await.len(), 20 - FRAME);
    }
    drop(small);

    for bytes in [5_000, 10_000] {
        let mut large =
            events(&format!("{}/sized?bytes={bytes}", chunked.url)).await;
        large.stays_quiet_for(WATCH).await;
        bell.notify_waiters();
        assert_eq!(large.data().await.len(), bytes - FRAME);
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_without_buffering_holds_back_nothing_over_http_1_0_either() {
    let server = serve_all(Arc::default()).await;
    for (lines, header) in [
        ("proxy_buffering off;", ""),
        ("proxy_buffering off; proxy_http_version 1.1;", ""),
        ("", "&header=true"),
        ("proxy_http_version 1.1;", "&header=true"),
    ] {
        let passing = nginx(&server, lines).await;
        for bytes in [1_000, 5_000, 10_000, 100_000] {
            let url = format!("{}/sized?bytes={bytes}{header}", passing.url);
            let mut stream = events(&url).await;
            assert_eq!(stream.data().await.len(), bytes - FRAME, "{lines}{header}");
        }
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_as_it_begins_passes_a_stream_on_in_pieces_of_4_kb() {
    let bell = Arc::new(Notify::new());
    let server = serve_all(Arc::clone(&bell)).await;
    let collecting = nginx(&server, "").await;
    let asked = reqwest::get(format!("{}/sized?bytes=1000", collecting.url));
    let (answer, rings) = rung(&bell, asked).await;
    assert!(rings >= 3, "a head came with {rings} events behind the first");
    let mut answer = answer.unwrap();
    for piece in 1..3 {
        while timeout(GLANCE, answer.chunk()).await.is_ok() {}
        let (_, rings) = rung(&bell, answer.chunk()).await;
        assert!(rings >= 3, "piece {piece} came with {rings} events");
    }
}

/// Rings until something comes, and counts.
async fn rung<T>(bell: &Notify, what: impl Future<Output = T>) -> (T, usize) {
    let mut what = pin!(what);
    for rings in 0..100 {
        if let Ok(came) = timeout(GLANCE, &mut what).await {
            return (came, rings);
        }
        bell.notify_one();
    }
    panic!("nothing comes");
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn a_server_that_breaks_off_looks_like_an_end_through_http_1_0_and_a_cut_through_1_1()
 {
    let bell = Arc::new(Notify::new());
    let server = serve_all(Arc::clone(&bell)).await;
    for (lines, is_cut) in [
        ("", false),
        ("proxy_buffering off;", false),
        ("proxy_http_version 1.1;", true),
        ("proxy_http_version 1.1; proxy_buffering off;", true),
    ] {
        let nginx = nginx(&server, lines).await;
        let asked = reqwest::get(format!("{}/breaks-off", nginx.url));
        let answer = within("a head", asked).await.unwrap();
        bell.notify_one();
        let body = within("the end of the body", answer.bytes()).await;
        assert_eq!(body.is_err(), is_cut, "{lines:?}: {body:?}");
    }
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn haproxy_cuts_a_silent_stream_by_timeout_server_whatever_timeout_tunnel_says()
 {
    let server = serve_all(Arc::default()).await;
    let hasty = |text: String| {
        assert!(text.contains("timeout server 50000"), "{text}");
        let lines = "timeout server 1s\n    timeout tunnel 24h";
        text.replace("timeout server 50000", lines)
    };
    let haproxy =
        Middlebox::start_changed("haproxy", "default", &server, hasty).await;
    let asked = reqwest::get(format!("{}/quiet", haproxy.url));
    let answer = within("a head", asked).await.unwrap();
    let start = Instant::now();
    let body = within("the end of the body", answer.bytes()).await;
    assert!(body.is_err(), "it is cut: {body:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
