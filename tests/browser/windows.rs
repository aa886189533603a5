//! The windows in which a chapter shows the page of its program.

use tests::{Browser, Program};

/// The page in the first window, as JavaScript.
const FRAME: &str = "document.querySelector('live-page iframe')?.contentDocument";

fn text(selector: &str) -> String {
    format!("{FRAME}?.querySelector('{selector}')?.textContent")
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_program_speaks_the_language_of_the_page() {
    let book = Program::serve_book().await;
    for browser in Browser::both().await {
        for (page, selector, english, italian) in [
            ("chat", "#state", "connected", "connesso"),
            ("faults", "#open-seven", "Open seven streams", "Apri sette stream"),
            ("feed", "#count", "Count", "Conta"),
            ("llm", "form button", "Ask", "Chiedi"),
            ("page", "[data-act=kill]", "Kill", "Taglia"),
        ] {
            for (folder, language, word) in
                [("", "en", english), ("it/", "it", italian)]
            {
                browser.open(&format!("{}/{folder}{page}.html", book.url)).await;
                browser.until(&format!("{} == {word:?}", text(selector))).await;
                let spoken = format!("{FRAME}.documentElement.lang");
                assert_eq!(browser.eval(&spoken).await, language, "{page}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn an_answer_is_there_again_when_its_chapter_is_loaded_again() {
    let book = Program::serve_book().await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/llm.html", book.url)).await;
        // The script has run: there is no answer yet.
        browser
            .until(&format!(
                "{FRAME}?.querySelector('#answer')?.ariaBusy == 'false'"
            ))
            .await;
        let ask = format!(
            "(page = {FRAME}, page.querySelector('#prompt').value = 'Count', \
             page.querySelector('form').requestSubmit(), 0)"
        );
        browser.eval(&ask).await;
        browser.until(&format!("{}.length > 20", text("#answer"))).await;
        let before = browser.eval(&text("#answer")).await;
        browser.eval("(window.old = true, location.reload(), 0)").await;
        browser.until("window.old === undefined").await;
        browser.until(&format!("{}?.startsWith({before})", text("#answer"))).await;
        assert_eq!(browser.eval(&text("#question")).await, "Count");
    }
}

/// A shift that nobody sees: about a pixel, which is what rounding does. Without the heights
/// that the pages reserve, it was 0.12.
const ROUNDING: f64 = 0.001;

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn nothing_moves_when_a_panel_comes() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for width in [1280, 360] {
        browser.resize(width, 800).await;
        for page in ["chat", "faults", "feed", "llm", "page"] {
            for folder in ["", "it/"] {
                browser.open(&format!("{}/{folder}{page}.html", book.url)).await;
                let built = "!!document.querySelector('live-page iframe')";
                browser.until(built).await;
                browser.until("document.readyState == 'complete'").await;
                let moved = "new Promise((tell) => new PerformanceObserver((list) => \
                    tell(list.getEntries().map((one) => one.value))) \
                    .observe({ type: 'layout-shift', buffered: true }) ?? setTimeout(tell, 500, []))";
                let moved = browser.eval(moved).await;
                let moved: f64 =
                    serde_json::from_value::<Vec<f64>>(moved).unwrap().iter().sum();
                assert!(moved < ROUNDING, "{folder}{page}, {width}: {moved}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_answer_that_scrolls_out_of_sight_is_not_asked_for_again() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/llm.html", book.url)).await;
    browser.until("!!document.querySelector('live-stream .toggle')").await;
    let count = "(window.asked = [], window.real = fetch, \
        window.fetch = (url, init) => { asked.push(init?.method ?? 'GET'); return real(url, init); }, 0)";
    browser.eval(count).await;
    let stream = "document.querySelector('live-stream')";
    browser.eval(&format!("{stream}.scrollIntoView()")).await;
    browser.until(&format!("{stream}.dataset.state == 'live'")).await;
    browser.eval("scrollTo(0, document.body.scrollHeight)").await;
    browser.until(&format!("{stream}.dataset.state == 'paused'")).await;
    browser.eval(&format!("{stream}.scrollIntoView()")).await;
    browser.until("asked.length == 3").await;
    let asked = browser.eval("asked").await;
    assert_eq!(asked, serde_json::json!(["POST", "GET", "GET"]));
    // Only the reader asks anew.
    browser.until(&format!("{stream}.dataset.state != 'connecting'")).await;
    let toggle = "document.querySelector('live-stream .toggle')";
    browser
        .until(&format!(
            "({toggle}.click(), asked.filter((one) => one == 'POST').length == 2)"
        ))
        .await;
}
