//! The manifests of the packages, each read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tests::root;
use toml::{Table, Value};

/// The manifests of the programs, by the names of their folders in `examples/`.
pub static PROGRAMS: LazyLock<BTreeMap<String, Table>> = LazyLock::new(|| {
    let folders = folders(&root().join("examples")).into_iter();
    folders.map(|name| (name.clone(), read(&format!("examples/{name}")))).collect()
});

/// The manifest of the tests.
pub static TESTS: LazyLock<Table> = LazyLock::new(|| read("tests"));

/// The manifests of all packages.
pub static ALL: LazyLock<BTreeMap<String, Table>> = LazyLock::new(|| {
    let mut all = PROGRAMS.clone();
    all.insert("exercises".into(), read("exercises"));
    all.insert("site".into(), read("site"));
    all.insert("tests".into(), TESTS.clone());
    all
});

fn read(folder: &str) -> Table {
    let file = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("no {file:?}"));
    text.parse().unwrap_or_else(|error| panic!("{file:?}: {error}"))
}

/// The names of the folders in a folder.
pub fn folders(of: &Path) -> Vec<String> {
    let paths = entries(of).into_iter().filter(|path| path.is_dir());
    paths.map(|path| path.file_name().unwrap().to_str().unwrap().into()).collect()
}

/// All that lies in a folder, sorted.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A list of targets in a manifest, such as `example` or `test`: the name of each, and its
/// file.
pub fn targets<'a>(manifest: &'a Table, kind: &str) -> Vec<(&'a str, &'a str)> {
    let targets = manifest.get(kind).and_then(Value::as_array).into_iter().flatten();
    let text = |target: &'a Value, key| target[key].as_str().expect("a text");
    targets.map(|target| (text(target, "name"), text(target, "path"))).collect()
}

/// The crates that a table of a manifest names, such as `dependencies`, with what it says
/// of each.
pub fn dependencies<'a>(
    manifest: &'a Table,
    kind: &str,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let table = manifest.get(kind).and_then(Value::as_table).into_iter().flatten();
    table.map(|(name, wanted)| (name.as_str(), wanted))
}
