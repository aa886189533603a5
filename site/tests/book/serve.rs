//! `cargo book`: the pages that it serves, and how they follow their sources.

use tests::{Program, book, copy_book, until};

use crate::{add, edit};

#[tokio::test]
async fn served_pages_are_compressed_and_streams_are_not() {
    let book = Program::serve_book().await;
    let get = |path| book.request("GET", path).header("accept-encoding", "gzip");
    let page = book.send(get("/tick.html")).await;
    assert_eq!(page.headers()["content-encoding"], "gzip");
    assert_eq!(page.headers()["cache-control"], "no-cache");
    for stream in ["/live/tick/ticks", "/live/reload"] {
        let stream = book.send(get(stream)).await;
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        assert_eq!(stream.headers()["x-accel-buffering"], "no");
        assert!(!stream.headers().contains_key("content-encoding"));
    }
    let html = book.get("/tick.html").await.text().await.unwrap();
    let (_, rest) = html.split_once("css/general-").unwrap();
    let (hash, _) = rest.split_once('"').unwrap();
    let css = book.send(get(&format!("/css/general-{hash}"))).await;
    assert_eq!(css.headers()["content-encoding"], "gzip");
    assert!(css.headers()["cache-control"].to_str().unwrap().contains("immutable"));
}

#[tokio::test]
async fn a_script_is_asked_for_again_because_its_name_does_not_know_its_imports() {
    let book = Program::serve_book().await;
    let html = book.get("/chat.html").await.text().await.unwrap();
    let (_, rest) = html.split_once("theme/live-page-").unwrap();
    let (hash, _) = rest.split_once('"').unwrap();
    let script = book.get(&format!("/theme/live-page-{hash}")).await;
    assert_eq!(script.status(), 200);
    assert_eq!(script.headers()["cache-control"], "no-cache");
    let etag = script.headers()["etag"].clone();
    let again = book.request("GET", &format!("/theme/live-page-{hash}"));
    let again = book.send(again.header("if-none-match", etag)).await;
    assert_eq!(again.status(), 304);
}

#[tokio::test]
async fn addresses_that_lead_nowhere_get_the_book_s_404_page() {
    let book = Program::serve_book().await;
    for path in ["/nothing", "/it/nothing.html", "/a/b/c"] {
        let answer = book.get(path).await;
        assert_eq!(answer.status(), 404);
        assert!(answer.text().await.unwrap().contains("Questa pagina non esiste"));
    }
    // Below `live/`, the programs answer in their own words.
    let answer = book.get("/live/tick/nothing").await;
    assert_eq!(answer.status(), 404);
    assert!(!answer.text().await.unwrap().contains("Questa pagina non esiste"));
    let posted = book.send(book.request("POST", "/tick.html")).await;
    assert_eq!(posted.status(), 405);
    let head = book.send(book.request("HEAD", "/tick.html")).await;
    assert_eq!(head.status(), 200);
    // A program's own page has relative addresses, so it needs the slash.
    let program = book.get("/live/tick").await;
    assert_eq!(program.url().path(), "/live/tick/");
    assert!(program.text().await.unwrap().contains("<title>tick</title>"));
}

#[tokio::test]
async fn a_new_page_appears_in_every_language_when_it_is_saved() {
    let book = Program::serve_book().await;
    let mut builds = book.events("/live/reload").await;
    let before = builds.build().await;
    add(book.folder(), "src/en/x.md", "# A new page\n");
    edit(
        book.folder(),
        "src/en/SUMMARY.md",
        "[Glossary](glossary.md)",
        "[Glossary](glossary.md)\n[A new page](x.md)",
    );
    for path in ["/x.html", "/it/x.html"] {
        until(path, async || book.get(path).await.status() == 200).await;
        let page = book.get(path).await.text().await.unwrap();
        assert!(page.contains("<h1 id=\"a-new-page\">"));
    }
    assert_ne!(builds.build().await.data, before.data);
    let other = book.get("/it/tick.html").await.text().await.unwrap();
    assert!(other.contains("<a href=\"x.html\">A new page</a>"));
    // The Italian titles stay.
    assert!(
        other.contains("Il primo stream</a>") && other.contains(">Imparare</li>")
    );
}

#[tokio::test]
async fn a_program_that_has_changed_is_named() {
    let book = Program::serve_book().await;
    let says = || {
        let lines = book.stdout();
        let changed = lines.iter().filter(|line| line.contains(" changed: "));
        changed.cloned().collect::<Vec<_>>()
    };
    let mut builds = book.events("/live/reload").await;
    builds.build().await;
    edit(book.folder(), "examples/tick/index.html", "<h1>tick", "<h1>tock");
    builds.build().await;
    let line = "tick changed: start `cargo book` again to run it live";
    until(line, async || says() == [line]).await;
}

#[tokio::test]
async fn two_servers_of_one_book_do_not_write_over_each_other_s_pages() {
    let one = Program::serve_book().await;
    let other = Program::serve_book_in(one.folder()).await;
    for (server, origin) in [(&one, &one.url), (&other, &other.url)] {
        let page = server.get("/tick.html").await.text().await.unwrap();
        let canonical =
            format!("<link rel=\"canonical\" href=\"{origin}/tick.html\">");
        assert!(page.contains(&canonical), "{canonical}");
    }
}

#[tokio::test]
async fn a_mistake_while_writing_leaves_the_last_good_pages() {
    let book = Program::serve_book().await;
    edit(book.folder(), "src/it/language.toml", "[words]", "[words");
    until("a word on stderr", async || book.stderr().contains("language.toml"))
        .await;
    assert_eq!(book.get("/tick.html").await.status(), 200);
    edit(book.folder(), "src/it/language.toml", "[words", "[words]");
    edit(book.folder(), "src/en/tick.md", "# The first stream", "# Mended");
    until("the page", async || {
        book.get("/tick.html").await.text().await.unwrap().contains("Mended")
    })
    .await;
}

#[test]
fn a_taken_book_addr_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let folder = copy_book();
    let output = book(folder.path()).env("BOOK_ADDR", &addr).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains(&addr) && stderr.contains("BOOK_ADDR=127.0.0.1:0"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
