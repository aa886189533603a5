//! The text of a page as mdBook rendered it, and what its readers get besides: the contents
//! of the page, the numbers of chapters, and HTML that validates.

use lazy_regex::{Captures, Lazy, Regex, lazy_regex, regex_replace_all};

static HEADING: Lazy<Regex> = lazy_regex!(r#"<h[1-6] id="([^"]*)""#);
static TITLE: Lazy<Regex> =
    lazy_regex!(r#"(?s)<h1 id="([^"]*)"><a class="header" href="[^"]*">(.*?)</a>"#);
static SECTION: Lazy<Regex> =
    lazy_regex!(r#"(?s)<h2 id="([^"]*)"><a class="header" href="[^"]*">(.*?)</a>"#);
/// A page's first paragraph, where all of it is emphasised: the question that it answers.
static QUESTION: Lazy<Regex> = lazy_regex!(r"(?s)</h1>\s*<p><em>(.*?)</em></p>");
static TAG: Lazy<Regex> = lazy_regex!(r"<[^>]*>");
static TERM: Lazy<Regex> =
    lazy_regex!(r##"<dt id="([^"]*?)-+"><a class="header" href="#[^"]*">"##);
static CODE: Lazy<Regex> =
    lazy_regex!(r"(?s)<pre\b.*?</pre>|<a\b.*?</a>|<code>([^<]*)</code>");
static LISTING: Lazy<Regex> =
    lazy_regex!(r#"(?s)<pre><code class="([^"]*)">(.*?)</code></pre>"#);
/// The mark in front of a listing that [`named`] leaves.
static FILE: Lazy<Regex> = lazy_regex!(r"<!-- file: (\S+) -->\s*<pre");
/// A code block in Markdown of which all is included, with its indentation.
static INCLUDED: Lazy<Regex> = lazy_regex!(
    r"(?m)^([ \t]*)```[a-z]+\n[ \t]*\{\{#include (?:\.\./)*([^}\s:]+)[^\n]*\}\}\n"
);

/// A heading under which an exercise may stand, or all of a page.
static TASK: Lazy<Regex> = lazy_regex!(r#"<h([23]) id="([^"]*)">.*?</h[23]>"#);

/// The part of a page that mdBook made from Markdown.
fn main_part(html: &str) -> &str {
    let from = html.find("<main").unwrap_or(0);
    let to = html.rfind("</main>").unwrap_or(html.len());
    &html[from..to]
}

pub fn heading_ids(html: &str) -> Vec<String> {
    HEADING.captures_iter(main_part(html)).map(|id| id[1].to_string()).collect()
}

/// The question that the page answers, as plain text fit for an attribute's value.
pub fn question(html: &str) -> Option<String> {
    title(html)?;
    let found = QUESTION.captures(main_part(html))?;
    let text = TAG.replace_all(&found[1], "");
    Some(text.replace('"', "&quot;").replace('\n', " "))
}

/// The title of the page with its number, as plain text; none for the whole book.
pub fn title(html: &str) -> Option<String> {
    let mut titles = TITLE.captures_iter(main_part(html));
    let first = titles.next()?;
    let text = TAG.replace_all(&first[2], "").replace('"', "&quot;");
    titles.next().is_none().then_some(text)
}

/// Links to the sections of a page, as entries of a list; none in the whole book.
pub fn sections(html: &str) -> String {
    match title(html) {
        Some(_) => entries(&SECTION, main_part(html)),
        None => String::new(),
    }
}

/// Links to the chapters of the page that holds the whole book.
pub fn chapters(html: &str) -> String {
    entries(&TITLE, main_part(html))
}

fn entries(heading: &Regex, html: &str) -> String {
    let entry = |found: Captures| {
        format!("<li><a href=\"#{}\">{}</a></li>\n", &found[1], &found[2])
    };
    heading.captures_iter(html).map(entry).collect()
}

/// Puts these numbers in front of the titles of chapters, in order.
pub fn number(html: &str, numbers: &[Option<&str>]) -> String {
    let mut numbers = numbers.iter();
    let title = |found: &Captures| {
        let id = &found[1];
        let title = &found[2];
        let number = numbers.next().copied().flatten();
        let number = number.map(|number| format!("{number}. ")).unwrap_or_default();
        format!(
            "<h1 id=\"{id}\"><a class=\"header\" href=\"#{id}\">{number}{title}</a>"
        )
    };
    TITLE.replace_all(html, title).into_owned()
}

/// Puts a mark with its file's name in front of each listing in Markdown. Recordings are
/// none, and a difference names its files itself.
pub fn named(markdown: &str) -> String {
    let mark = |found: &Captures| {
        let indent = &found[1];
        let file = &found[2];
        if file.contains("recorded/") || file.ends_with(".diff") {
            return found[0].to_string();
        }
        format!("{indent}<!-- file: {file} -->\n\n{}", &found[0])
    };
    INCLUDED.replace_all(markdown, mark).into_owned()
}

/// Shows the names of the files that listings are from, as links to the whole files.
pub fn files(html: &str, source: impl Fn(&str) -> String) -> String {
    let name = |found: &Captures| {
        let file = &found[1];
        let url = source(file);
        format!("<p class=\"file\"><a href=\"{url}\">{file}</a></p>\n<pre")
    };
    FILE.replace_all(html, name).into_owned()
}

/// The text without the spaces that all its lines begin with.
fn dedent(text: &str) -> String {
    let written = text.lines().filter(|line| !line.trim().is_empty());
    let indent =
        written.map(|line| line.len() - line.trim_start_matches(' ').len()).min();
    let indent = indent.unwrap_or(0);
    let line = |line: &str| line.get(indent..).unwrap_or_default().to_string();
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}

/// Puts a line below the heading of each exercise, and one below that of them all, for what
/// `theme/exercises.js` says there: so nothing moves when it does.
pub fn attempts(html: &str) -> String {
    let line = |found: &Captures| {
        let heading = &found[0];
        let id = &found[2];
        if &found[1] == "2" && id == "change-it" {
            return format!("{heading}\n<p class=\"attempts\"></p>");
        }
        let is_exercise = html.contains(&format!(">cargo book exercise {id}\n"));
        if !is_exercise || &found[1] == "2" {
            return heading.to_string();
        }
        format!("{heading}\n<div class=\"attempt\"></div>")
    };
    TASK.replace_all(html, line).into_owned()
}

/// Mends what mdBook leaves unclean.
pub fn tidy(html: &str) -> String {
    // A part of a file may stand deep in it.
    let listing = |found: &Captures| {
        let class = &found[1];
        let code = &found[2];
        format!("<pre><code class=\"{class}\">{}</code></pre>", dedent(code))
    };
    let html = LISTING.replace_all(html, listing);
    // The number of a column's alignments says nothing to a style sheet.
    let html = regex_replace_all!(
        r#"<(td|th) style="text-align: (\w+)">"#,
        &html,
        |_, cell: &str, side: &str| format!("<{cell} class=\"{side}\">")
    );
    // A cell that says nothing heads nothing.
    let html = regex_replace_all!(r"<th( [^>]*)?></th>", &html, |_, with| format!(
        "<td{with}></td>"
    ));
    // An entry of the contents inside another one.
    let html = regex_replace_all!(
        r#"<li class="chapter-item[^"]*">(<li class="(?:part-title|spacer)">[^<]*</li>)</li>"#,
        &html,
        |_, inner: &str| inner.to_string()
    );
    // The sign behind a term is no part of its address.
    let term = |found: &Captures| {
        let id = &found[1];
        format!("<dt id=\"{id}\"><a class=\"header\" href=\"#{id}\">")
    };
    TERM.replace_all(&html, term).into_owned()
}

/// Lets long names in the text break between their words, and leads from the name of a test
/// to its source, where `source` knows it.
pub fn names(html: &str, source: impl Fn(&str) -> Option<String>) -> String {
    let code = |found: &Captures| match found.get(1) {
        Some(name) if name.as_str().matches('_').count() > 1 => {
            let shown =
                format!("<code>{}</code>", name.as_str().replace('_', "_<wbr>"));
            match source(name.as_str()) {
                Some(url) => format!("<a href=\"{url}\">{shown}</a>"),
                None => shown,
            }
        }
        _ => found[0].to_string(),
    };
    CODE.replace_all(html, code).into_owned()
}
