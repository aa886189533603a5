//! The links and ids of a built page, and where a link leads.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

/// The links of a page, and the ids that other pages can link to.
#[derive(Default)]
pub struct Page {
    /// Addresses, as written.
    pub links: Vec<String>,
    /// The streams of the panels, as in `tick/ticks`.
    pub streams: Vec<String>,
    pub ids: BTreeSet<String>,
}

#[derive(Default)]
struct Sink(RefCell<Page>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        if let Token::TagToken(Tag { name, attrs, .. }) = token {
            let mut page = self.0.borrow_mut();
            for attribute in attrs {
                let value = attribute.value.to_string();
                match &*attribute.name.local {
                    "id" => drop(page.ids.insert(value)),
                    // A panel is an element of our own, which HTML calls by a name with
                    // a hyphen, and its `src` a path of a program below `/live/`.
                    "src" if name.contains('-') => page.streams.push(value),
                    "href" | "src" => page.links.push(value),
                    _ => {}
                }
            }
        }
        TokenSinkResult::Continue
    }
}

pub fn read(html: &str) -> Page {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    // Scripts are not run, so the tokenizer never stops before the end.
    drop(tokenizer.feed(&input));
    tokenizer.end();
    tokenizer.sink.0.into_inner()
}

/// Says why a link of the page at `path` leads nowhere, if it does. A program is mounted
/// where `is_program` knows its path.
pub fn follow(
    pages: &HashMap<PathBuf, Page>,
    path: &Path,
    url: &str,
    is_program: fn(&str) -> bool,
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
pub fn normal(path: &Path) -> PathBuf {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A book of two pages and a picture, with the program `tick`.
    fn followed(from: &str, url: &str) -> Option<String> {
        let page = "<h1 id=\"top\">A page</h1>";
        let pages = ["index.html", "tick.html", "it/tick.html", "img/a.svg"]
            .map(|path| (PathBuf::from(path), read(page)));
        let is_program = |path: &str| path.split('/').next() == Some("tick");
        follow(&HashMap::from(pages), Path::new(from), url, is_program)
    }

    #[test]
    fn links_to_pages_headings_pictures_programs_and_other_hosts_lead_somewhere() {
        for url in [
            "tick.html",
            "tick.html#top",
            "tick.html?x#top",
            "#top",
            "./",
            "it/tick.html",
            "img/a.svg",
            "live/tick/",
            "https://example.org/nothing.html",
            "mailto:a@example.org",
            "data:,",
        ] {
            assert_eq!(followed("index.html", url), None, "{url}");
        }
        assert_eq!(followed("it/tick.html", "../index.html#top"), None);
        assert_eq!(followed("it/tick.html", "../live/tick/"), None);
    }

    #[test]
    fn links_that_lead_nowhere_say_why() {
        let no_page = "leads nowhere: there is no such page or file";
        for (from, url, why) in [
            ("index.html", "gone.html", no_page),
            ("index.html", "gone.svg", no_page),
            ("it/tick.html", "index.html", no_page),
            ("index.html", "../tick.html", no_page),
            ("index.html", "live/tock/", no_page),
            (
                "index.html",
                "tick.html#gone",
                "leads nowhere: the page has no id `gone`",
            ),
            ("index.html", "#gone", "leads nowhere: the page has no id `gone`"),
            (
                "index.html",
                "/tick.html",
                "leaves the book, which may be served under a path",
            ),
        ] {
            assert_eq!(followed(from, url).as_deref(), Some(why), "{url}");
        }
    }

    #[test]
    fn a_path_is_resolved_without_the_disk() {
        for (path, short) in [
            ("a/../b/./c.html", "b/c.html"),
            ("../a.html", "../a.html"),
            ("a/..", ""),
        ] {
            assert_eq!(normal(Path::new(path)), Path::new(short), "{path}");
        }
    }

    #[test]
    fn a_panel_s_src_is_a_stream_and_any_other_one_a_link() {
        let page = read(
            "<live-page src=\"chat/\"></live-page><img src=\"a.svg\">\
             <a href=\"b.html\" id=\"c\">b</a><script>'<a href=\"d\">'</script>",
        );
        assert_eq!(page.streams, ["chat/"]);
        assert_eq!(page.links[..2], ["a.svg", "b.html"]);
        assert!(page.ids.contains("c"));
    }
}
