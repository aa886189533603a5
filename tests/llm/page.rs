//! The page of `llm` in a browser, and `llm.md`.

use salvo::prelude::*;
use serde_json::{Value, json};
use tests::{Browser, Program, serve};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{ModelServer, SOON, finish, token};

const ANSWER: &str = "document.querySelector('#answer').textContent";

const NOTE: &str = "document.querySelector('#note').textContent";

/// A browser with the page of `llm`, which has asked something.
async fn page_that_asks(url: &str, prompt: &str) -> Browser {
    let browser = Browser::start().await;
    browser.open(&format!("{url}/")).await;
    browser.type_into("#prompt", &format!("{prompt}\n")).await;
    browser
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_reload_in_mid_sentence_repeats_and_loses_nothing() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Count").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("one")).await;
    asked.write(token(" two")).await;
    browser.until(&format!("{ANSWER} == 'one two'")).await;
    browser.eval("location.reload()").await;
    browser.until(&format!("performance.getEntriesByType('navigation')[0].type == 'reload' && {ANSWER} == 'one two'")).await;
    asked.write(token(" three")).await;
    browser.until(&format!("{ANSWER} == 'one two three'")).await;
    // A second tab with the same address reads the same answer.
    let address = browser.eval("location.href").await;
    browser.new_tab().await;
    browser.open(address.as_str().unwrap()).await;
    browser.until(&format!("{ANSWER} == 'one two three'")).await;
    asked.write(finish()).await;
    browser.until(&format!("{NOTE} == 'The answer is complete.'")).await;
    server.stays_alone_for(SOON).await;
}

