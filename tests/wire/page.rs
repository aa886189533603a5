//! The panel of `wire.md`, and the page of the program.

use std::fs;

use salvo::prelude::*;
use salvo::serve_static::StaticDir;
use serde_json::json;
use tests::{Browser, Program, copy_book, root, run_book, serve};

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_shows_the_same_events_as_the_browser() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    let panel = "document.querySelector('wire-panel')";
    for page in ["wire.html", "it/wire.html"] {
        browser.open(&format!("{}/{page}", book.url)).await;
        browser
            .until(&format!("{panel}.querySelector('select')?.length > 10"))
            .await;
        let count =
            browser.eval(&format!("{panel}.querySelector('select').length")).await;
        for n in 0..count.as_u64().unwrap() {
            // Empty the state first: it may still be that of the example before.
            browser
                .eval(&format!(
                    "(pick = {panel}.querySelector('select'), pick.selectedIndex = {n}, \
                     {panel}.querySelector('.state').textContent = '', pick.onchange(), 0)"
                ))
                .await;
            let ended = "['the stream has ended', 'stream terminato']";
            let state = format!("{panel}.querySelector('.state').textContent");
            browser.until(&format!("{ended}.includes({state})")).await;
            let text = |selector: &str, show: &str| {
                format!(
                    "Array.from({panel}.querySelectorAll('{selector}'), ({show}))"
                )
            };
            let heard = text(
                ".events li",
                "(entry) => entry.querySelector('b').textContent",
            );
            let said =
                text(".steps td.good", "(cell) => cell.textContent.split(' ')[1]");
            let heard = browser.eval(&heard).await;
            assert_eq!(heard, browser.eval(&said).await, "{page}, example {n}");
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_panel_shows_each_byte_once_and_none_that_would_turn_the_text_around() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/wire.html", book.url)).await;
    let panel = "document.querySelector('wire-panel')";
    browser.until(&format!("!!{panel}.querySelector('textarea')")).await;
    // Enter writes a line's end, and the example's name does not stay.
    browser.type_into("wire-panel textarea", "\u{e007}: x\u{e007}").await;
    let text = format!("{panel}.querySelector('textarea').value");
    browser.until(&format!("{text}.endsWith({})", json!("\\n\n: x\\n\n"))).await;
    let picked = format!("{panel}.querySelector('select').selectedIndex");
    assert_eq!(browser.eval(&picked).await, -1);

    let bytes = r"event: \u{202e}a\nid: a\0b\ndata: \u{202e}abc\\\r\n\n: end";
    let fill = format!(
        "(text = {panel}.querySelector('textarea'), text.value = {}, text.oninput(), 0)",
        json!(bytes)
    );
    browser.eval(&fill).await;
    let heard = format!("{panel}.querySelector('.events li')?.textContent");
    browser.until(&format!("{heard} == {}", json!(r"\u{202e}a\u{202e}abc\\"))).await;
    let column = |n: u8| {
        format!(
            "Array.from({panel}.querySelectorAll('tbody td:nth-child({n})'), (cell) => cell.textContent)"
        )
    };
    let lines = json!([
        r"event: \u{202e}a\n",
        r"id: a\0b\n",
        r"data: \u{202e}abc\\\r\n",
        r"\n",
        ": end",
    ]);
    assert_eq!(browser.eval(&column(1)).await, lines);
    let then = browser.eval(&column(4)).await;
    assert_eq!(then[0], r#"type "\u{202e}a""#);
    assert_eq!(then[3], r#"⇒ \u{202e}a "\u{202e}abc\\""#);
    assert!(!then.to_string().contains('\u{202e}'), "{then}");

    browser.eval("(text.value = ':'.repeat(70_000), text.oninput(), 0)").await;
    let state = format!("{panel}.querySelector('.state').textContent");
    let refused = "These are more bytes than the program takes.";
    browser.until(&format!("{state} == '{refused}'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn without_a_server_the_panel_uses_a_parser_instead_of_eventsource() {
    let folder = copy_book();
    assert_eq!(run_book(folder.path(), &["build", "--dest", "out"]).code, Some(0));
    let files = StaticDir::new(folder.path().join("out")).defaults("index.html");
    let url = serve(Router::with_path("{**path}").get(files)).await;
    let browser = Browser::start().await;
    browser.open(&format!("{url}/wire.html")).await;
    let panel = "document.querySelector('wire-panel')";
    browser
        .until(&format!(
            "{panel}.querySelector('.events li code')?.textContent == 'Hello'"
        ))
        .await;
    let state = format!("{panel}.querySelector('.state').textContent");
    browser.until(&format!("{state}.includes('No server answers')")).await;
}

#[test]
fn the_page_of_the_program_reads_escapes_by_the_code_of_the_panel() {
    let function = |file: &str| {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let (_, rest) = text.split_once("function bytes(text) {").unwrap();
        let (body, _) = rest.split_once("\n}").unwrap();
        body.to_string()
    };
    let page = function("examples/wire/index.html");
    assert_eq!(page, function("theme/wire-panel.js"));
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_page_of_the_program_shows_the_events_of_its_bytes() {
    let wire = Program::start("wire").await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/", wire.url)).await;
        let bytes = r"event: a\nid: 7\ndata: \x41\u{10ffff}\n\n";
        let fill =
            format!("document.querySelector('#bytes').value = {}", json!(bytes));
        browser.eval(&fill).await;
        browser.eval("document.querySelector('button').click()").await;
        let note = "document.querySelector('#note').textContent";
        browser.until(&format!("{note} == 'the stream has ended'")).await;
        let events = "document.querySelector('#events').textContent";
        assert_eq!(browser.eval(events).await, "a \"A\u{10ffff}\" id 7");
    }
}
