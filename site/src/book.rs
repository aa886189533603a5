//! Builds the book in every language. mdBook renders each; this puts translated pages in
//! place of English ones before, and adds afterwards what mdBook has no word for.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fmt, fs};

use anyhow::{Context, Result, ensure};
use mdbook_driver::MDBook;
use mdbook_driver::book::BookItem;
use mdbook_driver::config::{Config, HtmlConfig};
use mdbook_html::HtmlHandlebars;
use mdbook_summary::{SummaryItem, parse_summary};
use serde::Deserialize;

use crate::finish::{self, Finish};
use crate::page::{self, State};
use crate::recording::Recordings;

/// The book as its sources describe it.
pub struct Book {
    pub root: PathBuf,
    pub config: Config,
    pub html: HtmlConfig,
    /// The source language first, then the others by tag.
    pub languages: Vec<Language>,
}

/// A folder of `src/`: pages, titles in `SUMMARY.md`, and words in `language.toml`.
pub struct Language {
    /// The folder's name: a BCP 47 tag, as in `it`.
    pub tag: String,
    pub folder: PathBuf,
    pub settings: Settings,
    pub titles: Vec<Title>,
}

/// `language.toml`: what the interface says in this language.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The language's name in itself, for the picker.
    pub name: String,
    pub title: String,
    pub description: String,
    /// The interface's English words, and what they are in this language.
    pub words: BTreeMap<String, String>,
}

/// An entry of a `SUMMARY.md`, parents before children. Parts and drafts have no path.
#[derive(Clone)]
pub struct Title {
    pub name: String,
    pub path: Option<PathBuf>,
}

/// What pages know that are served with the programs live.
#[derive(Clone)]
pub struct Live {
    /// As in `http://127.0.0.1:3000/`.
    pub origin: String,
    /// Names this build: an open page of another build reloads.
    pub build: String,
}

/// What was built, for the line that the reader sees.
pub struct Report {
    pages: usize,
    languages: usize,
    took: Duration,
    dest: PathBuf,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pages, languages, took, dest } = self;
        let (seconds, dest) = (took.as_secs_f64(), dest.display());
        write!(
            f,
            "{dest}: {pages} pages in {languages} languages, built in {seconds:.2} s"
        )
    }
}

/// The nearest folder, from here upwards, that holds a `book.toml`.
pub fn find_root() -> Result<PathBuf> {
    let here = env::current_dir()?;
    here.ancestors()
        .find(|folder| folder.join("book.toml").is_file())
        .map(Path::to_path_buf)
        .with_context(|| format!("no book.toml in {} or above", here.display()))
}

impl Book {
    pub fn load(root: &Path) -> Result<Self> {
        let config = Config::from_disk(root.join("book.toml"))?;
        let html: HtmlConfig = config.get("output.html")?.unwrap_or_default();
        if let Some(url) = &html.site_url {
            ensure!(
                url.starts_with("http") && url.ends_with('/'),
                "book.toml: site-url is the public address of the book, as in \
                 \"https://example.org/book/\", not {url:?}"
            );
        }
        let src = root.join(&config.book.src);
        let source = Language {
            tag: config.book.language.clone().unwrap_or_else(|| "en".into()),
            settings: Settings {
                name: "English".into(),
                title: config.book.title.clone().unwrap_or_default(),
                description: config.book.description.clone().unwrap_or_default(),
                words: BTreeMap::new(),
            },
            titles: titles(&src)?,
            folder: src.clone(),
        };
        let mut languages = vec![source];
        for entry in fs::read_dir(src.parent().unwrap_or(root))? {
            let folder = entry?.path();
            if folder.is_dir() && folder != src {
                languages.push(Language::load(folder)?);
            }
        }
        languages[1..].sort_by(|a, b| a.tag.cmp(&b.tag));
        Ok(Self { root: root.to_path_buf(), config, html, languages })
    }

    pub fn source(&self) -> &Language {
        &self.languages[0]
    }

    pub fn translations(&self) -> &[Language] {
        &self.languages[1..]
    }

    /// The paths of the pages, in the order of the English summary.
    pub fn pages(&self) -> impl Iterator<Item = &Path> {
        self.source().titles.iter().filter_map(|title| title.path.as_deref())
    }

    /// The English text of a page.
    pub fn english(&self, path: &Path) -> Result<String> {
        let file = self.source().folder.join(path);
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    }

    pub fn state(&self, language: &Language, path: &Path) -> Result<State> {
        if language.tag == self.source().tag {
            return Ok(State::Current);
        }
        let translation = page::read(&language.folder.join(path))?;
        Ok(page::state(&self.english(path)?, translation.as_deref()))
    }

    /// Builds all languages into `dest`: English at its top, the others in a folder each.
    /// An earlier build there is replaced in one step, when this one is complete.
    pub fn build(&self, dest: &Path, live: Option<&Live>) -> Result<Report> {
        let start = Instant::now();
        let dest = self.root.join(dest);
        ensure!(
            !dest.exists() || is_build(&dest)?,
            "{} holds something else than a built book; name another folder",
            dest.display()
        );
        let parent = dest.parent().context("--dest has no parent folder")?;
        fs::create_dir_all(parent)?;
        let work = tempfile::Builder::new().prefix(".book-").tempdir_in(parent)?;
        let out = work.path().join("book");

        let mut ids = HashMap::new();
        let mut pages = 0;
        for language in &self.languages {
            let out = if language.tag == self.source().tag {
                out.clone()
            } else {
                out.join(&language.tag)
            };
            self.render(language, &out, work.path(), &ids)?;
            if ids.is_empty() {
                ids = self.heading_ids(&out)?;
            }
            pages += self.pages().count();
        }
        let finish = Finish::new(self, live)?;
        for language in &self.languages {
            finish.pages(language, &out)?;
        }
        fs::write(out.join("404.html"), finish.not_found()?)?;
        finish::prune(&out)?;

        let old = work.path().join("old");
        if dest.exists() {
            fs::rename(&dest, &old)?;
        }
        fs::rename(&out, &dest)?;
        let languages = self.languages.len();
        Ok(Report { pages, languages, took: start.elapsed(), dest })
    }

