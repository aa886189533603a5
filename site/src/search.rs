//! The knowledge of the page's search: each section of a language's pages with its heading and
//! text, as one file, beside the scripts that search in it. The browser makes the index of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer,
    TokenizerOpts,
};
use serde::Serialize;
use sha1::{Digest, Sha1};

use crate::book::{Book, Language};
use crate::files::files;

/// The folder of the theme with the scripts of the search: the page loads them when it opens.
const SCRIPTS: &str = "search";
/// The page whose entries come first for the words of a symptom.
const SYMPTOMS: &str = "symptoms.md";
/// Sections that mention everything, and explain nothing: each chapter ends with some. So
/// are the sections below them.
const REAR: [&str; 7] = [
    "what-will-happen",
    "change-it",
    "you-can-now",
    "how-we-know",
    "what-to-read-next",
    "still-to-be-written",
    "how-to-use-an-entry",
];

/// A section that says again what stands above it, with the names of tests: an eighth of all
/// text, which finds nothing that its chapter does not.
const PROOFS: &str = "how-we-know";

/// The attribute of the page's search, which is empty to stock mdBook.
const ATTRIBUTE: &str = "data-search=\"\"";

/// The pages of a language and their sections, for the script `engine.js`.
#[derive(Serialize)]
struct Index {
    pages: Vec<Page>,
    sections: Vec<Section>,
}

/// The address of a page below its language's folder, and its title.
#[derive(Serialize)]
struct Page(String, String);

/// The number of its page, and then as in [`Unit`].
#[derive(Serialize)]
struct Section(
    usize,
    String,
    String,
    String,
    Kind,
    #[serde(skip_serializing_if = "String::is_empty")] String,
);

/// A heading or a term with an id, and the text up to the next one.
#[derive(Debug, Default, PartialEq)]
struct Unit {
    id: String,
    heading: String,
    text: String,
    kind: Kind,
    /// The listings of a symptom's cure. Those of other sections are told in their prose.
    code: String,
}

/// The nature of a section, which decides how it ranks; `engine.js` has the same letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
enum Kind {
    #[serde(rename = "")]
    #[default]
    Section,
    #[serde(rename = "s")]
    Symptom,
    #[serde(rename = "t")]
    Term,
    #[serde(rename = "r")]
    Rear,
}

