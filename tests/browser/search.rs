//! The search of the book, as its reader uses it. What it finds is tested in `site/tests/book`.

use tests::{Browser, Program};

/// Keys, as WebDriver writes them.
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const DOWN: &str = "\u{e015}";
const UP: &str = "\u{e013}";

const FIELD: &str = "#search input";
const IS_OPEN: &str = "document.querySelector('#search').matches(':popover-open')";
const FOUND: &str = "document.querySelectorAll('#search li a').length > 0";

/// Opens a page, and the search by its key.
async fn search(browser: &Browser, book: &Program, page: &str) {
    browser.open(&format!("{}/{page}", book.url)).await;
    browser.until("document.readyState == 'complete'").await;
    browser.type_into(".theme-button", "/").await;
    browser.until(&format!("document.activeElement.matches('{FIELD}')")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_reader_goes_by_keyboard_from_a_word_to_the_section_that_explains_it() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    search(&browser, &book, "index.html").await;
    browser.type_into(FIELD, "memory grows").await;
    browser.until(FOUND).await;
    let first = "document.querySelector('#search li')";
    for (part, text) in [
        ("a", "Memory grows without end"),
        (".place", "Symptom, cause, cure"),
        ("mark", "Memory"),
    ] {
        let shown = format!("{first}.querySelector('{part}').textContent");
        assert_eq!(browser.eval(&shown).await, text);
    }
    // Down goes to the results, up comes back, and neither turns the page.
    browser.type_into(FIELD, DOWN).await;
    let on_first = format!("document.activeElement == {first}.querySelector('a')");
    browser.until(&on_first).await;
    browser.type_into("#search li a", UP).await;
    browser.until(&format!("document.activeElement.matches('{FIELD}')")).await;
    browser.type_into(FIELD, ENTER).await;
    browser.until("location.hash == '#memory-grows'").await;
    assert_eq!(browser.eval("location.pathname").await, "/symptoms.html");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn in_italian_a_word_is_found_behind_its_article_and_without_its_accent() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for (word, section) in [
        ("intestazione", "hello.html#the-head-of-the-response"),
        ("velocita", "feed.html#how-fast-is-it"),
    ] {
        search(&browser, &book, "it/index.html").await;
        browser.type_into(FIELD, word).await;
        browser.until(FOUND).await;
        let link =
            format!("document.querySelector('#search a[href=\"{section}\"]')");
        let marked = format!("{link}?.closest('li').querySelector('mark') != null");
        browser.until(&marked).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn escape_closes_the_search_at_once_and_the_reader_is_where_they_were() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    search(&browser, &book, "tick.html").await;
    browser.type_into(FIELD, "stream").await;
    browser.until(FOUND).await;
    browser.type_into(FIELD, ESCAPE).await;
    browser.until(&format!("!{IS_OPEN}")).await;
    browser.until("document.activeElement.matches('.theme-button')").await;
    assert_eq!(browser.eval("location.pathname").await, "/tick.html");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn where_nothing_is_found_the_search_says_what_to_try() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for (page, says) in [
        ("tick.html", "Nothing found. Try "),
        ("it/tick.html", "Nessun risultato. Prova "),
    ] {
        search(&browser, &book, page).await;
        browser.type_into(FIELD, "zzqqxx").await;
        let status = "document.querySelector('#search [role=status]').textContent";
        browser.until(&format!("{status}.startsWith('{says}')")).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn nothing_of_the_search_is_loaded_before_it_opens() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.until("document.readyState == 'complete'").await;
    let loaded = "performance.getEntriesByType('resource')\
                  .filter(({ name }) => name.includes('/search-')).length";
    // The script that opens it is `theme/search-HASH.js`.
    assert_eq!(browser.eval(loaded).await, 1);
    browser.type_into(".theme-button", "/").await;
    browser.until(&format!("{loaded} >= 6")).await;
}
