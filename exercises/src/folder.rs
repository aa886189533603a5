//! The folder in which a reader writes: `try/NAME`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::source::{Files, named, unnamed};

/// The folder of all exercises, below the root.
const TRY: &str = "try";
/// The line of a manifest behind which stands what is the same in each exercise.
const BELOW: &str =
    "\n# Below: what lets Cargo use the crates that the book has compiled.\n";
/// A package that is never built. It asks for the features of crates that the book's
/// programs have, and Cargo unites the features of a workspace.
pub(crate) const FEATURES: &str = ".features";

/// The folder of an exercise.
pub fn of(root: &Path, name: &str) -> PathBuf {
    root.join(TRY).join(name)
}

/// Writes the folder of an exercise. One that is there is replaced.
pub fn make(root: &Path, name: &str, files: &Files) -> Result<()> {
    prepare(root)?;
    let folder = of(root, name);
    remove(&folder)?;
    fs::create_dir_all(&folder)?;
    for (file, text) in files {
        let named = (file == "Cargo.toml").then(|| named(text, name));
        write_file(&folder.join(file), named.as_ref().unwrap_or(text))?;
    }
    let manifest = folder.join("Cargo.toml");
    let own = fs::read_to_string(&manifest)?;
    let workspace = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"{FEATURES}\"]\n\
         default-members = [\".\", \"{FEATURES}\"]\n"
    );
    let profiles = profiles(root)?;
    fs::write(&manifest, format!("{own}{BELOW}{workspace}\n{profiles}"))?;
    let programs = manifests(root, &["examples"])?;
    write_features(&folder.join(FEATURES), &programs, &["dependencies"])?;
    let lock = root.join("Cargo.lock");
    if lock.is_file() {
        fs::copy(lock, folder.join("Cargo.lock"))?;
    }
    Ok(())
}

/// Removes a folder that need not be there.
pub fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| folder.display().to_string()),
    }
}

/// The files that a reader has in a folder.
pub fn read(folder: &Path, name: &str) -> Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().and_then(|name| name.to_str());
        let Some(file) =
            file.filter(|file| path.is_file() && !file.starts_with('.'))
        else {
            continue;
        };
        if file == "Cargo.lock" || file.ends_with('~') {
            continue;
        }
        let text =
            fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        files.insert(file.to_string(), text);
    }
    if let Some(manifest) = files.get_mut("Cargo.toml") {
        let own = manifest.split(BELOW).next().unwrap_or_default();
        *manifest = unnamed(own, name);
    }
    Ok(files)
}

/// Makes what all exercises share: they are built where the book's programs are, and `cargo
/// book` works from their folders, too.
pub fn prepare(root: &Path) -> Result<()> {
    let cargo = root.join(TRY).join(".cargo");
    fs::create_dir_all(&cargo)?;
    let config = "[build]\ntarget-dir = \"../target\"\n\n[alias]\n\
                  book = \"run --manifest-path ../../Cargo.toml --package site --\"\n";
    Ok(fs::write(cargo.join("config.toml"), config)?)
}

/// Writes a file, unless it is there with this text: Cargo compiles what is newer.
pub(crate) fn write_file(file: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(file, text).with_context(|| file.display().to_string())
}

/// The profiles of the book's own workspace, as text.
pub(crate) fn profiles(root: &Path) -> Result<String> {
    let mut profiles = Table::new();
    if let Some(profile) = table(&root.join("Cargo.toml"))?.remove("profile") {
        profiles.insert("profile".into(), profile);
    }
    Ok(toml::to_string(&profiles)?)
}

fn table(file: &Path) -> Result<Table> {
    let text =
        fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.parse().with_context(|| file.display().to_string())
}

/// The manifests of packages: of a folder that is one, or of all folders in it.
pub(crate) fn manifests(root: &Path, folders: &[&str]) -> Result<Vec<Table>> {
    let mut found = Vec::new();
    for folder in folders {
        let own = root.join(folder).join("Cargo.toml");
        if own.is_file() {
            found.push(table(&own)?);
            continue;
        }
        for entry in fs::read_dir(root.join(folder))? {
            let manifest = entry?.path().join("Cargo.toml");
            if manifest.is_file() {
                found.push(table(&manifest)?);
            }
        }
    }
    Ok(found)
}

/// The wishes of one or more manifests for a crate.
#[derive(Default)]
struct Wanted {
    version: String,
    default: bool,
    features: BTreeSet<String>,
}

/// Writes the package that asks for all features that these manifests ask for.
pub(crate) fn write_features(
    folder: &Path,
    manifests: &[Table],
    kinds: &[&str],
) -> Result<()> {
    // By the condition of a target; most crates have none.
    let mut wanted: BTreeMap<String, BTreeMap<String, Wanted>> = BTreeMap::new();
    for manifest in manifests {
        for kind in kinds {
            unite(wanted.entry(String::new()).or_default(), manifest.get(*kind));
            let targets = manifest.get("target").and_then(Value::as_table);
            for (condition, target) in targets.into_iter().flatten() {
                unite(
                    wanted.entry(condition.clone()).or_default(),
                    target.get(*kind),
                );
            }
        }
    }
    let mut text = String::from(
        "[package]\nname = \"features\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         publish = false\n\n[features]\nnever = []\n\n[[example]]\nname = \"features\"\n\
         path = \"features.rs\"\nrequired-features = [\"never\"]\n",
    );
    for (condition, crates) in &wanted {
        text += &match condition.as_str() {
            "" => "\n[dependencies]\n".to_string(),
            condition => format!("\n[target.'{condition}'.dependencies]\n"),
        };
        for (name, Wanted { version, default, features }) in crates {
            let features = Value::from(features.iter().cloned().collect::<Vec<_>>());
            text += &format!(
                "{name} = {{ version = \"{version}\", default-features = {default}, \
                 features = {features} }}\n"
            );
        }
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join("Cargo.toml"), text)?;
    let program =
        "//! Never built: the manifest beside it is what it is for.\nfn main() {}\n";
    Ok(fs::write(folder.join("features.rs"), program)?)
}

/// Adds what a table of dependencies asks for.
fn unite(wanted: &mut BTreeMap<String, Wanted>, dependencies: Option<&Value>) {
    let table = dependencies.and_then(Value::as_table);
    for (name, asked) in table.into_iter().flatten() {
        if asked.get("optional").and_then(Value::as_bool) == Some(true) {
            continue; // `cargo run --example NAME` does not build it
        }
        let version = asked.as_str().or_else(|| asked.get("version")?.as_str());
        let Some(version) = version else { continue }; // a package of the repository
        let one = wanted.entry(name.clone()).or_default();
        one.version = version.into();
        let default = asked.get("default-features").and_then(Value::as_bool);
        one.default |= default.unwrap_or(true);
        let features = asked.get("features").and_then(Value::as_array);
        let features = features.into_iter().flatten().filter_map(Value::as_str);
        one.features.extend(features.map(String::from));
    }
}
