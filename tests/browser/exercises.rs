//! The exercises on a page, while `cargo book` serves it and a reader writes.

use std::fs;

use tests::{Browser, Program, run_book};

/// The state of an exercise, and its words, as JavaScript.
const STATE: &str =
    "document.querySelector('#tick-from-seven + .attempt')?.dataset.state";
const WORDS: &str =
    "document.querySelector('#tick-from-seven + .attempt').textContent";
const TOTAL: &str = "document.querySelector('.attempts').textContent";

/// Replaces a text in the reader's program.
fn edit(book: &Program, from: &str, to: &str) {
    let file = book.folder().join("try/tick-from-seven/main.rs");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_says_how_the_program_that_a_reader_saves_stands() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tick.html", book.url)).await;
    browser.until(&format!("{STATE} == 'todo'")).await;
    let made = run_book(book.folder(), &["exercise", "tick-from-seven"]);
    assert_eq!(made.code, Some(0), "{made:?}");

    edit(&book, "n = 0_u64", "n = 4_u64");
    browser.until(&format!("{STATE} == 'checking'")).await;
    browser.until(&format!("{STATE} == 'wrong'")).await;
    for words in ["The first event is not 7.", "data: 5", "data: 7"] {
        browser.until(&format!("{WORDS}.includes('{words}')")).await;
    }
    edit(&book, "n = 4_u64", "n = 6_u64");
    browser.until(&format!("{STATE} == 'checking'")).await;
    browser.until(&format!("{STATE} == 'done'")).await;
    browser.until(&format!("{TOTAL}.startsWith('1 of ')")).await;

    browser.open(&format!("{}/it/tick.html", book.url)).await;
    browser.until(&format!("{STATE} == 'done' && {WORDS} == 'fatto'")).await;
    browser.until(&format!("{TOTAL}.startsWith('Fatti 1 su ')")).await;
    run_book(book.folder(), &["exercise", "--reset"]);
    browser.until(&format!("{STATE} == 'todo'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn nothing_moves_when_the_states_of_exercises_come() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for width in [1280, 360] {
        browser.resize(width, 800).await;
        for page in ["tick.html", "it/tick.html"] {
            let url = format!("{}/{page}?{width}#change-it", book.url);
            browser.open(&url).await;
            browser.until(&format!("{STATE} == 'todo'")).await;
            browser.until("document.readyState == 'complete'").await;
            let moved = "new Promise((tell) => new PerformanceObserver((list) => \
                tell(list.getEntries().map((one) => one.value))) \
                .observe({ type: 'layout-shift', buffered: true }) ?? setTimeout(tell, 500, []))";
            let moved = browser.eval(moved).await;
            let moved: Vec<f64> = serde_json::from_value(moved).unwrap();
            let moved: f64 = moved.iter().sum();
            assert!(moved < 0.001, "{page}, {width}: {moved}");
        }
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_book_of_a_static_host_says_nothing_of_states() {
    let book = tests::copy_book();
    let built = run_book(book.path(), &["build"]);
    assert_eq!(built.code, Some(0), "{built:?}");
    let pages = salvo::serve_static::StaticDir::new(book.path().join("target/book"));
    let url = tests::serve(salvo::Router::with_path("{**path}").get(pages)).await;
    let browser = Browser::start().await;
    browser.open(&format!("{url}/tick.html")).await;
    browser.until("document.readyState == 'complete'").await;
    browser.until("!!document.querySelector('live-stream .toggle')").await;
    browser.until("!document.querySelector('.attempt, .attempts')").await;
}
