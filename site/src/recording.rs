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
        // mdBook leaves an include as it stands where the file is missing: the check names it.
        if lines.starts_with("{{#") {
            out.push_str(&format!("```jsonl\n{part}"));
            continue;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_becomes_its_text_and_its_lines() {
        let lines = "{\"ms\":0,\"text\":\"data: <1>\\n\\n\"}\n{\"ms\":5,\"text\":\"</script>\"}\n";
        let page =
            expand(&format!("before\n```jsonl\n{lines}```\nafter\n")).unwrap();
        let text = "<code>data: &lt;1>&#10;&#10;&lt;/script></code>";
        assert!(page.starts_with("before\n<pre class=\"recording\">"), "{page}");
        assert!(
            page.contains(text) && page.ends_with("</script>\nafter\n"),
            "{page}"
        );
        // Only the end of the element itself may look like one.
        assert_eq!(page.matches("</script>").count(), 1, "{page}");
    }

    #[test]
    fn a_block_that_is_no_recording_is_an_error() {
        assert!(expand("```jsonl\nno JSON\n```\n").is_err());
        assert!(expand("```jsonl\n{\"text\":\"\"}\n").is_err());
        let missing = "```jsonl\n{{#include gone.jsonl}}\n```\n";
        assert_eq!(expand(missing).unwrap(), missing);
        assert_eq!(expand("```json\n{}\n```\n").unwrap(), "```json\n{}\n```\n");
    }
}
