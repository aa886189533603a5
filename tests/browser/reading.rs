//! The pages of the book in the hands of somebody who reads them: with keys, on paper, and
//! with the contents of the page beside its text.

use std::time::Duration;

use tests::{Browser, Program};

/// The key as WebDriver sends it.
const RIGHT: &str = "\u{e014}";
const ESCAPE: &str = "\u{e00c}";

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_arrow_key_scrolls_what_has_the_focus_and_else_turns_the_page() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.resize(360, 800).await;
    for (page, focus) in [
        ("choosing", "main .table-wrapper"),
        ("tick", "live-stream .toggle"),
        ("tick", "main details summary"),
    ] {
        browser.open(&format!("{}/{page}.html", book.url)).await;
        browser.until(&format!("document.querySelector('{focus}') != null")).await;
        browser.type_into(focus, RIGHT).await;
        let turned = format!("!location.pathname.endsWith('/{page}.html')");
        browser.never(&turned, Duration::from_millis(500)).await;
    }
    browser.type_into("body", RIGHT).await;
    browser.until("location.pathname.endsWith('/async-tasks.html')").await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_contents_of_the_page_mark_the_section_that_is_being_read() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.resize(1600, 900).await;
    browser.open(&format!("{}/it/llm.html#asking", book.url)).await;
    let marked = |id: &str| {
        format!(
            "[...document.querySelectorAll('nav.sections [aria-current]')] \
             .map((link) => link.hash).join() == '#{id}'"
        )
    };
    browser.until(&marked("asking")).await;
    let next = "document.querySelector('#an-answer-that-outlives-its-connection')";
    browser.eval(&format!("{next}.scrollIntoView()")).await;
    browser.until(&marked("an-answer-that-outlives-its-connection")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn after_escape_the_focus_is_on_the_button_of_the_languages() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.eval("document.querySelector('.languages').open = true").await;
    browser.type_into(".languages a", ESCAPE).await;
    browser.until("document.activeElement.matches('.languages summary')").await;
    browser.until("!document.querySelector('.languages').open").await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn paper_is_white_and_shows_what_is_folded_on_the_screen() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.eval("document.documentElement.dataset.theme = 'dark'").await;
    let paint = "getComputedStyle(document.body).backgroundColor";
    let answer = "document.querySelector('main details p')";
    let hidden = format!("!{answer}.checkVisibility()");
    browser.until(&format!("{paint} != 'rgb(255, 255, 255)' && {hidden}")).await;
    browser.on_paper().await;
    browser.until(&format!("{paint} == 'rgb(255, 255, 255)' && !({hidden})")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_entry_that_the_address_names_shows_its_code_and_no_other_does() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/symptoms.html#glued-words", book.url)).await;
    let open = "[...document.querySelectorAll('main details[open]')].map((code) => { \
        while (!code.matches('h3')) code = code.previousElementSibling; \
        return code.id; }).join()";
    browser.until(&format!("{open} == 'glued-words'")).await;
    browser.eval("(location.hash = '#seventh-tab', 0)").await;
    browser.until(&format!("{open} == 'seventh-tab,glued-words'")).await;
    browser.open(&format!("{}/tick.html#what-will-happen", book.url)).await;
    browser
        .until(&format!("document.readyState == 'complete' && {open} == ''"))
        .await;
}
