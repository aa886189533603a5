//! Finds what mdBook passes over in silence: includes and links that lead nowhere, and
//! translations that differ from the English page in more than their language.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, Result, ensure};

use crate::book::{Book, Language};
use crate::finish;
use crate::links;
use crate::page::{self, State};
use crate::programs;

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
    let (mut incomplete, mut untranslated) = (0, 0);
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
    let (pages, languages) = (book.pages().count(), book.languages.len());
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

/// What a translation still lacks, a line each.
fn open(book: &Book, language: &Language) -> Result<Vec<String>> {
    let mut open = Vec::new();
    for path in book.pages() {
        let shown = path.display();
        let tag = &language.tag;
        let text = page::read(&language.folder.join(path))?;
        match page::state(&book.english(path)?, text.as_deref()) {
            State::Current => {}
            // What is wrong with its first line is a problem, and told as such.
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
    let (own, english) = (pathless(language), pathless(book.source()));
    if own != english {
        let message = format!("{own} parts and drafts, the English one {english}");
        open.push(format!("SUMMARY.md has {message}"));
    }
    let mut words = finish::words(&book.theme())?;
    words.retain(|word| !language.settings.words.contains_key(word));
    if let Some(word) = words.first() {
        let count = words.len();
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
        for file in finish::files(&language.folder)? {
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
            if language.tag != self.book.source().tag && pages.contains(&path) {
                let english = self.book.english(&path)?;
                self.check_translation(&file, &text, &english);
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

    fn check_translation(&mut self, file: &Path, text: &str, english: &str) {
        let Some((_, own)) = page::split(text) else {
            let message = "the first line is not `<!-- translates: BLOB -->`; the English \
                           text as it is now would be";
            let first = page::translates(english);
            return self.report(file, 1, format!("{message} {}", first.trim()));
        };
        if page::state(english, Some(text)) != State::Current {
            // What an older English text had is not known here.
            return;
        }
        let before = text.len() - own.len();

        let (theirs, ours) = (page::headings(english), page::headings(own));
        for (index, heading) in ours.iter().enumerate() {
            let line = page::line(text, before + heading.range.start);
            match theirs.get(index) {
                Some(other) if other.level == heading.level => {}
                Some(other) => {
                    let (own, other) = (heading.level, other.level);
                    let message = format!(
                        "this heading has level {own}, the English one {other}"
                    );
                    self.report(file, line, message);
                }
                None => {
                    self.report(file, line, "the English page has no such heading")
                }
            }
            if heading.id.is_some() {
                self.report(
                    file,
                    line,
                    "headings get their ids from the English page",
                );
            }
        }
        if ours.len() < theirs.len() {
            let missing = &english[theirs[ours.len()].range.clone()];
            let message =
                format!("no heading for the English \"{}\"", missing.trim());
            self.report(file, page::line(text, text.len()), message);
        }

        let (theirs, ours) = (page::includes(english), page::includes(own));
        for (index, include) in ours.iter().enumerate() {
            let other = theirs.get(index).map(|other| other.text.as_str());
            if other != Some(include.text.as_str()) {
                let line = include.line + 1;
                let other = other.unwrap_or("nothing");
                let message =
                    format!("includes {}, the English page {other}", include.text);
                return self.report(file, line, message);
            }
        }
        if let Some(missing) = theirs.get(ours.len()) {
            let message = format!("does not include {}", missing.text);
            self.report(file, page::line(text, text.len()), message);
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
        let words = finish::words(&self.book.theme())?;
        for word in language.settings.words.keys() {
            if !words.contains(word) {
                let line = text.find(word).map_or(1, |at| page::line(&text, at));
                let message =
                    format!("the interface does not say \"{word}\" any more");
                self.report(&file, line, message);
            }
        }
        Ok(())
    }
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
    book.build(&out, None)?;

    let mut pages = HashMap::new();
    for file in finish::files(&out)? {
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
            if let Some(message) = follow(&pages, path, url) {
                broken.push((url, path, message));
            }
        }
        for stream in &page.streams {
            if !is_program(stream) {
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

/// Whether this, below `live/`, belongs to a program that is mounted there.
fn is_program(path: &str) -> bool {
    programs::MOUNTED.iter().any(|(name, _)| path.split('/').next() == Some(name))
}

/// Why a link leads nowhere, if it does.
fn follow(
    pages: &HashMap<PathBuf, links::Page>,
    path: &Path,
    url: &str,
) -> Option<String> {
    if url.contains("://") || url.starts_with("mailto:") || url.starts_with("data:")
    {
        return None;
    }
    let (target, id) = url.split_once('#').unwrap_or((url, ""));
    let mut to = if target.is_empty() {
        path.to_path_buf()
    } else if target.starts_with('/') {
        return Some("leaves the book, which may be served under a path".into());
    } else {
        let target = target.split('?').next().unwrap_or(target);
        normal(&path.parent().unwrap_or(path).join(target))
    };
    if to.strip_prefix("live").is_ok_and(|path| is_program(&path.to_string_lossy()))
    {
        return None;
    }
    if target.ends_with('/') || to.as_os_str().is_empty() {
        to.push("index.html");
    }
    match pages.get(&to) {
        None => Some("leads nowhere: there is no such page or file".into()),
        Some(page) if !id.is_empty() && !page.ids.contains(id) => {
            Some(format!("leads nowhere: the page has no id `{id}`"))
        }
        Some(_) => None,
    }
}

/// Resolves `..` without asking the disk.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            // Above the top of the book there is nothing that could be found.
            Component::ParentDir if normal.pop() => {}
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// What is wrong with a link in a built page, told of its source and as written there.
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
    let (line, message) = (page::line(&text, at), format!("{url} {message}"));
    Ok(Problem { file: shown, line, message })
}
