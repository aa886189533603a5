//! `stream.js` in a page that sleeps, wakes up, and waits; and what it drops.

use serde_json::{Value, json};
use tests::{Browser, pause, until};

use crate::scene::Answer::{Drips, Ends, Open, Status, Stays};
use crate::scene::{
    END, Scene, WATCH, WAYS, data, each, follow, options, seen, states,
};

/// Events that a browser sends to a page when its reader, the network or the system comes
/// and goes.
pub const PAGEHIDE: &str =
    "(dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true })), 0)";
pub const PAGESHOW: &str =
    "(dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })), 0)";
pub const FREEZE: &str = "(document.dispatchEvent(new Event('freeze')), 0)";
pub const RESUME: &str = "(document.dispatchEvent(new Event('resume')), 0)";
pub const ONLINE: &str = "(dispatchEvent(new Event('online')), 0)";
pub const VISIBLE: &str =
    "(document.dispatchEvent(new Event('visibilitychange')), 0)";

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_stream_without_a_sign_of_life_is_opened_again_also_by_a_page_that_has_slept()
 {
    each(async |scene, browser, way| {
        silent(scene, browser, way).await;
        slept(scene, browser, way).await;
    })
    .await;
}

async fn silent(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    scene.answers("/silent", [Open("event: note\nid: 1\ndata: a\n\n")]);
    let silence = options(way, "silence: 400");
    follow(browser, "silent", "silent", &silence).await;
    browser.until("silent.events.length > 0").await;
    // A connection on which no answer comes is silent as well.
    scene.now("/silent", [Stays("")]);
    let before = scene.asked("/silent").len();
    let asked = scene.is_asked("/silent", before + 2).await;
    scene.now("/silent", [Ends(END)]);
    browser.until("silent.stream.state.name === 'ended'").await;
    assert!(asked[before..].iter().all(|one| one.line == "GET /silent?after=1"));
    let waits = "silent.names().filter((name) => name.startsWith('waiting'))";
    let waits = browser.eval(&format!("[...new Set({waits})]")).await;
    assert_eq!(waits, json!(["waiting silent"]));
    scene.is_left("/silent").await;

    // Comments are signs of life, and EventSource hides them.
    let count = "(window.signs = 0, window.real = setTimeout, \
        window.setTimeout = (...all) => { signs += all[1] === 60_000; return real(...all); }, 0)";
    browser.eval(count).await;
    scene.answers("/comments", [Drips(": still here\n\n")]);
    if way == "{}" {
        let long = options(way, "silence: 60_000");
        follow(browser, "comments", "comments", &long).await;
        browser.until("signs > 5").await;
    } else {
        follow(browser, "comments", "comments", &silence).await;
        scene.is_asked("/comments", 2).await;
    }
    browser.eval("(comments.stream.close(), window.signs = 0, 0)").await;
    // A heartbeat that is an event is one for both, if `on` has its type.
    scene.answers("/notes", [Drips("event: note\ndata:\n\n")]);
    follow(browser, "notes", "notes", &options(way, "silence: 60_000")).await;
    browser.until("signs > 5").await;
}

/// A timer of a page that sleeps is late; the clock is not. The page's timers are stopped
/// here, and its clock is put on.
async fn slept(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    browser.eval("(window.setTimeout = () => 0, 0)").await;
    scene.answers("/one", [Open("id: 1\ndata: a\n\n"), Open("id: 2\ndata: b\n\n")]);
    follow(browser, "one", "one", &options(way, "silence: 30_000")).await;
    browser.until("one.events.length === 1").await;
    browser.eval(VISIBLE).await;
    assert_eq!(browser.eval("one.states.length").await, json!(2), "no sleep");
    browser
        .eval("(window.now = Date.now, Date.now = () => now() + 31_000, 0)")
        .await;
    browser.eval(VISIBLE).await;
    browser.until("one.events.length === 2").await;
    assert_eq!(scene.asked("/one").len(), 2);
}

