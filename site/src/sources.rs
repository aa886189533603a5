//! Where the repository shows the files of listings and the tests that pages name, if
//! `git-repository-url` says where it is.

use std::collections::HashMap;
use std::fs;

use anyhow::Result;
use lazy_regex::{Lazy, Regex, lazy_regex};

use crate::book::Book;
use crate::files::files_but;

static TEST: Lazy<Regex> = lazy_regex!(r"(?m)^\s*(?:async )?fn ([a-z0-9_]+)\(");

pub struct Sources {
    /// The address below which the files stand.
    base: Option<String>,
    /// The file of each test, from the root.
    tests: HashMap<String, String>,
}

impl Sources {
    pub fn of(book: &Book) -> Result<Self> {
        let url = book.html.git_repository_url.as_deref();
        let base =
            url.map(|url| format!("{}/blob/HEAD/", url.trim_end_matches('/')));
        let mut tests = HashMap::new();
        for folder in ["tests", "site/tests"].map(|name| book.root.join(name)) {
            if base.is_none() || !folder.is_dir() {
                continue;
            }
            for file in files_but(&folder, &["recorded", "target"])? {
                if file.extension().is_none_or(|kind| kind != "rs") {
                    continue;
                }
                let shown = file.strip_prefix(&book.root)?.to_string_lossy();
                let shown = shown.replace('\\', "/");
                for name in TEST.captures_iter(&fs::read_to_string(&file)?) {
                    tests.insert(name[1].to_string(), shown.clone());
                }
            }
        }
        Ok(Self { base, tests })
    }

    /// The address of a file.
    pub fn file(&self, file: &str) -> Option<String> {
        self.base.as_ref().map(|base| format!("{base}{file}"))
    }

    /// The address of a test's file.
    pub fn test(&self, name: &str) -> Option<String> {
        self.tests.get(name).and_then(|file| self.file(file))
    }
}
