//! The program `page`: what its lines promise to clients, and its own page.

use std::time::Duration;

use eventsource_stream::Event;
use futures_util::future::join_all;
use reqwest::Response;
use tests::{Browser, Events, Program, pause, until, within};

const MINE: &str = "/events?line=mine";

/// Asks for a fault of the line `mine`.
async fn act(page: &Program, act: &str, ms: &str) {
    let path = format!("/lines/mine/{act}");
    let answer = page.send(page.request("POST", &path).body(ms.to_string())).await;
    assert_eq!(answer.status(), 204, "{act}");
}

/// The next event of a stream, which must come, and must be a number.
async fn number(events: &mut Events) -> (u64, String) {
    let Event { event, data, id, .. } = events.next().await.expect("a number");
    assert_eq!(event, "number");
    (data.parse().unwrap(), id)
}

/// A reader that comes back with the id of its last event, as EventSource does.
async fn back(page: &Program, id: &str) -> Response {
    page.send(page.request("GET", MINE).header("last-event-id", id)).await
}

/// The connections of the line.
async fn open(page: &Program) -> serde_json::Value {
    page.get("/lines/mine").await.json::<serde_json::Value>().await.unwrap()["open"]
        .clone()
}

/// Waits until the server has cut this answer: without a last chunk.
async fn is_cut(answer: Response) -> bool {
    within("the end of an answer", answer.bytes()).await.is_err()
}

#[tokio::test]
async fn a_reader_that_comes_back_goes_on_by_header_or_by_url() {
    let page = Program::start("page").await;
    let mut ann = page.events(MINE).await;
    let (first, id) = number(&mut ann).await;
    while number(&mut ann).await.0 < first + 4 {}
    let mut by_header = Events::of(back(&page, &id).await);
    let mut by_url = page.events(&format!("{MINE}&after={id}")).await;
    for next in first + 1..first + 7 {
        assert_eq!(number(&mut by_header).await.0, next);
        assert_eq!(number(&mut by_url).await.0, next);
    }
    // Nobody listens in on what another reader does with a line.
    let mut other = page.events("/events?line=other").await;
    assert_eq!(number(&mut other).await.0, 1);
}

#[tokio::test]
async fn an_id_of_another_run_is_said_to_be_unknown() {
    let page = Program::start("page").await;
    let mut ann = page.events(MINE).await;
    let (_, id) = number(&mut ann).await;
    drop((ann, page));
    let page = Program::start("page").await;
    let mut bob = page.events(MINE).await;
    while number(&mut bob).await.0 < 3 {} // this run has a number 1 as well
    let mut ann = Events::of(back(&page, &id).await);
    let missed = ann.next().await.unwrap();
    assert_eq!((&*missed.event, &*missed.data), ("missed", "unknown"));
    assert_eq!(number(&mut ann).await.0, 1);
}

#[tokio::test]
async fn a_kill_cuts_every_connection_of_the_line_and_no_other() {
    let page = Program::start("page").await;
    let mine = join_all([page.get(MINE), page.get(MINE), page.get(MINE)]).await;
    let mut other = page.events("/events?line=other").await;
    assert_eq!(open(&page).await, 3);
    act(&page, "kill", "").await;
    for mine in mine {
        assert!(is_cut(mine).await);
    }
    until("none is open", async || open(&page).await == 0).await;
    number(&mut other).await;
    number(&mut page.events(MINE).await).await;
}

#[tokio::test]
async fn a_blind_line_accepts_and_says_nothing_until_the_client_leaves() {
    let page = Program::start("page").await;
    let mut before = page.events(MINE).await;
    let (last, id) = number(&mut before).await;
    act(&page, "blind", "60000").await;
    let mut while_blind = Events::of(back(&page, &id).await);
    act(&page, "heal", "").await; // for those who come from now on
    tokio::join!(
        before.stays_quiet_for(Duration::from_secs(3)),
        while_blind.stays_quiet_for(Duration::from_secs(3)),
    );
    // Another connection sees again, and what has come meanwhile.
    let mut after = Events::of(back(&page, &id).await);
    for next in last + 1..last + 12 {
        assert_eq!(number(&mut after).await.0, next);
    }
    drop(while_blind);
    until("the client that left is gone", async || open(&page).await == 2).await;
}

