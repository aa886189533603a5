//! The numbers of chapters in texts, as in "chapter 8" or "chapters 8 and 14". A chapter that
//! comes in between moves those behind it, so every number is compared with `SUMMARY.md`.

use std::collections::BTreeMap;
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
    range: Range<usize>,
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

    /// The wrong numbers of a text, and the links whose page is another chapter than they
    /// say. The file's path counts from the root of the repository.
    pub fn check(&self, file: &Path, text: &str, mentions: &Mentions) -> Vec<Wrong> {
        let text = without_comments(text);
        let mentions = mentions.of(&text);
        let mut wrong = Vec::new();
        for (at, number) in mentions.iter().flat_map(|mention| &mention.numbers) {
            if !self.pages.contains_key(number) {
                let message = format!("SUMMARY.md has no chapter {number}");
                wrong.push((page::line(&text, *at), message));
            }
        }
        for link in LINK.captures_iter(&text) {
            let Some(all) = link.get(0) else { continue };
            let Some(shown) = link.get(1) else { continue };
            let inside = mentions.iter().filter(|mention| {
                shown.start() <= mention.range.start
                    && mention.range.end <= shown.end()
            });
            let mut numbers: Vec<&str> = inside
                .flat_map(|mention| &mention.numbers)
                .map(|(_, number)| number.as_str())
                .collect();
            if is_number(shown.as_str()) {
                numbers.push(shown.as_str());
            }
            if let [number] = numbers[..]
                && let Some(message) = self.misleads(file, number, &link[2])
            {
                wrong.push((page::line(&text, all.start()), message));
            }
        }
        wrong
    }

    /// Says why a link with this number leads to another chapter, if it does.
    fn misleads(&self, file: &Path, number: &str, target: &str) -> Option<String> {
        let target = target.split(['#', '?']).next().unwrap_or(target);
        let target = normal(&file.parent().unwrap_or(file).join(target));
        let page = self.folders.iter().find_map(|folder| {
            let page = target.strip_prefix(folder).ok()?;
            self.included.contains_key(page).then_some(page)
        })?;
        let own = self.pages.iter().find(|(_, path)| path.as_deref() == Some(page));
        let own = own.map(|(number, _)| number.as_str());
        let shown = page.display();
        match (self.pages.get(number), own) {
            // A chapter that is not written yet may be told of on any other page.
            (Some(None), None) => None,
            (_, Some(own)) if own == number => None,
            (_, Some(own)) => Some(format!(
                "this link says chapter {number}, and {shown} is chapter {own}"
            )),
            (_, None) => Some(format!(
                "this link says chapter {number}, and {shown} has no number"
            )),
        }
    }

    /// The faults of the header of a file below `examples/NAME` or `tests/NAME`: the first
    /// chapters that it names are the program's own, which their pages show by including
    /// files of it. Later ones may tell of other things.
    pub fn check_header(
        &self,
        file: &Path,
        text: &str,
        mentions: &Mentions,
    ) -> Vec<Wrong> {
        let mut parts = file.iter().filter_map(|part| part.to_str());
        let Some(top) = parts.next() else { return Vec::new() };
        let Some(name) = parts.next() else { return Vec::new() };
        let header: String = text
            .split_inclusive('\n')
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let header = without_comments(&header);
        let Some(first) = mentions.of(&header).into_iter().next() else {
            let is_program = top == "examples" && file.ends_with("main.rs");
            let message = "the header does not name the program's chapter";
            return is_program
                .then(|| (1, message.to_string()))
                .into_iter()
                .collect();
        };
        let own = ["examples", "tests"].map(|folder| Path::new(folder).join(name));
        let shows = |page: &PathBuf| {
            let included = self.included.get(page);
            let mut files = included.into_iter().flatten();
            files.any(|file| own.iter().any(|own| file.starts_with(own)))
        };
        let mut wrong = Vec::new();
        for (at, number) in &first.numbers {
            // A number that is none at all is told of already.
            let Some(page) = self.pages.get(number) else { continue };
            if !page.as_ref().is_some_and(shows) {
                let message = format!("chapter {number} includes no file of {name}");
                wrong.push((page::line(&header, *at), message));
            }
        }
        wrong
    }
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
        ranges.map(|range| Mention { numbers: numbers(&range), range }).collect()
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

    fn checked_header(file: &str, text: &str) -> Vec<Wrong> {
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
        assert_eq!(checked("README.md", "Chapters 1 and 3\n"), []);
        assert_eq!(checked("README.md", "\nchapter 9\n"), [(2, none("9"))]);
        assert_eq!(checked("README.md", "Chapters 1 and 3.1"), [(1, none("3.1"))]);
        let comment = "// one\n// as chapter\n// 4 says\n";
        assert_eq!(checked("examples/feed/log.rs", comment), [(3, none("4"))]);
    }

    #[test]
    fn a_link_leads_to_the_chapter_that_it_says() {
        for (file, text) in [
            ("src/en/hello.md", "[chapter 3](feed.md#top)"),
            ("src/it/hello.md", "[Chapter 1](hello.md)"),
            ("README.md", "[3](src/en/feed.md), [3](https://example.org/hello.md)"),
            // It is a draft, so there is no page to lead to.
            ("src/en/hello.md", "[chapter 2](index.md#plan)"),
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
                "[chapter 2](feed.md)",
                "2, and feed.md is chapter 3",
            ),
            (
                "src/en/hello.md",
                "[chapter 3](index.md)",
                "3, and index.md has no number",
            ),
            ("README.md", "[1](src/en/feed.md)", "1, and feed.md is chapter 3"),
        ] {
            let message = format!("this link says chapter {why}");
            assert_eq!(checked(file, text), [(1, message)], "{text}");
        }
    }

    #[test]
    fn a_header_begins_with_a_chapter_that_shows_the_program() {
        for (file, text) in [
            (
                "examples/feed/main.rs",
                "//! A log.\n//! Chapter 3. Left out: chapter 1.\n",
            ),
            ("tests/feed/main.rs", "//! Chapter 3: a log.\n"),
            ("tests/feed/other.rs", "//! No chapter at all.\n"),
            ("examples/feed/main.rs", "//! See chapter\n//! 3.\n\nfn main() {}\n"),
        ] {
            assert_eq!(checked_header(file, text), [], "{text}");
        }
        let message = "the header does not name the program's chapter".to_string();
        let unnamed =
            checked_header("examples/feed/main.rs", "//! A log.\n// chapter 3");
        assert_eq!(unnamed, [(1, message)]);
        for (file, text, line, number) in [
            ("examples/feed/main.rs", "//! A log.\n//! Chapter 1.\n", 2, 1),
            ("tests/feed/redis.rs", "//! Chapters 3 and 2: servers.\n", 1, 2),
        ] {
            let message = format!("chapter {number} includes no file of feed");
            assert_eq!(checked_header(file, text), [(line, message)], "{text}");
        }
    }
}
