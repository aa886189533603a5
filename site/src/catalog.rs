//! The list of all exercises in the appendix, made from their definitions and from the pages
//! where they stand.

use std::path::Path;

use anyhow::Result;
use exercises::course::Course;
use exercises::definition::Kind;
use exercises::pages::Section;
use exercises::words::Words;

/// The comment in whose place the list stands. Stock mdBook shows the page without it.
pub const MARK: &str = "<!-- exercises -->";

/// The list in a language, as Markdown.
pub fn list(root: &Path, language: &str) -> Result<String> {
    let course = Course::load(root)?;
    let words = Words::of(language)?;
    let mut out = String::new();
    for (page, sections) in course.pages(language)? {
        let number = page.number.map(|number| format!("{number}. "));
        let number = number.unwrap_or_default();
        let file = &page.file;
        out += &format!("**[{number}{}]({file}#change-it)**\n\n", page.title);
        for section in sections {
            let kind = match &course.find(&section.id)?.kind {
                Kind::Change => "change it",
                Kind::Break => "break it",
                Kind::Fix { .. } => "fix it",
                Kind::Write => "write it from nothing",
            };
            let kind = words.say(kind);
            let Section { id, title, .. } = section;
            // "Break it: a name" has said it.
            let has_said = title
                .split_once(':')
                .is_some_and(|(says, _)| kind.starts_with(&says.to_lowercase()));
            let kind = if has_said { "" } else { &format!(": {kind}") };
            out += &format!("- [{title}]({file}#{id}){kind}\n");
        }
        out.push('\n');
    }
    Ok(out)
}