/// Passes bytes on to a server, until the test cuts all connections.
async fn cuttable(to: &str) -> (String, tokio::sync::watch::Sender<()>) {
    let to = to.strip_prefix("http://").unwrap().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (cut, _) = tokio::sync::watch::channel(());
    let told = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut to = TcpStream::connect(&to).await.unwrap();
            let mut cut = told.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                    _ = cut.changed() => {}
                }
            });
        }
    });
    (url, cut)
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_connection_that_is_lost_in_mid_sentence_repeats_and_loses_nothing() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let (url, cut) = cuttable(&llm.url).await;
    let browser = page_that_asks(&url, "Count").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("one")).await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    cut.send(()).unwrap();
    asked.write(token(" two")).await;
    browser.until(&format!("{NOTE}.includes('trying again')")).await;
    browser.until(&format!("{ANSWER} == 'one two' && {NOTE} == ''")).await;
    asked.write(token(" three")).await;
    browser.until(&format!("{ANSWER} == 'one two three'")).await;
    asked.write(finish()).await;
    browser.until(&format!("{NOTE} == 'The answer is complete.'")).await;
    // The page does not miss a connection that is cut after the end.
    cut.send(()).unwrap();
    browser.never(&format!("{NOTE} != 'The answer is complete.'"), 2 * SOON).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_text_on_the_page_stays_when_the_server_has_gone() {
    let server = ModelServer::start().await;
    let mut llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Count").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("one")).await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    let addr = llm.url.strip_prefix("http://").unwrap().to_string();
    llm.stop();
    browser.until(&format!("{NOTE}.includes('trying again')")).await;
    browser.eval("document.querySelector('form button').click()").await;
    browser.until(&format!("{NOTE} == 'The server does not answer.'")).await;
    let label = "document.querySelector('form button').textContent";
    assert_eq!(browser.eval(&format!("{ANSWER} + {label}")).await, "oneAsk");
    // A question that nobody answers stays in its field.
    browser.type_into("#prompt", "Again\n").await;
    browser
        .until(&format!("{NOTE} == 'Not asked: the server does not answer.'"))
        .await;
    assert_eq!(
        browser.eval("document.querySelector('#prompt').value").await,
        "Again"
    );
    // A new server knows nothing of the answer, and the text stays.
    let _llm = Program::start_at("llm", &addr).await;
    browser.eval("dispatchEvent(new Event('hashchange'))").await;
    browser.until(&format!("{NOTE} == 'This answer is not kept any more.'")).await;
    assert_eq!(browser.eval(ANSWER).await, "one");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_stops_an_answer_and_asks_the_next_one() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Count").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("one")).await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    browser.eval("document.querySelector('form button').click()").await;
    asked.is_left().await;
    browser.until(&format!("{NOTE} == 'You stopped it.'")).await;
    browser.type_into("#prompt", "Again\n").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("uno")).await;
    browser.until(&format!("{ANSWER} == 'uno'")).await;
    // Back to the first one, which is kept.
    browser.eval("history.back()").await;
    browser
        .until(&format!("{ANSWER} == 'one' && {NOTE} == 'You stopped it.'"))
        .await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_shows_text_as_text_and_failures_in_words() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Show").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    let text = "<img src=x onerror=alert(1)>\n\n- `**a**`\n    b 👩\u{200d}👧 &amp;";
    for part in text.split_inclusive(' ') {
        asked.write(token(part)).await;
    }
    asked.write("data: {\"error\": {\"message\": \"out of memory\"}}\n\n").await;
    browser.until(&format!("{ANSWER} == {}", json!(text))).await;
    let note =
        "This is not the whole answer: the model server gave up: out of memory.";
    browser.until(&format!("{NOTE} == '{note}'")).await;
    assert_eq!(
        browser.eval("document.querySelector('#answer').children.length").await,
        0
    );
    let shown = browser.eval("document.querySelector('#answer').innerText").await;
    assert_eq!(shown, text, "line breaks and indentation are seen, too");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_screen_reader_hears_sentences() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Tell").await;
    let spoken =
        "Array.from(document.querySelectorAll('#spoken p'), (p) => p.textContent)";
    let mut asked = server.asked().await;
    asked.stream("").await;
    for part in ["It", " cost", "s 3", ".50 €", ".", " Buy", " it"] {
        asked.write(token(part)).await;
    }
    browser.until(&format!("{ANSWER}.endsWith(' it')")).await;
    assert_eq!(browser.eval(spoken).await, json!(["It costs 3.50 €. "]));
    asked.write(token("!")).await;
    asked.write(finish()).await;
    browser.until(&format!("{NOTE} == 'The answer is complete.'")).await;
    assert_eq!(browser.eval(spoken).await, json!(["It costs 3.50 €. ", "Buy it!"]));
    let live = "document.querySelector('#answer').closest('[aria-live], [role=log], [role=status]')";
    assert_eq!(
        browser.eval(live).await,
        Value::Null,
        "tokens are announced one by one"
    );
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_page_that_comes_back_to_a_complete_answer_is_told_to_stay_away() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", llm.url)).await;
    browser.type_into("#prompt", "Hi\n").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("one")).await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    // A stream that nobody closes at the end, as if the page had forgotten to.
    let listen = "(window.errors = 0, window.count = 0, window.forgotten = new EventSource(\
        `answers/${location.hash.slice(1)}`), forgotten.onerror = () => { errors += 1; }, \
        forgotten.addEventListener('token', () => { count += 1; }), 0)";
    browser.eval(listen).await;
    browser.until("count == 1").await;
    asked.write(finish()).await;
    browser.until(&format!("{NOTE} == 'The answer is complete.'")).await;
    // It connects once more, and gets 204.
    browser.until("forgotten.readyState == EventSource.CLOSED").await;
    assert_eq!(browser.eval("errors").await, 2, "the end, and the 204");
    browser.never("count != 1 || errors != 2", 2 * SOON).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_address_without_an_answer_lets_the_reader_ask() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Hi").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("one")).await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    let label = "document.querySelector('form button').textContent";
    for elsewhere in
        ["history.back()", "location.hash = '../../x'", "location.hash = '.'"]
    {
        browser.eval(elsewhere).await;
        browser.until(&format!("{ANSWER} == '' && {label} == 'Ask'")).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_long_answer_is_shown_in_the_time_of_a_long_answer() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Count").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    let words = (0..8_000).map(|n| token(&format!(" {n}"))).collect::<String>();
    asked.write(words).await;
    asked.write(finish()).await;
    // A page that measures itself for each token takes more than a minute.
    browser.until(&format!("{ANSWER}.endsWith(' 7999')")).await;
    let page = "document.documentElement";
    browser
        .until(&format!("{page}.scrollTop + innerHeight > {page}.scrollHeight - 80"))
        .await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_says_when_an_answer_is_not_kept_any_more() {
    let llm = Program::start("llm").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/#{}", llm.url, "0".repeat(32))).await;
    browser.until(&format!("{NOTE} == 'This answer is not kept any more.'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_post_that_is_streamed_with_fetch_ends_with_its_connection() {
    let model = Program::start("model").await;
    let (url, cut) = cuttable(&model.url).await;
    let browser = Browser::start().await;
    browser.open(&format!("{url}/")).await;
    let script = include_str!("../pages/fetch.js")
        .replace("async function ask", "window.ask = async function ask");
    browser.eval(&format!("eval({})", json!(script))).await;
    let ask = "(window.text = '', window.end = '', ask('Hi', (token) => { window.text += token; })\
               .then(() => { window.end = 'done'; }, (error) => { window.end = String(error); }), 0)";
    browser.eval(ask).await;
    browser.until("window.end == 'done'").await;
    let text = browser.eval("window.text").await;
    assert!(text.as_str().unwrap().starts_with("I am only a stand-in"), "{text}");

    browser.eval(ask).await;
    browser.until("window.text.length > 20").await;
    cut.send(()).unwrap();
    browser.until("window.end.includes('network error')").await;
    // The page does not ask for the rest.
    browser.never("window.end == 'done'", 2 * SOON).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn chapter_7_asks_the_stand_in() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for page in ["llm.html", "it/llm.html"] {
        browser.open(&format!("{}/{page}", book.url)).await;
        let frame = "document.querySelector('live-page iframe').contentDocument";
        // The script has run: there is no answer yet.
        let idle = format!("{frame}?.querySelector('#answer')?.ariaBusy == 'false'");
        browser.until(&idle).await;
        browser
            .eval(&format!(
                "({frame}.querySelector('#prompt').value = 'Hi', {frame}.querySelector('form').requestSubmit())"
            ))
            .await;
        let answer = format!("{frame}.querySelector('#answer').textContent");
        browser.until(&format!("{answer}.startsWith('I am only a stand-in')")).await;

        let panel = "document.querySelector('live-stream')";
        browser.eval(&format!("{panel}.scrollIntoView()")).await;
        browser.until(&format!("{panel}.dataset.state == 'live'")).await;
        browser.until(&format!("{panel}.querySelectorAll('li').length > 5")).await;
    }
}

#[handler]
async fn foreign_page() -> Text<&'static str> {
    Text::Html("<!doctype html><title>another origin</title>")
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_page_of_another_origin_cannot_ask() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = Browser::start().await;
    browser.open(&serve(Router::new().get(foreign_page)).await).await;
    for (options, expected) in [
        // The browser asks first, and this server does not agree.
        (
            "{ method: 'POST', headers: { 'content-type': 'application/json' }, body }",
            "refused",
        ),
        // The browser sends it, and hides the answer: 415.
        ("{ method: 'POST', mode: 'no-cors', body }", "opaque"),
    ] {
        let ask = format!(
            "(window.end = '', body = JSON.stringify({{ prompt: 'Hi' }}), \
             fetch('{}/answers', {options}).then((response) => {{ end = response.type; }}, \
             () => {{ end = 'refused'; }}), 0)",
            llm.url
        );
        browser.eval(&ask).await;
        browser.until(&format!("end == '{expected}'")).await;
    }
    server.stays_alone_for(SOON).await;
}
