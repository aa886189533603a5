//! The exercises on the pages of the book: their titles and their tasks, in each language.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lazy_regex::{Lazy, Regex, lazy_regex};

/// An entry of the summary, as in `  - [The first stream](tick.md)`.
static ENTRY: Lazy<Regex> = lazy_regex!(r"^( *)(- )?\[(.*)\]\((.*)\)\s*$");
static HEADING: Lazy<Regex> =
    lazy_regex!(r"^(#{1,6}) +(.*?)(?: *\{#([^}\s]+)\})?\s*$");
static LINK: Lazy<Regex> = lazy_regex!(r"\[([^\]]*)\]\([^)]*\)");

/// A page of the book, in one language.
pub struct Page {
    /// The file's name, as in `tick.md`.
    pub file: String,
    /// As in `2` or `7.1`; none for an appendix.
    pub number: Option<String>,
    pub title: String,
    /// The sections that have an id in the English page.
    pub sections: Vec<Section>,
}

/// A heading with an id of its own, and its text.
pub struct Section {
    pub id: String,
    pub title: String,
    /// The paragraphs and commands up to the first fold or heading, without links and without
    /// the command that makes the exercise.
    pub text: String,
}

/// The pages of a language, in the order of the English summary. A page that is not
/// translated is the English one.
pub fn pages(root: &Path, language: &str) -> Result<Vec<Page>> {
    let src = root.join("src");
    let summary = read(&src.join("en/SUMMARY.md"))?;
    let mut own_titles = BTreeMap::new();
    for line in read(&src.join(language).join("SUMMARY.md"))?.lines() {
        if let Some(entry) = ENTRY.captures(line) {
            own_titles.insert(entry[4].to_string(), entry[3].to_string());
        }
    }
    let mut pages = Vec::new();
    let mut chapter = 0;
    let mut part = 0;
    for line in summary.lines() {
        let Some(entry) = ENTRY.captures(line) else { continue };
        let number = entry.get(2).map(|_| {
            if entry[1].is_empty() {
                chapter += 1;
                part = 0;
                return chapter.to_string();
            }
            part += 1;
            format!("{chapter}.{part}")
        });
        let file = entry[4].to_string();
        if file.is_empty() {
            continue;
        }
        let english = read(&src.join("en").join(&file))?;
        let own = fs::read_to_string(src.join(language).join(&file));
        let own = own.unwrap_or_else(|_| english.clone());
        let title = own_titles.get(&file).map_or(&entry[3], String::as_str);
        pages.push(Page {
            title: title.to_string(),
            number,
            sections: sections(&english, &own),
            file,
        });
    }
    Ok(pages)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| file.display().to_string())
}

/// The sections of a page with an id in English, with the words of the page itself: its
/// headings are those of the English one, in the same order.
fn sections(english: &str, own: &str) -> Vec<Section> {
    let pairs = headings(english).into_iter().zip(headings(own));
    let section = |((english, id, _), (title, _, rest)): (Heading, Heading)| {
        let text = || text(rest);
        drop(english);
        Some(Section { id: id?, title, text: text() })
    };
    pairs.filter_map(section).collect()
}

/// The title of a heading, its id, and the text behind it.
type Heading<'a> = (String, Option<String>, &'a str);

fn headings(text: &str) -> Vec<Heading<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut in_fence = false;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        let heading = HEADING.captures(line.trim_end());
        if let Some(heading) = heading.filter(|_| !in_fence) {
            let id = heading.get(3).map(|id| id.as_str().to_string());
            found.push((heading[2].to_string(), id, &text[at..]));
        }
    }
    found
}

/// The paragraphs at the start of a section, as a terminal shows them.
fn text(rest: &str) -> String {
    // The answer may stand open: a step of a lesson shows it.
    let ends = ["<details", "```diff", "#"];
    let goes_on = |line: &&str| !ends.iter().any(|end| line.starts_with(end));
    let is_text = |line: &&str| {
        let others = ["cargo book exercise", "{{#include"];
        !others.iter().any(|other| line.starts_with(other))
    };
    let mut lines: Vec<&str> = Vec::new();
    for line in rest.lines().take_while(goes_on) {
        if line.starts_with("```") {
            // Nor is there a listing that a line announces.
            let written = lines.iter().rposition(|line| !line.is_empty());
            lines.truncate(match written {
                Some(last) if lines[last].ends_with(':') => last,
                _ => lines.len(),
            });
        } else if is_text(&line) && (!line.is_empty() || lines.last() != Some(&"")) {
            lines.push(line);
        }
    }
    LINK.replace_all(lines.join("\n").trim(), "$1").into_owned()
}
