//! A page's source in Markdown: its headings, its includes, and which text it translates.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lazy_regex::{Lazy, Regex, lazy_regex};
use mdbook_markdown::pulldown_cmark::{Event, Tag};
use mdbook_markdown::{MarkdownOptions, new_cmark_parser};
use sha1::{Digest, Sha1};

/// How a translated page stands to the English one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum State {
    /// It translates the English text as it is now.
    Current,
    /// It translates an older English text.
    Stale,
    /// There is none, or it is still the English text.
    Missing,
}

/// A heading in Markdown.
pub struct Heading {
    /// 1 to 6.
    pub level: usize,
    /// Its place in the source, in bytes.
    pub range: Range<usize>,
    /// The id that the page itself gives, as in `## Title {#id}`.
    pub id: Option<String>,
}

/// An `{{#include path:anchor}}` in Markdown.
pub struct Include {
    /// Counted from 1.
    pub line: usize,
    /// The include as it is written, so that two languages can be compared.
    pub text: String,
    pub file: PathBuf,
    /// The part after the path, if there is one.
    pub anchor: Option<String>,
}

/// The first line of a translation.
static TRANSLATES: Lazy<Regex> =
    lazy_regex!(r"\A<!-- translates: ([0-9a-f]{40}) -->\r?\n");
/// An include, as mdBook finds it: `{{#include file:anchor}}`.
static INCLUDE: Lazy<Regex> =
    lazy_regex!(r"(\\?)\{\{\s*#(\w+)\s+([^}\s:]+)(?::([^}\s]+))?\s*\}\}");

/// The id that git gives to a file with this text.
pub fn blob(text: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", text.len()));
    hash.update(text);
    format!("{:x}", hash.finalize())
}

/// The first line of the translation of this English text.
pub fn translates(english: &str) -> String {
    format!("<!-- translates: {} -->\n", blob(english))
}

/// Splits a translated page into the blob id of the English text and its own text.
pub fn split(text: &str) -> Option<(&str, &str)> {
    let first = TRANSLATES.captures(text)?;
    let line = first.get(0)?;
    let id = first.get(1)?;
    Some((id.as_str(), &text[line.end()..]))
}

/// How the translation stands to the English text; `None` where there is no file.
pub fn state(english: &str, translation: Option<&str>) -> State {
    match translation.map(|text| (text, split(text))) {
        None => State::Missing,
        Some((_, Some((_, own)))) if is_english(own, english) => State::Missing,
        Some((_, Some((id, _)))) if id == blob(english) => State::Current,
        Some(_) => State::Stale,
    }
}

/// Whether a page is still the English text, as a translator is given it.
fn is_english(own: &str, english: &str) -> bool {
    let same_title = own.lines().next() == english.lines().next();
    same_title && (own == english || own == without_ids(english))
}

/// Reads a file that need not be there.
pub fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some).with_context(|| path.display().to_string()),
    }
}

/// The line, counted from 1, on which this byte stands.
pub fn line(text: &str, byte: usize) -> usize {
    text[..byte].matches('\n').count() + 1
}

pub fn headings(text: &str) -> Vec<Heading> {
    new_cmark_parser(text, &MarkdownOptions::default())
        .into_offset_iter()
        .filter_map(|(event, range)| match event {
            Event::Start(Tag::Heading { level, id, .. }) => {
                let id = id.map(|id| id.to_string());
                Some(Heading { level: level as usize, range, id })
            }
            _ => None,
        })
        .collect()
}

/// The lines, counted from 1, that look like headings and are none: behind a tag of HTML,
/// Markdown begins again only after an empty line.
pub fn lost_headings(text: &str) -> Vec<usize> {
    let found: Vec<_> = headings(text).iter().map(|one| one.range.start).collect();
    let mut lost = Vec::new();
    let mut in_fence = false;
    let mut at = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        let looks_so =
            line.starts_with('#') && line.trim_start_matches('#').starts_with(' ');
        if looks_so && !in_fence && !found.contains(&at) {
            lost.push(number);
        }
        at += line.len();
    }
    lost
}

/// Gives the headings these ids, in order: links and anchors are the same in every
/// language.
pub fn with_ids(text: &str, ids: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (heading, id) in headings(text).iter().zip(ids) {
        let lines = &text[heading.range.clone()];
        let end = heading.range.start + lines.find('\n').unwrap_or(lines.len());
        out.push_str(text[copied..end].trim_end_matches('\r'));
        out.push_str(&format!(" {{#{id}}}"));
        copied = end;
    }
    out.push_str(&text[copied..]);
    out
}

