//! Finds what mdBook passes over in silence: includes and links that lead nowhere, and
//! translations that differ from the English page in more than their language.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{fmt, fs};

use anstream::println;
use anyhow::{Context, Result, ensure};

use crate::book::{Book, ChapterWords, Language};
use crate::build::build;
use crate::chapters::{Chapters, Mentions};
use crate::files::{files, files_but};
use crate::lessons;
use crate::links::{self, follow};
use crate::page::{self, State};
use crate::programs::is_mounted;
use crate::symptoms;
use crate::theme::words;
use crate::translation;

/// Something to mend, and where.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    file: PathBuf,
    line: usize,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

/// Prints all problems and what is not translated; true where there is nothing to mend.
/// For the languages in `complete`, what is not translated counts, too.
pub fn run(book: &Book, complete: &[String]) -> Result<bool> {
    for tag in complete {
        ensure!(
            book.translations().iter().any(|language| language.tag == *tag),
            "there is no translation into `{tag}`"
        );
    }
    let mut problems = sources(book)?;
    problems.extend(built(book)?);
    for problem in &problems {
        println!("{problem}");
    }
    let mut incomplete = 0;
    let mut untranslated = 0;
    for language in book.translations() {
        let open = open(book, language)?;
        for line in &open {
            println!("{}: {line}", language.tag);
        }
        if complete.contains(&language.tag) {
            incomplete += open.len();
        } else {
            untranslated += open.len();
        }
    }
    let pages = book.pages().count();
    let languages = book.languages.len();
    match problems.len() + incomplete {
        0 if untranslated > 0 => {
            println!("nothing to mend; {untranslated} to translate")
        }
        0 => {
            println!("{pages} pages, each in {languages} languages: nothing to mend")
        }
        1 => println!("1 thing to mend"),
        n => println!("{n} things to mend"),
    }
    Ok(problems.len() + incomplete == 0)
}

/// Lists the pages, titles and words that a translation still lacks, a line each.
fn open(book: &Book, language: &Language) -> Result<Vec<String>> {
    let mut open = Vec::new();
    for path in book.pages() {
        let shown = path.display();
        let tag = &language.tag;
        let text = page::read(&language.folder.join(path))?;
        match page::state(&book.english(path)?, text.as_deref()) {
            State::Current => {}
            // A first line that is wrong is a problem, and told as such.
            State::Stale if text.as_deref().and_then(page::split).is_none() => {}
            State::Missing if text.is_some() => {
                open.push(format!("{shown} still holds the English text"));
            }
            State::Missing => open.push(format!("{shown} is not translated yet")),
            State::Stale => open.push(format!(
                "{shown} translates an older text: `cargo book translate {tag} {shown}` \
                 shows what changed"
            )),
        }
    }
    let titled: Vec<_> = language.titles.iter().map(|title| &title.path).collect();
    for title in &book.source().titles {
        if title.path.is_some() && !titled.contains(&&title.path) {
            open.push(format!("SUMMARY.md has no title for \"{}\"", title.name));
        }
    }
    let pathless = |language: &Language| {
        language.titles.iter().filter(|title| title.path.is_none()).count()
    };
    let own = pathless(language);
    let english = pathless(book.source());
    if own != english {
        let message = format!("{own} parts and drafts, the English one {english}");
        open.push(format!("SUMMARY.md has {message}"));
    }
    if language.settings.name == language.tag {
        open.push("language.toml gives the tag as the language's name".into());
    }
    if language.settings.chapters.is_none() {
        open.push(
            "language.toml lacks [chapters], the words around a number".into(),
        );
    }
    let mut lacking = words(&book.theme())?;
    lacking.retain(|word| !language.settings.words.contains_key(word));
    if let Some(word) = lacking.first() {
        let count = lacking.len();
        open.push(format!("language.toml lacks {count} words, as for \"{word}\""));
    }
    Ok(open)
}

/// The problems that the sources show by themselves.
pub fn sources(book: &Book) -> Result<Vec<Problem>> {
    let mut sources = Sources { book, problems: Vec::new() };
    for language in &book.languages {
        sources.check_folder(language)?;
    }
    sources.check_chapters()?;
    for language in book.translations() {
        sources.check_titles(language)?;
        sources.check_words(language)?;
    }
    Ok(sources.problems)
}

