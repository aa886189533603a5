//! The book in a real browser: its panels, and the page around them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use salvo::Router;
use salvo::serve_static::StaticDir;
use serde_json::json;
use tests::{Browser, Program, root, run_book, serve, within};

/// Bytes that the chapter on `tick` may transfer, as they travel: compressed, with their heads.
const MAX_TRANSFER: u64 = 150_000;
/// How long a test watches that something does not happen.
const WATCH: Duration = Duration::from_millis(1500);

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn chapter_5_holds_two_windows_that_talk_and_a_reader() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for (page, connected) in
        [("chat.html", "connected"), ("it/chat.html", "connesso")]
    {
        browser.open(&format!("{}/{page}", book.url)).await;
        let frame = |n: u8| {
            format!(
                "document.querySelectorAll('live-page iframe')[{n}].contentDocument"
            )
        };
        for n in [0, 1] {
            let state =
                format!("{}?.querySelector('#state')?.textContent", frame(n));
            browser.until(&format!("{state} == '{connected}'")).await;
        }
        let heard = "document.querySelector('live-stream').textContent";
        browser.eval("document.querySelector('live-stream').scrollIntoView()").await;
        browser.until(&format!("{STATE} == 'live' && {EVENTS} >= 2")).await;
        let write = format!(
            "({0}.querySelector('#text').value = 'from {page}', {0}.querySelector('form').requestSubmit())",
            frame(0)
        );
        browser.eval(&write).await;
        let log = format!("{}.querySelector('#log').textContent", frame(1));
        browser.until(&format!("{log}.includes('from {page}')")).await;
        browser.until(&format!("{heard}.includes('from {page}')")).await;
    }
}

