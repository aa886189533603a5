//! An exercise as its author writes it: `exercises/NAME/exercise.toml` and the files beside
//! it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::source::Files;

/// The file of an exercise's definition.
const FILE: &str = "exercise.toml";
/// The key of a fault's words that is no language: a link to the section that it breaks.
pub const SECTION: &str = "section";

/// An exercise: where it starts, where it ends, and the faults that its check knows.
pub struct Definition {
    pub name: String,
    /// The folder of the definition.
    pub folder: PathBuf,
    pub base: Base,
    pub kind: Kind,
    /// The fault that the start has; in a [`Kind::Break`], the end.
    pub fault: String,
    /// The words of each fault by language, and its [`SECTION`].
    pub faults: BTreeMap<String, BTreeMap<String, String>>,
    /// The words of what came and what should have come, by language.
    pub words: BTreeMap<String, BTreeMap<String, String>>,
    /// A program whose files are the same as those of the end.
    pub ends_as: Option<String>,
    /// A program that its check starts, and that not every machine has.
    pub needs: Option<String>,
}

/// The files that an exercise is about.
pub enum Base {
    /// A program of the book.
    Program(String),
    /// The end of another exercise.
    After(String),
    /// The program with this main file, which the reader writes.
    File(String),
}

/// The four kinds of exercises.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// From a program to something else, by `answer.diff`.
    Change,
    /// The same, and the end is wrong as promised.
    Break,
    /// From a program with a stub in one region to the program.
    Fix { file: String, anchor: String },
    /// From a skeleton to a program.
    Write,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Toml {
    program: Option<String>,
    after: Option<String>,
    end: Option<String>,
    region: Option<String>,
    #[serde(default)]
    breaks: bool,
    fault: String,
    #[serde(default)]
    faults: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    words: BTreeMap<String, BTreeMap<String, String>>,
    ends_as: Option<String>,
    needs: Option<String>,
}

/// Reads every definition in a folder, by name.
pub fn all(folder: &Path) -> Result<BTreeMap<String, Definition>> {
    let mut all = BTreeMap::new();
    let entries =
        fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let folder = entry?.path();
        if folder.join(FILE).is_file() {
            let file = folder.join(FILE);
            let definition = Definition::read(folder)
                .with_context(|| file.display().to_string())?;
            all.insert(definition.name.clone(), definition);
        }
    }
    Ok(all)
}

impl Definition {
    fn read(folder: PathBuf) -> Result<Self> {
        let name = folder.file_name().and_then(|name| name.to_str());
        let name = name.context("its folder has a name")?.to_string();
        let toml: Toml = toml::from_str(&fs::read_to_string(folder.join(FILE))?)?;
        let kind = match (&toml.region, &toml.end, toml.breaks) {
            (Some(region), None, false) => {
                let (file, anchor) = region
                    .split_once(':')
                    .context("a region is a file and an anchor: `main.rs:ticks`")?;
                Kind::Fix { file: file.into(), anchor: anchor.into() }
            }
            (None, Some(_), false) => Kind::Write,
            (None, None, true) => Kind::Break,
            (None, None, false) => Kind::Change,
            _ => bail!("`region`, `end` and `breaks` exclude each other"),
        };
        let base = match (toml.program, toml.after, toml.end) {
            (Some(program), None, None) => Base::Program(program),
            (None, Some(after), None) if matches!(kind, Kind::Fix { .. }) => {
                bail!("a region is one of a program, not of what follows {after}")
            }
            (None, Some(after), None) => Base::After(after),
            (None, None, Some(end)) => Base::File(end),
            _ => bail!("it has one of `program`, `after` and `end`"),
        };
        let definition = Self {
            name,
            folder,
            base,
            kind,
            fault: toml.fault,
            faults: toml.faults,
            words: toml.words,
            ends_as: toml.ends_as,
            needs: toml.needs,
        };
        let needed = definition.needed();
        ensure!(
            definition.folder.join(needed).is_file(),
            "there is no {needed} beside it"
        );
        Ok(definition)
    }

    /// The file beside the definition that its kind needs.
    pub fn needed(&self) -> &'static str {
        match self.kind {
            Kind::Change | Kind::Break => "answer.diff",
            Kind::Fix { .. } => "stub.rs",
            Kind::Write => "start.rs",
        }
    }

    /// A file beside the definition.
    pub fn text(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// The files in `start/` beside the definition, which take the place of the program's: a
    /// skeleton from which steps lead to it.
    pub fn first(&self) -> Result<Files> {
        let folder = self.folder.join("start");
        let mut files = Files::new();
        if folder.is_dir() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                files.insert(name, fs::read_to_string(entry.path())?);
            }
        }
        Ok(files)
    }

    /// The wrong answers beside the definition, each with its fault: `wrong-FAULT.diff` or
    /// `wrong-FAULT.rs`.
    pub fn wrong(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut wrong = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if let Some(fault) = stem.and_then(|stem| stem.strip_prefix("wrong-")) {
                wrong.push((fault.to_string(), path.clone()));
            }
        }
        wrong.sort();
        Ok(wrong)
    }

    /// Whether the check has to find the fault in the end, and nothing in the start.
    pub fn breaks(&self) -> bool {
        self.kind == Kind::Break
    }
}
