//! The pages of the book as axe-core sees them, which knows the rules of accessibility that a
//! program can check: every page, in both languages and both themes.

use std::fs;

use serde_json::Value;
use tests::{Browser, Program, root};

/// The rules that a page breaks, each with the first element that does.
const BROKEN: &str = "axe.run(document, { iframes: false, resultTypes: ['violations'], rules }) \
                      .then(({ violations }) => violations \
                      .map(({ id, nodes }) => `${id}: ${nodes[0].html}`))";

/// The rules that axe finds broken on the pages of a language, with the theme and the page in front.
async fn found(book: &Program, language: &str) -> Vec<String> {
    let axe = root().join("target/sdk/node/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(axe).expect("tests/sdk/install was run");
    let axe = format!("(0, eval)({}), 0", Value::String(axe));
    let browser = Browser::start().await;
    let mut found = Vec::new();
    let sources = fs::read_dir(root().join("src/en")).unwrap();
    let sources = sources.map(|entry| entry.unwrap().path());
    for page in sources.chain(["print".into()]) {
        let page = page.with_extension("html");
        let page = page.file_name().unwrap().to_str().unwrap().to_string();
        if page == "SUMMARY.html"
            || book.get(&format!("/{page}")).await.status() != 200
        {
            continue;
        }
        browser.open(&format!("{}/{language}{page}", book.url)).await;
        browser.until("document.readyState == 'complete'").await;
        browser.eval(&axe).await;
        // The whole book on one page has the colours of the pages, and too many texts to look
        // at each of them again.
        let has_colours = page != "print.html";
        let rules = format!("{{ 'color-contrast': {{ enabled: {has_colours} }} }}");
        browser.eval(&format!("(window.rules = {rules}, 0)")).await;
        for theme in ["light", "dark"] {
            let set = format!("document.documentElement.dataset.theme = '{theme}'");
            browser.eval(&set).await;
            let broken = browser.eval(BROKEN).await;
            for rule in broken.as_array().unwrap() {
                found.push(format!(
                    "{theme} {language}{page} {}",
                    rule.as_str().unwrap()
                ));
            }
        }
    }
    found
}

#[tokio::test]
#[ignore = "needs chromedriver, and axe-core: tests/sdk/install"]
async fn axe_finds_nothing_on_any_page_in_either_theme() {
    let book = Program::serve_book().await;
    let (english, italian) = tokio::join!(found(&book, ""), found(&book, "it/"));
    let found = [english, italian].concat();
    assert!(found.is_empty(), "{found:#?}");
}
