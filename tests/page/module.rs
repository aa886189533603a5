//! `stream.js` in a page: it comes back, gives up and ends as its contract says.

use std::time::{Duration, SystemTime};

use httpdate::fmt_http_date;
use serde_json::json;
use tests::{Browser, pause};
use tokio::net::TcpListener;

use crate::scene::Answer::{Bytes, Ends, None, Open, Status, Stays};
use crate::scene::{
    END, Scene, WATCH, WAYS, data, each, follow, nothing_is_wrong, options, seen,
    states,
};
use crate::waking::{ONLINE, PAGEHIDE, PAGESHOW};

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn an_answer_that_may_pass_is_asked_for_again_and_any_other_is_final() {
    each(async |scene, browser, way| {
        comes_back(scene, browser, way).await;
        comes_back_after_heads_that_break_off(scene, browser, way).await;
        waits(scene, browser, way).await;
        gives_up(scene, browser, way).await;
        reads_any_case(scene, browser, way).await;
    })
    .await;
}

async fn comes_back(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    let statuses = [408, 425, 429, 500, 502, 503, 504, 599];
    for status in statuses {
        let name = format!("n{status}");
        scene.answers(&format!("/{name}"), [Status(status, "")]);
        follow(browser, &name, &name, &options(way, "")).await;
    }
    for status in statuses {
        let name = format!("n{status}");
        browser.until(&format!("{name}.states.some(({{ wait }}) => wait)")).await;
        scene.now(&format!("/{name}"), [Ends(END)]);
        browser.until(&format!("{name}.stream.state.name === 'ended'")).await;
        assert_eq!(data(browser, &name).await, json!(["a"]));
        let wait = format!("{name}.states.find(({{ wait }}) => wait)");
        let wait = browser.eval(&wait).await;
        assert_eq!(
            (&wait["why"], &wait["status"]),
            (&json!("status"), &json!(status))
        );
        assert!((50..=75).contains(&wait["wait"].as_u64().unwrap()), "{wait}");
        let states = states(browser, &name).await;
        let states = states.as_array().unwrap();
        assert_eq!(states[0], "connecting");
        assert_eq!(states[states.len() - 1], "ended event");
    }
}

/// Browsers take a head that breaks off for a whole one, without the type.
async fn comes_back_after_heads_that_break_off(
    scene: &Scene,
    browser: &Browser,
    way: &str,
) {
    scene.open(browser).await;
    let cut = Bytes(b"HTTP/1.1 200 OK\r\nx-a: b\r\n".as_slice().into());
    // Three in a row, and again three after it was open.
    let three = || vec![seen(way, &cut); 3].concat();
    let mut answers = three();
    answers.push(Ends("retry: 50\nid: 1\ndata: a\n\n"));
    answers.extend(three());
    answers.push(Ends(END));
    scene.answers("/cut", answers);
    follow(browser, "cut", "cut", &options(way, "")).await;
    browser.until("['ended', 'refused'].includes(cut.stream.state.name)").await;
    assert_eq!(data(browser, "cut").await, json!(["a", "a"]));
}

async fn waits(scene: &Scene, browser: &Browser, way: &str) {
    let server = SystemTime::now() - Duration::from_secs(86_400 * 30);
    let date = fmt_http_date(server);
    let soon = fmt_http_date(server + Duration::from_secs(1));
    // The server's clock is a month late: its dates are compared with each other.
    let lines = [
        ("retry-after: 1\r\n".to_string(), 1_000),
        (format!("date: {date}\r\nRETRY-AFTER: {soon}\r\n"), 1_000),
        (format!("date: {date}\r\nretry-after: {date}\r\n"), 50),
        ("retry-after: soon\r\n".to_string(), 50),
        ("retry-after: 99999999999999\r\n".to_string(), 86_400_000),
    ];
    scene.open(browser).await;
    for (n, (line, _)) in lines.iter().enumerate() {
        let name = format!("n{n}");
        let refusal = format!(
            "HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n{line}\r\n"
        );
        let refusal = Bytes(refusal.into_bytes().into());
        let mut answers = seen(way, &refusal);
        answers.push(Ends(END));
        scene.answers(&format!("/{name}"), answers);
        follow(browser, &name, &name, &options(way, "")).await;
    }
    for (n, (line, least)) in lines.iter().enumerate() {
        let wait = format!("n{n}.states.find(({{ wait }}) => wait)?.wait");
        browser.until(&format!("{wait} > 0")).await;
        let wait = browser.eval(&wait).await.as_u64().unwrap();
        assert!((*least..=least * 3 / 2).contains(&wait), "{line}: {wait}");
        if wait < 10_000 {
            browser.until(&format!("n{n}.stream.state.name === 'ended'")).await;
            let asked = scene.asked(&format!("/n{n}"));
            let [.., refused, back] = &asked[..] else { panic!("{line}") };
            let waited = (back.at - refused.at).as_millis() as u64;
            assert!(waited >= *least, "{line}: {waited}");
        }
    }
}

