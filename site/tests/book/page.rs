//! The parts of a page besides its text: its place in the book, and its contents.

use std::fs;

use std::process::Command;

use tests::copy_book;

use crate::{built, edit};

#[test]
fn a_page_has_its_contents_below_its_chapter_and_beside_its_text() {
    let folder = copy_book();
    let page = built(folder.path(), "it/tick.html");
    let entry = "<a href=\"#named-events\">Eventi con nome</a>";
    let (chapters, rest) = page.split_once("</nav>").unwrap();
    assert!(chapters.contains(entry));
    let (_, beside) = rest
        .split_once("<nav class=\"sections\" aria-label=\"In questa pagina\">")
        .unwrap();
    assert!(beside.contains(entry));
    // Another chapter's sections are on its own page.
    assert!(!page.contains("#the-grammar\">"));
    let whole = fs::read_to_string(folder.path().join("out/it/print.html")).unwrap();
    assert!(!whole.contains("<nav class=\"sections\""));
}

#[test]
fn a_chapter_s_number_stands_in_its_title_and_in_the_links_to_it() {
    let folder = copy_book();
    let page = built(folder.path(), "it/tick.html");
    for sign in [
        "<title>2. Il primo stream - ",
        "<h1 id=\"the-first-stream\"><a class=\"header\" href=\"#the-first-stream\">2. Il primo stream</a></h1>",
        "<a rel=\"prev\" href=\"hello.html\"><span>Precedente</span> 1. Una risposta",
        "<a rel=\"next\" href=\"async-tasks.html\"><span>Successivo</span> 2.1. Async: i task",
        "<a class=\"chapter\" href=\"#content\">2. Il primo stream</a>",
    ] {
        assert!(page.contains(sign), "no {sign}");
    }
    let appendix =
        fs::read_to_string(folder.path().join("out/glossary.html")).unwrap();
    assert!(appendix.contains("href=\"#glossary\">Glossary</a></h1>"));
}

#[test]
fn the_whole_book_has_a_title_contents_and_nothing_folded() {
    let folder = copy_book();
    let page = built(folder.path(), "it/print.html");
    assert!(page.contains("<p class=\"title\">Server-Sent Events in Rust"));
    assert!(
        page.contains(
            "<li><a href=\"#the-first-stream\">2. Il primo stream</a></li>"
        )
    );
    assert!(page.contains("<details open>") && !page.contains("<details>"));
}

#[test]
fn a_built_page_has_no_style_of_its_own_no_empty_heading_and_clean_ids() {
    let folder = copy_book();
    for name in ["glossary.html", "faults.html"] {
        let page = built(folder.path(), name);
        let (_, main) = page.split_once("<main>").unwrap();
        assert!(!main.contains(" style=\"text-align"), "{name}");
        assert!(!main.contains("<th></th>"), "{name}");
        assert!(!page.contains("</li></li>"), "{name}");
    }
    let glossary =
        fs::read_to_string(folder.path().join("out/glossary.html")).unwrap();
    assert!(
        glossary
            .contains("<dt id=\"comment\"><a class=\"header\" href=\"#comment\">")
    );
}

#[test]
fn a_page_that_is_shared_shows_its_title_and_its_question() {
    let folder = copy_book();
    let page = built(folder.path(), "it/tick.html");
    let question =
        "Come invio eventi da un vero framework web e come li ricevo in un browser?";
    for sign in [
        &format!("<meta name=\"description\" content=\"{question}\">"),
        "<meta property=\"og:title\" content=\"2. Il primo stream\">",
        &format!("<meta property=\"og:description\" content=\"{question}\">"),
        "<meta property=\"og:locale\" content=\"it\">",
    ] {
        assert!(page.contains(sign), "no {sign}");
    }
}

