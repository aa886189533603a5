//! Pictures of the programs' pages, for a book on a static host: each is a page as it stood
//! at the end of a story, without its scripts. `RECORD=1` takes them anew.

use std::time::Duration;

use tests::{Browser, Program, assert_picture, pause, until};

const LANGUAGES: [&str; 2] = ["en", "it"];
const ENTER: &str = "\u{e007}";
/// A page of `feed` that counts adds a number more often than this.
const REST: Duration = Duration::from_millis(500);

/// The page as it is, as a document that does nothing.
const PICTURE: &str = "(() => {
    const page = document.documentElement.cloneNode(true);
    page.querySelectorAll('script, noscript').forEach((one) => one.remove());
    for (const one of page.querySelectorAll('button, textarea, input')) {
        one.setAttribute('disabled', '');
    }
    const line = document.querySelector('#line');
    page.querySelector('#line')?.setAttribute('viewBox', `0 0 ${line?.clientWidth} ${line?.clientHeight}`);
    return `<!doctype html>\\n${page.outerHTML}\\n`;
})()";

/// Takes the picture of the page that is in front, or compares it with the one that is there.
async fn take(browser: &Browser, language: &str, name: &str) {
    let picture = browser.eval(PICTURE).await;
    let file = format!("src/{language}/pictures/{name}.html");
    assert_picture(&file, picture.as_str().unwrap());
}

fn text(id: &str) -> String {
    format!("document.querySelector('#{id}').textContent")
}