#[tokio::test]
async fn late_events_come_after_comments_all_and_in_order() {
    let page = Program::start("page").await;
    let mut ann = page.get(MINE).await;
    let mut text = String::new();
    let mut read = async |until: &str| {
        while !text.contains(until) {
            let chunk = within(until, ann.chunk()).await.unwrap();
            text += str::from_utf8(&chunk.expect("the stream goes on")).unwrap();
        }
        text.split_off(0)
    };
    let first = read("event: number").await;
    assert!(first.starts_with("retry:1000\n\n"), "{first}");
    act(&page, "delay", "60000").await;
    let silence = read("\n:\n:\n").await;
    act(&page, "heal", "").await;
    let number = |text: &str| -> Vec<u64> {
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| data.parse().unwrap()).collect()
    };
    let last = *number(&format!("{first}{silence}")).last().unwrap();
    let all = read(&format!("data: {}\n", last + 20)).await;
    let all = number(&all);
    assert!(all.iter().zip(last + 1..).all(|(came, next)| *came == next), "{all:?}");
}

#[tokio::test]
async fn a_refusal_says_for_how_long_and_then_there_is_a_stream() {
    let page = Program::start("page").await;
    let answer = page.get(MINE).await;
    act(&page, "refuse", "1500").await;
    assert!(is_cut(answer).await);
    let refused = page.get(MINE).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "2");
    let head = page.send(page.request("HEAD", MINE)).await;
    assert_eq!(head.status(), 503);
    until("a stream", async || page.get(MINE).await.status() == 200).await;
}

#[tokio::test]
async fn an_end_waits_for_the_reader_that_was_away() {
    let page = Program::start("page").await;
    let mut ann = page.events(MINE).await;
    let mut bob = page.events(MINE).await;
    let (mut last, id) = number(&mut ann).await;
    drop(ann);
    while number(&mut bob).await.0 < last + 3 {}
    act(&page, "end", "").await;
    let end = loop {
        let event = bob.next().await.unwrap();
        if event.event == "end" {
            break event.id;
        }
    };
    assert!(bob.next().await.is_none(), "the stream has ended");
    let mut ann = Events::of(back(&page, &id).await);
    while let Some(event) = ann.next().await.filter(|event| event.event != "end") {
        last += 1;
        assert_eq!(event.data, last.to_string());
    }
    assert!(end.ends_with(&format!("-{last}")), "{end} is after {last}");
    assert_eq!(back(&page, &end).await.status(), 204);
    act(&page, "heal", "").await;
    assert_eq!(back(&page, &end).await.status(), 200);
}

#[tokio::test]
async fn a_foreign_page_can_neither_listen_nor_kill() {
    let page = Program::start("page").await;
    let mut ann = page.events(MINE).await;
    for (method, path) in [("GET", MINE), ("POST", "/lines/mine/kill")] {
        let foreign = page.request(method, path);
        let foreign = foreign.header("origin", "http://evil.example");
        assert_eq!(page.send(foreign).await.status(), 403, "{method} {path}");
    }
    number(&mut ann).await;
    number(&mut ann).await;
}

#[tokio::test]
async fn what_is_no_act_and_what_is_no_time_is_refused() {
    let page = Program::start("page").await;
    number(&mut page.events(MINE).await).await;
    for (act, body, status) in [
        ("explode", "", 404),
        ("blind", "soon", 400),
        ("blind", "60001", 400),
        ("delay", "-1", 400),
        ("delay", "100000000", 413),
    ] {
        let post = page.request("POST", &format!("/lines/mine/{act}"));
        let answer = page.send(post.body(body)).await;
        assert_eq!(answer.status(), status, "{act} {body}");
    }
    let long = format!("/events?line={}", "x".repeat(65));
    assert_eq!(page.get(&long).await.status(), 400);
}

