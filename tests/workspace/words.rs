//! The words of the programs' pages: a table in each has them in other languages.

use std::collections::BTreeSet;
use std::fs;

use tests::root;

use crate::manifests::folders;

/// A page that has a table, and the scripts beside it.
struct Page {
    name: String,
    /// From the end of the style to the first script.
    html: String,
    table: String,
    /// The code that finds words in the table.
    translate: String,
    scripts: String,
}

/// The pages whose programs the book shows.
fn pages() -> Vec<Page> {
    let examples = root().join("examples");
    let page = |name: String| {
        let text =
            fs::read_to_string(examples.join(&name).join("index.html")).ok()?;
        let (_, rest) = text.split_once("</style>")?;
        let (html, _) = rest.split_once("<script")?;
        let (_, rest) = rest.split_once("const WORDS = {")?;
        let (table, rest) = rest.split_once("} };\n// ANCHOR: translate\n")?;
        let (translate, rest) = rest.split_once("// ANCHOR_END: translate\n")?;
        let mut scripts = rest.to_string();
        for entry in fs::read_dir(examples.join(&name)).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|kind| kind == "js") {
                scripts += &fs::read_to_string(file).unwrap();
            }
        }
        let [html, table, translate] = [html, table, translate].map(String::from);
        Some(Page { name, html, table, translate, scripts })
    };
    folders(&examples).into_iter().filter_map(page).collect()
}

/// The texts that a script gives to t, with `{}` in the place of each value.
fn said(scripts: &str) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    for (at, _) in scripts.match_indices("t`") {
        if scripts[..at].ends_with(|before: char| before.is_alphanumeric()) {
            continue;
        }
        let mut text = String::new();
        let mut depth = 0;
        let mut rest = scripts[at + 2..].chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '`' if depth == 0 => break,
                '$' if depth == 0 && rest.peek() == Some(&'{') => {
                    text.push_str("{}")
                }
                '{' => depth += 1,
                '}' => depth -= 1,
                c if depth == 0 => text.push(c),
                _ => {}
            }
        }
        said.insert(text);
    }
    said
}

/// The words that stand in the page from the start: its texts, labels and placeholders.
fn shown(html: &str) -> BTreeSet<String> {
    let (html, _) = html.split_once("<noscript>").unwrap();
    let texts = html.split('>').filter_map(|part| part.split('<').next());
    let labels = ["aria-label=\"", "placeholder=\""].into_iter().flat_map(|name| {
        html.split(name).skip(1).filter_map(|rest| rest.split('"').next())
    });
    texts.chain(labels).map(|text| text.trim().to_string()).collect()
}

#[test]
fn the_pages_that_the_book_shows_have_their_words_in_italian() {
    let pages = pages();
    let names: Vec<_> = pages.iter().map(|page| &*page.name).collect();
    assert_eq!(names, ["boxes", "chat", "faults", "feed", "llm", "page"]);
    for Page { name, html, table, translate, scripts } in &pages {
        assert_eq!(translate, &pages[0].translate, "{name}: the same code in each");
        let mut used = said(scripts);
        // A name and a number are the same in every language.
        let names = ["", "0", "–", name];
        used.extend(
            shown(html).into_iter().filter(|text| !names.contains(&&**text)),
        );
        let has = |text: &str| {
            table.contains(&format!("'{text}':"))
                || table.contains(&format!("\"{text}\":"))
        };
        for text in &used {
            assert!(has(text), "{name}: no Italian for {text:?}");
        }
        let words = table.matches("': ").count() + table.matches("':\n").count();
        assert_eq!(words, used.len(), "{name}: words that the page does not use");
    }
}
