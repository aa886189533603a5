//! The extension for SSE of htmx 4 when a stream is lost, ends or is refused.

use std::time::Duration;

use tests::pause;

use super::origin::{Bytes, Cut, End, More, Nothing, Numbers, Origin, Status};
use super::{NUMBERS, WATCH, browser, reports_nothing, shows};

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn htmx_shows_an_error_that_is_its_first_answer_and_never_asks_again() {
    let browser = browser().await;
    for status in [404, 502] {
        let origin = Origin::start(Status(status)).await;
        browser.open(&origin.page("bare")).await;
        let shown = "document.querySelector('#numbers h1')?.textContent";
        browser.until(&format!("{shown} == 'Not what you want'")).await;
        origin.answers(Numbers(3));
        browser.never(&format!("{NUMBERS}.length > 0"), WATCH).await;
        assert_eq!(origin.asked().len(), 1);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn htmx_asks_again_after_an_error_if_its_trigger_says_so() {
    let browser = browser().await;
    let origin = Origin::start(Status(502)).await;
    browser.open(&origin.page("htmx")).await;
    origin.asked_times(2).await;
    origin.answers(Nothing);
    let before = origin.asked().len();
    origin.asked_times(before + 3).await;
    let list = "document.querySelector('#numbers').innerHTML";
    assert_eq!(browser.eval(list).await, "");
    origin.answers(Numbers(3));
    shows(&browser, "1,2,3").await;

    // A stream that was lost is not asked for by the trigger, too.
    let before = origin.asked().len();
    origin.then(Cut, Status(502));
    origin.asked_times(before + 2).await;
    origin.answers(Numbers(3));
    shows(&browser, "1,2,3,4,5,6").await;
    pause(WATCH * 2).await; // longer than the trigger waits
    origin.has_open(1).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn htmx_goes_on_after_its_last_event_and_does_not_know_the_end_204() {
    let browser = browser().await;
    let origin = Origin::start(Numbers(3)).await;
    browser.open(&origin.page("htmx")).await;
    shows(&browser, "1,2,3").await;
    origin.then(Cut, Status(502));
    assert_eq!(origin.asked_times(2).await.last, "3");
    origin.asked_times(3).await;
    origin.answers(Numbers(3));
    shows(&browser, "1,2,3,4,5,6").await;
    origin.has_open(1).await;

    // Each 204 is a success, after which it waits for half a second, more or less.
    let before = origin.asked().len();
    origin.then(End, Status(204));
    let first = origin.asked_times(before + 1).await;
    let fourth = origin.asked_times(before + 4).await;
    let took = fourth.at - first.at;
    assert!(took < Duration::from_secs(3), "{took:?}");

    // 404 is a reason to wait longer, not to stop.
    let before = origin.asked().len();
    origin.answers(Status(404));
    origin.asked_times(before + 3).await;
    origin.answers(Numbers(1));
    shows(&browser, "1,2,3,4,5,6,7").await;
    reports_nothing(&browser).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn htmx_closes_what_another_script_removed_with_the_next_event() {
    let browser = browser().await;
    let origin = Origin::start(Numbers(3)).await;
    browser.open(&origin.page("htmx")).await;
    shows(&browser, "1,2,3").await;
    browser
        .eval("(window.list = document.querySelector('#numbers')).remove()")
        .await;
    pause(WATCH).await;
    origin.has_open(1).await;
    origin.sends(More("data: <li>4</li>\n\n"));
    origin.has_open(0).await;

    browser.open(&origin.page("htmx")).await;
    origin.has_open(1).await;
    browser
        .eval("htmx.swap({ target: '#numbers', swap: 'delete', text: '' })")
        .await;
    origin.has_open(0).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn htmx_takes_half_a_line_end_for_an_empty_line() {
    let browser = browser().await;
    let start = "data: <li>a</li>\r\n\r\ndata: <li>b\r";
    let origin = Origin::start(Bytes(start)).await;
    browser.open(&origin.page("htmx")).await;
    shows(&browser, "a").await;
    pause(WATCH / 3).await; // until it has read the rest
    origin.sends(More("\ndata: c</li>\r\n\r\n"));
    browser.until("document.querySelector('#numbers').textContent == 'abc'").await;
    shows(&browser, "a,b").await;
}
