//! Folders as a whole: every file of one, the pictures of a language, and what stock mdBook
//! writes and no page uses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Every file below a folder.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    files_but(folder, &[])
}

/// Every file below a folder, but for those in folders of these names.
pub fn files_but(folder: &Path, skip: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if skip.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            found.extend(files_but(&path, skip)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a language's own pictures over the English ones.
pub fn copy_assets(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        let kind = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            fs::create_dir_all(to.join(name))?;
            copy_assets(&path, &to.join(name))?;
        } else if !matches!(kind, Some("md" | "toml")) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Removes the files of stock mdBook's theme that no page of this theme uses.
pub fn prune(out: &Path) -> Result<()> {
    let mut texts = Vec::new();
    let mut unused = Vec::new();
    for file in files(out)? {
        if file.ends_with("toc.html") {
            fs::remove_file(file)?;
            continue;
        }
        let kind = file.extension().and_then(|extension| extension.to_str());
        if matches!(kind, Some("html" | "js" | "css")) {
            texts.push(fs::read_to_string(&file)?);
        }
        if matches!(kind, Some("js" | "css")) {
            unused.push(file);
        }
    }
    for file in unused {
        let name =
            file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !texts.iter().any(|text| text.contains(name)) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}