struct Sources<'a> {
    book: &'a Book,
    problems: Vec<Problem>,
}

impl Sources<'_> {
    fn report(&mut self, file: &Path, line: usize, message: impl Into<String>) {
        let file = file.strip_prefix(&self.book.root).unwrap_or(file).to_path_buf();
        self.problems.push(Problem { file, line, message: message.into() });
    }

    fn check_folder(&mut self, language: &Language) -> Result<()> {
        let pages: BTreeSet<_> = self.book.pages().map(Path::to_path_buf).collect();
        for file in files(&language.folder)? {
            let path = file.strip_prefix(&language.folder)?.to_path_buf();
            if path.extension().is_none_or(|kind| kind != "md") {
                continue;
            }
            if !pages.contains(&path) && path != Path::new("SUMMARY.md") {
                self.report(
                    &file,
                    1,
                    "the English SUMMARY.md does not name this page",
                );
            }
            let text = fs::read_to_string(&file)?;
            self.check_includes(&file, &text);
            for line in page::lost_headings(&text) {
                let message = "no heading: an empty line has to stand before it";
                self.report(&file, line, message);
            }
            if language.tag == self.book.source().tag
                && path == Path::new(symptoms::PAGE)
            {
                for (line, message) in symptoms::mistakes(&text, &language.folder) {
                    self.report(&file, line, message);
                }
            }
            if language.tag == self.book.source().tag
                && let Some(number) = self.book.number(&path)
            {
                let is_chapter = !number.contains('.');
                for (line, message) in
                    lessons::mistakes(&text, &language.folder, is_chapter)
                {
                    self.report(&file, line, message);
                }
            }
            if language.tag != self.book.source().tag && pages.contains(&path) {
                let english = self.book.english(&path)?;
                for (line, message) in translation::differences(&text, &english) {
                    self.report(&file, line, message);
                }
            }
        }
        Ok(())
    }

    /// Compares the numbers of chapters with the summary: in pages, in the texts about the
    /// book, and in the comments of its programs and tests.
    fn check_chapters(&mut self) -> Result<()> {
        let chapters = Chapters::of(self.book)?;
        let mut texts = Vec::new();
        for language in &self.book.languages {
            let Some(words) = &language.settings.chapters else { continue };
            let mentions = Rc::new(Mentions::new(words)?);
            for path in self.book.pages() {
                texts.push((language.folder.join(path), Rc::clone(&mentions)));
            }
        }
        let english = Rc::new(Mentions::new(&ChapterWords::english())?);
        for file in texts_about_the_book(&self.book.root)? {
            texts.push((file, Rc::clone(&english)));
        }
        for (file, mentions) in texts {
            // A page may be missing, and a picture is no text.
            let Ok(text) = fs::read_to_string(&file) else { continue };
            // The tests of a file of this builder have wrong numbers on purpose.
            let text = text.split("#[cfg(test)]").next().unwrap_or(&text);
            let path = file.strip_prefix(&self.book.root)?.to_path_buf();
            let mut wrong = chapters.check(&path, text, &mentions);
            wrong.extend(chapters.check_header(&path, text, &mentions));
            for (line, message) in wrong {
                self.report(&file, line, message);
            }
        }
        Ok(())
    }

    fn check_includes(&mut self, file: &Path, text: &str) {
        let folder = file.parent().unwrap_or(file);
        for include in page::includes(text) {
            let included = folder.join(&include.file);
            let shown = include.file.display();
            let Ok(text) = fs::read_to_string(&included) else {
                self.report(file, include.line, format!("there is no file {shown}"));
                continue;
            };
            let Some(anchor) = include.anchor else { continue };
            if anchor
                .starts_with(|first: char| first.is_ascii_digit() || first == ':')
            {
                let message = "include by an anchor: line numbers move";
                self.report(file, include.line, message);
            } else if !has_anchor(&text, &anchor) {
                let message = format!("{shown} has no `ANCHOR: {anchor}`");
                self.report(file, include.line, message);
            }
        }
    }

    fn check_titles(&mut self, language: &Language) -> Result<()> {
        let file = language.folder.join("SUMMARY.md");
        let text = fs::read_to_string(&file)?;
        for path in language.titles.iter().filter_map(|title| title.path.as_deref())
        {
            if !self.book.pages().any(|page| page == path) {
                let shown = path.display().to_string();
                let line = text.find(&shown).map_or(1, |at| page::line(&text, at));
                let message =
                    format!("the English SUMMARY.md does not name {shown}");
                self.report(&file, line, message);
            }
        }
        Ok(())
    }

    fn check_words(&mut self, language: &Language) -> Result<()> {
        let file = language.folder.join("language.toml");
        let text = fs::read_to_string(&file)?;
        let known = words(&self.book.theme())?;
        for word in language.settings.words.keys() {
            if !known.contains(word) {
                let line = text.find(word).map_or(1, |at| page::line(&text, at));
                let message =
                    format!("the interface does not say \"{word}\" any more");
                self.report(&file, line, message);
            }
        }
        Ok(())
    }
}

