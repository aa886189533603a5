//! `cargo book check`: every mistake has its file and its line.

use std::fs;
use std::path::Path;

use tests::{Ended, copy_book, root, run_book};

use crate::{add, edit};

#[test]
fn the_book_has_nothing_to_mend_and_is_complete_in_italian() {
    let ended = run_book(&root(), &["check", "--complete", "it"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("nothing to mend"), "{}", ended.stdout);
}

#[test]
fn missing_and_stale_pages_are_listed_and_fatal_where_a_language_must_be_complete() {
    let folder = copy_book();
    fs::remove_file(folder.path().join("src/it/glossary.md")).unwrap();
    edit(
        folder.path(),
        "src/en/tick.md",
        "# The first stream",
        "# The very first stream",
    );
    let listed = run_book(folder.path(), &["check"]);
    assert_eq!(listed.code, Some(0), "{}", listed.stdout);
    assert!(listed.stdout.contains("it: glossary.md is not translated yet"));
    assert!(listed.stdout.contains("it: tick.md translates an older text"));
    let fatal = run_book(folder.path(), &["check", "--complete", "it"]);
    assert_eq!(fatal.code, Some(1));
    assert!(fatal.stdout.ends_with("2 things to mend\n"), "{}", fatal.stdout);
    let unknown = run_book(folder.path(), &["check", "--complete", "xx"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("there is no translation into `xx`"));
}

/// A mistake in the sources, and how `check` tells of it.
struct Mistake {
    name: &'static str,
    make: fn(&Path),
    /// The file, and a text on the line that `check` must name; no text, the last line.
    place: (&'static str, &'static str),
    says: &'static str,
}

/// Mistakes that do not touch each other, so that one book can have them all.
const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "a recording whose file is missing",
        make: |book| {
            edit(book, "src/en/index.md", "transcript.jsonl", "transcript.json")
        },
        place: ("src/en/index.md", "transcript.json}"),
        says: "there is no file ../../examples/tick/recorded/transcript.json",
    },
    Mistake {
        name: "an include whose file is missing",
        make: |book| {
            edit(book, "src/en/tick.md", "main.rs:router", "nothing.rs:router")
        },
        place: ("src/en/tick.md", "nothing.rs:router"),
        says: "there is no file ../../examples/tick/nothing.rs",
    },
    Mistake {
        name: "an include whose anchor is missing",
        make: |book| edit(book, "src/en/wire.md", "main.rs:pieces", "main.rs:piece"),
        place: ("src/en/wire.md", "main.rs:piece}"),
        says: "has no `ANCHOR: piece`",
    },
    Mistake {
        name: "an anchor that has no end",
        make: |book| {
            edit(book, "examples/wire/main.rs", "// ANCHOR_END: keep", "//")
        },
        place: ("src/en/wire.md", "main.rs:keep"),
        says: "has no `ANCHOR: keep`",
    },
    Mistake {
        name: "an include by line numbers",
        make: |book| edit(book, "src/en/hello.md", "main.rs:heads", "main.rs:3:7"),
        place: ("src/en/hello.md", "main.rs:3:7"),
        says: "line numbers move",
    },
    Mistake {
        name: "a link to a page that does not exist",
        make: |book| add(book, "src/en/glossary.md", "\n[gone](gone.md)\n"),
        place: ("src/en/glossary.md", "gone.md"),
        says: "gone.md leads nowhere: there is no such page",
    },
    Mistake {
        name: "a link to a heading that does not exist",
        make: |book| add(book, "src/en/glossary.md", "\n[gone](tick.md#there)\n"),
        place: ("src/en/glossary.md", "#there"),
        says: "tick.md#there leads nowhere: the page has no id `there`",
    },
    Mistake {
        name: "a link to a heading of the same page that does not exist",
        make: |book| add(book, "src/en/glossary.md", "\n[gone](#here)\n"),
        place: ("src/en/glossary.md", "#here"),
        says: "#here leads nowhere",
    },
    Mistake {
        name: "a broken link in a translation",
        make: |book| add(book, "src/it/glossary.md", "\n[persa](persa.md)\n"),
        place: ("src/it/glossary.md", "persa.md"),
        says: "persa.md leads nowhere: there is no such page",
    },
    Mistake {
        name: "a link that works only at the top of a host",
        make: |book| add(book, "src/en/glossary.md", "\n[top](/hello.html)\n"),
        place: ("src/en/glossary.md", "[top]"),
        says: "leaves the book",
    },
    Mistake {
        name: "a link that climbs out of the book",
        make: |book| add(book, "src/en/glossary.md", "\n[out](../tick.md)\n"),
        place: ("src/en/glossary.md", "../tick.md"),
        says: "../tick.md leads nowhere",
    },
    Mistake {
        name: "a picture that does not exist",
        make: |book| add(book, "src/en/glossary.md", "\n![a picture](gone.svg)\n"),
        place: ("src/en/glossary.md", "gone.svg"),
        says: "gone.svg leads nowhere",
    },
    Mistake {
        name: "a panel of a program that is not mounted",
        make: |book| {
            edit(book, "src/en/index.md", "src=\"tick/ticks\"", "src=\"tock/ticks\"")
        },
        place: ("src/en/index.md", "tock"),
        says: "tock/ticks belongs to no program",
    },
    Mistake {
        name: "a summary that names a page of its own",
        make: |book| {
            add(book, "src/it/solo.md", "# Solo\n");
            add(book, "src/it/SUMMARY.md", "[Solo](solo.md)\n");
        },
        place: ("src/it/SUMMARY.md", "solo.md"),
        says: "does not name solo.md",
    },
    Mistake {
        name: "a page that no summary names",
        make: |book| add(book, "src/en/lost.md", "# Lost\n"),
        place: ("src/en/lost.md", "# Lost"),
        says: "does not name this page",
    },
    Mistake {
        name: "a word that the interface does not say",
        make: |book| edit(book, "src/it/language.toml", "\"Copy\" =", "\"Copie\" ="),
        place: ("src/it/language.toml", "Copie"),
        says: "does not say \"Copie\"",
    },
    Mistake {
        name: "a symptom without an address",
        make: |book| edit(book, "src/en/symptoms.md", " {#no-empty-line}", ""),
        place: ("src/en/symptoms.md", "### `curl` shows lines, the page"),
        says: "this symptom has no id",
    },
    Mistake {
        name: "a symptom that leads to a whole page",
        make: |book| {
            edit(book, "src/en/symptoms.md", "tick.md#named-events", "tick.md")
        },
        place: ("src/en/symptoms.md", "### `onmessage` stays silent"),
        says: "tick.md is a whole page: name its section",
    },
    Mistake {
        name: "a symptom without code and without a reason",
        make: |book| edit(book, "src/en/symptoms.md", "*No code:* ", ""),
        place: ("src/en/symptoms.md", "### The first event is missing"),
        says: "this symptom shows no code",
    },
    Mistake {
        name: "a cure that is too long to be copied in a minute",
        make: |book| add(book, "tests/symptoms/code/done.js", "\n\n\n\n\n"),
        place: (
            "src/en/symptoms.md",
            "{{#include ../../tests/symptoms/code/done.js}}",
        ),
        says: "has 6 lines, and a cure at most 5",
    },
    Mistake {
        name: "a heading that HTML swallows",
        make: |book| {
            edit(
                book,
                "src/it/async-tasks.md",
                "</details>\n\n## Ora sai",
                "</details>\n## Ora sai",
            )
        },
        place: ("src/it/async-tasks.md", "## Ora sai"),
        says: "no heading: an empty line has to stand before it",
    },
    Mistake {
        name: "a listing that is too long for a lesson",
        make: |book| {
            add(
                book,
                "src/en/hello.md",
                &format!("\n```text\n{}```\n", "a\n".repeat(26)),
            )
        },
        place: ("src/en/hello.md", "```text\na\n"),
        says: "this listing has 26 lines, and a lesson shows 25 at once",
    },
    Mistake {
        name: "a chapter without an end",
        make: |book| edit(book, "src/en/tick.md", " {#you-can-now}", ""),
        place: ("src/en/tick.md", "# The first stream"),
        says: "the lesson has no end",
    },
    Mistake {
        name: "a chapter that the summary does not have",
        make: |book| add(book, "src/en/glossary.md", "\nSee chapters 1 and 98.\n"),
        place: ("src/en/glossary.md", "chapters 1 and 98"),
        says: "SUMMARY.md has no chapter 98",
    },
    Mistake {
        name: "a chapter that the summary does not have, in a translation",
        make: |book| add(book, "src/it/glossary.md", "\nI capitoli dall'1 al 97.\n"),
        place: ("src/it/glossary.md", "all'1 al 97"),
        says: "SUMMARY.md has no chapter 97",
    },
    Mistake {
        name: "a link to another chapter than it says",
        make: |book| add(book, "src/it/glossary.md", "\n[capitolo 2](hello.md)\n"),
        place: ("src/it/glossary.md", "[capitolo 2](hello.md)"),
        says: "this link says chapter 2, and hello.md is chapter 1",
    },
    Mistake {
        name: "a chapter's number that is no link to it",
        make: |book| add(book, "src/it/glossary.md", "\nLo dice il capitolo 5.\n"),
        place: ("src/it/glossary.md", "il capitolo 5."),
        says: "chapter 5 is not a link to it",
    },
    Mistake {
        name: "a number of a chapter that is not written yet",
        make: |book| add(book, "src/en/glossary.md", "\nAs chapter 16 says.\n"),
        place: ("src/en/glossary.md", "As chapter 16"),
        says: "chapter 16 is not written yet: name it by its title",
    },
    Mistake {
        name: "a comment that names a chapter by its number",
        make: |book| add(book, "examples/wire/main.rs", "\n// See chapter 1.\n"),
        place: ("examples/wire/main.rs", "// See chapter 1."),
        says: "name the page or the program in place of chapter 1",
    },
    Mistake {
        name: "a row of the README with another chapter's number",
        make: |book| add(book, "README.md", "\n| `tick` | [3](src/en/tick.md) |\n"),
        place: ("README.md", "[3]"),
        says: "this link says chapter 3, and tick.md is chapter 2",
    },
    Mistake {
        name: "a comment that names a chapter that does not exist",
        make: |book| {
            add(book, "examples/wire/main.rs", "\n// As chapter\n// 96 says.\n")
        },
        place: ("examples/wire/main.rs", "// 96 says"),
        says: "SUMMARY.md has no chapter 96",
    },
    Mistake {
        name: "a program whose header names the chapter of another one",
        make: |book| edit(book, "examples/faults/main.rs", "Chapter 4", "Chapter 1"),
        place: ("examples/faults/main.rs", "Chapter 1"),
        says: "the header names chapter 1; faults is shown in 4",
    },
    Mistake {
        name: "a program whose header names no chapter",
        make: |book| edit(book, "examples/tick/main.rs", "Chapter 2", "That page"),
        place: ("examples/tick/main.rs", "//!"),
        says: "the header does not name the program's chapter",
    },
    Mistake {
        name: "a test that names a chapter by its number",
        make: |book| add(book, "tests/feed/new.rs", "//! Chapter 8: a log.\n"),
        place: ("tests/feed/new.rs", "//! Chapter 8"),
        says: "name the page or the program in place of chapter 8",
    },
];