    /// Lets mdBook render one language.
    fn render(
        &self,
        language: &Language,
        out: &Path,
        work: &Path,
        ids: &HashMap<PathBuf, Vec<String>>,
    ) -> Result<()> {
        let theme = work.join(format!("theme-{}", language.tag));
        finish::translate_theme(&self.theme(), &theme, language)?;

        let mut config = self.config.clone();
        config.book.language = Some(language.tag.clone());
        config.book.title = Some(language.settings.title.clone());
        config.book.description = Some(language.settings.description.clone());
        config.build.build_dir = out.to_path_buf();
        config.set("output.html.theme", &theme)?;
        if self.html.edit_url_template.is_some() {
            config.set("output.html.edit-url-template", finish::EDIT)?;
        }
        let mut rendered = MDBook::load_with_config(&self.root, config)?;
        let mut names = self.names(language).into_iter();
        rename(&mut rendered.book.items, &mut names, &[]);
        if language.tag != self.source().tag {
            self.overlay(&mut rendered, language, ids)?;
        }
        rendered.with_preprocessor(Recordings);
        rendered.execute_build_process(&HtmlHandlebars::new())?;
        if language.tag != self.source().tag {
            copy_assets(&language.folder, out)?;
        }
        Ok(())
    }

    pub fn theme(&self) -> PathBuf {
        self.html.theme_dir(&self.root)
    }

    /// The titles of the English summary in this language, English where it has none.
    /// Pages are found by their paths, parts and drafts by their order.
    fn names(&self, language: &Language) -> Vec<String> {
        let pathless = |titles: &[Title]| -> Vec<Title> {
            titles.iter().filter(|title| title.path.is_none()).cloned().collect()
        };
        let (english, own) = (&self.source().titles, &language.titles);
        let mut ordered = pathless(own).into_iter();
        let same_order = ordered.len() == pathless(english).len();
        let name = |title: &Title| {
            let found = match &title.path {
                Some(_) => {
                    own.iter().find(|other| other.path == title.path).cloned()
                }
                None => ordered.next().filter(|_| same_order),
            };
            found.unwrap_or_else(|| title.clone()).name
        };
        english.iter().map(name).collect()
    }

    /// Puts translated pages in place of the English ones, before includes are expanded.
    fn overlay(
        &self,
        rendered: &mut MDBook,
        language: &Language,
        ids: &HashMap<PathBuf, Vec<String>>,
    ) -> Result<()> {
        let mut texts = HashMap::new();
        for path in self.pages() {
            if self.state(language, path)? == State::Missing {
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

    /// The ids that mdBook gave to the headings of each page.
    fn heading_ids(&self, out: &Path) -> Result<HashMap<PathBuf, Vec<String>>> {
        self.pages()
            .map(|path| {
                let html =
                    fs::read_to_string(out.join(path.with_extension("html")))?;
                Ok((path.to_path_buf(), finish::heading_ids(&html)))
            })
            .collect()
    }
}

impl Language {
    fn load(folder: PathBuf) -> Result<Self> {
        let file = folder.join("language.toml");
        let settings = fs::read_to_string(&file)
            .with_context(|| {
                format!("{}: `cargo book translate` starts one", file.display())
            })
            .and_then(|text| Ok(toml::from_str(&text)?))
            .with_context(|| file.display().to_string())?;
        let tag = folder.file_name().and_then(|name| name.to_str());
        let tag =
            tag.context("a language's folder has a tag as its name")?.to_string();
        Ok(Self { tag, settings, titles: titles(&folder)?, folder })
    }
}

/// The entries of a folder's `SUMMARY.md`.
fn titles(folder: &Path) -> Result<Vec<Title>> {
    fn flatten(items: &[SummaryItem], titles: &mut Vec<Title>) {
        for item in items {
            match item {
                SummaryItem::Link(link) => {
                    let (name, path) = (link.name.clone(), link.location.clone());
                    titles.push(Title { name, path });
                    flatten(&link.nested_items, titles);
                }
                SummaryItem::PartTitle(name) => {
                    titles.push(Title { name: name.clone(), path: None });
                }
                _ => {}
            }
        }
    }
    let file = folder.join("SUMMARY.md");
    let text =
        fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let summary =
        parse_summary(&text).with_context(|| file.display().to_string())?;
    let mut titles = Vec::new();
    for items in [
        &summary.prefix_chapters,
        &summary.numbered_chapters,
        &summary.suffix_chapters,
    ] {
        flatten(items, &mut titles);
    }
    Ok(titles)
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

/// Copies a language's own pictures over the English ones.
fn copy_assets(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        let kind = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            fs::create_dir_all(to.join(name))?;
            copy_assets(&path, &to.join(name))?;
        } else if !matches!(kind, Some("md" | "toml")) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
