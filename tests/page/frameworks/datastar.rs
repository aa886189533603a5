//! Datastar when a stream is lost, ends or is refused: what it does, and what it loses.

use tests::pause;

use super::origin::{Bytes, Cut, End, More, Numbers, Origin, Status};
use super::{NUMBERS, WATCH, browser, reports_nothing, shows};

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_with_its_defaults_ends_with_a_stream_or_an_error() {
    let browser = browser().await;
    for (fate, answer) in [(None, Status(502)), (Some(End), Numbers(3))] {
        let origin = Origin::start(answer).await;
        browser.open(&origin.page("defaults")).await;
        let first = origin.asked_times(1).await;
        assert_eq!(first.last, "");
        match fate {
            Some(fate) => {
                shows(&browser, "1,2,3").await;
                origin.then(fate, Numbers(3));
            }
            None => origin.answers(Numbers(3)),
        }
        browser.never(&format!("{NUMBERS}.length > 3"), WATCH).await;
        assert_eq!(origin.asked().len(), 1);
    }
    // A cut is another matter. So is an element that goes: its stream stays.
    let origin = Origin::start(Numbers(3)).await;
    browser.open(&origin.page("defaults")).await;
    shows(&browser, "1,2,3").await;
    origin.then(Cut, Numbers(3));
    shows(&browser, "1,2,3,4,5,6").await;
    browser.eval("document.querySelector('#numbers').remove()").await;
    pause(WATCH).await;
    origin.has_open(1).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_comes_back_if_it_is_told_to_and_knows_the_end_204() {
    let browser = browser().await;
    let origin = Origin::start(Status(502)).await;
    browser.open(&origin.page("datastar")).await;
    origin.asked_times(2).await;
    origin.answers(Numbers(3));
    shows(&browser, "1,2,3").await;
    origin.then(End, Status(404));
    let before = origin.asked().len();
    assert_eq!(origin.asked_times(before + 1).await.last, "3");
    origin.asked_times(before + 2).await;
    origin.answers(Numbers(3));
    shows(&browser, "1,2,3,4,5,6").await;
    origin.has_open(1).await;
    reports_nothing(&browser).await;

    let before = origin.asked().len();
    origin.then(End, Status(204));
    origin.asked_times(before + 1).await;
    origin.answers(Numbers(3));
    browser.never(&format!("{NUMBERS}.length > 6"), WATCH).await;
    assert_eq!(origin.asked().len(), before + 1);

    let origin = Origin::start(Numbers(3)).await;
    browser.open(&origin.page("datastar")).await;
    shows(&browser, "1,2,3").await;
    browser.eval("document.querySelector('#numbers').remove()").await;
    origin.has_open(0).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_loses_an_event_that_is_cut_behind_its_id_and_htmx_does_not() {
    let browser = browser().await;
    for (page, bytes, last, numbers) in [
        ("datastar", "id: 1\nevent: datastar-patch-elements\n", "1", "2,3"),
        ("htmx", "data: <li>0</li>\n\nid: 1\ndata: <li>1</li>\n", "", "0,1,2"),
    ] {
        let origin = Origin::start(Bytes(bytes)).await;
        browser.open(&origin.page(page)).await;
        origin.has_open(1).await;
        if page == "htmx" {
            shows(&browser, "0").await;
        } else {
            pause(WATCH / 3).await; // until it has read the line
        }
        origin.then(Cut, Numbers(2));
        assert_eq!(origin.asked_times(2).await.last, last);
        shows(&browser, numbers).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_has_two_connections_if_it_is_hidden_and_shown_while_it_waits() {
    let browser = browser().await;
    let origin = Origin::start(Bytes("retry: 3000\n\n")).await;
    browser.open(&origin.page("datastar")).await;
    origin.has_open(1).await;
    pause(WATCH / 3).await; // until it has read the line
    origin.then(Cut, Numbers(3));
    origin.has_open(0).await;
    let tab = browser.tab().await;
    browser.new_tab().await;
    browser.to_tab(tab).await;
    origin.has_open(2).await; // it waited, and then it also came back
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_gives_up_after_ten_tries() {
    let browser = browser().await;
    let origin = Origin::start(Status(502)).await;
    browser.open(&origin.page("hasty")).await;
    origin.asked_times(11).await;
    origin.answers(Numbers(3));
    browser.never(&format!("{NUMBERS}.length > 0"), WATCH).await;
    assert_eq!(origin.asked().len(), 11);
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_reads_a_line_end_that_comes_in_two_pieces() {
    let browser = browser().await;
    let start = "event: datastar-patch-elements\r\ndata: selector #numbers\r\n\
                 data: mode append\r\ndata: elements <li>b\r";
    let origin = Origin::start(Bytes(start)).await;
    browser.open(&origin.page("datastar")).await;
    origin.has_open(1).await;
    pause(WATCH / 3).await; // until it has read the lines
    origin.sends(More("\ndata: elements c</li>\r\n\r\n"));
    shows(&browser, "b\\nc").await;
}