/// The parts of the panel, as JavaScript.
const STATE: &str = "document.querySelector('live-stream').dataset.state";
const EVENTS: &str = "document.querySelectorAll('live-stream li').length";
const FIRST: &str = "document.querySelector('live-stream li code')?.textContent";
const TOGGLE: &str = "document.querySelector('live-stream .toggle').click()";

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_connects_stops_and_starts_again() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for (page, live, stopped) in
        [("tick.html", "live", "stopped"), ("it/tick.html", "in diretta", "fermato")]
    {
        browser.open(&format!("{}/{page}", book.url)).await;
        browser.until(&format!("{STATE} == 'live' && {EVENTS} >= 2")).await;
        let state = "document.querySelector('live-stream .state').textContent";
        assert_eq!(browser.eval(state).await, live);
        assert_eq!(browser.eval(FIRST).await, "1");
        let bytes = "document.querySelector('live-stream .bytes pre').textContent";
        browser
            .until(&format!("{bytes}.startsWith('data: 1\\\\n\\n\\\\n\\n')"))
            .await;

        browser.eval(TOGGLE).await;
        assert_eq!(browser.eval(state).await, stopped);
        let events = browser.eval(EVENTS).await;
        browser.never(&format!("{EVENTS} != {events}"), WATCH).await;

        browser.eval(TOGGLE).await;
        browser.until(&format!("{STATE} == 'live' && {EVENTS} >= 2")).await;
        assert_eq!(browser.eval(FIRST).await, "1");
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_closes_out_of_sight_and_comes_back() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.until(&format!("{STATE} == 'live'")).await;
    browser.eval("scrollTo(0, document.body.scrollHeight)").await;
    browser.until(&format!("{STATE} == 'paused'")).await;
    browser.eval("scrollTo(0, 0)").await;
    browser.until(&format!("{STATE} == 'live'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_that_was_stopped_stays_so_until_it_is_started() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.until(&format!("{STATE} == 'live'")).await;
    browser.eval(TOGGLE).await;
    browser.eval("scrollTo(0, document.body.scrollHeight)").await;
    browser.until("document.querySelector('live-stream').getBoundingClientRect().bottom < 0")
        .await;
    browser.eval("scrollTo(0, 0)").await;
    browser.never(&format!("{STATE} != 'stopped'"), WATCH).await;
    browser.eval(TOGGLE).await;
    browser.until(&format!("{STATE} == 'live'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_closes_while_its_tab_is_hidden() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.until(&format!("{STATE} == 'live'")).await;
    let watch = "(window.states = [], new MutationObserver(() => states.push(\
        document.querySelector('live-stream').dataset.state)).observe(\
        document.querySelector('live-stream'), { attributeFilter: ['data-state'] }), 0)";
    browser.eval(watch).await;
    let first = browser.tab().await;
    browser.new_tab().await;
    browser.to_tab(first).await;
    browser.until(&format!("states.includes('paused') && {STATE} == 'live'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_keeps_200_events_and_reads_nothing_but_a_stream() {
    let book = Program::serve_book().await;
    let put = book.request("PUT", "/live/wire/wire/many");
    let many = "data: a\n\n".repeat(300);
    assert_eq!(book.send(put.body(many)).await.status(), 201);
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.until(&format!("{STATE} == 'live'")).await;
    // The page of a program is no stream: the panel shows its recording, which is empty.
    for (src, state, events) in
        [("wire/wire/many?chunk=9", "ended", 200), ("tick/", "recordedEnd", 0)]
    {
        let add = format!(
            "(window.one = document.createElement('live-stream'), one.setAttribute('src', '{src}'), \
             document.querySelector('h1').after(one), one.scrollIntoView(), 0)"
        );
        browser.eval(&add).await;
        browser.until(&format!("one.dataset.state == '{state}'")).await;
        let kept = browser.eval("one.querySelectorAll('li').length").await;
        assert_eq!(kept, events, "{src}");
        let chunks = browser.eval("one.querySelectorAll('pre > span').length").await;
        assert!(chunks.as_u64() <= Some(200), "{src}: {chunks}");
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_replays_when_the_server_has_gone() {
    let mut book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.until(&format!("{STATE} == 'live'")).await;
    book.stop();
    browser.until(&format!("{STATE} == 'lost'")).await;
    browser.eval(TOGGLE).await;
    browser.until(&format!("{STATE} == 'recorded' && {EVENTS} >= 1")).await;
    browser.until("!document.querySelector('live-stream .why').hidden").await;
}

/// Serves static files below a path, as a static host does.
async fn static_host(folder: &Path, below: &str) -> String {
    let files = StaticDir::new(folder.to_path_buf()).defaults("index.html");
    let path = format!("{below}/{{**path}}");
    format!("{}/{below}", serve(Router::with_path(path).get(files)).await)
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_static_host_replays_the_recording_at_its_pace() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("book");
    let built = run_book(&root(), &["build", "--dest", out.to_str().unwrap()]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let host = static_host(&out, "some/where").await;

    let browser = Browser::start().await;
    for page in ["hello.html", "it/tick.html"] {
        browser.open(&format!("{host}/{page}")).await;
        // It begins when its reader sees it.
        browser.eval("document.querySelector('live-stream').scrollIntoView()").await;
        browser.until(&format!("{STATE} == 'recorded' && {EVENTS} == 2")).await;
        browser.until(&format!("{STATE} == 'recordedEnd' && {EVENTS} == 5")).await;
        // The recording holds five events in four seconds.
        let last =
            "document.querySelector('live-stream li:last-child time').textContent";
        let last = browser.eval(last).await;
        assert!(last.as_str().unwrap().starts_with('4'), "{last}");
        // Every file came, although the book is not at the top of the host.
        let failed = "performance.getEntriesByType('resource')\
                      .filter((entry) => entry.responseStatus >= 400).length";
        assert_eq!(browser.eval(failed).await, 0);
        browser.eval(TOGGLE).await;
        browser.until(&format!("{STATE} == 'recorded'")).await;
    }
    // A program's own page cannot be replayed: there are pictures of it.
    for (page, windows) in [("chat", 2), ("faults", 1), ("feed", 1), ("llm", 1)] {
        for (folder, words) in [
            ("", "joined readyState counted complete"),
            ("it/", "entrato readyState contati completa"),
        ] {
            browser.open(&format!("{host}/{folder}{page}.html")).await;
            let frames = "document.querySelectorAll('live-page iframe')";
            browser.until(&format!("{frames}.length == {windows}")).await;
            let text = format!("{frames}[0].contentDocument?.body?.innerText ?? ''");
            let shows = format!(
                "{words:?}.split(' ').some((word) => ({text}).includes(word))"
            );
            browser.until(&shows).await;
            let caption = "document.querySelector('live-page > p').textContent";
            browser
                .until(&format!("{caption}.includes('cargo run --example {page}')"))
                .await;
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn chapter_2_is_light_and_asks_nobody_else() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.eval("document.querySelector('.language-rust').scrollIntoView()").await;
    browser.until("!!document.querySelector('.language-rust .hljs-keyword')").await;
    browser.eval("scrollTo(0, 0)").await;
    browser.until(&format!("{STATE} == 'live'")).await;
    let entries = "[...performance.getEntriesByType('resource'), performance.getEntriesByType('navigation')[0]]";
    let foreign = format!(
        "{entries}.filter((one) => !one.name.startsWith(location.origin)).length"
    );
    assert_eq!(browser.eval(&foreign).await, 0);
    let size = format!("{entries}.reduce((sum, one) => sum + one.transferSize, 0)");
    let size = browser.eval(&size).await.as_u64().unwrap();
    println!("tick.html transfers {size} bytes");
    assert!((20_000..=MAX_TRANSFER).contains(&size), "{size} bytes");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_picker_keeps_the_page_and_the_heading() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.eval("document.getElementById('named-events').scrollIntoView()").await;
    browser.eval("document.querySelector('.languages a[lang=it]').click()").await;
    browser.until("document.documentElement.lang == 'it'").await;
    assert_eq!(browser.eval("location.pathname").await, "/it/tick.html");
    assert_eq!(browser.eval("location.hash").await, "#named-events");
    let top = "document.getElementById('named-events').getBoundingClientRect().top";
    browser.until(&format!("{top} >= 0 && {top} < innerHeight / 2")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn all_tabs_share_one_reload_stream() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    let url = format!("{}/glossary.html", book.url);
    // With a stream each, the seventh tab would wait for ever.
    let count = "window.asked = 0; { const { fetch } = window; window.fetch = (...request) => {
        if (String(request[0]).endsWith('live/reload')) window.asked += 1;
        return fetch(...request);
    } }";
    let mut tabs = Vec::new();
    for n in 1..=10 {
        tabs.push(browser.new_tab().await);
        let add = "Page.addScriptToEvaluateOnNewDocument";
        browser.devtools(add, json!({ "source": count })).await;
        browser.open(&url).await;
        browser.eval("window.old = true").await;
        let share = "navigator.locks.query().then(({ held, pending }) => [...held, ...pending]
            .filter(({ name }) => name.endsWith('live/reload')).length)";
        browser.until(&format!("{share}.then((tabs) => tabs === {n})")).await;
    }
    let mut asked = 0;
    for tab in &tabs {
        browser.to_tab(tab.clone()).await;
        asked += browser.eval("window.asked").await.as_u64().unwrap();
    }
    assert_eq!(asked, 1);
    let page = book.folder().join("src/en/glossary.md");
    let text = fs::read_to_string(&page).unwrap();
    fs::write(&page, text.replace("# Glossary", "# Glossary, changed")).unwrap();
    for tab in tabs {
        browser.to_tab(tab).await;
        browser
            .until("window.old == undefined && document.readyState == 'complete'")
            .await;
        let title = "document.querySelector('h1').textContent";
        assert_eq!(browser.eval(title).await, "Glossary, changed");
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn no_page_is_wider_than_a_phone() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.resize(360, 800).await;
    for language in ["", "it/"] {
        for page in [
            "index", "hello", "tick", "chat", "slow", "feed", "choosing",
            "glossary", "print",
        ] {
            browser.open(&format!("{}/{language}{page}.html", book.url)).await;
            browser.until("document.readyState == 'complete'").await;
            let wide = "document.documentElement.scrollWidth - innerWidth";
            assert_eq!(browser.eval(wide).await, 0, "{language}{page}");
        }
        // The last page is the one for paper: its panels are text.
        let panels = "document.querySelectorAll('live-stream > pre').length";
        assert!(browser.eval(panels).await.as_u64() >= Some(3));
        assert_eq!(
            browser.eval("document.querySelectorAll('.toggle').length").await,
            0
        );
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_cheat_sheet_prints_on_one_sheet() {
    let book = Program::serve_book().await;
    let folder = tempfile::tempdir().unwrap();
    for page in ["cheat.html", "it/cheat.html"] {
        let pdf = folder.path().join("page.pdf");
        let print = format!("--print-to-pdf={}", pdf.display());
        let url = format!("{}/{page}", book.url);
        let mut chromium = tokio::process::Command::new("chromium");
        chromium.args(["--headless", "--no-sandbox", "--disable-gpu", &print, &url]);
        let output = within("a page on paper", chromium.output()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let pdf = String::from_utf8_lossy(&fs::read(pdf).unwrap()).to_string();
        let sheets =
            pdf.matches("/Type /Page").count() - pdf.matches("/Type /Pages").count();
        assert_eq!(sheets, 1, "{page}");
    }
}