#[test]
fn machines_find_every_page_with_its_address_and_as_markdown() {
    let folder = copy_book();
    let book = folder.path();
    edit(book, "book.toml", "# site-url", "site-url");
    fs::remove_file(book.join("src/it/hello.md")).unwrap();
    let page = built(book, "tick.html");
    assert!(page.contains(
        "<link rel=\"alternate\" type=\"text/markdown\" href=\"tick.md\">"
    ));
    let read = |file: &str| fs::read_to_string(book.join("out").join(file)).unwrap();
    let base = "https://example.org/sse/";

    let map = read("sitemap.xml");
    for url in ["", "tick.html", "it/", "it/tick.html"] {
        assert!(map.contains(&format!("<loc>{base}{url}</loc>")), "{url}: {map}");
    }
    // The English page stands there once.
    assert!(!map.contains("it/hello.html"), "{map}");
    assert!(read("robots.txt").ends_with(&format!("Sitemap: {base}sitemap.xml\n")));

    let list = read("llms.txt");
    let entry = format!("- [The first stream]({base}tick.md): How do I send events");
    assert!(list.contains(&entry), "{list}");
    assert!(
        list.contains(&format!("]({base}it/tick.md): Come invio eventi")),
        "{list}"
    );
    assert!(!list.contains("it/hello.md"), "{list}");
    let markdown = read("it/tick.md");
    assert!(
        markdown.contains("# Il primo stream")
            && markdown.contains("pub fn router() -> Router")
    );
    assert!(!markdown.contains("{{#include"));
}

#[test]
fn a_page_says_when_it_changed_where_git_knows() {
    let folder = copy_book();
    let book = folder.path();
    let version = format!("Version {}", env!("CARGO_PKG_VERSION"));
    let before = built(book, "tick.html");
    assert!(before.contains(&format!("<p class=\"version\">{version}</p>")));
    assert!(!before.contains("This page changed on"));
    for arguments in
        [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "The book"]]
    {
        let git = Command::new("git")
            .current_dir(book)
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"])
            .args(arguments)
            .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
            .status();
        assert!(git.unwrap().success());
    }
    let after = built(book, "it/tick.html");
    assert!(after.contains(", 2026-01-02)</p>"), "{after}");
    assert!(
        after.contains("Ultima modifica di questa pagina: <time>2026-01-02</time>")
    );
}

#[test]
fn a_listing_leads_to_its_whole_file_in_the_book_or_in_a_repository_with_an_address()
{
    let folder = copy_book();
    let book = folder.path();
    let plain = built(book, "tick.html");
    let copy = "files/examples/tick/main.rs.txt";
    assert!(plain.contains(&format!(
        "<p class=\"file\"><a href=\"{copy}\">examples/tick/main.rs</a></p>\n<pre><code"
    )));
    let below = built(book, "it/tick.html");
    assert!(below.contains(&format!("<a href=\"../{copy}\">examples/tick/main.rs")));
    let file = fs::read_to_string(book.join("examples/tick/main.rs")).unwrap();
    let lines: Vec<_> =
        file.lines().filter(|line| !line.contains("ANCHOR")).collect();
    let copied = built(book, copy);
    assert_eq!(copied.lines().collect::<Vec<_>>(), lines);
    assert!(plain.contains("<code>two_<wbr>readers_<wbr>count_<wbr>apart</code>"));
    let url = "[output.html]\ngit-repository-url = \"https://example.org/sse\"\n";
    edit(book, "book.toml", "[output.html]\n", url);
    fs::create_dir_all(book.join("tests/tick")).unwrap();
    fs::write(
        book.join("tests/tick/main.rs"),
        "async fn two_readers_count_apart() {}\n",
    )
    .unwrap();
    let linked = built(book, "tick.html");
    let base = "https://example.org/sse/blob/HEAD";
    for link in [
        format!(
            "<a href=\"{base}/examples/tick/main.rs\">examples/tick/main.rs</a>"
        ),
        format!("<a href=\"{base}/tests/tick/main.rs\"><code>two_<wbr>readers"),
    ] {
        assert!(linked.contains(&link), "no {link}");
    }
}

/// A part of a file may be a method, which is indented in its file.
#[test]
fn no_listing_is_indented_as_a_whole() {
    let folder = copy_book();
    let page = built(folder.path(), "chat.html");
    for listing in page.split("<pre><code class=\"language-rust\">").skip(1) {
        let (code, _) = listing.split_once("</code>").unwrap();
        let mut lines = code.lines().filter(|line| !line.is_empty());
        assert!(lines.any(|line| !line.starts_with(' ')), "{code}");
    }
}
