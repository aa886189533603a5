//! Recordings in pages. A page includes a program's `transcript.jsonl` as a code block,
//! inside a `<live-stream>`; readers without JavaScript see the text of the stream, and
//! the panel finds the lines with their timing in a script element.

use anyhow::{Context, Result};
use mdbook_preprocessor::book::Book;
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};
use serde::Deserialize;

/// A line of a `transcript.jsonl`.
#[derive(Deserialize)]
struct Chunk {
    text: String,
}

pub struct Recordings;

impl Preprocessor for Recordings {
    fn name(&self) -> &str {
        "recordings"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        let mut result = Ok(());
        book.for_each_chapter_mut(|chapter| match expand(&chapter.content) {
            Ok(content) => chapter.content = content,
            Err(error) => result = Err(error.context(chapter.name.clone())),
        });
        result.map(|()| book)
    }
}

/// Replaces each `jsonl` code block by its text and its lines.
fn expand(content: &str) -> Result<String> {
    let mut parts = content.split("```jsonl\n");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (lines, rest) =
            part.split_once("```").context("a jsonl block has no end")?;
        let mut text = String::new();
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let chunk: Chunk = serde_json::from_str(line).context("a recording")?;
            text.push_str(&chunk.text);
        }
        // A blank line would end the HTML block in Markdown, and `</` the script.
        let text = escape(&text).replace('\n', "&#10;");
        let lines = lines.replace("</", "<\\/");
        out.push_str(&format!(
            "<pre class=\"recording\"><code>{text}</code></pre>\n\
             <script type=\"application/jsonl\">\n{}\n</script>\n",
            lines.trim()
        ));
        out.push_str(rest.trim_start_matches('\n'));
    }
    Ok(out)
}

/// Text as it stands in HTML and in an attribute's value.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