async fn click(browser: &Browser, id: &str) {
    browser.eval(&format!("document.querySelector('#{id}').click()")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn two_windows_of_chat() {
    let browser = Browser::start().await;
    for (language, asked, said) in [
        ("en", "Is anybody there?", "I am."),
        ("it", "C'è qualcuno?", "Ci sono io."),
    ] {
        let chat = Program::start("chat").await;
        browser.resize(400, 384).await;
        let url = format!("{}/?lang={language}", chat.url);
        let me = format!("{}.includes('User#')", text("me"));
        browser.open(&url).await;
        browser.until(&me).await;
        let first = browser.new_window().await;
        browser.open(&url).await;
        browser.until(&me).await;
        browser.type_into("#text", &format!("{asked}{ENTER}")).await;
        let second = browser.tab().await;
        browser.to_tab(first.clone()).await;
        browser.until(&format!("{}.includes({asked:?})", text("log"))).await;
        browser.type_into("#text", &format!("{said}{ENTER}")).await;
        browser.until(&format!("{}.includes({said:?})", text("log"))).await;
        take(&browser, language, "chat-1").await;
        browser.to_tab(second).await;
        browser.until(&format!("{}.includes({said:?})", text("log"))).await;
        take(&browser, language, "chat-2").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_job_of_progress() {
    let browser = Browser::start().await;
    for (language, end) in
        [("en", "The job was cancelled."), ("it", "Il lavoro è stato annullato.")]
    {
        let progress = Program::start("progress").await;
        browser.open(&format!("{}/?lang={language}", progress.url)).await;
        browser.eval("document.querySelector('button').click()").await;
        browser.until("document.querySelector('#bar').value == 12").await;
        browser.eval("document.querySelector('button').click()").await;
        browser.until(&format!("{}.startsWith({end:?})", text("note"))).await;
        take(&browser, language, "progress-1").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_answer_of_llm() {
    let browser = Browser::start().await;
    for (language, prompt, end) in [
        ("en", "What is a heartbeat?", "The answer is complete."),
        ("it", "Che cos'è un heartbeat?", "La risposta è completa."),
    ] {
        let llm = Program::start("llm").await;
        browser.open(&format!("{}/?lang={language}", llm.url)).await;
        browser.type_into("#prompt", &format!("{prompt}{ENTER}")).await;
        browser.until(&format!("{}.startsWith({end:?})", text("note"))).await;
        take(&browser, language, "llm-1").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_count_of_feed_that_is_cut_off() {
    let browser = Browser::start().await;
    for (language, note) in [("en", "A note."), ("it", "Una nota.")] {
        let folder = tempfile::tempdir().unwrap();
        let folder = [("FEED_DIR", folder.path().to_str().unwrap())];
        let feed = Program::start_with("feed", &folder).await;
        browser.open(&format!("{}/?lang={language}", feed.url)).await;
        let connected = "'connected' in document.querySelector('#state').dataset";
        browser.until(connected).await;
        click(&browser, "count").await;
        browser.until(&format!("Number({}) > 40", text("counted"))).await;
        click(&browser, "cut").await;
        browser.until(&format!("{} == '1' && {connected}", text("cuts"))).await;
        let before = browser.eval(&text("counted")).await;
        let more = format!("Number({}) > Number({before}) + 40", text("counted"));
        browser.until(&more).await;
        click(&browser, "count").await;
        let counted = text("counted");
        until("the last number has arrived", async || {
            let before = browser.eval(&counted).await;
            pause(REST).await;
            browser.eval(&counted).await == before
        })
        .await;
        browser.type_into("#text", &format!("{note}{ENTER}")).await;
        browser.until(&format!("{}.includes({note:?})", text("log"))).await;
        browser.until("document.querySelector('#text').value == ''").await;
        take(&browser, language, "feed-1").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_eventsource_of_faults_that_gives_up() {
    let browser = Browser::start().await;
    for language in LANGUAGES {
        let faults = Program::start("faults").await;
        // On a phone, the line shows twelve seconds, in letters that can be read.
        browser.resize(360, 700).await;
        browser.open(&format!("{}/?lang={language}", faults.url)).await;
        let events = "events.filter(({ type }) => type == 'message').length";
        let choose = |name: &str| format!("choose('{name}')");
        browser.until(&format!("{events} == 3")).await;
        browser.eval(&choose("502")).await;
        // The state is seen on the line, too.
        let closed = "states.at(-1).state == 'CLOSED' && performance.now() - states.at(-1).at > 1500";
        browser.until(closed).await;
        browser.eval(&choose("good")).await;
        click(&browser, "new").await;
        browser.until(&format!("{events} == 6")).await;
        let shown = "document.querySelector('#line').textContent";
        until("the last attempt is drawn", async || {
            browser.eval(shown).await.as_str().unwrap().contains("3 good")
        })
        .await;
        take(&browser, language, "faults-1").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn three_windows_of_page_the_second_of_which_has_taken_the_lead() {
    let browser = Browser::start().await;
    for (language, lost) in
        [("en", "The connection is lost."), ("it", "La connessione è caduta.")]
    {
        let page = Program::start("page").await;
        let url = format!("{}/?lang={language}", page.url);
        let counts = |more: u8| format!("Number({}) > {more}", text("counted"));
        let mut windows = Vec::new();
        for n in 0..3 {
            if n > 0 {
                browser.new_window().await;
            }
            browser.resize(245, 528).await;
            browser.open(&url).await;
            browser.until(&counts(3)).await;
            windows.push(browser.tab().await);
        }
        let leads = "'leads' in document.querySelector('#role').dataset";
        browser.to_tab(windows[0].clone()).await;
        browser.eval("document.querySelector('[data-act=kill]').click()").await;
        browser.until(&format!("{}.includes({lost:?})", text("log"))).await;
        browser
            .until("document.querySelector('#state').dataset.name === 'open'")
            .await;
        click(&browser, "share").await;
        browser.to_tab(windows[1].clone()).await;
        browser
            .until(&format!("{leads} && {}.includes('ms')", text("takeover")))
            .await;
        browser.to_tab(windows[0].clone()).await;
        click(&browser, "share").await;
        for (n, window) in windows.into_iter().enumerate() {
            browser.to_tab(window).await;
            browser
                .until(&format!("{} && {} === '1'", counts(20), text("open")))
                .await;
            take(&browser, language, &format!("page-{}", n + 1)).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_stream_of_boxes_through_a_box_that_holds_it_back() {
    let browser = Browser::start().await;
    for (language, verdict) in [
        ("en", "All 60 events came at once"),
        ("it", "Tutti i 60 eventi sono arrivati insieme"),
    ] {
        // A recording is the same on every machine.
        let boxes = Program::start_with("boxes", &[("BOXES", "")]).await;
        browser.resize(400, 700).await;
        browser.open(&format!("{}/?lang={language}", boxes.url)).await;
        browser.eval("document.querySelector('[value=nginx]').click()").await;
        browser.until(&format!("{}.startsWith({verdict:?})", text("verdict"))).await;
        let keep =
            "document.querySelector('[value=nginx]').setAttribute('checked', '')";
        browser.eval(keep).await;
        take(&browser, language, "boxes-1").await;
    }
}
