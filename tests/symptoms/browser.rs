//! Cures for a page, in browsers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde_json::json;
use tests::{Browser, serve, until};

use crate::code;
use crate::server::{Item, STEPS, Tickets, admitted, beating, job, later, quiet};

/// How long a test watches that something does not happen.
pub const WATCH: Duration = Duration::from_millis(1_500);

const PAGE: &str = "<!doctype html><link rel=icon href='data:,'>
    <script>const seen = []; const show = (text) => seen.push(text);</script>
    <script type=module>import { createParser } from './parser'; window.createParser = createParser;
    </script>";

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(PAGE)
}

#[handler]
async fn parser() -> Text<&'static str> {
    Text::Js(include_str!("../../theme/vendor/eventsource-parser.js"))
}

/// The page, the parser that it needs, and streams at `events`.
pub fn site(events: impl Handler) -> Router {
    Router::new()
        .get(page)
        .push(Router::with_path("parser").get(parser))
        .push(Router::with_path("events").get(events))
}

/// Runs code of the page of symptoms in a page.
pub async fn run(browser: &Browser, before: &str, code: &str) {
    browser.eval(&format!("(void (async () => {{ {before}\n{code} }})(), 0)")).await;
}

pub fn text(text: &str) -> Item {
    Ok(SseEvent::default().text(text))
}

/// Requests, as the queries and the headers that they brought.
pub type Asked = Arc<Mutex<Vec<HashMap<String, String>>>>;

pub fn note(asked: &Asked, req: &Request) -> usize {
    let mut brought: HashMap<_, _> = req
        .queries()
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for name in ["authorization", "last-event-id"] {
        brought.extend(req.header(name).map(|value: String| (name.into(), value)));
    }
    let mut asked = asked.lock().unwrap();
    asked.push(brought);
    asked.len()
}

/// An event, and silence.
#[derive(Clone, Default)]
struct One(Asked);

#[handler]
impl One {
    async fn handle(&self, req: &Request, res: &mut Response) {
        note(&self.0, req);
        sse::stream(res, stream::iter([text("a")]).chain(stream::pending()));
    }
}

/// A stream that ends after an event, a 502, and a stream that stays.
#[derive(Clone, Default)]
struct Deploy(Asked);

