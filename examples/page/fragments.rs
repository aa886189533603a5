//! The numbers of a line as fragments of HTML, for the libraries that put what they get into
//! the page as it is, and the pages of `frameworks/`, if they have been built.

use std::env;
use std::path::PathBuf;

use salvo::prelude::*;
use salvo::serve_static::StaticDir;
use salvo::sse::SseEvent;

// ANCHOR: fragment
/// The id of a line is text that a stranger has chosen.
fn fragment(line: &str, event_type: &str, data: &str) -> String {
    let line = escape(line);
    match event_type {
        "number" => format!("<li title=\"{line}\">{data}</li>"),
        _ => format!("<li title=\"{line}\">{event_type}: {data}</li>"),
    }
}

/// Text as HTML, between tags and in quotes. A line end would also end a line of `data`.
fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' | '\r' | '\n' => {
                html += &format!("&#{};", u32::from(character));
            }
            _ => html.push(character),
        }
    }
    html
}
// ANCHOR_END: fragment

// ANCHOR: events
/// htmx swaps what has no type in, and tells the element of the others.
pub fn htmx(line: &str, event_type: &str, data: &str) -> SseEvent {
    match event_type {
        "end" => SseEvent::default().name("end").text(""),
        _ => SseEvent::default().text(fragment(line, event_type, data)),
    }
}

/// Datastar knows types of its own, whose data has lines with a name each. It passes over
/// the others: the answer 204 to its next request is the end.
pub fn datastar(line: &str, event_type: &str, data: &str) -> SseEvent {
    if event_type == "end" {
        return SseEvent::default().name("end").text("");
    }
    let elements = fragment(line, event_type, data);
    let data = format!("selector #numbers\nmode append\nelements {elements}");
    SseEvent::default().name("datastar-patch-elements").text(data)
}
// ANCHOR_END: events

/// The built pages, or how to build them. `FRAMEWORKS` is their folder, if it is another one.
pub fn pages() -> Router {
    let folder = env::var_os("FRAMEWORKS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| "examples/page/frameworks/dist".into());
    let files = || StaticDir::new([folder.clone()]);
    let pages = Router::with_path("frameworks/{*path}");
    pages.head(files()).get(files()).hoop(Built(folder))
}

struct Built(PathBuf);

#[handler]
impl Built {
    async fn handle(&self) -> Result<(), StatusError> {
        if self.0.is_dir() {
            return Ok(());
        }
        let how = "`npm install`, then `npm run build`, in examples/page/frameworks";
        Err(StatusError::not_found().brief(how))
    }
}
