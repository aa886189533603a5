//! The page of `llm` when its reader leaves it for another page and comes back, and when the
//! server refuses it. Run these with `cargo test -p tests --test llm kept -- --ignored`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use salvo::prelude::*;
use tests::{Browser, Program, page_of, serve, until};

use crate::server::{ModelServer, finish, token};

const ANSWER: &str = "document.querySelector('#answer').textContent";
const NOTE: &str = "document.querySelector('#note').textContent";

/// The browser keeps the page as it is, with its stream, if the page lets it.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_reader_who_follows_a_link_buys_no_more_tokens_and_may_come_back() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let tick = Program::start("tick").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", llm.url)).await;
    browser.type_into("#prompt", "Count\n").await;
    let mut asked = server.asked().await;
    asked.stream(token("one")).await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    let leave =
        format!("(window.mark = 'kept', location.href = '{}/', 0)", tick.url);
    let back = async || {
        browser.until("document.title == 'tick'").await;
        browser.eval("(history.back(), 0)").await;
        browser.until("window.mark == 'kept'").await;
    };
    // Back soon, and all is there.
    browser.eval(&leave).await;
    asked.write(token(" two")).await;
    back().await;
    browser.until(&format!("{ANSWER} == 'one two'")).await;
    asked.write(token(" three")).await;
    browser.until(&format!("{ANSWER} == 'one two three'")).await;
    // Away for longer: nobody reads, so the model server is told.
    browser.eval(&leave).await;
    asked.is_left().await;
    back().await;
    browser.until(&format!("{NOTE}.includes('nobody was reading any more')")).await;

    // An answer that is complete stays on the page, and nothing is asked for again.
    browser.type_into("#prompt", "Again\n").await;
    let mut asked = server.asked().await;
    asked.stream([token("whole"), finish()].concat()).await;
    browser.until(&format!("{NOTE} == 'The answer is complete.'")).await;
    browser.eval(&leave).await;
    back().await;
    assert_eq!(browser.eval(ANSWER).await, "whole");
}

/// A server that is overloaded, and notes when it was asked.
#[derive(Clone, Default)]
struct Overloaded(Arc<Mutex<Vec<Instant>>>);

#[handler]
impl Overloaded {
    async fn handle(&self, res: &mut Response) {
        self.0.lock().unwrap().push(Instant::now());
        res.status_code(StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_llm_page_waits_longer_each_time_that_it_is_refused() {
    let server = Overloaded::default();
    let answers = Router::with_path("answers/{id}").get(server.clone());
    let url = serve(Router::new().push(answers).push(page_of("llm"))).await;
    let browser = Browser::start().await;
    browser.open(&format!("{url}/#{}", "a".repeat(32))).await;
    let asked = || server.0.lock().unwrap().clone();
    until("four attempts", async || asked().len() >= 4).await;
    for (pair, least) in asked().windows(2).zip([1, 2, 4]) {
        let waited = pair[1] - pair[0];
        assert!(waited >= Duration::from_secs(least), "{waited:?} < {least} s");
    }
}
