//! The page of symptoms: somebody with a problem has a minute, so each entry has an address,
//! leads to the section that knows more, and shows the lines to copy.

use std::ops::Range;
use std::path::Path;

use mdbook_markdown::pulldown_cmark::{Event, Tag};
use mdbook_markdown::{MarkdownOptions, new_cmark_parser};

use crate::page::{self, Include};

/// The page, in the folder of a language.
pub const PAGE: &str = "symptoms.md";
/// The level of an entry's heading.
const ENTRY: usize = 3;
/// A cure has at most so many lines: whoever needs more goes to the section.
const MOST_LINES: usize = 5;
/// Begins the reason why an entry shows no code.
const NO_CODE: &str = "*No code:*";

/// The mistakes in the entries of this page, each with its line, counted from 1. Includes
/// are relative to the folder.
pub fn mistakes(text: &str, folder: &Path) -> Vec<(usize, String)> {
    let mut mistakes = Vec::new();
    let headings = page::headings(text);
    let includes = page::includes(text);
    for (index, heading) in headings.iter().enumerate() {
        if heading.level != ENTRY {
            continue;
        }
        let next = headings[index + 1..].iter().find(|next| next.level <= ENTRY);
        let end = next.map_or(text.len(), |next| next.range.start);
        let entry = heading.range.start..end;
        let line = page::line(text, entry.start);
        let mut report = |line, message: &str| mistakes.push((line, message.into()));
        if heading.id.is_none() {
            report(line, "this symptom has no id, as in `### Title {#id}`");
        }
        let links = links(&text[entry.clone()]);
        if let Some(page) = links.iter().find(|link| link.ends_with(".md")) {
            report(line, &format!("{page} is a whole page: name its section"));
        }
        if !links.iter().any(|link| link.contains(".md#")) {
            report(line, "this symptom leads to no section that says more");
        }
        let shown = shown(&includes, text, &entry);
        if shown.is_empty() && !text[entry].contains(NO_CODE) {
            let message = format!(
                "this symptom shows no code: include up to {MOST_LINES} lines, or say \
                 `{NO_CODE}` and why"
            );
            report(line, &message);
        }
        for include in shown {
            let Some(code) = page::shown(include, folder) else { continue };
            let lines = code.lines().count();
            let fault = if lines > MOST_LINES {
                format!("has {lines} lines, and a cure at most {MOST_LINES}")
            } else if !is_balanced(&code) {
                "is cut off: its brackets do not match".into()
            } else {
                continue;
            };
            report(include.line, &format!("{} {fault}", include.text));
        }
    }
    mistakes
}

/// The addresses that links in Markdown lead to.
fn links(text: &str) -> Vec<String> {
    new_cmark_parser(text, &MarkdownOptions::default())
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url.to_string()),
            _ => None,
        })
        .collect()
}

/// The includes that stand in this part of a text.
fn shown<'a>(
    includes: &'a [Include],
    text: &str,
    part: &Range<usize>,
) -> Vec<&'a Include> {
    let lines = page::line(text, part.start)..=page::line(text, part.end);
    includes.iter().filter(|include| lines.contains(&include.line)).collect()
}

/// Whether each bracket has its counterpart, so that what is copied is whole.
fn is_balanced(code: &str) -> bool {
    let count = |bracket: char| code.matches(bracket).count();
    [('(', ')'), ('[', ']'), ('{', '}')]
        .iter()
        .all(|(open, close)| count(*open) == count(*close))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what it expects")]

    use std::fs;

    use super::*;

    /// The mistakes of a page with this entry, beside a file of five lines, in which a sixth
    /// one is an anchor, and one of six.
    fn of(entry: &str) -> Vec<(usize, String)> {
        let folder = tempfile::tempdir().unwrap();
        let five = "// ANCHOR: five\n1\n2\n// ANCHOR: x\n3\n// ANCHOR_END: x\n4\n5\n\
            // ANCHOR_END: five\n";
        fs::write(folder.path().join("a.rs"), five).unwrap();
        fs::write(folder.path().join("cut.rs"), "fn a() {\n    1\n").unwrap();
        fs::write(folder.path().join("six.sh"), "1\n2\n3\n4\n5\n6\n").unwrap();
        mistakes(&format!("# Page\n\n## Part\n\n{entry}"), folder.path())
    }

    #[test]
    fn an_entry_with_an_id_a_section_and_few_lines_is_right() {
        let code = "### Odd {#odd}\n\n[more](a.md#b)\n\n```rust\n{{#include a.rs:five}}\n```\n";
        assert_eq!(of(code), []);
        let none = "### Odd {#odd}\n\n[more](a.md#b)\n*No code:* this is right.\n";
        assert_eq!(of(&format!("{none}\n{code}")), []);
    }

    #[test]
    fn whatever_an_entry_lacks_is_named_with_its_line() {
        const CODE: &str = "{{#include a.rs:five}}";
        for (entry, line, says) in [
            (format!("### Odd\n\n[more](a.md#b) {CODE}\n"), 5, "no id"),
            (format!("### Odd {{#odd}}\n\n{CODE}\n"), 5, "leads to no section"),
            (
                format!("### Odd {{#odd}}\n\n[more](a.md) [here](b.md#c) {CODE}\n"),
                5,
                "a.md is a whole page",
            ),
            ("### Odd {#odd}\n\n[more](a.md#b)\n".into(), 5, "shows no code"),
            (
                "### Odd {#odd}\n\n[more](a.md#b)\n\n{{#include six.sh}}\n".into(),
                9,
                "six.sh}} has 6 lines",
            ),
            (
                "### Odd {#odd}\n\n[more](a.md#b)\n\n{{#include cut.rs}}\n".into(),
                9,
                "cut.rs}} is cut off",
            ),
        ] {
            let found = of(&entry);
            let [(at, message)] = &found[..] else { panic!("{entry}: {found:?}") };
            assert!(message.contains(says), "{message}");
            assert_eq!(*at, line, "{entry}");
        }
    }
}