/// The files beside the pages that may name a chapter.
fn texts_about_the_book(root: &Path) -> Result<Vec<PathBuf>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "md") {
            texts.push(path);
        }
    }
    for folder in ["bench", "examples", "site/src", "tests", "theme"] {
        let folder = root.join(folder);
        if folder.is_dir() {
            texts.extend(files_but(
                &folder,
                &["recorded", "target", "node_modules", "dist"],
            )?);
        }
    }
    Ok(texts)
}

/// Whether a file has the anchor, opened and closed, as mdBook reads it.
fn has_anchor(text: &str, anchor: &str) -> bool {
    let mark = |kind: &str| {
        text.lines().any(|line| {
            let (_, name) = line.split_once(kind).unwrap_or_default();
            name.split_whitespace().next() == Some(anchor)
        })
    };
    mark("ANCHOR:") && mark("ANCHOR_END:")
}

/// Builds the book, and follows every link in every page.
fn built(book: &Book) -> Result<Vec<Problem>> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("book");
    build(book, &out, None)?;

    let mut pages = HashMap::new();
    for file in files(&out)? {
        let is_page = file.extension().is_some_and(|kind| kind == "html");
        let html = if is_page { fs::read_to_string(&file)? } else { String::new() };
        pages.insert(file.strip_prefix(&out)?.to_path_buf(), links::read(&html));
    }
    let mut broken = Vec::new();
    for (path, page) in &pages {
        // Served at any depth, so its links are absolute; print.html repeats the pages.
        if path == Path::new("404.html") || path.ends_with("print.html") {
            continue;
        }
        for url in &page.links {
            if let Some(message) = follow(&pages, path, url, is_mounted) {
                broken.push((url, path, message));
            }
        }
        for stream in &page.streams {
            if !is_mounted(stream) {
                broken.push((stream, path, "belongs to no program".into()));
            }
        }
    }
    // A page that two languages show has its broken links once.
    let mut problems = BTreeSet::new();
    for (url, path, message) in broken {
        problems.insert(place(book, path, url, &message)?);
    }
    Ok(problems.into_iter().collect())
}

/// Tells of a broken link in a built page as its source has it: file, line and spelling.
fn place(book: &Book, built: &Path, url: &str, message: &str) -> Result<Problem> {
    let source = book.source();
    let folder = built.iter().next().and_then(|name| name.to_str());
    let language = book
        .translations()
        .iter()
        .find(|language| folder == Some(language.tag.as_str()))
        .unwrap_or(source);
    let path =
        built.strip_prefix(&language.tag).unwrap_or(built).with_extension("md");
    let missing = book.state(language, &path).unwrap_or(State::Current);
    let language = if missing == State::Missing { source } else { language };

    let file = language.folder.join(&path);
    let shown =
        file.strip_prefix(&book.root).context("a page of the book")?.to_path_buf();
    let text = page::read(&file)?.unwrap_or_default();
    // Markdown names pages by their sources.
    let written = [url.replace(".html", ".md"), url.to_string()];
    let find = |url: &String| {
        let at = text.find(&format!("({url}")).or_else(|| text.find(url))?;
        Some((at, url.clone()))
    };
    let (at, url) =
        written.iter().find_map(find).unwrap_or_else(|| (0, url.to_string()));
    let line = page::line(&text, at);
    Ok(Problem { file: shown, line, message: format!("{url} {message}") })
}