#[tokio::test]
async fn the_line_that_makes_room_is_one_that_nobody_listens_to() {
    let page = Program::start("page").await;
    let mut ann = page.events(MINE).await;
    number(&mut ann).await;
    for n in 0..1_024 {
        page.get(&format!("/events?line={n}")).await;
    }
    for (line, status) in [("0", 404), ("1023", 204)] {
        let heal = page.request("POST", &format!("/lines/{line}/heal"));
        assert_eq!(page.send(heal).await.status(), status, "line {line}");
    }
    assert_eq!(open(&page).await, 1);
    number(&mut ann).await;
}

/// Three windows of the page in one tab, and what they show.
struct Windows(Browser);

impl Windows {
    async fn open(browser: Browser, page: &Program) -> Self {
        browser.open(&format!("{}/nowhere", page.url)).await;
        browser
            .eval(
                "window.errors = [], document.body.innerHTML = '<iframe src=.></iframe>'.repeat(3),
                 window.$ = (n, id) => frames[n].document.querySelector(id),
                 window.all = (holds) => [0, 1, 2].every(holds),
                 window.is = (state) => all((n) => $(n, '#state')?.dataset.name === state),
                 window.leads = (n) => $(n, '#role[data-leads]:not([hidden])')?.textContent === 'leads',
                 window.leaders = () => [0, 1, 2].filter(leads),
                 window.counted = (n) => Number($(n, '#counted')?.textContent),
                 window.more = (count) => {
                   const before = [0, 1, 2].map(counted);
                   window.counts = () => all((n) => counted(n) >= before[n] + count);
                 }, 0",
            )
            .await;
        Self(browser)
    }

    /// Waits until each window has counted so many numbers more.
    async fn count(&self, more: usize) {
        self.0.eval(&format!("more({more}), 0")).await;
        self.0.until("counts()").await;
    }

    /// Waits until a window has noted something.
    async fn note(&self, text: &str) {
        let noted = format!(
            "[0, 1, 2].some((n) => $(n, '#log').textContent.includes('{text}'))"
        );
        self.0.until(&noted).await;
    }

    /// Clicks in the window that leads.
    async fn click(&self, button: &str) {
        self.click_in("leaders()[0]", button).await;
    }

    async fn click_in(&self, window: &str, button: &str) {
        self.0.eval(&format!("$({window}, '{button}').click(), 0")).await;
    }

    /// Asserts that one window leads, and that it is this one, or is not.
    async fn assert_leads(&self, window: &str, leads: bool) {
        let roles = format!("leaders().length === 1 && leads({window}) === {leads}");
        assert_eq!(self.0.eval(&roles).await, true, "{}: {window}", self.0.name());
    }

    /// Asks the server for a fault that is shorter than that of a button.
    async fn act(&self, act: &str, ms: usize) {
        let post = format!(
            "fetch('lines/' + localStorage.line + '/{act}', {{ method: 'POST', body: {ms} }}).then(() => 0)"
        );
        self.0.eval(&post).await;
    }

    async fn assert_whole(&self) {
        for id in ["lost", "repeated"] {
            let none = format!("all((n) => $(n, '#{id}').textContent === '0')");
            assert_eq!(self.0.eval(&none).await, true, "{}: {id}", self.0.name());
        }
    }
}

