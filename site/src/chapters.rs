//! The numbers of chapters in texts, as in "chapter N" or "chapters N and M". A chapter that
//! comes in between moves those behind it, so every number is compared with `SUMMARY.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lazy_regex::{Lazy, Regex, lazy_regex};

use crate::book::{Book, ChapterWords};
use crate::links::normal;
use crate::page;

/// A chapter's number, as in `8` or `7.1`.
const NUMBER: &str = r"\d+(?:\.\d+)*";
static SINGLE: Lazy<Regex> = lazy_regex!(r"\d+(?:\.\d+)*");
/// The start of a line of a comment.
static COMMENT: Lazy<Regex> = lazy_regex!(r"(?m)^[ \t]*(?://[/!]?|#|\*)");
/// A link in Markdown.
static LINK: Lazy<Regex> = lazy_regex!(r"\[([^\]\[]+)\]\(([^)\s]+)\)");

/// A wrong number: the line, counted from 1, and the fault.
pub type Wrong = (usize, String);

/// The chapters of the book.
pub struct Chapters {
    /// By number; a draft has no page.
    pages: BTreeMap<String, Option<PathBuf>>,
    /// The files that each page includes, from the root of the repository.
    included: BTreeMap<PathBuf, Vec<PathBuf>>,
    /// The folders of the pages' languages, from the root.
    folders: Vec<PathBuf>,
}

/// The numbers after one "chapter" or "chapters" in a text.
struct Mention {
    numbers: Vec<(usize, String)>,
}

impl Chapters {
    pub fn of(book: &Book) -> Result<Self> {
        let titles = &book.source().titles;
        let numbered = titles.iter().filter_map(|title| {
            title.number.clone().map(|number| (number, title.path.clone()))
        });
        let from_root =
            |path: &Path| normal(path.strip_prefix(&book.root).unwrap_or(path));
        let mut included = BTreeMap::new();
        for path in book.pages() {
            let file = book.source().folder.join(path);
            let folder = file.parent().unwrap_or(&file);
            let files = page::includes(&book.english(path)?)
                .iter()
                .map(|include| from_root(&folder.join(&include.file)))
                .collect();
            included.insert(path.to_path_buf(), files);
        }
        let folders = book.languages.iter().map(|one| from_root(&one.folder));
        Ok(Self { pages: numbered.collect(), included, folders: folders.collect() })
    }

    /// The wrong numbers of a text, and those that nobody could find to be wrong when a
    /// chapter comes in between: outside a link to the chapter. Where there are no links,
    /// the header of a program may begin with one. The file's path counts from the root of
    /// the repository.
    pub fn check(&self, file: &Path, text: &str, mentions: &Mentions) -> Vec<Wrong> {
        let header = header(file, text);
        let text = Unlinked::of(&without_comments(text));
        let is_markdown = file.extension().is_some_and(|kind| kind == "md");
        // History is told with the numbers of its day.
        let is_history = file == Path::new("CHANGELOG.md");
        let mut wrong = Vec::new();
        let mut numbers = Vec::new();
        for (index, mention) in mentions.of(&text.text).into_iter().enumerate() {
            for (at, number) in mention.numbers {
                let line = page::line(&text.text, at);
                let may_be_bare = is_history || index == 0 && line <= header;
                let link = text.link(at);
                let fault = match (self.pages.get(&number), link) {
                    (None, _) => link
                        .and_then(|target| {
                            self.misleads(file, &number, target, false)
                        })
                        .or(Some(format!("SUMMARY.md has no chapter {number}"))),
                    (_, Some(target)) => self.misleads(file, &number, target, true),
                    (Some(None), None) if is_markdown && !is_history => {
                        Some(format!(
                            "chapter {number} is not written yet: name it by its title"
                        ))
                    }
                    (_, None) if may_be_bare => None,
                    (_, None) if is_markdown => {
                        Some(format!("chapter {number} is not a link to it"))
                    }
                    (_, None) => Some(format!(
                        "name the page or the program in place of chapter {number}: a \
                         number is for the start of a program's header"
                    )),
                };
                numbers.push(at);
                wrong.extend(fault.map(|fault| (line, fault)));
            }
        }
        for (range, target) in &text.links {
            let shown = &text.text[range.clone()];
            // A status code may lead to its entry, say.
            let elsewhere = !target.starts_with('#');
            if is_number(shown)
                && elsewhere
                && !numbers.contains(&range.start)
                && let Some(message) = self.misleads(file, shown, target, false)
            {
                wrong.push((page::line(&text.text, range.start), message));
            }
        }
        wrong
    }