async fn gives_up(scene: &Scene, browser: &Browser, way: &str) {
    let typed = |kind: &str| {
        let stream = format!("HTTP/1.1 200 OK\r\n{kind}\r\ndata: a\n\n");
        Bytes(stream.into_bytes().into())
    };
    let refused = |status: u16| json!({ "name": "refused", "why": "status", "status": status });
    let wrong = json!({ "name": "refused", "why": "type", "status": 200 });
    let mut cases: Vec<_> = [301, 400, 401, 403, 404, 410, 418]
        .map(|status| (Status(status, ""), refused(status)))
        .into();
    let ended = json!({ "name": "ended", "why": "status", "status": 204 });
    cases.push((Status(204, ""), ended));
    for kind in [
        "content-type: text/html\r\n",
        "content-type: text/event-streams\r\n",
        "content-type: text/event-stream, text/plain\r\n",
        "x-nothing: 1\r\n",
    ] {
        cases.push((typed(kind), wrong.clone()));
    }
    scene.open(browser).await;
    for (n, (answer, _)) in cases.iter().enumerate() {
        scene.answers(&format!("/n{n}"), [answer.clone()]);
        let name = format!("n{n}");
        follow(browser, &name, &name, &options(way, "")).await;
    }
    for (n, (_, state)) in cases.iter().enumerate() {
        let over = "['refused', 'ended'].includes";
        let name = format!("n{n}.stream.state.name");
        browser.until(&format!("{over}({name})")).await;
        assert_eq!(browser.eval(&format!("n{n}.stream.state")).await, *state);
        assert_eq!(data(browser, &format!("n{n}")).await, json!([]));
    }
    pause(WATCH).await;
    for n in 0..cases.len() {
        let asked = scene.asked(&format!("/n{n}")).len();
        assert_eq!(asked, if way == "{}" { 1 } else { 2 }, "{way}, {n}");
    }
}

async fn reads_any_case(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    let head =
        "HTTP/1.1 200 OK\r\nCONTENT-TYPE: Text/Event-Stream;Charset=UTF-8\r\n\r\n";
    let stream = format!("{head}{END}").into_bytes();
    scene.answers("/one", [Bytes(stream.into())]);
    follow(browser, "one", "one", &options(way, "")).await;
    browser.until("one.stream.state.name === 'ended'").await;
    let expected = json!(["connecting", "open", "ended event"]);
    assert_eq!(states(browser, "one").await, expected);
}

