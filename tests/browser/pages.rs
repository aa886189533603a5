//! The pages of `chat`, `feed` and `llm` in Firefox: they open, show what comes, and go on
//! after their server was away, or after a reload. The rest of each page is tested in Chromium, beside its
//! program.

use serde_json::json;
use tests::{Browser, Program};

const CONNECTED: &str =
    "document.querySelector('#state').textContent == 'connected'";
const LOG: &str = "document.querySelector('#log').textContent";

/// Where a program listens, to start it there again.
fn address(program: &Program) -> String {
    program.url.strip_prefix("http://").unwrap().to_string()
}

#[tokio::test]
#[ignore = "needs firefox-esr"]
async fn the_chat_page_goes_on_in_firefox_when_its_server_is_back() {
    let mut chat = Program::start("chat").await;
    let address = address(&chat);
    let browser = Browser::firefox().await;
    browser.open(&format!("{}/", chat.url)).await;
    for text in ["before", "after"] {
        browser.until(CONNECTED).await;
        let id = "1".repeat(32);
        let _bob = chat.events(&format!("/chat?as={id}")).await;
        let say = chat.request("POST", &format!("/chat/{id}"));
        assert_eq!(chat.send(say.body(text)).await.status(), 204);
        browser.until(&format!("{LOG}.includes('{text}')")).await;
        chat.stop();
        browser.until(&format!("!({CONNECTED})")).await;
        chat = Program::start_at("chat", &address).await;
    }
}

#[tokio::test]
#[ignore = "needs firefox-esr"]
async fn the_feed_page_goes_on_in_firefox_when_its_server_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = [("FEED_DIR", folder.path().to_str().unwrap())];
    let mut feed = Program::start_with("feed", &folder).await;
    let address = address(&feed);
    let browser = Browser::firefox().await;
    browser.open(&format!("{}/", feed.url)).await;
    for text in ["before", "after"] {
        browser.until(CONNECTED).await;
        let post = feed.request("POST", "/events");
        let post = post.json(&json!({ "type": "note", "data": text }));
        assert_eq!(feed.send(post).await.status(), 201);
        browser.until(&format!("{LOG}.includes('{text}')")).await;
        feed.stop();
        browser.until(&format!("!({CONNECTED})")).await;
        let again = [folder[0], ("ADDR", &*address)];
        feed = Program::start_with("feed", &again).await;
    }
}

#[tokio::test]
#[ignore = "needs firefox-esr"]
async fn the_llm_page_goes_on_in_firefox_after_a_reload() {
    let llm = Program::start("llm").await;
    let browser = Browser::firefox().await;
    browser.open(&format!("{}/", llm.url)).await;
    let ask = "(document.querySelector('#prompt').value = 'Count', \
        document.querySelector('form').requestSubmit(), 0)";
    browser.eval(ask).await;
    let answer = "document.querySelector('#answer').textContent";
    browser.until(&format!("{answer}.length > 20")).await;
    let before = browser.eval(answer).await;
    let before = before.as_str().unwrap();
    browser.open(browser.eval("location.href").await.as_str().unwrap()).await;
    let more = format!("{answer}.length > {} + 20", before.len());
    browser.until(&format!("{answer}.startsWith({before:?}) && {more}")).await;
}
