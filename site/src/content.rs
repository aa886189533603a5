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
static CODE: Lazy<Regex> = lazy_regex!(r"(?s)<pre\b.*?</pre>|<code>([^<]*)</code>");

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
    let found = QUESTION.captures(main_part(html))?;
    let text = TAG.replace_all(&found[1], "");
    Some(text.replace('"', "&quot;").replace('\n', " "))
}

/// Links to the sections of a page, as entries of a list; none in the whole book.
pub fn sections(html: &str) -> String {
    let page = main_part(html);
    let chapters = TITLE.find_iter(page).count();
    if chapters > 1 { String::new() } else { entries(&SECTION, page) }
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

/// Mends what mdBook leaves unclean.
pub fn tidy(html: &str) -> String {
    // The number of a column's alignments says nothing to a style sheet.
    let html = regex_replace_all!(
        r#"<(td|th) style="text-align: (\w+)">"#,
        html,
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
    let html = TERM.replace_all(&html, |found: &Captures| {
        let id = &found[1];
        format!("<dt id=\"{id}\"><a class=\"header\" href=\"#{id}\">")
    });
    // A long name breaks between its words.
    let code = |found: &Captures| match found.get(1) {
        Some(name) if name.as_str().matches('_').count() > 1 => {
            format!("<code>{}</code>", name.as_str().replace('_', "_<wbr>"))
        }
        _ => found[0].to_string(),
    };
    CODE.replace_all(&html, code).into_owned()
}
