//! Builds the book: mdBook renders every language, with translated pages in place of the
//! English ones, and the rendered pages get what mdBook leaves open.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use anyhow::{Context, Result, ensure};
use mdbook_driver::MDBook;
use mdbook_driver::book::BookItem;
use mdbook_html::HtmlHandlebars;

use crate::book::{Book, Language, Title};
use crate::catalog;
use crate::content::{self, heading_ids};
use crate::files::{copy_assets, prune};
use crate::history::History;
use crate::machines;
use crate::page::{self, State};
use crate::postprocess::{EDIT, Live, Postprocess};
use crate::recording::Recordings;
use crate::search;
use crate::theme::translate_theme;

/// The ids that mdBook gave to the headings of each page.
type Ids = HashMap<PathBuf, Vec<String>>;

/// The size of a build and its time, for the line that the reader sees.
pub struct Report {
    pages: usize,
    languages: usize,
    took: Duration,
    dest: PathBuf,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pages, languages, took, dest } = self;
        let dest = dest.display();
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{dest}: {pages} pages in {languages} languages, built in {seconds:.2} s"
        )
    }
}

/// Builds all languages into `dest`: English at its top, the others in a folder each.
/// An earlier build there is replaced in one step, when this one is complete.
pub fn build(book: &Book, dest: &Path, live: Option<&Live>) -> Result<Report> {
    let start = Instant::now();
    let dest = book.root.join(dest);
    ensure!(
        !dest.exists() || is_build(&dest)?,
        "{} holds something else than a built book; name another folder",
        dest.display()
    );
    let parent = dest.parent().context("--dest has no parent folder")?;
    fs::create_dir_all(parent)?;
    let work = tempfile::Builder::new().prefix(".book-").tempdir_in(parent)?;
    let out = work.path().join("book");

    let mut ids = Ids::new();
    let mut pages = 0;
    for language in &book.languages {
        let out = folder(book, language, &out);
        render(book, language, &out, work.path(), &ids)?;
        tidy(book, &out)?;
        if ids.is_empty() {
            ids = all_heading_ids(book, &out)?;
        }
        pages += book.pages().count();
    }
    let history = History::read(&book.root);
    let postprocess = Postprocess::new(book, live, &history)?;
    for language in &book.languages {
        postprocess.pages(language, &out)?;
    }
    postprocess.files(&out)?;
    fs::write(out.join("404.html"), postprocess.not_found()?)?;
    search::add(book, &out, |language| folder(book, language, &out))?;
    machines::write(book, &history, &out)?;
    prune(&out)?;

    let old = work.path().join("old");
    if dest.exists() {
        fs::rename(&dest, &old)?;
    }
    fs::rename(&out, &dest)?;
    let languages = book.languages.len();
    Ok(Report { pages, languages, took: start.elapsed(), dest })
}

/// The folder of a language's pages in the output.
fn folder(book: &Book, language: &Language, out: &Path) -> PathBuf {
    if language.tag == book.source().tag {
        out.to_path_buf()
    } else {
        out.join(&language.tag)
    }
}

/// Lets mdBook render one language.
fn render(
    book: &Book,
    language: &Language,
    out: &Path,
    work: &Path,
    ids: &Ids,
) -> Result<()> {
    let theme = work.join(format!("theme-{}", language.tag));
    translate_theme(&book.theme(), &theme, language)?;

    let mut config = book.config.clone();
    config.book.language = Some(language.tag.clone());
    config.book.title = Some(language.settings.title.clone());
    config.book.description = Some(language.settings.description.clone());
    config.build.build_dir = out.to_path_buf();
    config.set("output.html.theme", &theme)?;
    if book.html.edit_url_template.is_some() {
        config.set("output.html.edit-url-template", EDIT)?;
    }
    let mut rendered = MDBook::load_with_config(&book.root, config)?;
    let mut names = names(book, language).into_iter();
    rename(&mut rendered.book.items, &mut names, &[]);
    if language.tag != book.source().tag {
        overlay(book, &mut rendered, language, ids)?;
    }
    let exercises = catalog::list(&book.root, &language.tag)?;
    rendered.book.for_each_chapter_mut(|chapter| {
        let text = chapter.content.replace(catalog::MARK, &exercises);
        chapter.content = content::named(&text);
    });
    let html = HtmlHandlebars::new();
    let (markdown, _) = rendered.preprocess_book(&html)?;
    rendered.with_preprocessor(Recordings);
    rendered.execute_build_process(&html)?;
    write_markdown(&markdown, out)?;
    if language.tag != book.source().tag {
        copy_assets(&language.folder, out)?;
    }
    Ok(())
}

