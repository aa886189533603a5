//! The files that the mounted programs were compiled from. Cargo has just built the book
//! when it starts, so these are the files as they are then; when one of them changes, the
//! page goes on talking to the old program, and the book says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::files::files_but;

/// The files of each program, with their contents when the book started.
#[derive(Clone)]
pub struct Compiled {
    root: PathBuf,
    files: BTreeMap<String, BTreeMap<PathBuf, Vec<u8>>>,
}

impl Compiled {
    /// Reads the files of these programs, below `examples/` in this folder.
    pub fn read(root: &Path, names: &[&str]) -> Result<Self> {
        let mut files = BTreeMap::new();
        for name in names {
            let folder = folder(root, name);
            if folder.is_dir() {
                files.insert(name.to_string(), sources(&folder)?);
            }
        }
        Ok(Self { root: root.to_path_buf(), files })
    }

    /// The programs that differ from the compiled ones, among those with a file at one of
    /// these paths.
    pub fn changed<'a>(&self, paths: impl Iterator<Item = &'a Path>) -> Vec<String> {
        let paths: Vec<_> = paths.collect();
        let differs = |name: &str, before: &BTreeMap<PathBuf, Vec<u8>>| {
            let folder = folder(&self.root, name);
            paths.iter().any(|path| path.starts_with(&folder))
                // A file that is being replaced may be missing for a moment.
                && sources(&folder).is_ok_and(|now| now != *before)
        };
        let changed =
            self.files.iter().filter(|(name, before)| differs(name, before));
        changed.map(|(name, _)| name.clone()).collect()
    }
}

fn folder(root: &Path, name: &str) -> PathBuf {
    root.join("examples").join(name)
}

/// The Rust files of a program, and the files that their text names, as `include_str!` does.
fn sources(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut code = String::new();
    let mut all = BTreeMap::new();
    for path in files_but(folder, &["node_modules", "dist"])? {
        let bytes = fs::read(&path)?;
        if is_rust(&path) {
            code += &String::from_utf8_lossy(&bytes);
        }
        all.insert(path, bytes);
    }
    all.retain(|path, _| {
        let name = path.strip_prefix(folder).unwrap_or(path).display();
        is_rust(path) || code.contains(&format!("\"{name}\""))
    });
    Ok(all)
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_changed_when_a_file_that_it_was_compiled_from_has() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("examples/tick");
        fs::create_dir_all(folder.join("recorded")).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let main = write("main.rs", "include_str!(\"index.html\")");
        let page = write("index.html", "one");
        let recording = write("recorded/transcript.jsonl", "one");
        let compiled = Compiled::read(root.path(), &["tick"]).unwrap();
        let changed = |path: &Path| compiled.changed([path].into_iter());

        assert!(changed(&main).is_empty());
        write("recorded/transcript.jsonl", "two");
        assert!(changed(&recording).is_empty(), "a recording is not compiled");
        write("index.html", "two");
        assert_eq!(changed(&page), ["tick"]);
        assert!(changed(&root.path().join("src/en/tick.md")).is_empty());
        write("index.html", "one");
        assert!(changed(&page).is_empty(), "it is as it was");
        let new = write("second.rs", "");
        assert_eq!(changed(&new), ["tick"]);
    }
}
