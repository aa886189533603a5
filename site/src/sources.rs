//! Where readers find the whole files of listings, and the tests that pages name: in the
//! repository, if `git-repository-url` says where it is. Else the book has copies of the files.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::Result;
use lazy_regex::{Lazy, Regex, lazy_regex};

use crate::book::Book;
use crate::files::files_but;
use crate::links::normal;
use crate::page;

/// The folder of the copies in the built book.
const FILES: &str = "files";

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

    /// The address of the file that a listing is from: in the repository, or of its copy in
    /// the book, from a page that is this way below the top of the book.
    pub fn file(&self, file: &str, top: &str) -> String {
        match &self.base {
            Some(base) => format!("{base}{file}"),
            None => format!("{top}{FILES}/{file}.txt"),
        }
    }

    /// The address of a test's file.
    pub fn test(&self, name: &str) -> Option<String> {
        let base = self.base.as_ref()?;
        self.tests.get(name).map(|file| format!("{base}{file}"))
    }

    /// Copies the files that the pages show into the book, where no repository has them.
    /// As text they open in any browser, and no server takes them for something to save.
    pub fn copy(&self, book: &Book, out: &Path) -> Result<()> {
        if self.base.is_some() {
            return Ok(());
        }
        let mut shown = BTreeSet::new();
        for path in book.pages() {
            let page = book.source().folder.join(path);
            let folder = page.parent().unwrap_or(&page);
            for include in page::includes(&book.english(path)?) {
                shown.insert(normal(&folder.join(include.file)));
            }
        }
        for file in shown {
            let name = file.strip_prefix(&book.root)?.to_string_lossy().into_owned();
            // A missing file is a mistake that `check` tells of.
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let copy = out.join(FILES).join(format!("{name}.txt"));
            if let Some(folder) = copy.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(copy, page::without_anchors(&text))?;
        }
        Ok(())
    }
}