/// Mistakes in translations of English pages that have not changed since.
const IN_TRANSLATIONS: &[Mistake] = &[
    Mistake {
        name: "a translation that includes something else",
        make: |book| edit(book, "src/it/tick.md", "main.rs:router", "main.rs:main"),
        place: ("src/it/tick.md", "rs:main}}\n```\n\n`#[handler]`"),
        says: "the English page {{#include ../../examples/tick/main.rs:router}}",
    },
    Mistake {
        name: "a translation that lacks an include",
        make: |book| {
            let last =
                "{{#include ../../exercises/wire-decode-each-chunk/answer.diff}}";
            edit(book, "src/it/wire.md", last, "");
        },
        place: ("src/it/wire.md", ""),
        says: "does not include {{#include ../../exercises/wire-decode-each-chunk/",
    },
    Mistake {
        name: "a translation with a heading too many",
        make: |book| add(book, "src/it/glossary.md", "\n## Altro\n"),
        place: ("src/it/glossary.md", "## Altro"),
        says: "the English page has no such heading",
    },
    Mistake {
        name: "a translation with a heading too few",
        make: |book| edit(book, "src/it/tick.md", "## Due route", "Due route"),
        place: ("src/it/tick.md", ""),
        says: "no heading for the English \"## What to read next\"",
    },
    Mistake {
        name: "a translation with a heading of another level",
        make: |book| {
            edit(book, "src/it/hello.md", "## Per continuare", "### Per continuare")
        },
        place: ("src/it/hello.md", "### Per continuare"),
        says: "level 3, the English one 2",
    },
    Mistake {
        name: "a heading with an id of its own",
        make: |book| {
            let heading = "## Per continuare";
            edit(book, "src/it/wire.md", heading, "## Per continuare {#poi}");
        },
        place: ("src/it/wire.md", "{#poi}"),
        says: "ids from the English page",
    },
    Mistake {
        name: "a bad first line",
        make: |book| {
            edit(book, "src/it/faults.md", "<!-- translates: ", "<!-- translates ")
        },
        place: ("src/it/faults.md", "<!-- translates"),
        says: "the first line is not `<!-- translates: BLOB -->`",
    },
];

#[test]
fn check_names_file_and_line_of_every_mistake() {
    for mistakes in [MISTAKES, IN_TRANSLATIONS] {
        let folder = copy_book();
        for mistake in mistakes {
            (mistake.make)(folder.path());
        }
        let Ended { code, stdout, stderr } = run_book(folder.path(), &["check"]);
        for mistake in mistakes {
            let (file, text) = mistake.place;
            let source = fs::read_to_string(folder.path().join(file)).unwrap();
            let at = if text.is_empty() {
                source.len()
            } else {
                source.find(text).unwrap_or_else(|| panic!("{}", mistake.name))
            };
            let line = source[..at].matches('\n').count() + 1;
            let place = format!("{file}:{line}: ");
            let found = stdout
                .lines()
                .any(|line| line.starts_with(&place) && line.contains(mistake.says));
            assert!(found, "{}:\n{stdout}{stderr}", mistake.name);
        }
        assert_eq!(code, Some(1));
    }
}