#[handler]
impl Deploy {
    async fn handle(&self, req: &Request, res: &mut Response) {
        match note(&self.0, req) {
            1 => {
                let event = SseEvent::default().text("a").id("7");
                let event = event.retry(Duration::from_millis(100));
                sse::stream(res, stream::iter([Item::Ok(event)]));
            }
            2 => drop(res.status_code(StatusCode::BAD_GATEWAY)),
            _ => {
                let event = Item::Ok(SseEvent::default().text("b").id("8"));
                sse::stream(res, stream::iter([event]).chain(stream::pending()));
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_comes_back_after_a_502_with_its_last_event_id() {
    for browser in Browser::both().await {
        let deploy = Deploy::default();
        browser.open(&serve(site(deploy.clone())).await).await;
        run(&browser, "", &(code("come-back.js") + "connect();")).await;
        browser.until("seen.join() === 'a,b'").await;
        let asked = deploy.0.lock().unwrap();
        assert_eq!(asked[2].get("after").map(String::as_str), Some("7"));
    }
}

const TOKEN: &str = "Bearer secret";

/// A stream for those who bring the token.
#[handler]
async fn guarded(req: &Request, res: &mut Response) {
    let token: Option<String> = req.header("authorization");
    if token.as_deref() == Some(TOKEN) {
        sse::stream(res, stream::iter([text("a")]).chain(stream::pending()));
    } else {
        res.status_code(StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_token_reaches_the_server_in_a_header() {
    let url = serve(site(guarded)).await;
    for browser in Browser::both().await {
        browser.open(&url).await;
        browser.until("!!window.createParser").await;
        let wrong = format!(
            "try {{ {} }} catch (error) {{ show(error.message); }}",
            code("token.js")
        );
        run(&browser, "const token = 'wrong';", &wrong).await;
        browser.until("seen.pop() === 'refused: 401'").await;
        run(&browser, "const token = 'secret';", &code("token.js")).await;
        browser.until("seen.join() === 'a'").await;
    }
}

/// Gives out a ticket for user 2.
struct Counter(Tickets);

#[handler]
impl Counter {
    async fn handle(&self, req: &Request) -> Result<String, StatusError> {
        let token: Option<String> = req.header("authorization");
        if token.as_deref() != Some(TOKEN) {
            return Err(StatusError::unauthorized());
        }
        let tickets = &self.0.0;
        let user = 2;
        // ANCHOR: issued
        // The answer to `POST tickets`, for a user whose token is right:
        let ticket = rand::random::<u128>().to_string(); // nobody guesses it
        tickets.lock().insert(ticket.clone(), user); // an Arc<Mutex<HashMap<String, u64>>>
        Ok(ticket) // forget it after a minute, used or not
        // ANCHOR_END: issued
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn each_connection_has_a_ticket_of_its_own() {
    let tickets = Tickets::default();
    let counter = Router::with_path("tickets").post(Counter(tickets.clone()));
    let url = serve(site(tickets).push(counter)).await;
    for browser in Browser::both().await {
        browser.open(&url).await;
        // The first request for a ticket meets a network that is not there.
        let offline = "const online = window.fetch; window.fetch = () => {
            window.fetch = online;
            return Promise.reject(new TypeError('offline'));
        };";
        let headers = format!("const headers = {{ authorization: '{TOKEN}' }};");
        let before = headers + offline;
        run(&browser, &before, &(code("ticket.js") + "listen();")).await;
        browser.until("seen.slice(0, 2).join() === '2,2'").await;
    }
}

/// Runs an effect as React does in StrictMode, in development.
const STRICT: &str = "const useEffect = (effect) => { effect()?.(); effect(); };";

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn an_effect_that_closes_its_stream_shows_each_event_once() {
    let url = serve(site(One::default())).await;
    let effect = code("effect.js");
    let (closing, _) = effect.split_once("  return").unwrap();
    let careless = format!("{closing}}}, []);");
    for browser in Browser::both().await {
        for (code, times) in [(&effect, 1), (&careless, 2)] {
            browser.open(&url).await;
            run(&browser, STRICT, code).await;
            browser.until(&format!("seen.length === {times}")).await;
            browser.never(&format!("seen.length !== {times}"), WATCH).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn letters_and_events_that_are_cut_anywhere_come_out_whole() {
    let url = serve(site(quiet)).await;
    for browser in Browser::both().await {
        browser.open(&url).await;
        browser.until("!!window.createParser").await;
        let before =
            "let text = ''; const chunks = [...new TextEncoder().encode('é👩‍👩‍👧')]
            .map((byte) => new Uint8Array([byte]));";
        run(&browser, before, &(code("decode.js") + "show(text);")).await;
        assert_eq!(browser.eval("seen.pop()").await, json!("é👩‍👩‍👧"));
        let before = "const texts = [...'data: a\\r\\n\\r\\ndata: b\\n\\n'];";
        run(&browser, before, &code("parser.js")).await;
        assert_eq!(browser.eval("seen").await, json!(["a", "b"]));
        let before = "seen.length = 0; const source = {};";
        let event = r#"source.onmessage({ data: '{"text": " a"}' });"#;
        run(&browser, before, &(code("parsed.js") + event)).await;
        assert_eq!(browser.eval("seen").await, json!([" a"]));
        let before = "seen.length = 0; const line = 'data:   indented ';";
        run(&browser, before, &(code("one-space.js") + "show(value);")).await;
        assert_eq!(browser.eval("seen").await, json!(["  indented "]));
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_learns_with_one_fetch_why_its_stream_is_closed() {
    #[handler]
    async fn gone(res: &mut Response) {
        res.status_code(StatusCode::GONE);
    }
    let url = serve(site(gone)).await;
    for browser in Browser::both().await {
        browser.open(&url).await;
        let open = "const source = new EventSource('events');";
        run(&browser, open, &code("why.js")).await;
        browser.until("seen.join() === 'refused: 410'").await;
    }
}

/// A stream for the pages of one other origin.
struct Admitting(String);

#[handler]
impl Admitting {
    async fn handle(&self, res: &mut Response) -> salvo::Result<()> {
        sse::stream(res, stream::iter([text("a")]).chain(stream::pending()));
        admitted(res, &self.0)
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_stream_of_another_origin_that_admits_the_page_is_read_with_cookies_too() {
    let own = serve(site(quiet)).await;
    let other = serve(Router::new().get(Admitting(own.clone()))).await;
    for browser in Browser::both().await {
        for with_credentials in [false, true] {
            browser.open(&own).await;
            let listen = format!(
                "new EventSource('{other}', {{ withCredentials: {with_credentials} }}) \
                 .onmessage = ({{ data }}) => show(data);"
            );
            run(&browser, "", &listen).await;
            browser.until("seen.join() === 'a'").await;
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_comment_opens_a_stream_before_there_is_an_event() {
    let url = serve(site(quiet)).await;
    for browser in Browser::both().await {
        browser.open(&url).await;
        browser.eval("(window.source = new EventSource('events'), 0)").await;
        browser.until("source.readyState === EventSource.OPEN").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_429_closes_an_eventsource_and_a_retry_sends_it_away_for_a_while() {
    #[handler]
    async fn too_many(res: &mut Response) {
        res.status_code(StatusCode::TOO_MANY_REQUESTS);
    }
    #[handler]
    async fn send_away(res: &mut Response) {
        later(res);
    }
    let refused = serve(site(too_many)).await;
    let sent_away = serve(site(send_away)).await;
    let open = "(window.source = new EventSource('events'), window.errors = 0, \
        source.onerror = () => { errors += 1; }, 0)";
    for browser in Browser::both().await {
        browser.open(&refused).await;
        browser.eval(open).await;
        browser.until("source.readyState === EventSource.CLOSED").await;
        browser.open(&sent_away).await;
        browser.eval(open).await;
        browser.until("errors === 1").await;
        browser
            .never("source.readyState !== EventSource.CONNECTING", 4 * WATCH)
            .await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_sees_a_heartbeat_that_is_an_event() {
    let url = serve(site(beating)).await;
    for browser in Browser::both().await {
        browser.open(&url).await;
        let listen = "new EventSource('events').addEventListener('heartbeat', \
            () => show('heartbeat'));";
        run(&browser, "", listen).await;
        browser.until("seen.join() === 'heartbeat'").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_watched_stream_shows_its_events() {
    let faults = include_str!("../../examples/faults/index.html");
    let wrapper = faults.split("// ANCHOR: wrapper").nth(1).unwrap();
    let wrapper = wrapper.split("// ANCHOR_END: wrapper").next().unwrap();
    let watchdog = include_str!("../pages/watchdog.js");
    let url = serve(site(One::default())).await;
    for browser in Browser::both().await {
        browser.open(&url).await;
        run(&browser, &format!("{wrapper}{watchdog}"), &code("watched.js")).await;
        browser.until("seen.includes('a')").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn an_eventsource_gets_each_step_of_a_job_once_and_a_204() {
    let url = serve(site(job)).await;
    let open = "const source = new EventSource('events'); window.source = source; \
        source.onmessage = ({ data }) => show(data);";
    for browser in Browser::both().await {
        browser.open(&url).await;
        run(&browser, "", open).await;
        browser.until("source.readyState === EventSource.CLOSED").await;
        assert_eq!(browser.eval("seen.length").await, json!(STEPS));
    }
}

/// A stream whose token is good for one connection, until it is renewed.
#[derive(Clone, Default)]
struct Session(Arc<Mutex<(bool, Vec<String>)>>);

#[handler]
impl Session {
    async fn handle(&self, req: &Request, res: &mut Response) {
        let mut session = self.0.lock().unwrap();
        if req.query::<bool>("renew").is_some() {
            session.0 = false;
        } else if session.0 {
            res.status_code(StatusCode::UNAUTHORIZED);
        } else {
            session.0 = true;
            session.1.push(req.query("after").unwrap_or_default());
            let event = SseEvent::default().text("a").id("7");
            let event = event.retry(Duration::from_millis(100));
            sse::stream(res, stream::iter([Item::Ok(event)]));
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_renews_its_token_and_goes_on_where_it_was() {
    const AROUND: [&str; 2] = [
        "const renew = () => fetch('events?renew=true');
        function connect(last) {
            const source = new EventSource(`events?after=${last}`);
            source.onmessage = (event) => { last = event.lastEventId; };",
        "} connect('');",
    ];
    for browser in Browser::both().await {
        let session = Session::default();
        browser.open(&serve(site(session.clone())).await).await;
        run(&browser, AROUND[0], &(code("renew.js") + AROUND[1])).await;
        let after = || session.0.lock().unwrap().1.clone();
        until("the page is back", async || after().len() >= 2).await;
        assert_eq!(after()[..2], ["", "7"], "{}", browser.name());
    }
}

/// A stream that ignores the last event ID, and sends all again: texts, and the ids of those
/// that have one.
#[derive(Clone)]
struct Forgetful([(&'static str, Option<&'static str>); 3]);

#[handler]
impl Forgetful {
    async fn handle(&self, res: &mut Response) {
        let retry = Item::Ok(SseEvent::default().retry(Duration::from_millis(100)));
        let events = self.0.map(|(text, id)| {
            let event = SseEvent::default().text(text);
            Item::Ok(match id {
                Some(id) => event.id(id),
                None => event,
            })
        });
        sse::stream(res, stream::iter([retry].into_iter().chain(events)));
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_skips_the_events_that_it_has() {
    const OPEN: &str = "const seen = new Set(); window.opened = 0;
        const source = new EventSource('events'); source.onopen = () => { opened += 1; };";
    let own = [("a", Some("1")), ("b", Some("2")), ("c", Some("3"))];
    // A page cannot tell an event without an id from the one before: it is lost.
    let some = [("a", Some("1")), ("b", None), ("c", Some("3"))];
    let none = [("a", None), ("b", None), ("c", None)];
    let once = &*code("once.js");
    for browser in Browser::both().await {
        for (events, skip, shown) in [
            (own, "", "a,b,c,a,b,c"),
            (own, once, "a,b,c"),
            (some, once, "a,c"),
            (none, once, "a,b,c,a,b,c"),
        ] {
            browser.open(&serve(site(Forgetful(events))).await).await;
            let listen = "source.onmessage = (event) => {";
            let listen = format!("{listen} {skip} show(event.data); }};");
            run(&browser, OPEN, &listen).await;
            browser.until("opened >= 3").await;
            let seen = browser.eval("seen.slice(0, 6).join()").await;
            assert_eq!(seen, json!(shown), "{events:?} in {}", browser.name());
        }
    }
}
