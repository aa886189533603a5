//! The programs of the book as text: a folder of `examples/` without what a reader has no
//! use for, a region of a file, and differences between two folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use diffy::patch_set::{FileOperation, ParseOptions, PatchSet};
use lazy_regex::{Lazy, Regex, lazy_regex};
use toml::Table;

static ANCHOR: Lazy<Regex> = lazy_regex!(r"ANCHOR(_END)?: ");
/// The blocks of a manifest that name programs, and those that only its author needs.
static BLOCK: Lazy<Regex> = lazy_regex!(r"(?m)^(?:#[^\n]*\n)*\[");

/// The name that a manifest has until an exercise gives it one.
const NAME: &str = "exercise";

/// Files by name, as in `main.rs`, with their texts.
pub type Files = BTreeMap<String, String>;

/// A program of the book: its files, its manifest among them, and its main file.
pub struct Program {
    pub files: Files,
    pub main: String,
}

/// Reads the program of this name. Lines with anchors are kept, for [`replace`].
pub fn program(root: &Path, name: &str) -> Result<Program> {
    for entry in fs::read_dir(root.join("examples"))? {
        let folder = entry?.path();
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else {
            continue;
        };
        let examples =
            examples(&manifest).with_context(|| format!("{}", folder.display()))?;
        if let Some((_, path)) = examples.iter().find(|(own, _)| own == name) {
            return read(&folder, &manifest, path, &examples);
        }
    }
    bail!("no program of examples/ is called {name}")
}

/// Reads the program that this file, as in `examples/cures/room.rs`, is the main file of.
pub fn program_of(root: &Path, file: &str) -> Result<Program> {
    let path = root.join(file);
    let folder = path.parent().context("a file stands in a folder")?;
    let manifest = folder.join("Cargo.toml");
    let manifest = fs::read_to_string(&manifest)
        .with_context(|| manifest.display().to_string())?;
    let examples = examples(&manifest)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ensure!(
        examples.iter().any(|(_, path)| path == name),
        "{file} is not the main file of a program"
    );
    read(folder, &manifest, name, &examples)
}

/// The programs in a manifest, each with its main file.
fn examples(manifest: &str) -> Result<Vec<(String, String)>> {
    let manifest: Table = manifest.parse()?;
    let list = manifest.get("example").and_then(|list| list.as_array());
    let text =
        |target: &toml::Value, key| Some(target.get(key)?.as_str()?.to_string());
    let examples = list.into_iter().flatten();
    Ok(examples
        .filter_map(|target| Some((text(target, "name")?, text(target, "path")?)))
        .collect())
}

fn read(
    folder: &Path,
    manifest: &str,
    main: &str,
    examples: &[(String, String)],
) -> Result<Program> {
    let mut files = Files::new();
    let is_other =
        |name: &str| name != main && examples.iter().any(|(_, path)| path == name);
    // A folder with more programs has files of theirs; each of them is one file.
    let is_alone = !examples.iter().any(|(_, path)| path == "main.rs");
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.context("a file of the book has a name")?;
        let is_source = ["rs", "html", "js", "lua", "txt"]
            .iter()
            .any(|kind| path.extension().is_some_and(|own| own == *kind));
        let is_wanted = if is_alone { name == main } else { !is_other(name) };
        if path.is_file() && is_source && is_wanted {
            let text = fs::read_to_string(&path)
                .with_context(|| path.display().to_string())?;
            files.insert(name.to_string(), text);
        }
    }
    let main = if is_alone {
        let text = files.remove(main).with_context(|| format!("no {main}"))?;
        files.insert("main.rs".into(), text);
        "main.rs"
    } else {
        main
    };
    files.insert(
        "Cargo.toml".into(),
        self::manifest(manifest, main, is_alone, &files),
    );
    Ok(Program { files, main: main.into() })
}

/// The manifest of a program that stands alone: one target, and where its file is one of
/// many in its folder, the crates that it names.
fn manifest(text: &str, main: &str, is_alone: bool, files: &Files) -> String {
    let starts = BLOCK.find_iter(text).map(|found| found.start());
    let starts: Vec<_> = starts.chain([text.len()]).collect();
    let mut out = String::from(&text[..starts[0]]);
    for pair in starts.windows(2) {
        let block = &text[pair[0]..pair[1]];
        let head = block.lines().find(|line| line.starts_with('['));
        match head.unwrap_or_default() {
            "[[example]]" | "[lints.clippy]" => {}
            "[package]" => out += &with_name(block),
            "[dependencies]" if is_alone => {
                let program: String = files.values().map(String::as_str).collect();
                let names = |line: &&str| {
                    let name = line.split_once(" = ").map(|(name, _)| name);
                    name.is_none_or(|name| program.contains(&name.replace('-', "_")))
                };
                for line in block.lines().filter(names) {
                    out += line;
                    out.push('\n');
                }
            }
            _ => out += block,
        }
    }
    let out = without_anchors(&out);
    let out = out.trim_end();
    format!("{out}\n\n{}", bin(main))
}

