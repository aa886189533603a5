//! The workspace in which the tests build every version of every exercise at once. Versions
//! that need the same crates are modules of one program: to link a program takes longer than
//! to compile what a reader writes, and it is 20 MB.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result};
use lazy_regex::regex_replace;
use toml::Value;

use crate::folder::{
    FEATURES, manifests, profiles, remove, write_features, write_file,
};
use crate::source::{Files, bin, named};

/// The variable that says which version a program is to be.
pub const VERSION: &str = "VERSION";

/// Writes the workspace, and returns the package of each version. What is there of an
/// earlier one with the same text stays. The kinds of dependencies in the manifests of `like`
/// say which features of crates have been compiled.
pub fn write(
    root: &Path,
    folder: &Path,
    versions: &BTreeMap<String, Files>,
    like: &[&str],
    kinds: &[&str],
) -> Result<BTreeMap<String, String>> {
    let prefix = folder.file_name().and_then(|name| name.to_str());
    let prefix = prefix.context("the workspace has a name")?;
    let mut packages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut package_of = BTreeMap::new();
    for (version, files) in versions {
        let manifest =
            files.get("Cargo.toml").context("a program has a manifest")?;
        let mut hasher = DefaultHasher::new();
        dependencies(manifest).hash(&mut hasher);
        let package = format!("{prefix}-{:x}", hasher.finish());
        packages.entry(package.clone()).or_default().push(version);
        package_of.insert(version.clone(), package);
    }
    fs::create_dir_all(folder)?;
    leave(folder, |name| packages.contains_key(name))?;
    for (package, names) in &packages {
        let folder = folder.join(package);
        fs::create_dir_all(&folder)?;
        leave(&folder, |name| names.contains(&name))?;
        let mut main = String::from(
            "#![allow(warnings)]\nuse std::process::{ExitCode, Termination};\n\n",
        );
        let mut arms = String::new();
        for name in names {
            let files = versions.get(*name).context("it is one of them")?;
            let file = write_version(&folder.join(name), files)?;
            let module = name.replace('-', "_");
            main += &format!("#[path = \"{name}/{file}\"]\nmod {module};\n");
            arms += &format!("        \"{name}\" => {module}::main().report(),\n");
        }
        main += &format!(
            "\nfn main() -> ExitCode {{\n    \
             match &*std::env::var(\"{VERSION}\").unwrap_or_default() {{\n{arms}        \
             _ => ExitCode::FAILURE,\n    }}\n}}\n"
        );
        write_file(&folder.join("main.rs"), &main)?;
        let first = names.first().and_then(|first| versions.get(*first));
        let manifest = first.and_then(|files| files.get("Cargo.toml"));
        let manifest = manifest.context("a package has a version")?;
        let text = format!("{}{}", dependencies(manifest), bin("main.rs"));
        write_file(&folder.join("Cargo.toml"), &named(&text, package))?;
    }
    write_features(&folder.join(FEATURES), &manifests(root, like)?, kinds)?;
    let members = packages.keys().map(String::as_str).chain([FEATURES]);
    let members = Value::from(members.collect::<Vec<_>>());
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = {members}\n\n");
    text += &profiles(root)?;
    // Nobody looks for lines in what only a check runs.
    for name in packages.keys() {
        text += &format!("\n[profile.dev.package.{name}]\ndebug = false\n");
    }
    write_file(&folder.join("Cargo.toml"), &text)?;
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(package_of)
}

/// A manifest without its program.
fn dependencies(manifest: &str) -> &str {
    manifest.split("[[bin]]").next().unwrap_or_default()
}

/// Removes the folders that no longer belong here.
fn leave(folder: &Path, belongs: impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path.is_dir() && !name.is_some_and(&belongs) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Writes the files of a version as a module, and returns the name of its main file.
fn write_version(folder: &Path, files: &Files) -> Result<String> {
    fs::create_dir_all(folder)?;
    let manifest = files.get("Cargo.toml").context("a program has a manifest")?;
    let path = manifest.rsplit("path = \"").next().unwrap_or_default();
    let main = path.split('"').next().unwrap_or_default().to_string();
    for (file, text) in files.iter().filter(|(file, _)| *file != "Cargo.toml") {
        let public = (*file == main)
            .then(|| regex_replace!(r"(?m)^(?:async )?fn main\(", text, "pub $0"));
        write_file(&folder.join(file), public.as_deref().unwrap_or(text))?;
    }
    Ok(main)
}
