//! The parts of a page besides its text: its place in the book, and its contents.

use std::fs;

use tests::copy_book;

use crate::built;

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
        "<a rel=\"next\" href=\"wire.html\"><span>Successivo</span> 3. Il formato",
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
