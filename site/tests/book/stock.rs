//! The book and stock mdBook: a plain `mdbook build` gives the English book, and the theme
//! stands in for files of mdBook that must be looked at again when they change.

use std::fs;
use std::path::Path;

use mdbook_driver::MDBook;
use mdbook_driver::config::HtmlConfig;
use mdbook_html::theme::Theme;
use sha1::{Digest, Sha1};

fn hash(file: &Path) -> String {
    format!("{:x}", Sha1::digest(fs::read(file).unwrap()))
}

#[test]
fn the_files_of_mdbook_that_the_theme_replaces_have_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    Theme::copy_theme(&HtmlConfig::default(), folder.path()).unwrap();
    let theme = folder.path().join("theme");
    let replaced = [
        ("index.hbs", "e166bf337c2bb5e011826de9b5b9a08a21db4ec9"),
        ("book.js", "3c956f06036646a771f93804e70241bf5c573273"),
        ("css/general.css", "cc0d7d15acdccf5c575e7ac5d1826559889817db"),
        ("css/chrome.css", "ce0677ee91321f122d1f1c538ecc65accda17dc4"),
    ];
    for (name, known) in replaced {
        let now = hash(&theme.join(name));
        assert_eq!(
            now, known,
            "compare mdBook's {name} with theme/, then note its hash"
        );
    }
}

#[test]
fn a_plain_mdbook_build_gives_the_english_book() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The command `mdbook build` does this, with its defaults.
    let mut book = MDBook::load(root).unwrap();
    book.config.build.build_dir = folder.path().to_path_buf();
    book.build().unwrap();

    let page = fs::read_to_string(folder.path().join("tick.html")).unwrap();
    assert!(page.contains("<html lang=\"en\" dir=\"ltr\">"));
    assert!(page.contains("<h1 id=\"the-first-stream\">"));
    assert!(page.contains("pub fn router() -&gt; Router"));
    assert!(page.contains("aria-label=\"Contents\""));
    // `cargo book` says here where the search is; the page takes its button away.
    assert!(page.contains("data-search=\"\""));
    // The recording is there as lines, in the form that the panel reads, too.
    let lines = "<code class=\"language-jsonl\">{\"ms\":";
    assert!(
        page.contains(lines) || page.contains(&lines.replace('"', "&quot;")),
        "{page}"
    );
    let main = page.split("<main>").nth(1).unwrap();
    assert!(!main.contains("{{#include"), "{main}");
    assert!(!folder.path().join("it").exists());
}
