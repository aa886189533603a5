//! Translations: how the book shows pages that are missing or stale, and how `cargo book
//! translate` helps.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{copy_book, run_book};

use crate::{built, edit};

/// Makes an Italian page translate the English one as it is now.
fn refresh(book: &Path, page: &str) {
    let ended = run_book(book, &["translate", "it", page]);
    let first = ended.stdout.lines().rfind(|line| line.starts_with("<!--")).unwrap();
    let path = book.join("src/it").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(path, format!("{first}\n{rest}")).unwrap();
}

#[test]
fn an_untranslated_page_shows_english_under_a_note() {
    let folder = copy_book();
    fs::remove_file(folder.path().join("src/it/tick.md")).unwrap();
    let page = built(folder.path(), "it/tick.html");
    assert!(page.contains("Questa pagina non è ancora tradotta"));
    assert!(page.contains("<main lang=\"en\">"));
    assert!(page.contains("<h1 id=\"the-first-stream\">"));
    // Search engines are told that this is the English page once more.
    assert!(!page.contains("hreflang=\"it\" href=\"../it/tick.html\">\n<link"));

    // A page that a translator has only begun is still English.
    run_book(folder.path(), &["translate", "it", "tick"]);
    assert!(built(folder.path(), "it/tick.html").contains("non è ancora tradotta"));
}

#[test]
fn a_stale_page_is_shown_under_a_note_and_its_translator_sees_what_changed() {
    let folder = copy_book();
    let book = folder.path();
    let git = |arguments: &[&str]| {
        let done =
            Command::new("git").current_dir(book).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    edit(book, "src/en/tick.md", "# The first stream", "# The very first stream");
    let page = built(book, "it/tick.html");
    assert!(page.contains("La pagina inglese è cambiata"));
    assert!(page.contains("<h1 id=\"the-very-first-stream\">"));
    assert!(page.contains(
        "<a href=\"../tick.html\" lang=\"en\" hreflang=\"en\">English</a></p>"
    ));

    let shown = run_book(book, &["translate", "it", "tick.md"]);
    assert!(shown.stdout.contains("{+very+}"), "{}{}", shown.stdout, shown.stderr);
    refresh(book, "tick.md");
    let current = run_book(book, &["translate", "it", "tick.md"]);
    assert_eq!(current.stdout, "src/it/tick.md is up to date\n");
    assert!(!built(book, "it/tick.html").contains("La pagina inglese"));
}

#[test]
fn a_translator_starts_a_page_with_one_command_and_a_language_too() {
    let folder = copy_book();
    let started = run_book(folder.path(), &["translate", "pt-BR", "src/en/tick.md"]);
    assert_eq!(started.code, Some(0), "{}", started.stderr);
    let text = fs::read_to_string(folder.path().join("src/pt-BR/tick.md")).unwrap();
    let english = fs::read_to_string(folder.path().join("src/en/tick.md")).unwrap();
    assert!(text.starts_with("<!-- translates: "));
    // The ids of headings stay in the English page.
    let own: Vec<_> = text.lines().skip(1).collect();
    let theirs: Vec<_> =
        english.lines().filter_map(|line| line.split(" {#").next()).collect();
    assert_eq!(own, theirs);

    let checked = run_book(folder.path(), &["check"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    assert!(checked.stdout.contains("pt-BR: tick.md still holds the English text"));
    let unnamed = "pt-BR: language.toml gives the tag as the language's name";
    assert!(checked.stdout.contains(unnamed), "{}", checked.stdout);
    let page = built(folder.path(), "pt-BR/hello.html");
    assert!(page.contains("<html lang=\"pt-BR\""));
    assert!(page.contains("not translated yet"));

    for (arguments, says) in [
        (
            ["translate", "it", "nothing.md"],
            "there is no page nothing.md; there are index.md",
        ),
        (
            ["translate", "en", "tick.md"],
            "`en` is the language that the others translate",
        ),
        (["translate", "../x", "tick.md"], "`../x` is no language tag"),
    ] {
        let refused = run_book(folder.path(), &arguments);
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}

/// One translator sends a page, without titles and words, and nothing of it is wrong.
#[test]
fn a_language_with_one_page_breaks_nothing() {
    let folder = copy_book();
    let book = folder.path();
    let english = run_book(book, &["check", "--complete", "it"]);
    assert_eq!(english.code, Some(0), "{}", english.stdout);
    run_book(book, &["translate", "xx", "tick.md"]);
    edit(book, "src/xx/tick.md", "# The first stream", "# La unua fluo");
    let checked = run_book(book, &["check", "--complete", "it"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    assert!(!checked.stdout.contains("tick.md"), "{}", checked.stdout);
    let page = built(book, "xx/tick.html");
    assert!(
        page.contains("<h1 id=\"the-first-stream\">")
            && page.contains("La unua fluo")
    );
    assert!(!page.contains("not translated yet</p>"));
    for page in ["index.html", "it/index.html"] {
        let page = fs::read_to_string(book.join("out").join(page)).unwrap();
        assert!(page.contains("lang=\"xx\""), "{page}");
    }
}

/// Git knows no text that was never committed, and says so in words that frighten.
#[test]
fn a_page_that_was_never_committed_is_compared_without_a_word_of_git() {
    let folder = copy_book();
    let book = folder.path();
    for repository in [false, true] {
        if repository {
            let made =
                Command::new("git").current_dir(book).args(["init", "-q"]).status();
            assert!(made.unwrap().success());
        }
        edit(book, "src/en/tick.md", "# The", "# The very");
        let shown = run_book(book, &["translate", "it", "tick.md"]);
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        assert!(
            shown.stdout.contains("The history has no text"),
            "{}",
            shown.stdout
        );
        assert_eq!(shown.stderr, "");
    }
}
