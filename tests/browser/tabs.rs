//! Many tabs of the book: a browser has six connections for all of them.

use tests::{Browser, Program};

/// The page in the first window of the panel, as JavaScript.
const FRAME: &str = "document.querySelector('live-page iframe')?.contentDocument";

fn text(id: &str) -> String {
    format!("{FRAME}?.querySelector('#{id}')?.textContent")
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_book_opens_although_six_tabs_show_panels_with_streams() {
    for browser in Browser::both().await {
        let book = Program::serve_book().await;
        let connected = format!("{} == 'connected'", text("state"));
        let asks = format!("!!{FRAME}?.querySelector('#prompt')");
        let open = format!("{} == 'OPEN'", text("state"));
        let mut tabs = Vec::new();
        for (page, is_ready) in [
            ("feed", &connected),
            ("chat", &connected),
            ("chat", &connected),
            ("llm", &asks),
            ("faults", &open),
        ] {
            tabs.push(browser.new_tab().await);
            browser.open(&format!("{}/{page}.html", book.url)).await;
            browser.until(is_ready).await;
        }
        // The book itself has the sixth connection.
        let click = format!("{FRAME}.querySelector('#open-seven').click()");
        browser.eval(&click).await;
        let note = text("seven-note");
        browser
            .until(&format!(
                "{note} == '5 open, 2 waiting: other pages have the rest.'"
            ))
            .await;

        browser.eval("document.querySelector('.turn a[rel=next]').click()").await;
        browser
            .until(
                "location.pathname == '/chat.html' && document.readyState == 'complete'",
            )
            .await;
        browser.new_tab().await;
        browser.open(&format!("{}/glossary.html", book.url)).await;

        // A tab that is looked at again has missed nothing.
        let write = book.request("POST", "/live/feed/events");
        let write =
            write.json(&serde_json::json!({ "type": "note", "data": "meanwhile" }));
        assert_eq!(book.send(write).await.status(), 201);
        browser.to_tab(tabs.swap_remove(0)).await;
        browser.until(&format!("{}.includes('meanwhile')", text("log"))).await;
        assert_eq!(browser.eval(&text("cuts")).await, "0");
    }
}