/// The titles of the English summary in this language, English where it has none.
/// Pages are found by their paths, parts and drafts by their order.
fn names(book: &Book, language: &Language) -> Vec<String> {
    let pathless = |titles: &[Title]| -> Vec<Title> {
        titles.iter().filter(|title| title.path.is_none()).cloned().collect()
    };
    let english = &book.source().titles;
    let own = &language.titles;
    let mut ordered = pathless(own).into_iter();
    let same_order = ordered.len() == pathless(english).len();
    let name = |title: &Title| {
        let found = match &title.path {
            Some(_) => own.iter().find(|other| other.path == title.path).cloned(),
            None => ordered.next().filter(|_| same_order),
        };
        found.unwrap_or_else(|| title.clone()).name
    };
    english.iter().map(name).collect()
}

/// Puts translated pages in place of the English ones, before includes are expanded.
fn overlay(
    book: &Book,
    rendered: &mut MDBook,
    language: &Language,
    ids: &Ids,
) -> Result<()> {
    let mut texts = HashMap::new();
    for path in book.pages() {
        if book.state(language, path)? == State::Missing {
            continue;
        }
        let text = fs::read_to_string(language.folder.join(path))?;
        let own = page::split(&text).map_or(text.as_str(), |(_, own)| own);
        let ids = ids.get(path).map(Vec::as_slice).unwrap_or_default();
        texts.insert(path, page::with_ids(own, ids));
    }
    rendered.book.for_each_chapter_mut(|chapter| {
        let path = chapter.source_path.as_deref();
        if let Some(text) = path.and_then(|path| texts.remove(path)) {
            chapter.content = text;
        }
    });
    Ok(())
}

/// Writes each page as Markdown beside it, with what it includes.
fn write_markdown(book: &mdbook_driver::book::Book, out: &Path) -> Result<()> {
    for chapter in book.chapters() {
        if let Some(path) = &chapter.path {
            fs::write(out.join(path), &chapter.content)?;
        }
    }
    Ok(())
}

/// Mends what mdBook leaves unclean in the pages of a language.
fn tidy(book: &Book, out: &Path) -> Result<()> {
    for path in book.pages().chain([Path::new("print.md")]) {
        let file = out.join(path.with_extension("html"));
        if file.exists() {
            fs::write(&file, content::tidy(&fs::read_to_string(&file)?))?;
        }
    }
    Ok(())
}

/// Reads the ids that mdBook gave to the headings of each page.
fn all_heading_ids(book: &Book, out: &Path) -> Result<Ids> {
    book.pages()
        .map(|path| {
            let html = fs::read_to_string(out.join(path.with_extension("html")))?;
            Ok((path.to_path_buf(), heading_ids(&html)))
        })
        .collect()
}

/// Gives the entries these names, in the order of [`titles`].
fn rename(
    items: &mut [BookItem],
    names: &mut impl Iterator<Item = String>,
    parents: &[String],
) {
    for item in items {
        match item {
            BookItem::Chapter(chapter) => {
                chapter.name = names.next().unwrap_or_default();
                chapter.parent_names = parents.to_vec();
                let parents =
                    [parents, std::slice::from_ref(&chapter.name)].concat();
                rename(&mut chapter.sub_items, names, &parents);
            }
            BookItem::PartTitle(title) => *title = names.next().unwrap_or_default(),
            BookItem::Separator => {}
        }
    }
}

/// An empty folder, or one that mdBook filled (it leaves `.nojekyll`).
fn is_build(folder: &Path) -> Result<bool> {
    Ok(folder.join(".nojekyll").is_file() || fs::read_dir(folder)?.next().is_none())
}