    /// Says why a link with this number leads to another chapter, if it does, or to none,
    /// where it must.
    fn misleads(
        &self,
        file: &Path,
        number: &str,
        target: &str,
        must: bool,
    ) -> Option<String> {
        let target = target.split(['#', '?']).next().unwrap_or(target);
        let target = match target {
            "" => file.to_path_buf(),
            target => normal(&file.parent().unwrap_or(file).join(target)),
        };
        let page = self.folders.iter().find_map(|folder| {
            let page = target.strip_prefix(folder).ok()?;
            self.included.contains_key(page).then_some(page)
        });
        let Some(page) = page else {
            let message =
                format!("this link says chapter {number}, and leads to none");
            return must.then_some(message);
        };
        let own = self.pages.iter().find(|(_, path)| path.as_deref() == Some(page));
        let shown = page.display();
        match own.map(|(number, _)| number.as_str()) {
            Some(own) if own == number => None,
            Some(own) => Some(format!(
                "this link says chapter {number}, and {shown} is chapter {own}"
            )),
            None => Some(format!(
                "this link says chapter {number}, and {shown} has no number"
            )),
        }
    }

    /// The fault of the header of a program's file, which begins with the chapters that
    /// show the program: all of them, or one that moves to the place of another would not
    /// be found. Later numbers are none of a header's business.
    pub fn check_header(
        &self,
        file: &Path,
        text: &str,
        mentions: &Mentions,
    ) -> Option<Wrong> {
        let name = file.strip_prefix("examples").ok()?.iter().next()?.to_str()?;
        let header: String =
            text.split_inclusive('\n').take(header(file, text)).collect();
        let header = without_comments(&header);
        let Some(first) = mentions.of(&header).into_iter().next() else {
            let message = "the header does not name the program's chapter";
            return file.ends_with("main.rs").then(|| (1, message.to_string()));
        };
        let own = Path::new("examples").join(name);
        let shows = |page: &PathBuf| {
            let files = self.included.get(page).into_iter().flatten();
            let mut code = files
                .filter(|file| file.extension().is_some_and(|kind| kind == "rs"));
            code.any(|file| file.starts_with(&own))
        };
        let shown =
            self.pages.iter().filter(|(_, page)| page.as_ref().is_some_and(shows));
        let shown: BTreeSet<&str> =
            shown.map(|(number, _)| number.as_str()).collect();
        let named: BTreeSet<&str> =
            first.numbers.iter().map(|(_, number)| number.as_str()).collect();
        let list = |numbers: BTreeSet<&str>| {
            numbers.into_iter().collect::<Vec<_>>().join(", ")
        };
        let line =
            first.numbers.first().map_or(1, |(at, _)| page::line(&header, *at));
        (named != shown).then(|| {
            let named = list(named);
            let shown = list(shown);
            (
                line,
                format!(
                    "the header names chapter {named}; {name} is shown in {shown}"
                ),
            )
        })
    }
}

/// The lines of the header of a program's file.
fn header(file: &Path, text: &str) -> usize {
    let lines = text.lines().take_while(|line| line.starts_with("//!"));
    if file.starts_with("examples") { lines.count() } else { 0 }
}

fn is_number(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty() && part.chars().all(|digit| digit.is_ascii_digit())
    })
}

/// The text with spaces in place of the marks of comments: a sentence goes on behind them.
fn without_comments(text: &str) -> String {
    let spaces = |found: &lazy_regex::Captures| " ".repeat(found[0].len());
    COMMENT.replace_all(text, spaces).into_owned()
}

/// A text in Markdown without the marks of its links: a sentence goes on through them.
struct Unlinked {
    text: String,
    /// The place of each link in this text, and its target.
    links: Vec<(Range<usize>, String)>,
}

impl Unlinked {
    fn of(markdown: &str) -> Self {
        let mut text = String::with_capacity(markdown.len());
        let mut links = Vec::new();
        let mut copied = 0;
        for link in LINK.captures_iter(markdown) {
            let Some(all) = link.get(0) else { continue };
            text.push_str(&markdown[copied..all.start()]);
            let start = text.len();
            text.push_str(&link[1]);
            links.push((start..text.len(), link[2].to_string()));
            copied = all.end();
        }
        text.push_str(&markdown[copied..]);
        Self { text, links }
    }

