//! A book with more than two languages, and one whose own words are missing in part.

use std::fs;

use tests::{copy_book, run_book};

use crate::{add, built, edit};

#[test]
fn the_picker_lists_english_first_and_the_others_by_their_tags() {
    let folder = copy_book();
    for tag in ["pt-BR", "de", "eo", "zh"] {
        let started = run_book(folder.path(), &["translate", tag, "tick.md"]);
        assert_eq!(started.code, Some(0), "{}", started.stderr);
    }
    let page = built(folder.path(), "it/tick.html");
    let (_, picker) = page.split_once("../tick.html\" lang=\"en\"").unwrap();
    let places = ["de", "eo", "it", "pt-BR", "zh"].map(|tag| {
        let entry = format!("../{tag}/tick.html\" lang=\"{tag}\"");
        picker.find(&entry).unwrap_or_else(|| panic!("no {tag}: {picker}"))
    });
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn a_picture_of_a_language_takes_the_place_of_the_english_one() {
    let folder = copy_book();
    add(folder.path(), "src/en/pictures/states.svg", "<svg>English</svg>");
    add(folder.path(), "src/en/pictures/other.svg", "<svg>for all</svg>");
    add(folder.path(), "src/it/pictures/states.svg", "<svg>italiano</svg>");
    built(folder.path(), "index.html");
    for (file, text) in [
        ("pictures/states.svg", "<svg>English</svg>"),
        ("it/pictures/states.svg", "<svg>italiano</svg>"),
        ("it/pictures/other.svg", "<svg>for all</svg>"),
    ] {
        let file = folder.path().join("out").join(file);
        assert_eq!(fs::read_to_string(file).unwrap(), text);
    }
}

#[test]
fn the_listings_of_a_translated_page_say_that_they_are_english() {
    let folder = copy_book();
    let italian = built(folder.path(), "it/tick.html");
    let marked = italian.matches("<pre lang=\"en\"").count();
    assert!(marked > 5, "{marked}");
    assert_eq!(marked, italian.matches("<pre").count());
    let english = fs::read_to_string(folder.path().join("out/tick.html")).unwrap();
    assert_eq!(english.matches("<pre").count(), marked);
    assert!(!english.contains("<pre lang"));
}

#[test]
fn a_figure_that_was_recorded_has_the_decimal_comma_of_the_page() {
    let folder = copy_book();
    let table = "\n| store | s |\n| --- | --: |\n| redb 4.6.0 | 0.65 ms |\n| v1.2 | 1.00 |\n";
    for page in ["src/en/glossary.md", "src/it/glossary.md"] {
        add(folder.path(), page, table);
    }
    let cells = |page: &str| {
        let (_, table) = page.split_once("<tbody>").unwrap();
        let cells = table.split("<td").skip(1).take(4).map(|cell| {
            let text = cell.split_once('>').unwrap().1;
            text.split_once("</td>").unwrap().0.to_string()
        });
        cells.collect::<Vec<_>>()
    };
    let english = built(folder.path(), "glossary.html");
    assert_eq!(cells(&english), ["redb 4.6.0", "0.65 ms", "v1.2", "1.00"]);
    let italian =
        fs::read_to_string(folder.path().join("out/it/glossary.html")).unwrap();
    assert_eq!(cells(&italian), ["redb 4.6.0", "0,65 ms", "v1.2", "1,00"]);
}

/// Titles of parts have no path, so they are found by their order. Where one is missing,
/// all the others would stand over the wrong part.
#[test]
fn where_a_title_of_a_part_is_missing_all_of_them_are_english() {
    let folder = copy_book();
    let parts = |page: &str| {
        let titles = page.split("class=\"part-title\">").skip(1);
        titles.map(|rest| rest.split('<').next().unwrap().to_string()).collect()
    };
    let before: Vec<String> = parts(&built(folder.path(), "it/tick.html"));
    assert_eq!(before, ["Imparare", "Resistere", "Crescere"]);
    edit(folder.path(), "src/it/SUMMARY.md", "# Resistere\n", "");
    let after: Vec<String> = parts(&built(folder.path(), "it/tick.html"));
    assert_eq!(after, ["Learn", "Hold", "Grow"]);
}

#[test]
fn what_a_language_lacks_is_listed_and_fatal_where_it_must_be_complete() {
    let folder = copy_book();
    edit(folder.path(), "src/it/SUMMARY.md", "# Resistere\n", "");
    edit(folder.path(), "src/it/SUMMARY.md", "- [Il primo stream](tick.md)\n", "");
    edit(folder.path(), "src/it/language.toml", "\"Theme\" = \"Tema\"\n", "");
    let listed = run_book(folder.path(), &["check"]);
    for line in [
        "it: SUMMARY.md has no title for \"The first stream\"",
        "parts and drafts, the English one ",
        "it: language.toml lacks 1 words, as for \"Theme\"",
        "nothing to mend; 3 to translate",
    ] {
        assert!(listed.stdout.contains(line), "no {line}: {}", listed.stdout);
    }
    assert_eq!(listed.code, Some(0));
    let fatal = run_book(folder.path(), &["check", "--complete", "it"]);
    assert_eq!(fatal.code, Some(1));
    assert!(fatal.stdout.ends_with("3 things to mend\n"), "{}", fatal.stdout);
}

#[test]
fn search_engines_are_sent_from_an_untranslated_page_to_the_english_one() {
    let folder = copy_book();
    edit(folder.path(), "book.toml", "# site-url", "site-url");
    fs::remove_file(folder.path().join("src/it/tick.md")).unwrap();
    let page = built(folder.path(), "it/tick.html");
    let english =
        "<link rel=\"canonical\" href=\"https://example.org/sse/tick.html\">";
    assert!(page.contains(english));
    assert!(!page.contains("hreflang=\"it\" href=\"https://example.org"));
}
