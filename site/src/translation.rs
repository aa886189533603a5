//! A translated page beside its English one: the same headings, the same includes, and as
//! many signs of a claim that rests on a document.

use crate::page::{self, State};

/// Stands behind a claim that no test shows, and that has a link to its source.
const SIGN: char = '†';

/// The differences that a translation must not have, each with its line, counted from 1.
pub fn differences(text: &str, english: &str) -> Vec<(usize, String)> {
    let Some((_, own)) = page::split(text) else {
        let first = page::translates(english);
        let message = format!(
            "the first line is not `<!-- translates: BLOB -->`; the English text as it is \
             now would be {}",
            first.trim()
        );
        return vec![(1, message)];
    };
    if page::state(english, Some(text)) != State::Current {
        // Nobody knows here which headings and includes an older English text had.
        return Vec::new();
    }
    let mut differences = headings(text, own, english);
    differences.extend(includes(text, own, english));
    differences.extend(signs(text, own, english));
    differences
}

/// Compares the levels and the number of headings.
fn headings(text: &str, own: &str, english: &str) -> Vec<(usize, String)> {
    let before = text.len() - own.len();
    let theirs = page::headings(english);
    let ours = page::headings(own);
    let mut differences = Vec::new();
    for (index, heading) in ours.iter().enumerate() {
        let line = page::line(text, before + heading.range.start);
        match theirs.get(index) {
            Some(other) if other.level == heading.level => {}
            Some(other) => {
                let message = format!(
                    "this heading has level {}, the English one {}",
                    heading.level, other.level
                );
                differences.push((line, message));
            }
            None => {
                let message = "the English page has no such heading";
                differences.push((line, message.into()));
            }
        }
        if heading.id.is_some() {
            let message = "headings get their ids from the English page";
            differences.push((line, message.into()));
        }
    }
    if let Some(missing) = theirs.get(ours.len()) {
        let missing = &english[missing.range.clone()];
        let message = format!("no heading for the English \"{}\"", missing.trim());
        differences.push((page::line(text, text.len()), message));
    }
    differences
}

/// Compares the includes, up to the first that differs.
fn includes(text: &str, own: &str, english: &str) -> Option<(usize, String)> {
    let theirs = page::includes(english);
    let ours = page::includes(own);
    for (index, include) in ours.iter().enumerate() {
        let other = theirs.get(index).map(|other| other.text.as_str());
        if other != Some(include.text.as_str()) {
            // The text has one line more than the page's own: the first.
            let line = include.line + 1;
            let other = other.unwrap_or("nothing");
            let message =
                format!("includes {}, the English page {other}", include.text);
            return Some((line, message));
        }
    }
    let missing = theirs.get(ours.len())?;
    let message = format!("does not include {}", missing.text);
    Some((page::line(text, text.len()), message))
}

/// Compares the number of signs behind claims that rest on a document.
fn signs(text: &str, own: &str, english: &str) -> Option<(usize, String)> {
    let ours = own.matches(SIGN).count();
    let theirs = english.matches(SIGN).count();
    let last = own.rfind(SIGN).map_or(text.len(), |at| text.len() - own.len() + at);
    let message = format!("{ours} times {SIGN}, in the English page {theirs} times");
    (ours != theirs).then(|| (page::line(text, last), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str =
        "# One\n\n{{#include a.rs:x}}\n\n## Two\n\n{{#include b.rs}}\n";

    fn of(translation: &str) -> Vec<(usize, String)> {
        let text = format!("{}{translation}", page::translates(ENGLISH));
        differences(&text, ENGLISH)
    }

    #[test]
    fn a_translation_with_the_same_headings_and_includes_is_right() {
        let right = "# Uno\n\n{{#include a.rs:x}}\n\n## Due\n\n{{#include b.rs}}\n";
        assert_eq!(of(right), []);
    }

    #[test]
    fn every_difference_in_headings_and_includes_has_its_line() {
        let two = "{{#include a.rs:x}}\n{{#include b.rs}}\n";
        for (translation, line, says) in [
            ("# Uno\n## Due\n## Tre\n", 4, "the English page has no such heading"),
            ("# Uno\n", 5, "no heading for the English \"## Two\""),
            ("# Uno\n### Due\n", 3, "this heading has level 3, the English one 2"),
            (
                "# Uno\n## Due {#due}\n",
                3,
                "headings get their ids from the English page",
            ),
        ] {
            let found = of(&format!("{translation}{two}"));
            assert_eq!(found, [(line, says.to_string())], "{translation}");
        }
        for (includes, line, says) in [
            (
                "{{#include a.rs:y}}",
                4,
                "includes {{#include a.rs:y}}, the English page {{#include a.rs:x}}",
            ),
            (
                "{{#include a.rs:x}}\n{{#include b.rs}}\n{{#include c.rs}}",
                6,
                "includes {{#include c.rs}}, the English page nothing",
            ),
            ("{{#include a.rs:x}}\n", 5, "does not include {{#include b.rs}}"),
        ] {
            let found = of(&format!("# Uno\n## Due\n{includes}"));
            assert_eq!(found, [(line, says.to_string())], "{includes}");
        }
    }

    #[test]
    fn a_sign_that_is_missing_or_too_many_is_a_difference() {
        let english = "# One\n\nA.† B.†\n";
        let first = page::translates(english);
        for (translation, line, count) in
            [("# Uno\n\nA.†\n\nB.\n", 4, 1), ("# Uno\n\nA.† B.†\n\nC.†\n", 6, 3)]
        {
            let found = differences(&format!("{first}{translation}"), english);
            let says = format!("{count} times †, in the English page 2 times");
            assert_eq!(found, [(line, says)], "{translation}");
        }
        assert_eq!(differences(&format!("{first}# Uno\n\nB.†† A.\n"), english), []);
    }

    #[test]
    fn a_wrong_first_line_is_named_with_the_right_one() {
        let found = differences("<!-- translates nothing -->\n# Uno\n", ENGLISH);
        let [(1, message)] = &found[..] else { panic!("{found:?}") };
        assert!(message.ends_with(page::translates(ENGLISH).trim()), "{message}");
    }

    #[test]
    fn a_translation_of_an_older_text_is_not_compared() {
        let text = format!("{}# Uno\n", page::translates("# An older text\n"));
        assert_eq!(differences(&text, ENGLISH), []);
    }
}