/// Adds the search to a built book: a folder with its scripts and the index of each language,
/// and the way to it in each page. The hash of all that it holds is part of the folder's name.
pub fn add(
    book: &Book,
    out: &Path,
    folder: impl Fn(&Language) -> PathBuf,
) -> Result<()> {
    let scripts = book.theme().join(SCRIPTS);
    let mut written = BTreeMap::new();
    for file in files(&scripts)? {
        let text = fs::read(&file).with_context(|| file.display().to_string())?;
        written.insert(file.strip_prefix(&scripts)?.to_path_buf(), text);
    }
    for language in &book.languages {
        let index = serde_json::to_vec(&index(book, &folder(language))?)?;
        written.insert(format!("{}.json", language.tag).into(), index);
    }

    let mut hash = Sha1::new();
    written.values().for_each(|text| hash.update(text));
    let name = format!("search-{}", &format!("{:x}", hash.finalize())[..8]);
    for language in &book.languages {
        let tag = &language.tag;
        let script = script(tag, |script| written.contains_key(Path::new(script)));
        let script = script.map(|script| format!(" data-words=\"{script}\""));
        let rest =
            format!("data-index=\"{tag}.json\"{}", script.unwrap_or_default());
        for page in book.pages().chain(["print.md".as_ref()]) {
            let file = folder(language).join(page).with_extension("html");
            if !file.exists() {
                continue;
            }
            // The way from this page to the top of the output.
            let depth = file.strip_prefix(out)?.components().count() - 1;
            let top = "../".repeat(depth);
            let attributes = format!("data-search=\"{top}{name}/\" {rest}");
            let html = fs::read_to_string(&file)?;
            fs::write(&file, html.replacen(ATTRIBUTE, &attributes, 1))?;
        }
    }
    for (path, text) in written {
        let path = out.join(&name).join(path);
        fs::create_dir_all(path.parent().context("a file has no folder")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// The script with the stems and words of a language: `pt-BR.js`, else `pt.js`.
fn script(tag: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    let primary = tag.split('-').next().unwrap_or(tag);
    let names = [tag, primary].map(|tag| format!("{tag}.js"));
    names.into_iter().find(|name| exists(name))
}

fn index(book: &Book, folder: &Path) -> Result<Index> {
    let mut index = Index { pages: Vec::new(), sections: Vec::new() };
    for path in book.pages() {
        let file = path.with_extension("html");
        let html = fs::read_to_string(folder.join(&file))?;
        let units = read(&html, path == Path::new(SYMPTOMS));
        // A page's first heading has its number, too.
        let title =
            units.first().map(|unit| unit.heading.clone()).unwrap_or_default();
        let page = index.pages.len();
        let section = |Unit { id, heading, text, kind, code }| {
            Section(page, id, heading, text, kind, code)
        };
        index.sections.extend(units.into_iter().map(section));
        let url = file.to_string_lossy().replace('\\', "/");
        index.pages.push(Page(url, title));
    }
    Ok(index)
}

/// Gathers the units of the part between `<main>` and its end.
#[derive(Default)]
struct Reader {
    units: Vec<Unit>,
    symptoms: bool,
    in_main: bool,
    in_rear: bool,
    in_heading: bool,
    in_code: bool,
    /// The element whose text is left out, and how many of its name are open.
    skipped: Option<(String, usize)>,
}

impl Reader {
    fn tag(&mut self, tag: &Tag) {
        let name = &*tag.name;
        let opens = tag.kind == TagKind::StartTag;
        if let Some((skipped, open)) = &mut self.skipped {
            if skipped == name {
                *open = if opens { *open + 1 } else { *open - 1 };
            }
            if *open == 0 {
                self.skipped = None;
            }
            return;
        }
        let attribute = |name: &str| {
            tag.attrs.iter().find(|attribute| &*attribute.name.local == name)
        };
        let id = attribute("id");
        match name {
            "main" => self.in_main = opens,
            _ if !self.in_main => {}
            "svg" | "script" | "style" | "template" => self.skip(name, opens),
            "pre" if !self.symptoms => self.skip(name, opens),
            // The name of a listing's file.
            "p" if attribute("class")
                .is_some_and(|class| &*class.value == "file") =>
            {
                self.skip(name, opens);
            }
            // It says "Code" in each entry.
            "summary" if self.symptoms => self.skip(name, opens),
            "pre" => {
                self.add(" ");
                self.in_code = opens;
            }
            "h1" | "h2" | "h3" | "dt" => {
                if let Some(id) = id.filter(|_| opens) {
                    self.begin(name, &id.value);
                }
                self.in_heading = opens && id.is_some();
            }
            // Parts of a line of text.
            "a" | "abbr" | "b" | "code" | "del" | "em" | "i" | "kbd" | "mark"
            | "s" | "small" | "span" | "strong" | "sub" | "sup" | "wbr" => {}
            _ => self.add(" "),
        }
    }

    fn skip(&mut self, name: &str, opens: bool) {
        self.add(" ");
        if opens {
            self.skipped = Some((name.to_string(), 1));
        }
    }

    fn begin(&mut self, name: &str, id: &str) {
        if matches!(name, "h1" | "h2") {
            self.in_rear = REAR.contains(&id);
        }
        let kind = match name {
            "dt" => Kind::Term,
            "h3" if self.symptoms => Kind::Symptom,
            _ if self.in_rear => Kind::Rear,
            _ => Kind::Section,
        };
        self.units.push(Unit { id: id.to_string(), kind, ..Unit::default() });
    }

    /// Adds text to the heading or the text of the last unit, with one space for each gap.
    fn add(&mut self, text: &str) {
        let Some(unit) = self.units.last_mut().filter(|_| self.in_main) else {
            return;
        };
        if unit.id == PROOFS && !self.in_heading {
            return;
        }
        let to = match (self.in_heading, self.in_code) {
            (true, _) => &mut unit.heading,
            (_, true) => &mut unit.code,
            _ => &mut unit.text,
        };
        for char in text.chars() {
            if !char.is_whitespace() {
                to.push(char);
            } else if !to.is_empty() && !to.ends_with(' ') {
                to.push(' ');
            }
        }
    }
}

struct Sink(RefCell<Reader>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut reader = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => reader.tag(&tag),
            Token::CharacterTokens(text) if reader.skipped.is_none() => {
                reader.add(&text);
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn read(html: &str, symptoms: bool) -> Vec<Unit> {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    let sink = Sink(RefCell::new(Reader { symptoms, ..Reader::default() }));
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    // Scripts are not run, so the tokenizer never stops before the end.
    drop(tokenizer.feed(&input));
    tokenizer.end();
    let mut units = tokenizer.sink.0.into_inner().units;
    for unit in &mut units {
        unit.text.truncate(unit.text.trim_end().len());
        unit.code.truncate(unit.code.trim_end().len());
        unit.heading.truncate(unit.heading.trim_end().len());
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(id: &str, heading: &str, text: &str, kind: Kind) -> Unit {
        let [id, heading, text] = [id, heading, text].map(String::from);
        Unit { id, heading, text, kind, code: String::new() }
    }

    const PAGE: &str = "<nav><h2 id=\"x\">Contents</h2></nav><main>\n\
        <h1 id=\"top\"><a class=\"header\" href=\"#top\">A <code>page</code></a></h1>\n\
        <p>One\n&amp; <em>t</em>wo.</p><p>Three</p><svg><text>box</text></svg>\
        <h3 id=\"gone\">It is gone</h3><p>Why.</p><summary>Code</summary><p class=\"file\">cure.rs</p><pre><code>cure()\nnow()</code></pre>\
        <h2>No id</h2><p>More.</p>\
        <h2 id=\"how-we-know\">How we know</h2><table><tr><td>a</td><td>b</td></tr></table>\
        <h2 id=\"change-it\">Change it</h2><h3 id=\"a-task\">A task</h3><p>Do it.</p>\
        <dl><dt id=\"term\">term §</dt><dd>A word.</dd></dl></main><p>footer</p>";

    #[test]
    fn a_unit_is_a_heading_or_a_term_with_an_id_and_the_prose_up_to_the_next_one() {
        assert_eq!(
            read(PAGE, false),
            [
                unit("top", "A page", "One & two. Three", Kind::Section),
                unit("gone", "It is gone", "Why. Code No id More.", Kind::Section),
                unit("how-we-know", "How we know", "", Kind::Rear),
                unit("change-it", "Change it", "", Kind::Rear),
                unit("a-task", "A task", "Do it.", Kind::Rear),
                unit("term", "term §", "A word.", Kind::Term),
            ]
        );
    }

    #[test]
    fn a_region_without_words_of_its_own_has_those_of_its_language() {
        for (tag, found) in
            [("pt", "pt.js"), ("pt-BR", "pt.js"), ("zh-TW", "zh-TW.js")]
        {
            let exists = |name: &str| ["pt.js", "zh.js", "zh-TW.js"].contains(&name);
            assert_eq!(script(tag, exists).as_deref(), Some(found));
        }
        assert_eq!(script("eo", |_| false), None);
    }

    #[test]
    fn an_entry_of_the_symptoms_has_the_code_of_its_cure() {
        let cure = unit("gone", "It is gone", "Why. No id More.", Kind::Symptom);
        let cure = Unit { code: "cure() now()".into(), ..cure };
        assert_eq!(read(PAGE, true)[1], cure);
    }
}
