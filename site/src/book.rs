//! The book as its sources describe it: its settings, its languages, and their summaries
//! and pages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use mdbook_driver::config::{Config, HtmlConfig};
use mdbook_summary::{SummaryItem, parse_summary};
use serde::Deserialize;

use crate::page::{self, State};

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

/// `language.toml`: the words of a language that are no part of a page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The language's name in itself, for the picker.
    pub name: String,
    pub title: String,
    pub description: String,
    /// The sign in front of a number's decimals, where it is not a point.
    pub decimal: Option<String>,
    /// Missing in a language that has only begun.
    pub chapters: Option<ChapterWords>,
    /// The interface's English words, and their translations.
    pub words: BTreeMap<String, String>,
}

/// The words around the numbers of chapters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChapterWords {
    /// The word before one number, as in "chapter N".
    pub one: String,
    /// The word before several numbers, as in "chapters N and M".
    pub many: String,
    /// The words that may stand before one of several numbers, as "and" does.
    pub between: Vec<String>,
}

impl ChapterWords {
    /// The words of the source language.
    pub fn english() -> Self {
        Self {
            one: "chapter".into(),
            many: "chapters".into(),
            between: ["and", "or", "to"].map(String::from).into(),
        }
    }
}

/// An entry of a `SUMMARY.md`, parents before children. Parts and drafts have no path.
#[derive(Clone)]
pub struct Title {
    pub name: String,
    pub path: Option<PathBuf>,
    /// The number of a numbered chapter, as in `8` or `7.1`.
    pub number: Option<String>,
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
                decimal: None,
                chapters: Some(ChapterWords::english()),
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

    /// The number of a page's chapter, as in `8` or `7.1`, if it has one.
    pub fn number(&self, path: &Path) -> Option<&str> {
        let titles = &self.source().titles;
        let title = titles.iter().find(|title| title.path.as_deref() == Some(path));
        title.and_then(|title| title.number.as_deref())
    }

    /// The English text of a page.
    pub fn english(&self, path: &Path) -> Result<String> {
        let file = self.source().folder.join(path);
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    }

    /// How a page of this language stands to the English one.
    pub fn state(&self, language: &Language, path: &Path) -> Result<State> {
        if language.tag == self.source().tag {
            return Ok(State::Current);
        }
        let translation = page::read(&language.folder.join(path))?;
        Ok(page::state(&self.english(path)?, translation.as_deref()))
    }

    /// The folder of a language's pages in the output, as in `it/`; English ones stand at
    /// the top.
    pub fn subfolder(&self, language: &Language) -> String {
        if language.tag == self.source().tag {
            String::new()
        } else {
            format!("{}/", language.tag)
        }
    }

    /// The folder of the theme.
    pub fn theme(&self) -> PathBuf {
        self.html.theme_dir(&self.root)
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
                    titles.push(Title {
                        name: link.name.clone(),
                        path: link.location.clone(),
                        number: link.number.as_ref().map(|number| {
                            number.to_string().trim_end_matches('.').to_string()
                        }),
                    });
                    flatten(&link.nested_items, titles);
                }
                SummaryItem::PartTitle(name) => {
                    titles.push(Title {
                        name: name.clone(),
                        path: None,
                        number: None,
                    });
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
