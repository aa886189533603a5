//! The pages of HTML that mdBook rendered, and what it leaves open in them: the links to the
//! other languages, the banners, the edit link, the 404 page.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lazy_regex::{Captures, Lazy, Regex, lazy_regex};

use crate::book::{Book, Language, Settings};
use crate::content;
use crate::history::History;
use crate::page::State;
use crate::recording::escape;
use crate::sources::Sources;
use crate::theme::translate;

/// Stands for the edit link's address until the file that it leads to is known.
pub const EDIT: &str = "EDIT-URL";
/// The script that reloads a page when the book was built again. Only the server has it.
const RELOAD: &str = "live/reload.js";

/// A cell that holds a figure: a number with decimals, and its unit.
static FIGURE: Lazy<Regex> = lazy_regex!(r"(<td[^>]*>-?\d+)\.(\d+(?: [^<]*)?</td>)");
static BANNER: Lazy<Regex> =
    lazy_regex!(r#"(?s)<template data-banner="(\w+)">(.*?)</template>\s*"#);
/// A part of the page that is left out where there is nothing to say.
static PART: Lazy<Regex> =
    lazy_regex!(r#"(?s)<template data-part="(\w+)">(.*?)</template>\s*"#);
/// A link to the page before or behind.
static TURN: Lazy<Regex> = lazy_regex!(
    r#"(<a rel="(?:prev|next)" href="(?:\.\./)*([^"]+)\.html"><span>[^<]*</span> )"#
);

/// The words of a page that search engines and chats show.
struct About {
    title: String,
    description: String,
    /// The page as Markdown, beside it.
    markdown: Option<String>,
}

/// The facts that a page needs to show programs live.
#[derive(Clone)]
pub struct Live {
    /// The origin of the server, as in `http://127.0.0.1:3000/`.
    pub origin: String,
    /// Names this build: an open page of another build reloads.
    pub build: String,
}

/// Completes the pages of all languages.
pub struct Postprocess<'a> {
    book: &'a Book,
    live: Option<&'a Live>,
    history: &'a History,
    sources: Sources,
    /// Every language's pages, and how they stand to the English ones.
    states: Vec<(&'a Language, Vec<(PathBuf, State)>)>,
}

impl<'a> Postprocess<'a> {
    pub fn new(
        book: &'a Book,
        live: Option<&'a Live>,
        history: &'a History,
    ) -> Result<Self> {
        let states = |language| -> Result<_> {
            let states: Result<_> = book
                .pages()
                .map(|path| Ok((path.to_path_buf(), book.state(language, path)?)))
                .collect();
            Ok((language, states?))
        };
        let states = book.languages.iter().map(states).collect::<Result<_>>()?;
        let sources = Sources::of(book)?;
        Ok(Self { book, live, history, sources, states })
    }

    /// Puts the files that the pages show beside them.
    pub fn files(&self, out: &Path) -> Result<()> {
        self.sources.copy(self.book, out)
    }

    /// Completes the pages of one language, below the folder of the whole output.
    pub fn pages(&self, language: &Language, out: &Path) -> Result<()> {
        let folder = out.join(self.book.subfolder(language));
        for (path, state) in self.states_of(language) {
            let file = folder.join(path.with_extension("html"));
            let html = fs::read_to_string(&file)?;
            fs::write(&file, self.page(&html, language, path, *state))?;
        }
        let print = folder.join("print.html");
        if print.exists() {
            let html = self.whole_book(&fs::read_to_string(&print)?, language);
            let path = Path::new("print.md");
            fs::write(&print, self.page(&html, language, path, State::Current))?;
        }
        Ok(())
    }

    /// The page that holds all others: a title, the contents, and nothing folded.
    fn whole_book(&self, html: &str, language: &Language) -> String {
        let numbers: Vec<_> =
            self.book.pages().map(|path| self.book.number(path)).collect();
        let html = content::number(html, &numbers);
        let Settings { title, description, .. } = &language.settings;
        let front = format!(
            "<main>\n<header class=\"front\">\n<p class=\"title\">{}</p>\n<p>{}</p>\n\
             <ol>\n{}</ol>\n</header>\n",
            escape(title),
            escape(description),
            content::chapters(&html)
        );
        html.replacen("<main>", &front, 1).replace("<details>", "<details open>")
    }

    /// The marks that every page gets in its text, and the contents of the page: below its chapter
    /// in the contents of the book, and beside it.
    fn text(
        &self,
        html: &str,
        (url, top): (&str, &str),
        path: &Path,
        source: &Path,
    ) -> String {
        let html = content::number(html, &[self.book.number(path)]);
        let html = content::names(&html, |name| self.sources.test(name));
        let html = content::files(&html, |file| self.sources.file(file, top));
        let is_chapter = content::title(&html).is_some();
        let html = match self.live {
            Some(_) if is_chapter => content::attempts(&html),
            _ => html,
        };
        let sections = content::sections(&html);
        let changed = self.history.changed(source);
        let part = |part: &Captures| match (&part[1], changed) {
            ("sections", _) if !sections.is_empty() => {
                part[2].replace("{sections}", &sections)
            }
            ("version", _) => part[2].replace("{version}", &self.history.version),
            ("changed", Some(day)) => part[2].replace("{day}", day),
            _ => String::new(),
        };
        let html = PART.replace_all(&html, part);
        let link = format!("<a href=\"{url}\">");
        let html = match html.split_once(&link) {
            Some((before, chapter)) => {
                let below =
                    format!("</span>\n<ol class=\"sections\">{sections}</ol>");
                let below = if sections.is_empty() { "</span>" } else { &below };
                let chapter = chapter.replacen("</span>", below, 1);
                format!("{before}<a href=\"{url}\" aria-current=\"page\">{chapter}")
            }
            None => html.into_owned(),
        };
        let html = TURN.replace_all(&html, |turn: &Captures| {
            let number = self.book.number(&Path::new(&turn[2]).with_extension("md"));
            let number = number.map(|number| format!("{number}. "));
            format!("{}{}", &turn[1], number.unwrap_or_default())
        });
        html.into_owned()
    }

    fn states_of(&self, language: &Language) -> &[(PathBuf, State)] {
        let found = self.states.iter().find(|(other, _)| other.tag == language.tag);
        found.map(|(_, states)| states.as_slice()).unwrap_or_default()
    }

    fn page(
        &self,
        html: &str,
        language: &Language,
        path: &Path,
        state: State,
    ) -> String {
        let source = self.book.source();
        let url = path.with_extension("html").to_string_lossy().replace('\\', "/");
        // The way from this page to the top of the output.
        let depth =
            url.matches('/').count() + usize::from(language.tag != source.tag);
        let top = "../".repeat(depth);
        let shown = if state == State::Missing { source } else { language };

        let file = shown.folder.join(path);
        let file = file.strip_prefix(&self.book.root).unwrap_or(&file);
        let html = self.text(html, (&url, &top), path, file);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let about = About {
            title: content::title(&html)
                .unwrap_or_else(|| escape(&shown.settings.title)),
            description: content::question(&html)
                .unwrap_or_else(|| escape(&shown.settings.description)),
            // The page with the whole book has none.
            markdown: name.filter(|_| self.book.pages().any(|page| page == path)),
        };
        let mut html = BANNER
            .replace_all(&html, |found: &Captures| {
                let kind = format!("{state:?}").to_lowercase();
                let banner = if found[1] == kind { &found[2] } else { "" };
                banner.replace("{english}", &format!("{top}{url}"))
            })
            .replace("<!-- head -->", &self.head(&url, &top, shown, &about))
            .replace("<!-- languages -->", &self.picker(&url, &top, language));
        if shown.tag != source.tag {
            // Listings and sessions are those of the English page.
            html = html.replace("<pre", &format!("<pre lang=\"{}\"", source.tag));
        }
        if let Some(sign) = &shown.settings.decimal {
            html = FIGURE.replace_all(&html, format!("${{1}}{sign}${{2}}")).into();
        }
        if state == State::Missing {
            html =
                html.replace("<main>", &format!("<main lang=\"{}\">", source.tag));
        }
        if let Some(template) = &self.book.html.edit_url_template {
            let file = file.to_string_lossy().replace('\\', "/");
            html = html.replace(EDIT, &template.replace("{path}", &file));
        }
        html
    }

    /// The public address, else the origin that serves the pages.
    fn base(&self) -> Option<&str> {
        let origin = self.live.map(|live| live.origin.as_str());
        self.book.html.site_url.as_deref().or(origin)
    }

    /// The languages that have this page.
    fn having(&self, url: &str) -> impl Iterator<Item = &'a Language> {
        let path = Path::new(url).with_extension("md");
        self.states.iter().filter_map(move |(language, states)| {
            let state = states.iter().find(|(other, _)| *other == path);
            let has = state.is_none_or(|(_, state)| *state != State::Missing);
            has.then_some(*language)
        })
    }

    /// The lines in a page's head that depend on its address and its text. Search engines
    /// read the addresses of other pages only where they are absolute.
    fn head(&self, url: &str, top: &str, shown: &Language, about: &About) -> String {
        let mut head = String::new();
        if let Some(base) = self.base() {
            let page = url.strip_suffix("index.html").unwrap_or(url);
            let own = format!("{base}{}{page}", self.book.subfolder(shown));
            head += &format!(
                "<link rel=\"canonical\" href=\"{own}\">\n\
                 <meta property=\"og:url\" content=\"{own}\">\n"
            );
            for language in self.having(url) {
                let tag = &language.tag;
                let folder = self.book.subfolder(language);
                head += &format!(
                    "<link rel=\"alternate\" hreflang=\"{tag}\" \
                     href=\"{base}{folder}{page}\">\n"
                );
            }
            head += &format!(
                "<link rel=\"alternate\" hreflang=\"x-default\" href=\"{base}{page}\">\n"
            );
        }
        let About { title, description, markdown } = about;
        if let Some(markdown) = markdown {
            head += &format!(
                "<link rel=\"alternate\" type=\"text/markdown\" href=\"{markdown}\">\n"
            );
        }
        let site = escape(&shown.settings.title);
        let locale = shown.tag.replace('-', "_");
        head += &format!(
            "<meta name=\"description\" content=\"{description}\">\n\
             <meta property=\"og:type\" content=\"article\">\n\
             <meta property=\"og:site_name\" content=\"{site}\">\n\
             <meta property=\"og:title\" content=\"{title}\">\n\
             <meta property=\"og:description\" content=\"{description}\">\n\
             <meta property=\"og:locale\" content=\"{locale}\">\n"
        );
        if let Some(live) = self.live {
            let build = &live.build;
            head += &format!(
                "<meta name=\"live\" content=\"{top}live/\">\n\
                 <script type=\"module\" src=\"{top}{RELOAD}\" data-build=\"{build}\" \
                 id=\"reload\"></script>\n"
            );
        }
        head
    }

    /// A link to this page in every language, and which one this is.
    fn picker(&self, url: &str, top: &str, language: &Language) -> String {
        let entry = |other: &Language| {
            let tag = &other.tag;
            let name = escape(&other.settings.name);
            let href = format!("{top}{}{url}", self.book.subfolder(other));
            let current = if other.tag == language.tag {
                " aria-current=\"true\""
            } else {
                ""
            };
            format!(
                "<li><a href=\"{href}\" lang=\"{tag}\" hreflang=\"{tag}\"{current}>{name}</a></li>\n"
            )
        };
        self.book.languages.iter().map(entry).collect()
    }

    /// One page for every address that does not exist, in all languages, because a static
    /// host has one. It refers to nothing: it may be shown at any depth.
    pub fn not_found(&self) -> Result<String> {
        let file = self.book.theme().join("404.html");
        let template = fs::read_to_string(&file).context("theme/404.html")?;
        let (before, rest) =
            template.split_once("<!-- language -->").context("404.html")?;
        let (section, after) =
            rest.split_once("<!-- /language -->").context("404.html")?;
        let base = self.base().unwrap_or("/");
        let sections = self.book.languages.iter().map(|language| {
            translate(section, language)
                .replace("{lang}", &language.tag)
                .replace("{title}", &escape(&language.settings.title))
                .replace(
                    "{home}",
                    &format!("{base}{}", self.book.subfolder(language)),
                )
        });
        Ok(format!("{before}{}{after}", sections.collect::<String>()))
    }
}