/// By itself, the module watches the silence of what it reads by fetch alone.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn forty_seconds_of_silence_are_the_limit_of_fetch_and_eventsource_has_none() {
    let scene = Scene::start().await;
    let browser = Browser::start().await;
    for way in WAYS {
        scene.open(&browser).await;
        scene.answers("/one", [Open("data: a\n\n")]);
        let note = "(window.times = [], window.real = setTimeout, \
            window.setTimeout = (act, time, ...rest) => { times.push(time); return real(act, time, ...rest); }, 0)";
        browser.eval(note).await;
        follow(&browser, "one", "one", &options(way, "")).await;
        browser.until("one.events.length === 1").await;
        let expected = if way == "{}" { json!([40_000]) } else { json!([]) };
        assert_eq!(browser.eval("[...new Set(times)]").await, expected);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_page_that_is_left_has_no_connection_and_comes_back_at_once() {
    each(async |scene, browser, way| {
        left(scene, browser, way).await;
        wakes_up(scene, browser, way).await;
    })
    .await;
}

async fn left(scene: &Scene, browser: &Browser, way: &str) {
    for (left, back) in [(PAGEHIDE, PAGESHOW), (FREEZE, RESUME)] {
        scene.open(browser).await;
        scene.answers(
            "/one",
            [Open("id: 1\ndata: a\n\n"), Open("id: 2\ndata: b\n\n")],
        );
        follow(browser, "one", "one", &options(way, "retry: 60_000")).await;
        browser.until("one.events.length === 1").await;
        browser.eval(left).await;
        scene.is_left("/one").await;
        assert_eq!(browser.eval("one.stream.state.name").await, "paused");
        for nothing in [ONLINE, VISIBLE, left] {
            browser.eval(nothing).await;
        }
        assert_eq!(browser.eval("one.stream.state.name").await, "paused");
        // The browser may say both.
        browser.eval(PAGESHOW).await;
        browser.eval(back).await;
        browser.until("one.events.length === 2").await;
        let lines: Vec<_> =
            scene.asked("/one").into_iter().map(|one| one.line).collect();
        assert_eq!(lines, ["GET /one", "GET /one?after=1"]);
        let expected = json!(["connecting", "open", "paused", "connecting", "open"]);
        assert_eq!(states(browser, "one").await, expected);

        // While it waits, and is left, no timer brings it back.
        scene.answers(
            "/two",
            [Status(503, ""), Status(503, ""), Open("data: a\n\n")],
        );
        follow(browser, "two", "two", &options(way, "retry: 200")).await;
        browser.until("two.stream.state.name === 'waiting'").await;
        browser.eval(left).await;
        browser.never("two.stream.state.name !== 'paused'", WATCH).await;
        browser.eval(back).await;
        browser.until("two.states.at(-1).name !== 'paused'").await;
    }
}

async fn wakes_up(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    let long = options(way, "retry: 60_000");
    scene.answers("/one", [Status(503, "")]);
    follow(browser, "one", "one", &long).await;
    browser.until("one.stream.state.name === 'waiting'").await;
    scene.now("/one", [Open("id: 1\ndata: a\n\n"), Open(":\n\n")]);
    browser.eval(VISIBLE).await;
    browser.until("one.events.length === 1").await;
    // Another network: what is open is dead, and does not know it. Two wake-ups at once
    // leave one connection.
    browser.eval(ONLINE).await;
    browser.eval(VISIBLE).await;
    browser.eval(ONLINE).await;
    browser.until("one.stream.state.name === 'open'").await;
    let open = || scene.asked("/one").into_iter().filter(|one| !one.is_over);
    until("one connection is left", async || open().count() == 1).await;
    assert_eq!(open().next().unwrap().line, "GET /one?after=1");
    assert_eq!(data(browser, "one").await, json!(["a"]));

    let later = "retry-after: 1000\r\n";
    scene.answers("/two", [Status(429, later)]);
    follow(browser, "two", "two", &long).await;
    browser.until("two.stream.state.name === 'waiting'").await;
    let asked = scene.asked("/two").len();
    for wake_up in [VISIBLE, ONLINE, PAGEHIDE, PAGESHOW, VISIBLE] {
        browser.eval(wake_up).await;
    }
    let wait = browser.eval("two.stream.state").await;
    assert_eq!(wait["name"], "waiting");
    assert!(wait["wait"].as_u64().unwrap() > 990_000, "{wait}");
    pause(WATCH).await;
    assert_eq!(scene.asked("/two").len(), asked);
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn it_goes_on_after_the_last_event_and_drops_what_a_server_repeats() {
    each(async |scene, browser, way| {
        goes_on(scene, browser, way).await;
        repeats(scene, browser, way).await;
    })
    .await;
}

async fn goes_on(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    // The last connection is lost in an event. Another type, without a handler, is
    // seen by fetch alone.
    let first = "retry: 50\nid: a+b&c\ndata: 1\n\nevent: other\nid: 2\ndata: x\n\nid: 3\ndata: cut";
    let mut answers = vec![Ends(first)];
    answers.extend(seen(way, &Status(503, "")));
    answers.push(Ends("id: 4\ndata: 4\n\nid\ndata: none\n\n"));
    answers.extend(seen(way, &Status(503, "")));
    answers.push(Ends(END));
    scene.answers("/one", answers);
    let url = "one?room=a%20b&after=old&x=%C3%A9";
    follow(browser, "one", url, &options(way, "parameter: 'after'")).await;
    browser.until("one.stream.state.name === 'ended'").await;
    assert_eq!(data(browser, "one").await, json!(["1", "4", "none", "a"]));
    assert_eq!(browser.eval("one.ids.slice(0, 3)").await, json!(["a+b&c", "4", ""]));
    let lines: Vec<_> =
        scene.asked("/one").into_iter().map(|one| one.line).collect();
    assert_eq!(lines[0], "GET /one?room=a+b&after=old&x=%C3%A9");
    let after = if way == "{}" { "2" } else { "a%2Bb%26c" };
    // EventSource comes back by itself first, with the header.
    let look = &lines[2];
    assert_eq!(look, &format!("GET /one?room=a+b&after={after}&x=%C3%A9"));
    assert_eq!(lines.last().unwrap(), "GET /one?room=a+b&x=%C3%A9", "{way}");
}

async fn repeats(scene: &Scene, browser: &Browser, way: &str) {
    scene.open(browser).await;
    let by_fetch = way == "{}";
    let start = "retry: 50\nid: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n";
    // It knows no ids, and begins from the start each time.
    let all = "id: 1\ndata: a\n\ndata: hello\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n\
        id: 4\ndata: d\n\nevent: end\ndata:\n\n";
    // Only the last one comes again: EventSource cannot tell.
    let last = "id: 3\ndata: c\n\nid: 4\ndata: d\n\nevent: end\ndata:\n\n";
    // The id alone is a place, and what follows it is new.
    let place = "id: 3\n\ndata: new\n\nid: 4\ndata: d\n\nevent: end\ndata:\n\n";
    // The server begins with the place, and goes back to an older one: no repetition.
    let resync = "event: note\nid: 3\ndata: begin\n\nid: 1\ndata: resync\n\nid: 4\ndata: d\n\n\
        event: end\ndata:\n\n";
    let both = if by_fetch {
        json!(["resync", "d"])
    } else {
        json!(["begin", "resync", "d"])
    };
    // Nothing was had before.
    let new = "id: 9\ndata: z\n\nid: 1\ndata: y\n\nevent: end\ndata:\n\n";
    for (name, again, more) in [
        ("all", all, json!(["hello", "d"])),
        ("last", last, if by_fetch { json!(["d"]) } else { json!(["c", "d"]) }),
        ("place", place, json!(["new", "d"])),
        ("resync", resync, both),
        ("fresh", new, json!(["z", "y"])),
    ] {
        scene.answers(&format!("/{name}"), [Ends(start), Ends(again)]);
        follow(browser, name, name, &options(way, "")).await;
        browser.until(&format!("{name}.stream.state.name === 'ended'")).await;
        let mut expected = json!(["a", "b", "c"]);
        let more = more.as_array().unwrap().clone();
        expected.as_array_mut().unwrap().extend(more);
        assert_eq!(data(browser, name).await, expected, "{name}, {way}");
    }
    // The same on a connection that the module has opened itself.
    let mut answers = vec![Ends(start)];
    answers.extend(seen(way, &Status(503, "")));
    answers.push(Ends(place));
    scene.answers("/placed", answers);
    follow(browser, "placed", "placed", &options(way, "")).await;
    browser.until("placed.stream.state.name === 'ended'").await;
    let expected = json!(["a", "b", "c", "new", "d"]);
    assert_eq!(data(browser, "placed").await, expected, "{way}");
    // The page begins after an event, and the server with it.
    scene.answers("/after", [Ends(all)]);
    let after = options(way, "after: '3', seen: new Set(['1', '2', '3'])");
    follow(browser, "after", "after", &after).await;
    browser.until("after.stream.state.name === 'ended'").await;
    assert_eq!(data(browser, "after").await, json!(["hello", "d"]));
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn waits_grow_and_start_again_with_an_event() {
    let scene = Scene::start().await;
    for browser in Browser::both().await {
        scene.open(&browser).await;
        let no = || Status(503, "");
        // A `retry` holds on; a connection without an event is a failure like others.
        let answers = [
            no(),
            Ends(""),
            no(),
            Ends("retry: 120\ndata: a\n\n"),
            no(),
            no(),
            Ends(END),
        ];
        scene.answers("/one", answers);
        follow(&browser, "one", "one", "{ fetch: {} }").await;
        browser.until("one.stream.state.name === 'ended'").await;
        let waits =
            browser.eval("one.states.flatMap(({ wait }) => wait ?? [])").await;
        for (wait, base) in numbers(&waits).zip([50, 100, 200, 120, 240, 480]) {
            assert!((base..=base * 3 / 2).contains(&wait), "{waits}");
        }
        let asked = scene.asked("/one");
        for (two, wait) in asked.windows(2).zip(numbers(&waits)) {
            let waited = (two[1].at - two[0].at).as_millis() as u64;
            assert!(waited + 1 >= wait, "{waited} ms, not {wait}");
        }
        // Half a minute without a failure ends the row of them. The page's clock is put on.
        scene.answers("/late", [no(), no(), no(), Open(":\n\n")]);
        follow(&browser, "late", "late", "{ fetch: {}, silence: 1_000 }").await;
        browser.until("late.stream.state.name === 'open'").await;
        browser
            .eval("(window.now = Date.now, Date.now = () => now() + 31_000, 0)")
            .await;
        browser.until("late.names().includes('waiting silent')").await;
        let wait = "late.states.findLast(({ why }) => why === 'silent').wait <= 75";
        assert_eq!(browser.eval(wait).await, json!(true));
        browser.eval("(late.stream.close(), Date.now = now, 0)").await;
        // At most half a minute, and the half of it more. Each look at the page is a wake-up.
        scene.answers("/two", [no()]);
        follow(&browser, "two", "two", "{ fetch: {}, retry: 20_000 }").await;
        for count in 1..=4 {
            let waits = "two.states.filter(({ wait }) => wait).length";
            browser.until(&format!("{waits} === {count}")).await;
            browser.eval(VISIBLE).await;
        }
        let waits =
            browser.eval("two.states.flatMap(({ wait }) => wait ?? [])").await;
        for (wait, base) in numbers(&waits).zip([20_000, 30_000, 30_000, 30_000]) {
            assert!((base..=base * 3 / 2).contains(&wait), "{waits}");
        }
    }
}

fn numbers(waits: &Value) -> impl Iterator<Item = u64> {
    waits.as_array().unwrap().iter().map(|wait| wait.as_u64().unwrap())
}