    /// The target of the link that has this byte in its text.
    fn link(&self, at: usize) -> Option<&str> {
        let link = self.links.iter().find(|(range, _)| range.contains(&at));
        link.map(|(_, target)| target.as_str())
    }
}

/// Finds the numbers of chapters in the texts of one language.
pub struct Mentions(Regex);

impl Mentions {
    pub fn new(words: &ChapterWords) -> Result<Self> {
        let ChapterWords { one, many, between } = words;
        let escaped = |word: &String| lazy_regex::regex::escape(word);
        let between: Vec<_> = between.iter().map(escaped).collect();
        let one = escaped(one);
        let many = escaped(many);
        let gap = format!(r"(?:[\s,–]|{})", between.join("|"));
        let pattern =
            format!(r"(?i)\b(?:{many}(?:{gap}+{NUMBER})+|{one}\s+{NUMBER})");
        Ok(Self(Regex::new(&pattern)?))
    }

    fn of(&self, text: &str) -> Vec<Mention> {
        let numbers = |range: &Range<usize>| {
            SINGLE
                .find_iter(&text[range.clone()])
                .map(|found| {
                    (range.start + found.start(), found.as_str().to_string())
                })
                .collect()
        };
        let ranges = self.0.find_iter(text).map(|found| found.range());
        ranges.map(|range| Mention { numbers: numbers(&range) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english() -> Mentions {
        Mentions::new(&ChapterWords::english()).unwrap()
    }

    fn numbers(text: &str, mentions: &Mentions) -> Vec<String> {
        let mentions = mentions.of(text).into_iter();
        mentions.flat_map(|one| one.numbers).map(|(_, number)| number).collect()
    }

    /// A book of hello (1), a draft (2), and feed (3), whose page includes the program.
    fn chapters() -> Chapters {
        let pages = [("1", Some("hello.md")), ("2", None), ("3", Some("feed.md"))];
        let pages =
            pages.map(|(number, path)| (number.into(), path.map(PathBuf::from)));
        let included = [
            ("hello.md", vec!["examples/hello/main.rs"]),
            ("feed.md", vec!["examples/feed/log.rs"]),
            ("index.md", vec![]),
        ];
        let included = included.map(|(page, files)| {
            (page.into(), files.into_iter().map(PathBuf::from).collect())
        });
        Chapters {
            pages: pages.into(),
            included: included.into(),
            folders: vec!["src/en".into(), "src/it".into()],
        }
    }

    fn checked(file: &str, text: &str) -> Vec<Wrong> {
        chapters().check(Path::new(file), text, &english())
    }

    fn checked_header(file: &str, text: &str) -> Option<Wrong> {
        chapters().check_header(Path::new(file), text, &english())
    }

    #[test]
    fn numbers_follow_the_word_chapter_or_chapters() {
        for (text, found) in [
            ("Chapter 3 shows 146 cases", &["3"][..]),
            ("chapter\n8. Then 9", &["8"]),
            ("(chapter 7.1)", &["7.1"]),
            ("Chapters 5 to 9 and 13 use 20", &["5", "9", "13"]),
            ("chapters 5, 6 and 7", &["5", "6", "7"]),
            ("the next chapter, 3 pages", &[]),
            ("subchapter 3", &[]),
        ] {
            assert_eq!(numbers(text, &english()), found, "{text}");
        }
    }

    #[test]
    fn each_language_has_its_own_words() {
        let italian = Mentions::new(&ChapterWords {
            one: "capitolo".into(),
            many: "capitoli".into(),
            between: ["e", "il", "dal", "dall'", "al", "all'"]
                .map(String::from)
                .into(),
        })
        .unwrap();
        let text = "I capitoli dall'1 al 9 e il 13; nel capitolo 5, 20 lettori";
        assert_eq!(numbers(text, &italian), ["1", "9", "13", "5"]);
    }

    #[test]
    fn a_number_that_the_summary_does_not_have_is_wrong_on_its_line() {
        let none = |number: &str| format!("SUMMARY.md has no chapter {number}");
        for (file, text, line, number) in [
            ("README.md", "\nchapter 9\n", 2, "9"),
            ("README.md", "[Chapter 3.1](https://example.org/)", 1, "3.1"),
            ("examples/feed/log.rs", "// one\n// as chapter\n// 4 says\n", 3, "4"),
        ] {
            assert_eq!(checked(file, text), [(line, none(number))], "{text}");
        }
    }

    /// Nobody would find these when a chapter comes in between.
    #[test]
    fn a_number_is_the_text_of_a_link_or_the_start_of_a_header() {
        let unlinked = |number| (1, format!("chapter {number} is not a link to it"));
        let draft = "chapter 2 is not written yet: name it by its title".to_string();
        for file in ["src/en/hello.md", "src/it/hello.md", "README.md"] {
            assert_eq!(checked(file, "As chapter 3 says"), [unlinked(3)]);
            let both = "Chapters [1](hello.md) and 3";
            assert_eq!(checked("src/en/hello.md", both), [unlinked(3)]);
            assert_eq!(checked(file, "chapter 2"), [(1, draft.clone())]);
        }
        let none = "this link says chapter 3, and leads to none".to_string();
        let elsewhere = "[chapter 3](https://example.org/feed.md)";
        assert_eq!(checked("src/en/hello.md", elsewhere), [(1, none)]);
        assert_eq!(checked("CHANGELOG.md", "chapter 3 and chapter 2"), []);

        let header = "//! Chapter 3 of the book.\n";
        assert_eq!(checked("examples/feed/log.rs", header), []);
        let comment = format!("{header}// the parser of chapter 1\n");
        let message = "name the page or the program in place of chapter 1: a number is \
                       for the start of a program's header";
        let wrong = checked("examples/feed/log.rs", &comment);
        assert_eq!(wrong, [(2, message.to_string())]);
        let wrong = checked("tests/cases.toml", "# the parser of chapter 1\n");
        assert_eq!(wrong, [(1, message.to_string())]);
    }

    #[test]
    fn a_link_leads_to_the_chapter_that_it_says() {
        for (file, text) in [
            ("src/en/hello.md", "[chapter 3](feed.md#top)"),
            ("src/it/hello.md", "[Chapter 1](hello.md)"),
            ("src/en/hello.md", "Chapters [1](#top) and [3](feed.md)"),
            ("README.md", "[3](src/en/feed.md), [3](https://example.org/hello.md)"),
        ] {
            assert_eq!(checked(file, text), [], "{text}");
        }
        for (file, text, why) in [
            (
                "src/en/hello.md",
                "[chapter 1](feed.md)",
                "1, and feed.md is chapter 3",
            ),
            (
                "src/en/hello.md",
                "[chapters 1 and 3](feed.md)",
                "1, and feed.md is chapter 3",
            ),
            (
                "src/en/hello.md",
                "Chapters [1](feed.md) and [3](feed.md)",
                "1, and feed.md is chapter 3",
            ),
            (
                "src/en/hello.md",
                "[chapter 3](index.md)",
                "3, and index.md has no number",
            ),
            ("README.md", "[1](src/en/feed.md)", "1, and feed.md is chapter 3"),
            (
                "README.md",
                "[chapter 2.1](src/en/feed.md)",
                "2.1, and feed.md is chapter 3",
            ),
        ] {
            let message = format!("this link says chapter {why}");
            assert_eq!(checked(file, text), [(1, message)], "{text}");
        }
    }

    #[test]
    fn a_header_begins_with_all_chapters_that_show_the_program() {
        for (file, text) in [
            ("examples/feed/main.rs", "//! A log.\n//! Chapter 3 explains it.\n"),
            ("examples/feed/other.rs", "//! No chapter at all.\n"),
            ("examples/feed/main.rs", "//! See chapter\n//! 3.\n\nfn main() {}\n"),
        ] {
            assert_eq!(checked_header(file, text), None, "{text}");
        }
        let message = "the header does not name the program's chapter".to_string();
        let unnamed =
            checked_header("examples/feed/main.rs", "//! A log.\n// chapter 3");
        assert_eq!(unnamed, Some((1, message)));
        for (text, line, named) in [
            ("//! A log.\n//! Chapter 1.\n", 2, "1"),
            ("//! Chapters 3 and 2: servers.\n", 1, "2, 3"),
        ] {
            let says =
                format!("the header names chapter {named}; feed is shown in 3");
            let wrong = checked_header("examples/feed/main.rs", text);
            assert_eq!(wrong, Some((line, says)), "{text}");
        }
    }
}
