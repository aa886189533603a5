//! The files of a book for programs: `sitemap.xml` and `robots.txt`, which need the public
//! address, and `llms.txt` (<https://llmstxt.org>), which lists the pages as Markdown.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::book::{Book, Language, Title};
use crate::content;
use crate::history::History;
use crate::page::State;
use crate::recording::escape;

/// Writes them at the top of the output.
pub fn write(book: &Book, history: &History, out: &Path) -> Result<()> {
    let base = book.html.site_url.as_deref();
    fs::write(out.join("llms.txt"), llms(book, base.unwrap_or_default(), out)?)?;
    if let Some(base) = base {
        fs::write(out.join("sitemap.xml"), sitemap(book, history, base)?)?;
        let robots =
            format!("User-agent: *\nAllow: /\n\nSitemap: {base}sitemap.xml\n");
        fs::write(out.join("robots.txt"), robots)?;
    }
    Ok(())
}

fn sitemap(book: &Book, history: &History, base: &str) -> Result<String> {
    let mut urls = String::new();
    for language in &book.languages {
        for path in book.pages() {
            if book.state(language, path)? == State::Missing {
                continue;
            }
            let page =
                path.with_extension("html").to_string_lossy().replace('\\', "/");
            let page = page.strip_suffix("index.html").unwrap_or(&page);
            let url = escape(&format!("{base}{}{page}", book.subfolder(language)));
            let source = language.folder.join(path);
            let day =
                history.changed(source.strip_prefix(&book.root).unwrap_or(&source));
            let day = day.map(|day| format!("<lastmod>{day}</lastmod>"));
            let day = day.unwrap_or_default();
            urls += &format!("<url><loc>{url}</loc>{day}</url>\n");
        }
    }
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n{urls}</urlset>\n"
    ))
}

fn llms(book: &Book, base: &str, out: &Path) -> Result<String> {
    let source = book.source();
    let mut text = format!(
        "# {}\n\n> {}\n\nEach page is Markdown with the listings of the programs in it.\n\n",
        source.settings.title, source.settings.description
    );
    for title in &source.titles {
        match (&title.path, &title.number) {
            (Some(_), _) => text += &entry(book, source, title, base, out)?,
            (None, None) => text += &format!("\n## {}\n\n", title.name),
            // A draft has no page.
            (None, Some(_)) => {}
        }
    }
    for language in book.translations() {
        text += &format!("\n## {}\n\n", language.settings.name);
        // A title of a page that English does not have is for `check` to tell.
        let has_page = |title: &&Title| {
            book.pages().any(|page| Some(page) == title.path.as_deref())
        };
        for title in language.titles.iter().filter(has_page) {
            text += &entry(book, language, title, base, out)?;
        }
    }
    Ok(text)
}

/// A line with the page's title and its question; nothing for what is not translated.
fn entry(
    book: &Book,
    language: &Language,
    title: &Title,
    base: &str,
    out: &Path,
) -> Result<String> {
    let Some(path) = &title.path else { return Ok(String::new()) };
    if book.state(language, path)? == State::Missing {
        return Ok(String::new());
    }
    let folder = book.subfolder(language);
    let html = out.join(&folder).join(path.with_extension("html"));
    let question = content::question(&fs::read_to_string(html)?);
    let question =
        question.map(|question| format!(": {question}")).unwrap_or_default();
    let url = path.to_string_lossy().replace('\\', "/");
    Ok(format!("- [{}]({base}{folder}{url}){question}\n", title.name))
}
