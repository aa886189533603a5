//! The shape of a lesson. A learner follows little code at once, changes some, and knows what
//! for: so a chapter shows few lines, begins with what it gives and takes, and ends with tasks.

use std::path::Path;

use crate::page::{self, Heading};

/// A reader takes in one new idea at once.
const MOST_LINES: usize = 25;
/// From here on, a chapter is a listing with remarks.
const MOST_LINES_OF_A_CHAPTER: usize = 300;
/// Three changes, and something to break.
const FEWEST_TASKS: usize = 4;
/// Begins the head of a lesson.
const HEAD: &str = "<div class=\"lesson\">";
/// The sections that each chapter has, by their ids.
const TASKS: &str = "change-it";
const END: &str = "you-can-now";
/// Elements whose text is not on the page until somebody asks for it, or stands in for a
/// panel where no script runs.
const HIDDEN: [&str; 4] = ["details", "live-stream", "live-page", "wire-panel"];

/// The mistakes in a numbered page, each with its line, counted from 1. Includes are relative
/// to the folder. A chapter has tasks and an end; a page below it, as 2.1, need not.
pub fn mistakes(
    text: &str,
    folder: &Path,
    is_chapter: bool,
) -> Vec<(usize, String)> {
    let mut mistakes = too_long(text, folder);
    let headings = page::headings(text);
    let first = headings.iter().find(|heading| heading.level == 2);
    let before = first.map_or(text.len(), |heading| heading.range.start);
    if !text[..before].contains(HEAD) {
        let message = format!(
            "the lesson has no head (`{HEAD}`): what readers will do, how long it takes, \
             and what it needs"
        );
        mistakes.push((1, message));
    }
    if !is_chapter {
        return mistakes;
    }
    let section = |id: &str| {
        let is = |heading: &Heading| heading.id.as_deref() == Some(id);
        headings.iter().position(is)
    };
    match section(TASKS) {
        None => {
            let message = format!(
                "the lesson has no tasks, as in `## Change it {{#{TASKS}}}`"
            );
            mistakes.push((1, message));
        }
        Some(at) => {
            let below = headings[at + 1..].iter();
            let tasks = below.take_while(|heading| heading.level > 2).count();
            if tasks < FEWEST_TASKS {
                let line = page::line(text, headings[at].range.start);
                let message =
                    format!("{tasks} tasks, and a lesson has {FEWEST_TASKS}");
                mistakes.push((line, message));
            }
        }
    }
    if section(END).is_none() {
        let message =
            format!("the lesson has no end, as in `## You can now {{#{END}}}`");
        mistakes.push((1, message));
    }
    mistakes
}

/// The listings that are too long, and the chapter that shows too many lines of them.
fn too_long(text: &str, folder: &Path) -> Vec<(usize, String)> {
    let mut mistakes = Vec::new();
    let includes = page::includes(text);
    let mut hidden = 0_usize;
    // The line of the fence that opened, and how many lines have come since.
    let mut listing: Option<(usize, usize)> = None;
    let mut all = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let is_fence = line.trim_start().starts_with("```");
        match listing {
            None if is_fence => listing = Some((number, 0)),
            None => {
                let count = |mark: &str| -> usize {
                    let marks = HIDDEN.iter().map(|name| format!("{mark}{name}"));
                    marks.map(|mark| line.matches(&mark).count()).sum()
                };
                hidden = (hidden + count("<")).saturating_sub(count("</"));
            }
            Some((opened, lines)) if is_fence => {
                listing = None;
                if hidden > 0 {
                    continue;
                }
                all += lines;
                if lines > MOST_LINES {
                    let message = format!(
                        "this listing has {lines} lines, and a lesson shows \
                         {MOST_LINES} at once: fold or cut what is not the point"
                    );
                    mistakes.push((opened, message));
                }
            }
            Some((opened, lines)) => {
                let included = includes.iter().filter(|one| one.line == number);
                let texts: Vec<_> =
                    included.filter_map(|one| page::shown(one, folder)).collect();
                let more = match texts.as_slice() {
                    [] => 1,
                    texts => texts.iter().map(|text| text.lines().count()).sum(),
                };
                listing = Some((opened, lines + more));
            }
        }
    }
    if all > MOST_LINES_OF_A_CHAPTER {
        let message = format!(
            "{all} lines of listings are open, and a lesson shows \
             {MOST_LINES_OF_A_CHAPTER}"
        );
        mistakes.push((1, message));
    }
    mistakes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what it expects")]

    use std::fs;

    use super::*;

    const LESSON: &str = "# A\n\n<div class=\"lesson\">\n\n</div>\n\n## B\n\n\
        ## Change it {#change-it}\n\n### 1\n### 2\n### 3\n### 4\n\n\
        ## You can now {#you-can-now}\n";

    /// The mistakes of a chapter beside a file of 30 lines with an anchor around ten.
    fn of(text: &str) -> Vec<(usize, String)> {
        let folder = tempfile::tempdir().unwrap();
        let ten = "a\n".repeat(10);
        let file = format!("{ten}// ANCHOR: ten\n{ten}// ANCHOR_END: ten\n{ten}");
        fs::write(folder.path().join("a.rs"), file).unwrap();
        mistakes(text, folder.path(), true)
    }

    fn listing(text: &str) -> String {
        format!("```rust\n{text}\n```\n\n")
    }

    #[test]
    fn a_lesson_shows_few_lines_at_once_and_hides_the_others() {
        assert_eq!(of(LESSON), []);
        let part = listing("{{#include a.rs:ten}}");
        assert_eq!(of(&format!("{LESSON}{}", part.repeat(30))), []);
        let whole = listing("{{#include a.rs}}");
        for name in HIDDEN {
            let hidden = format!("<{name} src=\"a/b\">\n\n{whole}</{name}>\n");
            assert_eq!(of(&format!("{LESSON}{}", hidden.repeat(40))), [], "{name}");
        }
    }

    #[test]
    fn a_long_listing_and_a_chapter_of_many_are_named() {
        let found = of(&format!("{LESSON}{}", listing("{{#include a.rs}}")));
        assert!(found[0].1.contains("this listing has 30 lines"), "{found:?}");
        assert_eq!((found.len(), found[0].0), (1, LESSON.lines().count() + 1));
        // A line that is written on the page counts like one that is included.
        let found = of(&format!("{LESSON}{}", listing(&"a\n".repeat(26))));
        assert!(found[0].1.contains("this listing has 27 lines"), "{found:?}");
        let parts = listing("{{#include a.rs:ten}}").repeat(31);
        let found = of(&format!("<details>\n</details>\n{LESSON}{parts}"));
        assert!(found[0].1.starts_with("310 lines of listings"), "{found:?}");
    }

    #[test]
    fn a_lesson_without_a_head_tasks_or_an_end_is_named() {
        for (part, instead, says) in [
            ("class=\"lesson\"", "", "the lesson has no head"),
            (" {#change-it}", "", "the lesson has no tasks"),
            ("### 3\n### 4\n", "", "2 tasks, and a lesson has 4"),
            (" {#you-can-now}", "", "the lesson has no end"),
            ("<div class", "## Z\n<div class", "the lesson has no head"),
        ] {
            let found = of(&LESSON.replace(part, instead));
            assert!(found[0].1.contains(says), "{part}: {found:?}");
        }
        let page = LESSON.replace("change-it", "a").replace("you-can-now", "b");
        assert_eq!(mistakes(&page, Path::new("."), false), []);
    }
}