/// Whatever happens to the one connection, three windows count every number once.
async fn three_windows(browser: Browser) {
    let page = Program::start("page").await;
    let windows = Windows::open(browser, &page).await;
    let browser = &windows.0;
    browser
        .until("is('open') && all((n) => $(n, '#open').textContent === '1')")
        .await;
    windows.count(5).await;
    browser.eval("window.first = leaders()[0], 0").await;
    windows.assert_leads("first", true).await;

    windows.click("[data-act=kill]").await;
    windows.note("The connection is lost. Again in 1").await;
    windows.count(10).await;

    windows.act("blind", 300).await;
    windows.note("No sign of life. Again in 1").await;
    windows.count(20).await;

    windows.act("refuse", 3_000).await;
    windows.note("The server says 503. Again in").await;
    windows.count(10).await;

    windows.act("delay", 1_000).await;
    browser
        .until("all((n) => $(n, '[data-act=delay]').ariaPressed === 'true')")
        .await;
    windows.count(3).await;
    windows.click("[data-act=delay]").await;
    browser
        .until("all((n) => $(n, '[data-act=delay]').ariaPressed === 'false')")
        .await;
    windows.count(10).await;
    windows.assert_whole().await;

    // Another window takes the lead, and this one comes back later.
    browser.eval("window.first = leaders()[0], 0").await;
    windows.click("#share").await;
    browser.until("$(first, '#state').dataset.name === 'ended'").await;
    let ms = "[0, 1, 2].some((n) => parseInt($(n, '#takeover').textContent) < 3000)";
    browser.until(ms).await;
    windows.assert_leads("first", false).await;
    pause(Duration::from_secs(1)).await; // in which it misses some
    windows.click_in("first", "#share").await;
    windows.count(10).await;
    windows.assert_whole().await;
    browser.until("all((n) => $(n, '#open').textContent === '1')").await;
    windows.assert_leads("first", false).await;

    begin_again(&windows).await;
    windows.click("[data-act=end]").await;
    browser.until("is('ended')").await;
    let last = "all((n) => $(n, '#last').textContent === $(0, '#last').textContent)";
    assert_eq!(browser.eval(last).await, true, "all have the last number");
    browser.until("all((n) => $(n, '#open').textContent === '0')").await;
    windows.assert_whole().await;
}

/// A window that was closed when the stream ended begins it again. It takes over from nobody.
async fn begin_again(windows: &Windows) {
    let browser = &windows.0;
    let takeover = "$(first, '#takeover').textContent";
    let before = browser.eval(takeover).await;
    windows.click_in("first", "#share").await;
    browser.until("$(first, '#state').dataset.name === 'ended'").await;
    windows.click("[data-act=end]").await;
    browser.until("is('ended')").await;
    assert_eq!(browser.eval("leaders().length").await, 0, "nobody leads");

    windows.click_in("first", "#share").await;
    browser.eval("window.before = counted(first), 0").await;
    browser.until("counted(first) >= before + 10").await;
    windows.assert_leads("first", true).await;
    assert_eq!(browser.eval(takeover).await, before, "{}", browser.name());

    for other in ["(first + 1) % 3", "(first + 2) % 3"] {
        windows.click_in(other, "#share").await;
    }
    browser.until("is('open')").await;
    windows.count(5).await;
    windows.assert_leads("first", true).await;
    windows.assert_whole().await;
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn three_windows_count_all_over_one_connection_whatever_happens_to_it() {
    join_all(Browser::both().await.map(three_windows)).await;
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_windows_of_chapter_10_share_a_connection_that_no_hidden_tab_has() {
    let book = Program::serve_book().await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/page.html", book.url)).await;
        let windows = "[...document.querySelectorAll('live-page iframe')].map((one) => one.contentDocument)";
        let all = |holds: &str| {
            format!("{windows}.filter((page) => {holds}).length === 3")
        };
        let shared = all("page.querySelector('#state')?.dataset.name === 'open' \
            && page.querySelector('#open').textContent === '1'");
        browser.until(&shared).await;
        let chapter = browser.tab().await;
        browser.new_tab().await;
        browser.open(&format!("{}/404.html", book.url)).await;
        let open = |count: u8| {
            format!(
                "fetch('live/page/lines/' + localStorage.line).then((answer) => answer.json()) \
                 .then(({{ open }}) => open === {count})"
            )
        };
        browser.until(&open(0)).await;
        browser.to_tab(chapter).await;
        browser.until(&shared).await;
        browser.until(&open(1)).await;
        let whole = all("page.querySelector('#counted').textContent > 10 \
            && page.querySelector('#lost').textContent === '0' \
            && page.querySelector('#repeated').textContent === '0'");
        browser.until(&whole).await;
    }
}
