//! The links and ids of an HTML page.

use std::cell::RefCell;
use std::collections::BTreeSet;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

/// What one page links to, and what can be linked to in it.
#[derive(Default)]
pub struct Page {
    /// Addresses, as written.
    pub links: Vec<String>,
    /// What panels connect to, as in `tick/ticks`.
    pub streams: Vec<String>,
    pub ids: BTreeSet<String>,
}

/// Elements whose `src` is the path of a program below `/live/`.
const PANELS: [&str; 4] = ["live-stream", "live-page", "kill-panel", "wire-panel"];

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
                    "src" if PANELS.contains(&&*name) => page.streams.push(value),
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