/// The answers of another origin, without and with its permission.
const FOREIGN: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    access-control-allow-origin: *\r\n\r\n";

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_refusal_by_cors_is_told_from_a_server_that_is_down() {
    let scene = Scene::start().await;
    let other = Scene::start().await;
    let down = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/down", down.local_addr().unwrap());
    drop(down);
    for browser in Browser::both().await {
        for way in WAYS {
            scene.open(&browser).await;
            // No permission: the same again and again.
            other.answers("/closed", [Open("data: a\n\n")]);
            let url = format!("{}/closed", other.url);
            follow(&browser, "shut", &url, &options(way, "")).await;
            // Nobody is there.
            follow(&browser, "down", &nobody, &options(way, "")).await;
            // Once it was open; then a proxy answers, which does not know about CORS.
            let first = format!("{FOREIGN}retry: 50\n\nid: 7\ndata: a\n\n");
            let first = Bytes(first.into_bytes().into());
            other.answers("/proxy", [first, Status(502, "")]);
            let url = format!("{}/proxy", other.url);
            follow(&browser, "proxy", &url, &options(way, "")).await;

            browser.until("shut.stream.state.name === 'refused'").await;
            let refused = json!({ "name": "refused", "why": "cors" });
            assert_eq!(browser.eval("shut.stream.state").await, refused);
            let waits =
                "shut.states.filter(({ name }) => name === 'waiting').length";
            assert_eq!(browser.eval(waits).await, json!(3), "{way}");
            other.is_left("/closed").await;

            let fails =
                "proxy.states.filter(({ why }) => why === 'unreachable').length";
            let over = "proxy.stream.state.name === 'refused'";
            browser.until(&format!("{fails} > 4 || {over}")).await;
            assert_eq!(browser.eval(over).await, json!(false), "{way}");
            let end = Bytes(format!("{FOREIGN}{END}").into_bytes().into());
            other.now("/proxy", [end]);
            browser.until("proxy.stream.state.name === 'ended'").await;
            assert_eq!(data(&browser, "proxy").await, json!(["a", "a"]));
            let back = other.asked("/proxy").pop().unwrap();
            assert_eq!(back.line, "GET /proxy?after=7");

            let fails =
                "down.states.filter(({ name }) => name === 'waiting').length";
            if way == "{}" {
                browser.until(&format!("{fails} > 5")).await;
            }
            let name = browser.eval("down.stream.state.name").await;
            assert!(["waiting", "connecting"].contains(&name.as_str().unwrap()));
            nothing_is_wrong(&browser).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_post_is_sent_again_only_before_its_answer_or_after_an_id() {
    let scene = Scene::start().await;
    let init = "{ fetch: { method: 'POST', body: 'why?', headers: { Authorization: 'Bearer a' } } }";
    for browser in Browser::both().await {
        scene.open(&browser).await;
        let answers = [None, Status(503, ""), Ends("data: a\n\ndata: b\n\n")];
        scene.answers("/words", answers);
        follow(&browser, "words", "words", init).await;
        browser.until("words.stream.state.name === 'ended'").await;
        assert_eq!(browser.eval("words.stream.state.why").await, "lost");
        assert_eq!(data(&browser, "words").await, json!(["a", "b"]));

        // A network that comes back does not cost an answer that is on its way.
        scene.answers("/open", [Open("data: a\n\n")]);
        follow(&browser, "open1", "open", init).await;
        browser.until("open1.events.length === 1").await;
        browser.eval(ONLINE).await;
        browser.never("open1.stream.state.name !== 'open'", WATCH).await;
        browser.eval(PAGEHIDE).await;
        browser.eval(PAGESHOW).await;
        assert_eq!(browser.eval("open1.names().at(-1)").await, "ended lost");

        scene.answers("/ids", [Ends("id: 1\ndata: a\n\n"), Ends(END)]);
        follow(&browser, "ids", "ids", init).await;
        browser.until("ids.stream.state.name === 'ended'").await;
        assert_eq!(browser.eval("ids.stream.state.why").await, "event");
        let [first, second] = &scene.asked("/ids")[..] else {
            panic!("two requests")
        };
        assert_eq!(first.line, "POST /ids");
        assert_eq!(second.line, "POST /ids?after=1");
        for asked in [first, second] {
            assert_eq!(asked.body, "why?");
            let head = asked.head.to_lowercase();
            assert!(head.contains("\r\nauthorization: bearer a"), "{head}");
            assert!(head.contains("\r\naccept: text/event-stream"), "{head}");
        }
        pause(WATCH).await;
        assert_eq!(scene.asked("/words").len(), 3);
        assert_eq!(scene.asked("/open").len(), 1);
        nothing_is_wrong(&browser).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_stream_that_is_closed_is_over_and_a_handler_that_throws_costs_nothing() {
    each(async |scene, browser, way| {
        closes(scene, browser, way).await;
        throws(scene, browser, way).await;
        works_in_a_worker(scene, browser, way).await;
    })
    .await;
}

async fn closes(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    let closed = json!({ "name": "ended", "why": "closed" });
    // In a handler, while more has come already.
    scene.answers("/handler", [Open("id: 1\ndata: a\n\ndata: b\n\ndata: c\n\n")]);
    let close = "on: { message: ({ data }) => { window.got = [window.got, data].flat(); one.stream.close(); } }";
    follow(browser, "one", "handler", &options(way, close)).await;
    browser.until("one.stream.state.name === 'ended'").await;
    assert_eq!(browser.eval("one.states.at(-1)").await, closed);
    scene.is_left("/handler").await;
    assert_eq!(browser.eval("got").await, json!([null, "a"]));
    // In a handler of states.
    for state in ["connecting", "open", "waiting"] {
        let path = format!("/{state}");
        scene.answers(&path, [Ends("data: a\n\n")]);
        let close = format!(
            "onState: ({{ name }}) => {{ one.states.push(name); if (name === '{state}') one.stream.close(); }}"
        );
        follow(browser, "one", &path, &options(way, &close)).await;
        browser.until("one.stream.state.name === 'ended'").await;
        assert_eq!(
            browser.eval("one.states.slice(-2)").await,
            json!([state, "ended"])
        );
    }
    // While it waits, while it is asked what the answer was, and by a signal.
    scene.answers("/waits", [Status(503, "")]);
    scene.answers("/look", [Status(503, ""), Stays("")]);
    scene.answers("/signal", [Open("data: a\n\n")]);
    follow(browser, "waits", "waits", &options(way, "retry: 100")).await;
    follow(browser, "looks", "look", &options(way, "")).await;
    let signal = "signal: (window.stop = new AbortController()).signal";
    follow(browser, "signal", "signal", &options(way, signal)).await;
    browser.until("waits.stream.state.name === 'waiting'").await;
    browser.eval("(waits.stream.close(), 0)").await;
    let waited = scene.asked("/waits").len();
    scene.is_asked("/look", 2).await;
    browser.eval("(looks.stream.close(), 0)").await;
    browser.until("signal.events.length === 1").await;
    browser.eval("(stop.abort(), 0)").await;
    for (name, path) in
        [("waits", "/waits"), ("looks", "/look"), ("signal", "/signal")]
    {
        assert_eq!(browser.eval(&format!("{name}.states.at(-1)")).await, closed);
        scene.is_left(path).await;
    }
    // Before it began: it never asks.
    scene.answers("/never", [Open("")]);
    follow(browser, "aborted", "never", &options(way, "signal: stop.signal")).await;
    follow(browser, "at_once", "never", &options(way, "")).await;
    let at_once = format!(
        "(follow('both', 'never', {}), both.stream.close(), 0)",
        options(way, "")
    );
    browser.eval("(at_once.stream.close(), 0)").await;
    scene.answers("/never", [Open("")]);
    browser.eval(&at_once).await;
    assert_eq!(
        browser.eval("[...aborted.names(), ...both.names()]").await,
        json!(["ended closed", "ended closed"])
    );
    // Nothing wakes it up.
    for wake_up in [PAGEHIDE, PAGESHOW, ONLINE] {
        browser.eval(wake_up).await;
    }
    pause(WATCH).await;
    assert_eq!(scene.asked("/waits").len(), waited);
    assert_eq!(scene.asked("/never").len(), 0);
    assert_eq!(browser.eval("waits.states.at(-1)").await, closed);
    assert_eq!(
        browser.eval("one.names().length").await,
        browser.eval("one.states.length").await
    );
}

async fn throws(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    let first = "retry: 50\n\nid: 1\ndata: a\n\nid: 2\ndata: b\n\n";
    scene.answers("/one", [Ends(first), Ends(END)]);
    let throw = "on: { message: ({ data }) => { window.got = [window.got, data].flat(); fail(data); } }, \
        onState: ({ name }) => fail(name)";
    follow(browser, "one", "one", &options(way, throw)).await;
    browser.until("one.stream.state.name === 'ended'").await;
    assert_eq!(browser.eval("got").await, json!([null, "a", "b", "a"]));
    let wrong =
        browser.eval("wrong.splice(0).map((text) => text.split(' ').at(-1))").await;
    let reported = ["connecting", "open", "a", "b", "waiting"];
    assert_eq!(wrong.as_array().unwrap()[..5], reported.map(|name| json!(name)));
    // A mistake in the call is told at once.
    for call in [
        "'http://'",
        "'one', { fetch: { body: 'a' } }",
        "'one', { fetch: { headers: { 'a b': '' } } }",
    ] {
        let call = format!(
            "(() => {{ try {{ stream({call}); }} catch ({{ name }}) {{ return name; }} }})()"
        );
        assert_eq!(browser.eval(&call).await, "TypeError");
    }
}

async fn works_in_a_worker(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    let mut answers = vec![Ends("retry: 50\nid: 1\ndata: a\n\n")];
    answers.extend(seen(way, &Status(503, "")));
    answers.push(Ends(END));
    scene.answers("/work", answers);
    let script = if way == "{}" { "worker.js?fetch" } else { "worker.js" };
    let start = format!(
        "(window.said = [], window.work = new Worker('{script}', {{ type: 'module' }}), \
        work.onmessage = ({{ data }}) => {{ said.push(data.name ?? data.data); }}, 0)"
    );
    browser.eval(&start).await;
    browser.until("said.at(-1) === 'ended'").await;
    let heard = browser.eval("said.filter((name) => name.length === 1)").await;
    assert_eq!(heard, json!(["a", "a"]));
    assert_eq!(scene.asked("/work").pop().unwrap().line, "GET /work?after=1");
}