/// The lines of a manifest that name its program.
pub(crate) fn bin(main: &str) -> String {
    format!("[[bin]]\nname = \"{NAME}\"\npath = \"{main}\"\n")
}

fn with_name(package: &str) -> String {
    let line = |line: &str| match line.starts_with("name = ") {
        true => format!("name = \"{NAME}\"\n"),
        false => format!("{line}\n"),
    };
    package.lines().map(line).collect()
}

/// A manifest with this name in the place of the one that all exercises share.
pub fn named(manifest: &str, name: &str) -> String {
    renamed(manifest, NAME, name)
}

/// The manifest of an exercise as all exercises have it, for a difference.
pub fn unnamed(manifest: &str, name: &str) -> String {
    renamed(manifest, name, NAME)
}

fn renamed(manifest: &str, from: &str, to: &str) -> String {
    manifest.replace(&format!("name = \"{from}\""), &format!("name = \"{to}\""))
}

/// The text without the lines that only mark a part of it for the book.
pub fn without_anchors(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !ANCHOR.is_match(line)).collect()
}

/// The text with a region between its anchors replaced.
pub fn replace(text: &str, anchor: &str, with: &str) -> Result<String> {
    let (start, end) = region(text, anchor)?;
    Ok(format!("{}{with}{}", &text[..start], &text[end..]))
}

/// Where a region between anchors begins and ends, without the lines of the anchors.
fn region(text: &str, anchor: &str) -> Result<(usize, usize)> {
    let mut at = 0;
    let mut start = None;
    for line in text.split_inclusive('\n') {
        let line_start = at;
        at += line.len();
        if line.trim_end().ends_with(&format!("ANCHOR: {anchor}")) {
            start = Some(at);
        } else if line.trim_end().ends_with(&format!("ANCHOR_END: {anchor}")) {
            let start = start.context("it ends before it begins")?;
            return Ok((start, line_start));
        }
    }
    bail!("there is no region {anchor}")
}

/// The region of a file that differs from this text, whose region has the anchors.
pub fn changed_region(text: &str, anchor: &str, changed: &str) -> Result<String> {
    let (start, end) = region(text, anchor)?;
    let before = without_anchors(&text[..start]);
    let after = without_anchors(&text[end..]);
    let inner = changed
        .strip_prefix(before.as_str())
        .and_then(|rest| rest.strip_suffix(after.as_str()));
    inner.map(String::from).with_context(|| {
        format!("it differs from the program outside of the region {anchor}")
    })
}

/// Changes files as a unified difference says.
pub fn patched(files: &Files, diff: &str) -> Result<Files> {
    let mut files = files.clone();
    let mut count = 0;
    for patch in PatchSet::parse(diff, ParseOptions::unidiff()) {
        let patch = patch?;
        let operation = patch.operation().clone();
        let text = patch.patch().as_text().context("a difference is text")?;
        let (from, to) = match &operation {
            FileOperation::Modify { original, modified } => {
                (Some(original.as_ref()), Some(modified.as_ref()))
            }
            FileOperation::Create(to) => (None, Some(to.as_ref())),
            FileOperation::Delete(from) => (Some(from.as_ref()), None),
            _ => bail!("a difference neither renames nor copies"),
        };
        let old = match from {
            Some(from) => {
                files.remove(from).with_context(|| format!("there is no {from}"))?
            }
            None => String::new(),
        };
        let new = diffy::apply(&old, text)
            .with_context(|| from.or(to).unwrap_or_default().to_string())?;
        if let Some(to) = to {
            files.insert(to.to_string(), new);
        }
        count += 1;
    }
    ensure!(count > 0, "it changes nothing");
    Ok(files)
}

/// The unified difference from some files to others; empty where they are the same.
pub fn difference(from: &Files, to: &Files) -> String {
    let mut out = String::new();
    let names: std::collections::BTreeSet<_> =
        from.keys().chain(to.keys()).collect();
    for name in names {
        let none = String::new();
        let old = from.get(name).unwrap_or(&none);
        let new = to.get(name).unwrap_or(&none);
        if old == new {
            continue;
        }
        let patch = diffy::create_patch(old, new).to_string();
        let hunks = patch.find("@@").map_or("", |at| &patch[at..]);
        let title = |files: &Files| match files.contains_key(name) {
            true => name.as_str(),
            false => "/dev/null",
        };
        out += &format!("--- {}\n+++ {}\n{hunks}", title(from), title(to));
    }
    out
}