/// The text without the ids of its headings: a translation gets them from the English page.
pub fn without_ids(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for heading in headings(text) {
        let lines = &text[heading.range.clone()];
        let written = heading.id.and_then(|id| lines.find(&format!(" {{#{id}}}")));
        if let Some(at) = written {
            let at = heading.range.start + at;
            out.push_str(&text[copied..at]);
            copied = at + text[at..].find('}').map_or(0, |end| end + 1);
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// Every include, but for those behind a backslash, which mdBook shows as they are.
pub fn includes(text: &str) -> Vec<Include> {
    INCLUDE
        .captures_iter(text)
        .filter(|found| &found[1] != "\\" && found[2].ends_with("include"))
        .map(|found| Include {
            line: line(text, found.get(0).map_or(0, |all| all.start())),
            text: found[0].to_string(),
            file: PathBuf::from(&found[3]),
            anchor: found.get(4).map(|anchor| anchor.as_str().to_string()),
        })
        .collect()
}

/// The lines that an include shows; `None`, where there is no such file, which others
/// report. Includes are relative to the folder.
pub fn shown(include: &Include, folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join(&include.file)).ok()?;
    let Some(anchor) = &include.anchor else { return Some(without_anchors(&text)) };
    let is_mark = |line: &str, kind: &str| {
        let name = line
            .split_once(kind)
            .and_then(|(_, rest)| rest.split_whitespace().next());
        name == Some(anchor)
    };
    let lines =
        text.split_inclusive('\n').skip_while(|line| !is_mark(line, "ANCHOR:"));
    let lines = lines.skip(1).take_while(|line| !is_mark(line, "ANCHOR_END:"));
    Some(without_anchors(&lines.collect::<String>()))
}

/// A listing as readers see it: the lines that mark its parts are for the pages.
pub fn without_anchors(text: &str) -> String {
    let is_shown =
        |line: &&str| !line.contains("ANCHOR:") && !line.contains("ANCHOR_END:");
    text.split_inclusive('\n').filter(is_shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_id_is_the_one_that_git_gives() {
        assert_eq!(blob("hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[test]
    fn a_translation_is_current_stale_or_missing() {
        let english = "# One\n";
        let first = translates(english);
        for (translation, expected) in [
            (None, State::Missing),
            (Some(format!("{first}# One\n")), State::Missing),
            (Some(format!("{first}# Uno\n")), State::Current),
            (Some(format!("{}# Uno\n", translates("# 1\n"))), State::Stale),
            (Some("# Uno\n".to_string()), State::Stale),
        ] {
            assert_eq!(state(english, translation.as_deref()), expected);
        }
    }

    #[test]
    fn headings_get_the_ids_of_the_english_page_in_order() {
        let ids = ["one", "two"].map(String::from);
        let text =
            "# Uno\n\ntesto\n\n```\n# no heading\n```\n\n## Due\r\nfine\n## Tre\n";
        let with = with_ids(text, &ids);
        assert!(with.starts_with("# Uno {#one}\n\ntesto"), "{with}");
        assert!(
            with.contains("## Due {#two}\r\nfine")
                || with.contains("## Due {#two}\nfine")
        );
        assert!(
            with.contains("\n# no heading\n") && with.ends_with("\n## Tre\n"),
            "{with}"
        );
    }

    #[test]
    fn a_heading_loses_its_id_and_nothing_else() {
        let text =
            "# One {#one}\n\n{#no}\n\n## Two\n\n### `x` {#x-y}\r\nfine {#x-y}\n";
        let without = "# One\n\n{#no}\n\n## Two\n\n### `x`\r\nfine {#x-y}\n";
        assert_eq!(without_ids(text), without);
    }

    #[test]
    fn includes_have_their_line_file_and_anchor() {
        let text = "one\n{{#include a.rs:x}}\n\\{{#include no.rs}}\n{{ #rustdoc_include b.rs }}\n{{#title no}}\n";
        let found: Vec<_> = includes(text)
            .into_iter()
            .map(|one| (one.line, one.file.display().to_string(), one.anchor))
            .collect();
        let x = Some("x".to_string());
        assert_eq!(found, [(2, "a.rs".into(), x), (4, "b.rs".into(), None)]);
    }
}
