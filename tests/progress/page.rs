//! The page of `progress` in a browser.

use std::fs;

use tests::{Browser, Program, root};

/// The state of the page in one text: how far, the note, and the button.
const SHOWN: &str = "['#count', '#note', 'button'].map((s) => document.querySelector(s).textContent).join('|')";

fn shows(text: &str) -> String {
    format!("{SHOWN} == {text:?}")
}

/// Types these steps into the page, and starts the job.
async fn start(browser: &Browser, steps: &str) {
    browser
        .eval(&format!("document.querySelector('#text').value = {steps:?}"))
        .await;
    click(browser).await;
}

async fn click(browser: &Browser) {
    browser.eval("document.querySelector('button').click()").await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn a_reload_and_a_second_tab_show_the_same_job_and_each_can_cancel_it() {
    let program = Program::start("progress").await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/", program.url)).await;
        start(&browser, "1\n1\n60000").await;
        browser.until(&shows("2 of 3||Cancel")).await;
        browser.eval("(window.isOld = true, location.reload())").await;
        browser
            .until(&format!("!window.isOld && {}", shows("2 of 3||Cancel")))
            .await;
        let first = browser.tab().await;
        let address = browser.eval("location.href").await;
        browser.new_tab().await;
        browser.open(address.as_str().unwrap()).await;
        browser.until(&shows("2 of 3||Cancel")).await;
        click(&browser).await;
        let end = "2 of 3|The job was cancelled.|Start";
        browser.until(&shows(end)).await;
        browser.to_tab(first).await;
        browser.until(&shows(end)).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn the_page_shows_the_end_and_connects_no_more() {
    let program = Program::start("progress").await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/", program.url)).await;
        start(&browser, "1\n1").await;
        browser.until(&shows("2 of 2|The job is done.|Start")).await;
        browser.until("stream.readyState == EventSource.CLOSED").await;
        start(&browser, "1\nsoon").await;
        let failed = "The job has failed: line 2 is not a number of milliseconds.";
        browser.until(&shows(&format!("1 of 2|{failed}|Start"))).await;
        // The way back leads to the job before.
        browser.eval("history.back()").await;
        browser.until(&shows("2 of 2|The job is done.|Start")).await;
    }
}

/// As the lines for the console do it on the page of the book.
#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn an_eventsource_that_nobody_closes_hears_done_once() {
    let program = Program::start("progress").await;
    let job = super::Job::start(&program, &[1]).await;
    let lines = fs::read_to_string(root().join("tests/pages/progress.js")).unwrap();
    let lines = lines.replace("jobs/ID", job.path.trim_start_matches('/'));
    for browser in Browser::both().await {
        browser.open(&format!("{}/", program.url)).await;
        let count = "window.ends = 0; console.log = () => { ends += 1; };";
        browser
            .eval(&format!("(() => {{ {count} {lines} window.job = job; }})()"))
            .await;
        // EventSource.CLOSED: the 204 has come.
        browser.until("job.readyState == 2 && ends == 1").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn after_a_restart_of_the_server_the_page_says_that_the_job_is_unknown() {
    let mut program = Program::start("progress").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", program.url)).await;
    start(&browser, "60000").await;
    browser.until(&shows("0 of 1||Cancel")).await;
    let addr = program.url.strip_prefix("http://").unwrap().to_string();
    program.stop();
    browser
        .until(
            "document.querySelector('#note').textContent.includes('trying again')",
        )
        .await;
    click(&browser).await;
    browser.until("document.querySelector('#note').textContent == 'The server does not answer.'").await;
    let _new = Program::start_at("progress", &addr).await;
    browser.until(&shows("|This job is not known any more.|Start")).await;
    start(&browser, "\n").await;
    browser.until(&shows("|Not started: there are no steps.|Start")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_speaks_italian_where_the_book_does() {
    let program = Program::start("progress").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/?lang=it", program.url)).await;
    start(&browser, "1").await;
    browser.until(&shows("1 di 1|Il lavoro è finito.|Avvia")).await;
}
