//! `cargo book build`: the pages that it makes, and what it refuses.

use std::fs;
use std::path::PathBuf;

use tests::{copy_book, root, run_book};

use crate::{built, edit};

#[test]
fn every_page_says_its_language_its_title_and_its_other_languages() {
    let folder = copy_book();
    edit(folder.path(), "book.toml", "# site-url", "site-url");
    edit(folder.path(), "book.toml", "# edit-url-template", "edit-url-template");
    let page = built(folder.path(), "it/tick.html");
    let base = "https://example.org/sse/";
    for sign in [
        "<html lang=\"it\" dir=\"ltr\">",
        "<title>2. Il primo stream - Server-Sent Events in Rust</title>",
        &format!("<link rel=\"canonical\" href=\"{base}it/tick.html\">"),
        &format!("hreflang=\"en\" href=\"{base}tick.html\">"),
        &format!("hreflang=\"it\" href=\"{base}it/tick.html\">"),
        &format!("hreflang=\"x-default\" href=\"{base}tick.html\">"),
        // The picker, with JavaScript off, keeps the page.
        "<a href=\"../tick.html\" lang=\"en\" hreflang=\"en\">English</a>",
        "<a href=\"../it/tick.html\" lang=\"it\" hreflang=\"it\" aria-current=\"true\">Italiano</a>",
        "<h2 id=\"named-events\"><a class=\"header\" href=\"#named-events\">Eventi con nome</a></h2>",
        "href=\"https://example.org/edit/main/src/it/tick.md\"",
        "aria-label=\"Indice\"",
    ] {
        assert!(page.contains(sign), "no {sign}");
    }
    let english = fs::read_to_string(folder.path().join("out/tick.html")).unwrap();
    assert!(english.contains("https://example.org/edit/main/src/en/tick.md"));
    let start = fs::read_to_string(folder.path().join("out/index.html")).unwrap();
    assert!(start.contains(&format!("<link rel=\"canonical\" href=\"{base}\">")));
}

#[test]
fn without_a_public_address_nothing_is_absolute_and_no_page_can_be_edited() {
    let folder = copy_book();
    let page = built(folder.path(), "it/tick.html");
    assert!(!page.contains("canonical") && !page.contains("rel=\"edit\""));
    assert!(
        !page.contains("og:url")
            && !page.contains("<link rel=\"alternate\" hreflang")
    );
    // The picker leads to the other languages all the same.
    assert!(page.contains("<a href=\"../tick.html\" lang=\"en\" hreflang=\"en\">"));
    for file in ["sitemap.xml", "robots.txt"] {
        assert!(!folder.path().join("out").join(file).exists(), "{file}");
    }
}

#[test]
fn without_javascript_a_page_shows_the_text_of_the_recording() {
    let folder = copy_book();
    let page = built(folder.path(), "tick.html");
    assert!(
        page.contains("<pre class=\"recording\"><code>data: 1\n\ndata: 2\n\n"),
        "{page}"
    );
}

#[test]
fn the_404_page_speaks_all_languages_and_refers_to_nothing() {
    let folder = copy_book();
    let page = built(folder.path(), "404.html");
    assert!(page.contains("<section lang=\"en\">\n<h1>There is no such page"));
    assert!(page.contains("<section lang=\"it\">\n<h1>Questa pagina non esiste"));
    assert!(!page.contains("src=") && !page.contains("<link rel=\"stylesheet\""));
    assert!(!folder.path().join("out/it/404.html").exists());
}

#[test]
fn the_404_page_leads_to_the_public_address_in_each_language() {
    let folder = copy_book();
    edit(folder.path(), "book.toml", "# site-url", "site-url");
    let page = built(folder.path(), "404.html");
    for home in ["https://example.org/sse/", "https://example.org/sse/it/"] {
        assert!(page.contains(&format!("href=\"{home}\"")), "{home}: {page}");
    }
}

#[test]
fn a_build_holds_no_script_and_no_style_that_no_page_uses() {
    let folder = copy_book();
    built(folder.path(), "index.html");
    let out = folder.path().join("out");
    let mut files = Vec::new();
    let mut folders = vec![out];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let name =
        |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_string();
    let is = |file: &PathBuf, kinds: &[&str]| {
        file.extension().is_some_and(|kind| kinds.iter().any(|one| *one == kind))
    };
    let texts: Vec<_> = files
        .iter()
        .filter(|file| is(file, &["html", "js", "css"]))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let scripts: Vec<_> =
        files.iter().filter(|file| is(file, &["js", "css"])).collect();
    assert!(scripts.len() > 5, "{scripts:?}");
    for file in scripts {
        let name = name(file);
        assert!(texts.iter().any(|text| text.contains(&name)), "nobody uses {name}");
    }
    assert!(!files.iter().any(|file| name(file) == "toc.html"));
}

#[test]
fn a_build_replaces_a_build_but_no_other_folder() {
    let folder = copy_book();
    built(folder.path(), "index.html");
    built(folder.path(), "index.html");
    let refused = run_book(folder.path(), &["build", "--dest", "src"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("holds something else than a built book"));
    assert!(folder.path().join("src/en/tick.md").exists());
}

#[test]
fn a_build_with_a_broken_include_fails_and_says_where() {
    let folder = copy_book();
    edit(folder.path(), "src/en/tick.md", "main.rs:router", "main.rs:route");
    let ended = run_book(folder.path(), &["build", "--dest", "out"]);
    assert_eq!(ended.code, Some(1));
    let place = "src/en/tick.md:";
    assert!(ended.stderr.starts_with(place), "{}", ended.stderr);
    assert!(ended.stderr.contains("ANCHOR: route"), "{}", ended.stderr);
}

#[test]
fn mistakes_in_settings_are_one_clear_line() {
    for (file, from, to, says) in [
        (
            "book.toml",
            "# site-url = \"https:",
            "site-url = \"sse:",
            "book.toml: site-url",
        ),
        ("src/it/language.toml", "name =", "nome =", "src/it/language.toml"),
    ] {
        let folder = copy_book();
        edit(folder.path(), file, from, to);
        let ended = run_book(folder.path(), &["build"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    let nowhere = tempfile::tempdir().unwrap();
    let ended = run_book(nowhere.path(), &["build"]);
    assert!(ended.stderr.starts_with("error: no book.toml in"), "{}", ended.stderr);
}

#[test]
fn help_names_the_commands() {
    let help = run_book(&root(), &["--help"]);
    assert_eq!(help.code, Some(0));
    for word in ["build", "check", "translate", "BOOK_ADDR", "127.0.0.1:3000"] {
        assert!(help.stdout.contains(word), "{}", help.stdout);
    }
}
